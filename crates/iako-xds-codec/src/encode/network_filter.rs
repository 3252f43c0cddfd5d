//! Network filters.

use iako_xds_api::envoy::config::listener::v3 as pb;
use iako_xds_api::envoy::extensions::filters::network::rbac::v3 as rbac_pb;
use iako_xds_api::envoy::tcp::metadataexchange::config::MetadataExchange;
use iako_xds_api::udpa::r#type::v1::TypedStruct;
use prost_types::Any;

use super::{discovered, http, http_filter, rbac, tcp_proxy, wire};
use iako_proxy_config::{NetworkFilter, Terminal};

pub(super) fn filters(steps: &[NetworkFilter], last: &Terminal) -> Vec<pb::Filter> {
    let last = match last {
        Terminal::Http(manager) => filter(
            "envoy.filters.network.http_connection_manager",
            wire::any(&http::manager(manager)),
        ),
        Terminal::Tcp(proxy) => {
            filter("envoy.filters.network.tcp_proxy", wire::any(&tcp_proxy::tcp_proxy(proxy)))
        }
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
                ..Default::default()
            };
            filter("envoy.filters.network.rbac", wire::any(&config))
        }
        NetworkFilter::MetadataExchange { protocol } => {
            let config = MetadataExchange { protocol: protocol.clone(), enable_discovery: false };
            filter("istio.metadata_exchange", wire::any(&config))
        }
        NetworkFilter::Stats(stats) => filter("istio.stats", http_filter::stats(stats)),
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
