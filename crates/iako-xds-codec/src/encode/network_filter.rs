//! Network filters.

use iako_xds_api::envoy::config::listener::v3 as pb;
use iako_xds_api::envoy::extensions::filters::network::{
    direct_response::v3 as direct_response, echo::v3::Echo, rbac::v3 as rbac_pb,
    sni_cluster::v3::SniCluster,
};
use iako_xds_api::envoy::tcp::metadataexchange::config::MetadataExchange;
use iako_xds_api::udpa::r#type::v1::TypedStruct;
use prost_types::Any;

use super::{
    connection_filter, connection_service, discovered, http, http_filter, opaque, rbac, tcp_proxy,
    wire,
};
use iako_proxy_config::{NetworkFilter, Terminal};

pub(super) fn filters(steps: &[NetworkFilter], last: &Terminal) -> Vec<pb::Filter> {
    if let Some(redis) = opaque::redis(steps, last) {
        let redis = filter("envoy.filters.network.redis_proxy", redis);
        return steps.iter().filter_map(step).chain([redis]).collect();
    }
    let last = match last {
        Terminal::Http(manager) => filter(
            "envoy.filters.network.http_connection_manager",
            wire::any(&http::manager(manager)),
        ),
        Terminal::Tcp(proxy) => {
            filter("envoy.filters.network.tcp_proxy", wire::any(&tcp_proxy::tcp_proxy(proxy)))
        }
        Terminal::Direct(bytes) => {
            let config = direct_response::Config { response: Some(wire::bytes_source(bytes)) };
            filter("envoy.filters.network.direct_response", wire::any(&config))
        }
        Terminal::Echo => filter("envoy.filters.network.echo", wire::any(&Echo {})),
    };
    steps.iter().filter_map(step).chain([last]).collect()
}

fn filter(name: &str, any: Any) -> pb::Filter {
    pb::Filter {
        name: name.to_owned(),
        config_type: Some(pb::filter::ConfigType::TypedConfig(any)),
    }
}

/// What a filter says of itself; nothing where that is sent on its own.
fn settings(filter: pb::Filter) -> Any {
    match filter.config_type {
        Some(pb::filter::ConfigType::TypedConfig(any)) => any,
        Some(pb::filter::ConfigType::ConfigDiscovery(_)) | None => Any::default(),
    }
}

fn step(value: &NetworkFilter) -> Option<pb::Filter> {
    Some(match value {
        NetworkFilter::Discovered(found) => {
            let write = |own: &NetworkFilter| step(own).map(settings).unwrap_or_default();
            let source = discovered::discovered(found, write);
            pb::Filter {
                name: found.name.name().to_owned(),
                config_type: Some(pb::filter::ConfigType::ConfigDiscovery(source)),
            }
        }
        NetworkFilter::Rbac(value) => {
            let config = rbac_pb::Rbac {
                rules: value.rules.as_ref().map(rbac::rules),
                shadow_rules: value.shadow_rules.as_ref().map(rbac::rules),
                shadow_rules_stat_prefix: value.shadow_prefix.clone(),
                stat_prefix: value.stat_prefix.clone(),
                delay_deny: value.deny_delay.map(wire::duration),
                matcher: value.matcher.as_deref().map(rbac::tree),
                shadow_matcher: value.shadow_matcher.as_deref().map(rbac::tree),
                ..Default::default()
            };
            filter("envoy.filters.network.rbac", wire::any(&config))
        }
        NetworkFilter::MetadataExchange { protocol } => {
            let config = MetadataExchange { protocol: protocol.clone(), enable_discovery: false };
            filter("istio.metadata_exchange", wire::any(&config))
        }
        NetworkFilter::Stats(stats) => filter("istio.stats", http_filter::stats(stats)),
        NetworkFilter::ConnectionLimit(value) => filter(
            "envoy.filters.network.connection_limit",
            wire::any(&connection_filter::limit(value)),
        ),
        NetworkFilter::RateLimit(value) => filter(
            "envoy.filters.network.local_ratelimit",
            wire::any(&connection_filter::rate_limit(value)),
        ),
        NetworkFilter::SniCluster => {
            filter("envoy.filters.network.sni_cluster", wire::any(&SniCluster {}))
        }
        NetworkFilter::SniForward(value) => filter(
            "envoy.filters.network.sni_dynamic_forward_proxy",
            wire::any(&connection_filter::sni_forward(value)),
        ),
        NetworkFilter::SetState(value) => filter(
            "envoy.filters.network.set_filter_state",
            wire::any(&connection_filter::set_state(value)),
        ),
        NetworkFilter::ExtAuthz(value) => {
            filter("envoy.filters.network.ext_authz", wire::any(&connection_service::authz(value)))
        }
        NetworkFilter::GlobalRateLimit(value) => {
            filter("envoy.filters.network.ratelimit", wire::any(&connection_service::rate(value)))
        }
        NetworkFilter::Opaque(value) => {
            let (name, config) = opaque::step(value)?;
            filter(name, config)
        }
        // Network filters are never optional on the wire: what was passed over stays out.
        NetworkFilter::Unsupported(_) => return None,
    })
}

/// A structure beside the name of its type, for extensions without a schema here.
pub(super) fn typed_struct(type_name: &str, fields: prost_types::Struct) -> Any {
    wire::any(&TypedStruct {
        type_url: format!("type.googleapis.com/{type_name}"),
        value: Some(fields),
    })
}
