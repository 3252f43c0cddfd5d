//! Tokens that requests take.

use std::num::NonZeroU32;
use std::sync::Arc;

use iako_types::Percent;
use iako_xds_api::envoy::extensions::common::ratelimit::v3 as common;
use iako_xds_api::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit as Message;

use super::{connection_filter, header, rate_limit, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    DYNAMIC_BUCKETS_MAX, HostLimits, LocalBuckets, LocalDescriptor, LocalRateLimit, RateLimit,
};

pub(super) fn filter(config: &Message, at: &At<'_>) -> Result<LocalRateLimit, Fault> {
    use common::{VhRateLimitsOptions as Options, XRateLimitHeadersRfcVersion as Headers};
    if config.stat_prefix.is_empty() {
        return Err(at.field("stat_prefix").missing("name the filter's statistics"));
    }
    if config.stage > 10 {
        let problem = format!("{} is no stage", config.stage);
        return Err(at.field("stage").invalid(problem, "write 0 to 10"));
    }
    let at_status = at.field("status");
    let status = config.status.as_ref().map_or(Ok(429), |status| {
        wire::status(u32::try_from(status.code).unwrap_or(0), 100, &at_status.field("code"))
    })?;
    let share =
        |value, field: &'static str| wire::runtime_fraction(value, Percent::ZERO, &at.field(field));
    let at_headers = at.field("enable_x_ratelimit_headers");
    let at_host = at.field("vh_rate_limits");
    Ok(LocalRateLimit {
        stat_prefix: config.stat_prefix.clone(),
        // A status below 400 would not tell that anything was refused.
        status: if status < 400 { 429 } else { status },
        buckets: Arc::new(buckets(config, at)?),
        enabled: share(config.filter_enabled.as_ref(), "filter_enabled")?,
        enforced: share(config.filter_enforced.as_ref(), "filter_enforced")?,
        add_to_request: header::additions(
            &config.request_headers_to_add_when_not_enforced,
            &at.field("request_headers_to_add_when_not_enforced"),
        )?,
        add_to_response: header::additions(
            &config.response_headers_to_add,
            &at.field("response_headers_to_add"),
        )?,
        stage: config.stage,
        per_connection: config.local_rate_limit_per_downstream_connection,
        headers: match wire::known::<Headers>(config.enable_x_ratelimit_headers, &at_headers)? {
            Headers::Off => false,
            Headers::DraftVersion03 => true,
        },
        host_limits: match wire::known::<Options>(config.vh_rate_limits, &at_host)? {
            Options::Override => HostLimits::Override,
            Options::Include => HostLimits::Include,
            Options::Ignore => HostLimits::Ignore,
        },
        as_resource_exhausted: config.rate_limited_as_resource_exhausted,
        limits: limits(config, at)?,
    })
}

/// Settings of a route, which have to have tokens.
pub(super) fn for_route(config: &Message, at: &At<'_>) -> Result<LocalRateLimit, Fault> {
    if config.token_bucket.is_none() {
        return Err(at.field("token_bucket").missing("write the tokens of the route"));
    }
    filter(config, at)
}

/// Limits in place of those of routes. Nothing but what a request counts as is theirs to say.
fn limits(config: &Message, at: &At<'_>) -> Result<Vec<RateLimit>, Fault> {
    let at = at.field("rate_limits");
    for (index, limit) in config.rate_limits.iter().enumerate() {
        let at = at.index(index);
        let refused = |field: &'static str| {
            Err(at.field(field).invalid("has no meaning in a filter", "leave it out"))
        };
        if limit.stage.is_some() {
            return refused("stage");
        }
        if !limit.disable_key.is_empty() {
            return refused("disable_key");
        }
    }
    rate_limit::rate_limits(&config.rate_limits, &at)
}

fn buckets(config: &Message, at: &At<'_>) -> Result<LocalBuckets, Fault> {
    let at_shared = at.field("local_cluster_rate_limit");
    if config.local_cluster_rate_limit.is_some()
        && config.local_rate_limit_per_downstream_connection
    {
        let help = "share tokens by cluster, or give every connection its own";
        return Err(at_shared.invalid("does not go with tokens of connections", help));
    }
    let at_bucket = at.field("token_bucket");
    let default = config.token_bucket.as_ref();
    let default =
        default.map(|bucket| connection_filter::tokens(bucket, &at_bucket)).transpose()?;
    let at_list = at.field("descriptors");
    let descriptors = wire::list(&config.descriptors, &at_list, descriptor)?;
    for (index, one) in descriptors.iter().enumerate() {
        let mut earlier = descriptors.iter().take(index);
        if earlier.any(|earlier| earlier.entries == one.entries) {
            let help = "leave all but one of them out";
            return Err(at_list.index(index).invalid("is there a second time", help));
        }
    }
    let at_max = at.field("max_dynamic_descriptors");
    let dynamic_max = config.max_dynamic_descriptors;
    let dynamic_max: NonZeroU32 =
        dynamic_max.map_or(Ok(DYNAMIC_BUCKETS_MAX), |max| wire::non_zero(max, &at_max))?;
    Ok(LocalBuckets {
        default,
        descriptors,
        always_default: config.always_consume_default_token_bucket.unwrap_or(true),
        dynamic_max,
        shared_by_cluster: config.local_cluster_rate_limit.is_some(),
    })
}

fn descriptor(
    config: &common::LocalRateLimitDescriptor,
    at: &At<'_>,
) -> Result<LocalDescriptor, Fault> {
    let at_entries = at.field("entries");
    if config.entries.is_empty() {
        return Err(at_entries.missing("write keys and values"));
    }
    let entries = wire::list(&config.entries, &at_entries, |entry, at| {
        if entry.key.is_empty() {
            return Err(at.field("key").missing("write the key of the entry"));
        }
        Ok((entry.key.clone(), entry.value.clone()))
    })?;
    let at_bucket = at.field("token_bucket");
    let bucket = config.token_bucket.as_ref();
    let bucket = bucket.ok_or_else(|| at_bucket.missing("write the tokens"))?;
    Ok(LocalDescriptor {
        entries,
        tokens: connection_filter::tokens(bucket, &at_bucket)?,
        shadow: config.shadow_mode,
    })
}
