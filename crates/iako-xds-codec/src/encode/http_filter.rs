//! HTTP filters, and their settings for single routes.

use std::collections::BTreeMap;

use iako_types::Percent;
use iako_xds_api::envoy::config::route::v3::{self as route_pb, FilterConfig};
use iako_xds_api::envoy::extensions::filters::common::fault::v3 as common;
use iako_xds_api::envoy::extensions::filters::http as filters;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use iako_xds_api::istio::envoy::config::filter::http::alpn::v2alpha1 as alpn;
use iako_xds_api::stats::{MetricConfig, PluginConfig};
use prost_types::{Any, ListValue, Struct, Value, value::Kind};

use super::{
    admission, composite, concurrency, content, credential, discovered, discovery, ext_authz,
    ext_proc, global_limit, head, json_facts, jwt, local_limit, matcher, network_filter, oauth2,
    rbac, request_step, session, stored, wire,
};
use crate::decode::{ALPN_NAMES, PEER_METADATA};
use iako_proxy_config::{
    AbortStatus, CorsPolicy, Fault, FilterOverrides, FilterSettings, HttpFilter, HttpFilterKind,
    Keyed, PeerDiscovery, PeerMetadata, ResponseRate, StatsFilter,
};

pub(super) fn filter(value: &HttpFilter) -> hcm::HttpFilter {
    use hcm::http_filter::ConfigType;
    let (config_type, is_optional) = if let HttpFilterKind::Discovered(found) = &value.kind {
        let source = discovered::discovered(found, |own| kind(own).0);
        (ConfigType::ConfigDiscovery(source), false)
    } else {
        let (any, is_optional) = kind(&value.kind);
        (ConfigType::TypedConfig(any), is_optional)
    };
    hcm::HttpFilter {
        name: value.name.clone(),
        is_optional,
        disabled: value.disabled,
        config_type: Some(config_type),
    }
}

