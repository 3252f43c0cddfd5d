//! HTTP filters that count, tag, or answer what is asked of the proxy itself.

use iako_xds_api::envoy::config::core::v3::{GrpcMethodList, grpc_method_list::Service};
use iako_xds_api::envoy::extensions::filters::http::{
    grpc_stats::v3 as grpc_pb, health_check::v3 as health_pb, ip_tagging::v3 as tag_pb,
    set_filter_state::v3 as state_pb,
};

use super::{connection_filter, matcher, wire};
use iako_proxy_config::{
    CountedMethods, GrpcServiceMethods, GrpcStats, HealthAnswers, HealthMode, IpTag, IpTagging,
    SetRequestState, TaggedRequests,
};

pub(super) fn states(value: &SetRequestState) -> state_pb::Config {
    state_pb::Config {
        on_request_headers: value.values.iter().map(connection_filter::filter_state).collect(),
        clear_route_cache: value.clears_route,
    }
}

pub(super) fn grpc_stats(value: &GrpcStats) -> grpc_pb::FilterConfig {
    use grpc_pb::filter_config::PerMethodStatSpecifier as Methods;
    let service = |service: &GrpcServiceMethods| Service {
        name: service.service.clone(),
        method_names: service.methods.clone(),
    };
    let methods = match &value.methods {
        CountedMethods::Together => None,
        CountedMethods::Each => Some(Methods::StatsForAllMethods(true)),
        CountedMethods::Listed(services) => {
            let list = GrpcMethodList { services: services.iter().map(service).collect() };
            Some(Methods::IndividualMethodStatsAllowlist(list))
        }
    };
    grpc_pb::FilterConfig {
        emit_filter_state: value.emits_state,
        enable_upstream_stats: value.measures_time,
        replace_dots_in_grpc_service_name: value.replaces_dots,
        per_method_stat_specifier: methods,
    }
}

pub(super) fn health_check(value: &HealthAnswers) -> health_pb::HealthCheck {
    let mut message = health_pb::HealthCheck {
        pass_through_mode: Some(true),
        headers: matcher::headers(&value.headers),
        ..Default::default()
    };
    match &value.mode {
        HealthMode::Pass(cached) => message.cache_time = cached.map(wire::duration),
        HealthMode::Answer(clusters) => {
            message.pass_through_mode = Some(false);
            let clusters = clusters.iter();
            message.cluster_min_healthy_percentages =
                clusters.map(|(name, least)| (name.clone(), wire::percent(*least))).collect();
        }
    }
    message
}

pub(super) fn ip_tagging(value: &IpTagging) -> tag_pb::IpTagging {
    use tag_pb::ip_tagging::{
        IpTag as TagMessage, IpTagHeader, RequestType, ip_tag_header::HeaderAction,
    };
    let requests = match value.requests {
        TaggedRequests::Both => RequestType::Both,
        TaggedRequests::Internal => RequestType::Internal,
        TaggedRequests::External => RequestType::External,
    };
    let tag = |tag: &IpTag| TagMessage {
        ip_tag_name: tag.name.clone(),
        ip_list: wire::cidrs(&tag.ranges),
    };
    let header = value.header.as_ref().map(|header| {
        let action = if header.sanitizes {
            HeaderAction::Sanitize
        } else {
            HeaderAction::AppendIfExistsOrAdd
        };
        IpTagHeader { header: header.name.as_str().to_owned(), action: action.into() }
    });
    tag_pb::IpTagging {
        request_type: requests.into(),
        ip_tags: value.tags.iter().map(tag).collect(),
        ip_tag_header: header,
        ..Default::default()
    }
}
