//! A service counts requests.

use iako_types::Percent;
use iako_xds_api::envoy::config::ratelimit::v3::RateLimitServiceConfig;
use iako_xds_api::envoy::extensions::filters::http::ratelimit::v3 as pb;
use iako_xds_api::envoy::r#type::v3::HttpStatus;

use super::{callout, header, rate_limit, source, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    GlobalRateLimit, GlobalRateLimitRoute, GrpcService, HostLimits, LimitedRequests,
    RATE_LIMIT_TIMEOUT,
};

pub(super) fn filter(config: &pb::RateLimit, at: &At<'_>) -> Result<GlobalRateLimit, Fault> {
    use pb::rate_limit::XRateLimitHeadersRfcVersion as Headers;
    if config.domain.is_empty() {
        return Err(at.field("domain").missing("name the domain of the service's configuration"));
    }
    if config.stage > 10 {
        let problem = format!("{} is no stage", config.stage);
        return Err(at.field("stage").invalid(problem, "write 0 to 10"));
    }
    let at_timeout = at.field("timeout");
    let timeout = wire::duration_or(config.timeout.as_ref(), RATE_LIMIT_TIMEOUT, &at_timeout)?;
    let at_service = at.field("rate_limit_service");
    let mut service = service(config.rate_limit_service.as_ref(), &at_service)?;
    service.timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
    let at_headers = at.field("enable_x_ratelimit_headers");
    let deny = if config.failure_mode_deny { Percent::HUNDRED } else { Percent::ZERO };
    let share = |value, default, field: &'static str| {
        wire::runtime_fraction(value, default, &at.field(field))
    };
    // A status below 400 would not tell that anything was refused.
    let limited =
        status(config.rate_limited_status.as_ref(), 429, &at.field("rate_limited_status"))?;
    Ok(GlobalRateLimit {
        service,
        domain: config.domain.clone(),
        stage: config.stage,
        requests: match config.request_type.as_str() {
            "" | "both" => LimitedRequests::Both,
            "internal" => LimitedRequests::Internal,
            "external" => LimitedRequests::External,
            other => {
                let problem = format!("`{other}` is no kind of request");
                let help = "write `internal`, `external` or `both`";
                return Err(at.field("request_type").invalid(problem, help));
            }
        },
        failure_deny: share(
            config.failure_mode_deny_percent.as_ref(),
            deny,
            "failure_mode_deny_percent",
        )?,
        status_on_error: status(
            config.status_on_error.as_ref(),
            500,
            &at.field("status_on_error"),
        )?,
        as_resource_exhausted: config.rate_limited_as_resource_exhausted,
        headers: match wire::known::<Headers>(config.enable_x_ratelimit_headers, &at_headers)? {
            Headers::Off => false,
            Headers::DraftVersion03 => true,
        },
        tells: !config.disable_x_envoy_ratelimited_header,
        retry_after: config.enable_retry_after_header,
        status: if limited < 400 { 429 } else { limited },
        add: header::additions(
            &config.response_headers_to_add,
            &at.field("response_headers_to_add"),
        )?,
        stat_prefix: config.stat_prefix.clone(),
        enabled: share(config.filter_enabled.as_ref(), Percent::HUNDRED, "filter_enabled")?,
        enforced: share(config.filter_enforced.as_ref(), Percent::HUNDRED, "filter_enforced")?,
        limits: rate_limit::rate_limits(&config.rate_limits, &at.field("rate_limits"))?,
        metadata_namespace: config.metadata_namespace.clone(),
    })
}

fn status(config: Option<&HttpStatus>, default: u16, at: &At<'_>) -> Result<u16, Fault> {
    let Some(status) = config else { return Ok(default) };
    wire::status(u32::try_from(status.code).unwrap_or(0), 100, &at.field("code"))
}

/// Who counts.
pub(super) fn service(
    config: Option<&RateLimitServiceConfig>,
    at: &At<'_>,
) -> Result<GrpcService, Fault> {
    let config = config.ok_or_else(|| at.missing("write `grpc_service`"))?;
    source::version(config.transport_api_version, &at.field("transport_api_version"))?;
    let at = at.field("grpc_service");
    let service = config.grpc_service.as_ref();
    callout::grpc(service.ok_or_else(|| at.missing("write `envoy_grpc`"))?, None, &at)
}

/// Settings of a route.
pub(super) fn for_route(
    config: &pb::RateLimitPerRoute,
    at: &At<'_>,
) -> Result<GlobalRateLimitRoute, Fault> {
    use pb::rate_limit_per_route::VhRateLimitsOptions as Options;
    let at_host = at.field("vh_rate_limits");
    Ok(GlobalRateLimitRoute {
        host_limits: match wire::known::<Options>(config.vh_rate_limits, &at_host)? {
            Options::Override => HostLimits::Override,
            Options::Include => HostLimits::Include,
            Options::Ignore => HostLimits::Ignore,
        },
        limits: rate_limit::rate_limits(&config.rate_limits, &at.field("rate_limits"))?,
        domain: config.domain.clone(),
    })
}