fn kind(value: &HttpFilterKind) -> (Any, bool) {
    let any = match value {
        HttpFilterKind::Router(router) => wire::any(&filters::router::v3::Router {
            suppress_envoy_headers: router.suppress_envoy_headers,
            start_child_span: router.child_spans,
            strict_check_headers: router
                .strict_headers
                .iter()
                .map(|header| header.name().to_owned())
                .collect(),
            respect_expected_rq_timeout: router.respect_expected_timeout,
            ..Default::default()
        }),
        HttpFilterKind::Fault(value) => wire::any(&fault(value)),
        HttpFilterKind::Cors => wire::any(&filters::cors::v3::Cors {}),
        HttpFilterKind::JwtAuthn(value) => wire::any(&jwt::authn(value)),
        HttpFilterKind::Rbac(value) => wire::any(&rbac::http(value)),
        HttpFilterKind::HeaderMutation(value) => wire::any(&head::header_mutation(value)),
        HttpFilterKind::HeaderToMetadata(value) => wire::any(&head::header_to_metadata(value)),
        HttpFilterKind::SetMetadata(value) => wire::any(&head::set_metadata(value)),
        HttpFilterKind::PeerMetadata(value) => {
            network_filter::typed_struct(PEER_METADATA, peer_metadata(value))
        }
        HttpFilterKind::Alpn => wire::any(&alpn_config()),
        HttpFilterKind::Stats(value) => stats(value),
        HttpFilterKind::GrpcWeb => wire::any(&filters::grpc_web::v3::GrpcWeb {}),
        HttpFilterKind::JsonToMetadata(value) => wire::any(&json_facts::filter(value)),
        HttpFilterKind::SetState(value) => wire::any(&request_step::states(value)),
        HttpFilterKind::GrpcStats(value) => wire::any(&request_step::grpc_stats(value)),
        HttpFilterKind::HealthCheck(value) => wire::any(&request_step::health_check(value)),
        HttpFilterKind::CredentialInjector(value) => wire::any(&credential::filter(value)),
        HttpFilterKind::OAuth2(value) => wire::any(&oauth2::filter(value.as_deref())),
        HttpFilterKind::IpTagging(value) => wire::any(&request_step::ip_tagging(value)),
        HttpFilterKind::StatefulSession(value) => wire::any(&session::session(value)),
        HttpFilterKind::DynamicForward(value) => wire::any(&discovery::forward_filter(value)),
        HttpFilterKind::Buffer(value) => wire::any(&content::buffer(*value)),
        HttpFilterKind::Compressor(value) => wire::any(&content::compressor(value)),
        HttpFilterKind::Decompressor(value) => wire::any(&content::decompressor(value)),
        HttpFilterKind::BandwidthLimit(value) => wire::any(&content::bandwidth(value)),
        HttpFilterKind::Csrf(value) => wire::any(&content::csrf(value)),
        HttpFilterKind::ExtAuthz(value) => wire::any(&ext_authz::filter(value)),
        HttpFilterKind::ExtProc(value) => wire::any(&ext_proc::filter(value)),
        HttpFilterKind::GlobalRateLimit(value) => wire::any(&global_limit::filter(value)),
        HttpFilterKind::LocalRateLimit(value) => wire::any(&local_limit::filter(value)),
        HttpFilterKind::Composite(value) => {
            wire::any(&composite::filter(value, &|inner| kind(inner).0))
        }
        HttpFilterKind::Matched(value) => {
            let (config, _) = kind(&value.kind);
            wire::any(&composite::matched(value.tree.as_ref(), config))
        }
        HttpFilterKind::AdmissionControl(value) => wire::any(&admission::filter(value)),
        HttpFilterKind::AdaptiveConcurrency(value) => wire::any(&concurrency::filter(value)),
        HttpFilterKind::OnDemand(value) => wire::any(&discovered::on_demand(value)),
        // It stands beside the settings, not among them; a default is never one itself.
        HttpFilterKind::Discovered(_) => Any::default(),
        HttpFilterKind::CustomResponse(value) => wire::any(&stored::custom_response(value)),
        HttpFilterKind::Cache(value) => wire::any(&stored::cache(value)),
        HttpFilterKind::Unsupported(filter) => {
            let type_url = format!("type.googleapis.com/{}", filter.type_name);
            return (Any { type_url, value: Vec::new() }, true);
        }
    };
    (any, false)
}

fn alpn_config() -> alpn::FilterConfig {
    let entry = |(protocol, names): (alpn::filter_config::Protocol, [&str; 3])| {
        alpn::filter_config::AlpnOverride {
            upstream_protocol: protocol.into(),
            alpn_override: names.map(str::to_owned).to_vec(),
        }
    };
    alpn::FilterConfig { alpn_override: ALPN_NAMES.into_iter().map(entry).collect() }
}

pub(super) fn stats(value: &StatsFilter) -> Any {
    let metrics = value.overrides.iter().map(|change| MetricConfig {
        name: change.metric.clone(),
        drop: change.drop,
        tags_to_remove: change.tags_to_remove.clone(),
        ..Default::default()
    });
    wire::any(&PluginConfig {
        metrics: metrics.collect(),
        disable_host_header_fallback: value.disable_host_header_fallback,
        ..Default::default()
    })
}

fn peer_metadata(value: &PeerMetadata) -> Struct {
    let method = |name: &str, settings: Struct| Value {
        kind: Some(Kind::StructValue(Struct {
            fields: [(name.to_owned(), Value { kind: Some(Kind::StructValue(settings)) })].into(),
        })),
    };
    let discovery = |ways: &[PeerDiscovery]| -> Vec<Value> {
        let name = |way: &PeerDiscovery| match way {
            PeerDiscovery::IstioHeaders => "istio_headers",
            PeerDiscovery::WorkloadDiscovery => "workload_discovery",
        };
        ways.iter().map(|way| method(name(way), Struct::default())).collect()
    };
    let propagation = |propagates: bool| -> Vec<Value> {
        let mut settings = Struct::default();
        if value.skip_external {
            let skip = Value { kind: Some(Kind::BoolValue(true)) };
            settings.fields.insert("skip_external_clusters".to_owned(), skip);
        }
        if propagates { vec![method("istio_headers", settings)] } else { Vec::new() }
    };
    let lists = [
        ("downstream_discovery", discovery(&value.downstream_discovery)),
        ("upstream_discovery", discovery(&value.upstream_discovery)),
        ("downstream_propagation", propagation(value.downstream_propagation)),
        ("upstream_propagation", propagation(value.upstream_propagation)),
    ];
    let filled = lists.into_iter().filter(|(_, values)| !values.is_empty());
    let list = |values| Value { kind: Some(Kind::ListValue(ListValue { values })) };
    Struct { fields: filled.map(|(name, values)| (name.to_owned(), list(values))).collect() }
}

