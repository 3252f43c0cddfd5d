//! Faults on purpose, and cross-origin policy.

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3::RuntimeFractionalPercent;
use iako_xds_api::envoy::config::route::v3::{self as route_pb, cors_policy::EnabledSpecifier};
use iako_xds_api::envoy::extensions::filters::common::fault::v3 as common;
use iako_xds_api::envoy::extensions::filters::http::{cors::v3 as cors_pb, fault::v3 as pb};

use super::{matcher, wire};
use crate::problem::{At, Fault as Refusal};
use iako_proxy_config::{Abort, AbortStatus, CorsPolicy, Delay, Fault, FaultKeys, ResponseRate};

pub(super) fn fault(config: &pb::HttpFault, at: &At<'_>) -> Result<Fault, Refusal> {
    Ok(Fault {
        delay: config.delay.as_ref().map(|config| delay(config, &at.field("delay"))).transpose()?,
        abort: config.abort.as_ref().map(|config| abort(config, &at.field("abort"))).transpose()?,
        headers: matcher::headers(&config.headers, &at.field("headers"))?,
        upstream_cluster: config.upstream_cluster.clone(),
        downstream_nodes: config.downstream_nodes.clone(),
        active_max: config.max_active_faults,
        response_rate: config
            .response_rate_limit
            .as_ref()
            .map(|config| response_rate(config, &at.field("response_rate_limit")))
            .transpose()?,
        keys: FaultKeys {
            delay_percent: config.delay_percent_runtime.clone(),
            abort_percent: config.abort_percent_runtime.clone(),
            delay_duration: config.delay_duration_runtime.clone(),
            abort_http_status: config.abort_http_status_runtime.clone(),
            active_max: config.max_active_faults_runtime.clone(),
            response_rate_percent: config.response_rate_limit_percent_runtime.clone(),
            abort_grpc_status: config.abort_grpc_status_runtime.clone(),
        },
        by_client: std::collections::BTreeMap::new(),
    })
}

fn delay(config: &common::FaultDelay, at: &At<'_>) -> Result<Delay, Refusal> {
    use common::fault_delay::FaultDelaySecifier as Kind;
    let fixed = match &config.fault_delay_secifier {
        Some(Kind::FixedDelay(delay)) => {
            let at = at.field("fixed_delay");
            Some(wire::positive(wire::duration(delay, &at)?, &at)?)
        }
        Some(Kind::HeaderDelay(_)) => None,
        None => return Err(at.missing("write `fixed_delay` or `header_delay`")),
    };
    Ok(Delay { fixed, share: share(config.percentage.as_ref(), &at.field("percentage"))? })
}

fn response_rate(config: &common::FaultRateLimit, at: &At<'_>) -> Result<ResponseRate, Refusal> {
    use common::fault_rate_limit::LimitType;
    let kib_per_second = match &config.limit_type {
        Some(LimitType::FixedLimit(fixed)) => {
            let at = at.field("fixed_limit");
            Some(wire::non_zero_long(fixed.limit_kbps, &at.field("limit_kbps"))?)
        }
        Some(LimitType::HeaderLimit(_)) => None,
        None => return Err(at.missing("write `fixed_limit` or `header_limit`")),
    };
    let share = share(config.percentage.as_ref(), &at.field("percentage"))?;
    Ok(ResponseRate { kib_per_second, share })
}

fn abort(config: &pb::FaultAbort, at: &At<'_>) -> Result<Abort, Refusal> {
    use pb::fault_abort::ErrorType;
    let status = match &config.error_type {
        Some(ErrorType::HttpStatus(status)) => {
            AbortStatus::Http(wire::status(*status, 200, &at.field("http_status"))?)
        }
        Some(ErrorType::GrpcStatus(status)) => AbortStatus::Grpc(*status),
        Some(ErrorType::HeaderAbort(_)) => AbortStatus::Header,
        None => return Err(at.missing("write `http_status`, `grpc_status` or `header_abort`")),
    };
    Ok(Abort { status, share: share(config.percentage.as_ref(), &at.field("percentage"))? })
}

/// Envoy: no percentage means no request.
fn share(
    percentage: Option<&iako_xds_api::envoy::r#type::v3::FractionalPercent>,
    at: &At<'_>,
) -> Result<Percent, Refusal> {
    percentage.map_or(Ok(Percent::ZERO), |percentage| wire::fraction(percentage, at))
}

pub(super) fn cors(config: &cors_pb::CorsPolicy, at: &At<'_>) -> Result<CorsPolicy, Refusal> {
    let enabled: Option<&RuntimeFractionalPercent> = config.filter_enabled.as_ref();
    Ok(CorsPolicy {
        allow_origins: wire::list(
            &config.allow_origin_string_match,
            &at.field("allow_origin_string_match"),
            matcher::text,
        )?,
        allow_methods: config.allow_methods.clone(),
        allow_headers: config.allow_headers.clone(),
        expose_headers: config.expose_headers.clone(),
        max_age: config.max_age.clone(),
        allow_credentials: config.allow_credentials,
        allow_private_network: config.allow_private_network_access,
        forward_unmatched_preflights: config.forward_not_matching_preflights,
        enabled: wire::runtime_fraction(enabled, Percent::HUNDRED, &at.field("filter_enabled"))?,
        shadow_enabled: wire::runtime_fraction(
            config.shadow_enabled.as_ref(),
            Percent::ZERO,
            &at.field("shadow_enabled"),
        )?,
    })
}

/// A policy where it stood before it was a setting of its filter.
pub(super) fn old_cors(
    config: Option<&route_pb::CorsPolicy>,
    at: &At<'_>,
) -> Result<Option<Box<CorsPolicy>>, Refusal> {
    let Some(config) = config else { return Ok(None) };
    let EnabledSpecifier::FilterEnabled(enabled) = config
        .enabled_specifier
        .clone()
        .unwrap_or_else(|| EnabledSpecifier::FilterEnabled(RuntimeFractionalPercent::default()));
    let config = cors_pb::CorsPolicy {
        allow_origin_string_match: config.allow_origin_string_match.clone(),
        allow_methods: config.allow_methods.clone(),
        allow_headers: config.allow_headers.clone(),
        expose_headers: config.expose_headers.clone(),
        max_age: config.max_age.clone(),
        allow_credentials: config.allow_credentials,
        filter_enabled: Some(enabled),
        shadow_enabled: config.shadow_enabled.clone(),
        allow_private_network_access: config.allow_private_network_access,
        forward_not_matching_preflights: config.forward_not_matching_preflights,
    };
    cors(&config, at).map(Box::new).map(Some)
}
