//! Tokens that requests take.

use iako_xds_api::envoy::extensions::common::ratelimit::v3 as common;
use iako_xds_api::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit as Message;
use iako_xds_api::envoy::r#type::v3::HttpStatus;

use super::{connection_filter, header, rate_limit, wire};
use iako_proxy_config::{DYNAMIC_BUCKETS_MAX, HostLimits, LocalDescriptor, LocalRateLimit};

pub(super) fn filter(value: &LocalRateLimit) -> Message {
    use common::{VhRateLimitsOptions as Options, XRateLimitHeadersRfcVersion as Headers};
    let buckets = &value.buckets;
    let dynamic_max = (buckets.dynamic_max != DYNAMIC_BUCKETS_MAX).then_some(buckets.dynamic_max);
    let headers = if value.headers { Headers::DraftVersion03 } else { Headers::Off };
    let host_limits = match value.host_limits {
        HostLimits::Override => Options::Override,
        HostLimits::Include => Options::Include,
        HostLimits::Ignore => Options::Ignore,
    };
    Message {
        stat_prefix: value.stat_prefix.clone(),
        status: (value.status != 429).then(|| HttpStatus { code: value.status.into() }),
        token_bucket: buckets.default.as_ref().map(connection_filter::tokens),
        filter_enabled: Some(wire::runtime_fraction(&value.enabled)),
        filter_enforced: Some(wire::runtime_fraction(&value.enforced)),
        request_headers_to_add_when_not_enforced: header::additions(&value.add_to_request),
        response_headers_to_add: header::additions(&value.add_to_response),
        descriptors: buckets.descriptors.iter().map(descriptor).collect(),
        stage: value.stage,
        local_rate_limit_per_downstream_connection: value.per_connection,
        local_cluster_rate_limit: buckets
            .shared_by_cluster
            .then_some(common::LocalClusterRateLimit {}),
        enable_x_ratelimit_headers: headers.into(),
        vh_rate_limits: host_limits.into(),
        always_consume_default_token_bucket: (!buckets.always_default).then_some(false),
        rate_limited_as_resource_exhausted: value.as_resource_exhausted,
        rate_limits: value.limits.iter().map(rate_limit::rate_limit).collect(),
        max_dynamic_descriptors: dynamic_max.map(std::num::NonZeroU32::get),
        ..Default::default()
    }
}

fn descriptor(value: &LocalDescriptor) -> common::LocalRateLimitDescriptor {
    let entry = |(key, value): &(String, String)| common::rate_limit_descriptor::Entry {
        key: key.clone(),
        value: value.clone(),
    };
    common::LocalRateLimitDescriptor {
        entries: value.entries.iter().map(entry).collect(),
        token_bucket: Some(connection_filter::tokens(&value.tokens)),
        shadow_mode: value.shadow,
    }
}