fn fault(value: &Fault) -> filters::fault::v3::HttpFault {
    use common::fault_delay::{FaultDelaySecifier, HeaderDelay};
    use filters::fault::v3::{FaultAbort, HttpFault, fault_abort};
    let delay = value.delay.map(|delay| common::FaultDelay {
        percentage: Some(wire::fraction(delay.share)),
        fault_delay_secifier: Some(match delay.fixed {
            Some(fixed) => FaultDelaySecifier::FixedDelay(wire::duration(fixed)),
            None => FaultDelaySecifier::HeaderDelay(HeaderDelay {}),
        }),
    });
    let abort = value.abort.map(|abort| FaultAbort {
        percentage: Some(wire::fraction(abort.share)),
        error_type: Some(match abort.status {
            AbortStatus::Http(status) => fault_abort::ErrorType::HttpStatus(status.into()),
            AbortStatus::Grpc(status) => fault_abort::ErrorType::GrpcStatus(status),
            AbortStatus::Header => fault_abort::ErrorType::HeaderAbort(fault_abort::HeaderAbort {}),
        }),
        ..Default::default()
    });
    HttpFault {
        delay,
        abort,
        headers: matcher::headers(&value.headers),
        upstream_cluster: value.upstream_cluster.clone(),
        downstream_nodes: value.downstream_nodes.clone(),
        max_active_faults: value.active_max,
        response_rate_limit: value.response_rate.map(response_rate),
        delay_percent_runtime: value.keys.delay_percent.clone(),
        abort_percent_runtime: value.keys.abort_percent.clone(),
        delay_duration_runtime: value.keys.delay_duration.clone(),
        abort_http_status_runtime: value.keys.abort_http_status.clone(),
        max_active_faults_runtime: value.keys.active_max.clone(),
        abort_grpc_status_runtime: value.keys.abort_grpc_status.clone(),
        response_rate_limit_percent_runtime: value.keys.response_rate_percent.clone(),
        ..Default::default()
    }
}

fn response_rate(value: ResponseRate) -> common::FaultRateLimit {
    use common::fault_rate_limit::{FixedLimit, HeaderLimit, LimitType};
    let limit = match value.kib_per_second {
        Some(limit) => LimitType::FixedLimit(FixedLimit { limit_kbps: limit.get() }),
        None => LimitType::HeaderLimit(HeaderLimit {}),
    };
    common::FaultRateLimit {
        percentage: Some(wire::fraction(value.share)),
        limit_type: Some(limit),
    }
}

fn cors(value: &CorsPolicy) -> filters::cors::v3::CorsPolicy {
    filters::cors::v3::CorsPolicy {
        allow_origin_string_match: value.allow_origins.iter().map(matcher::text).collect(),
        allow_methods: value.allow_methods.clone(),
        allow_headers: value.allow_headers.clone(),
        expose_headers: value.expose_headers.clone(),
        max_age: value.max_age.clone(),
        allow_credentials: value.allow_credentials,
        allow_private_network_access: value.allow_private_network,
        forward_not_matching_preflights: value.forward_unmatched_preflights,
        filter_enabled: (value.enabled != Keyed::fixed(Percent::HUNDRED))
            .then(|| wire::runtime_fraction(&value.enabled)),
        shadow_enabled: (value.shadow_enabled != Keyed::fixed(Percent::ZERO))
            .then(|| wire::runtime_fraction(&value.shadow_enabled)),
    }
}

