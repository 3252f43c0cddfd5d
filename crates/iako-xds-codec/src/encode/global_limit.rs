//! A service counts requests.

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::ratelimit::v3::RateLimitServiceConfig;
use iako_xds_api::envoy::extensions::filters::http::ratelimit::v3 as pb;
use iako_xds_api::envoy::r#type::v3::HttpStatus;

use super::{callout, header, rate_limit, wire};
use iako_proxy_config::{
    GlobalRateLimit, GlobalRateLimitRoute, GrpcService, HostLimits, Keyed, LimitedRequests,
};

pub(super) fn filter(value: &GlobalRateLimit) -> pb::RateLimit {
    use pb::rate_limit::XRateLimitHeadersRfcVersion as Headers;
    let share = |share: &Keyed<Percent>| {
        (*share != Percent::HUNDRED.into()).then(|| wire::runtime_fraction(share))
    };
    let status =
        |status: u16, default: u16| (status != default).then(|| HttpStatus { code: status.into() });
    let is_whole = value.failure_deny == Percent::HUNDRED.into();
    let is_some = !is_whole && value.failure_deny != Percent::ZERO.into();
    pb::RateLimit {
        domain: value.domain.clone(),
        stage: value.stage,
        request_type: match value.requests {
            LimitedRequests::Both => "",
            LimitedRequests::Internal => "internal",
            LimitedRequests::External => "external",
        }
        .to_owned(),
        timeout: wire::limit(value.service.timeout),
        failure_mode_deny: is_whole,
        failure_mode_deny_percent: is_some.then(|| wire::runtime_fraction(&value.failure_deny)),
        rate_limited_as_resource_exhausted: value.as_resource_exhausted,
        rate_limit_service: Some(service(&value.service)),
        enable_x_ratelimit_headers: if value.headers {
            Headers::DraftVersion03
        } else {
            Headers::Off
        }
        .into(),
        disable_x_envoy_ratelimited_header: !value.tells,
        enable_retry_after_header: value.retry_after,
        rate_limited_status: status(value.status, 429),
        response_headers_to_add: header::additions(&value.add),
        status_on_error: status(value.status_on_error, 500),
        stat_prefix: value.stat_prefix.clone(),
        filter_enabled: share(&value.enabled),
        filter_enforced: share(&value.enforced),
        rate_limits: value.limits.iter().map(rate_limit::rate_limit).collect(),
        metadata_namespace: value.metadata_namespace.clone(),
    }
}

/// Who counts; the time-out stands beside it.
pub(super) fn service(value: &GrpcService) -> RateLimitServiceConfig {
    let service = GrpcService { timeout: None, ..value.clone() };
    let mut service = callout::grpc(&service);
    service.timeout = None;
    RateLimitServiceConfig {
        grpc_service: Some(service),
        transport_api_version: core::ApiVersion::V3.into(),
    }
}

/// Settings of a route.
pub(super) fn for_route(value: &GlobalRateLimitRoute) -> pb::RateLimitPerRoute {
    use pb::rate_limit_per_route::VhRateLimitsOptions as Options;
    pb::RateLimitPerRoute {
        vh_rate_limits: match value.host_limits {
            HostLimits::Override => Options::Override,
            HostLimits::Include => Options::Include,
            HostLimits::Ignore => Options::Ignore,
        }
        .into(),
        rate_limits: value.limits.iter().map(rate_limit::rate_limit).collect(),
        domain: value.domain.clone(),
        ..Default::default()
    }
}