/// A policy where it stood before it was a setting of its filter.
pub(super) fn old_cors(value: &CorsPolicy) -> route_pb::CorsPolicy {
    let config = cors(value);
    route_pb::CorsPolicy {
        allow_origin_string_match: config.allow_origin_string_match,
        allow_methods: config.allow_methods,
        allow_headers: config.allow_headers,
        expose_headers: config.expose_headers,
        max_age: config.max_age,
        allow_credentials: config.allow_credentials,
        shadow_enabled: config.shadow_enabled,
        allow_private_network_access: config.allow_private_network_access,
        forward_not_matching_preflights: config.forward_not_matching_preflights,
        enabled_specifier: config
            .filter_enabled
            .map(route_pb::cors_policy::EnabledSpecifier::FilterEnabled),
    }
}

/// Settings of one filter.
fn settings(value: &FilterSettings) -> Any {
    use filters::jwt_authn::v3::{PerRouteConfig, per_route_config::RequirementSpecifier};
    match value {
        FilterSettings::Fault(own) => wire::any(&fault(own)),
        FilterSettings::Cors(own) => wire::any(&cors(own)),
        FilterSettings::Rbac(own) => {
            let rbac = own.as_ref().map(|own| rbac::http(own));
            wire::any(&filters::rbac::v3::RbacPerRoute { rbac })
        }
        FilterSettings::StatefulSession(own) => wire::any(&session::for_route(own.as_deref())),
        FilterSettings::JwtRequirement(name) => {
            let named = RequirementSpecifier::RequirementName(name.clone());
            wire::any(&PerRouteConfig { requirement_specifier: Some(named) })
        }
        FilterSettings::HeaderMutation(own) => {
            let mutations = Some(head::edits(own));
            wire::any(&filters::header_mutation::v3::HeaderMutationPerRoute { mutations })
        }
        FilterSettings::HeaderToMetadata(own) => wire::any(&head::header_to_metadata(own)),
        FilterSettings::Buffer(own) => wire::any(&content::buffer_for_route(*own)),
        FilterSettings::Compressor(own) => wire::any(&content::compressor_override(own)),
        FilterSettings::BandwidthLimit(own) => wire::any(&content::bandwidth(own)),
        FilterSettings::Csrf(own) => wire::any(&content::csrf(own)),
        FilterSettings::DynamicForward(own) => wire::any(&discovery::forward_host(own)),
        FilterSettings::ExtAuthz(own) => wire::any(&ext_authz::for_route(own)),
        FilterSettings::ExtProc(own) => wire::any(&ext_proc::for_route(own)),
        FilterSettings::GlobalRateLimit(own) => wire::any(&global_limit::for_route(own)),
        FilterSettings::LocalRateLimit(own) => wire::any(&local_limit::filter(own)),
        FilterSettings::OnDemand(own) => wire::any(&discovered::on_demand_of_route(own)),
        FilterSettings::CustomResponse(own) => wire::any(&stored::custom_response(own)),
        FilterSettings::JsonToMetadata(own) => wire::any(&json_facts::filter(own)),
        FilterSettings::OAuth2(own) => wire::any(&oauth2::for_route(own)),
        FilterSettings::Skip(own) => wire::any(&composite::for_route(own)),
        FilterSettings::SetState(own) => wire::any(&request_step::states(own)),
    }
}

/// Settings of filters for a virtual host, route or weighted cluster.
pub(super) fn overrides(value: &FilterOverrides) -> BTreeMap<String, Any> {
    let mut configs = BTreeMap::new();
    for (name, own) in &value.settings {
        configs.insert(name.clone(), settings(own));
    }
    for name in &value.disabled {
        // Settings and the switch of one filter share its entry.
        let config = configs.remove(name);
        let switched_off = FilterConfig { disabled: true, config, ..Default::default() };
        configs.insert(name.clone(), wire::any(&switched_off));
    }
    configs
}
