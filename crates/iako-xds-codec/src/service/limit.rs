//! `envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit`.

use std::time::Duration;

use iako_xds_api::envoy::extensions::common::ratelimit::v3 as common;
use iako_xds_api::envoy::service::ratelimit::v3 as pb;
use iako_xds_api::envoy::r#type::v3::RateLimitUnit as Unit;
use prost::Message as _;

use super::{header, value};
use iako_proxy_config::{
    RateAnswer, RateCurrent, RateDescriptor, RateLimitUnit, RateStatus, ServiceHeader,
};
use iako_xds_api::envoy::config::core::v3 as core;

/// Where limits are asked for.
pub const METHOD: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// A question as a `RateLimitRequest`.
#[must_use]
pub fn request(domain: &str, descriptors: &[RateDescriptor], hits: u32) -> Vec<u8> {
    let message = pb::RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: descriptors.iter().map(descriptor).collect(),
        hits_addend: hits,
    };
    message.encode_to_vec()
}

fn descriptor(value: &RateDescriptor) -> common::RateLimitDescriptor {
    use common::rate_limit_descriptor::{Entry, RateLimitOverride};
    let entry = |(key, value): &(String, String)| Entry { key: key.clone(), value: value.clone() };
    common::RateLimitDescriptor {
        entries: value.entries.iter().map(entry).collect(),
        limit: value.limit.map(|(requests, unit)| RateLimitOverride {
            requests_per_unit: requests,
            unit: match unit {
                RateLimitUnit::Second => Unit::Second,
                RateLimitUnit::Minute => Unit::Minute,
                RateLimitUnit::Hour => Unit::Hour,
                RateLimitUnit::Day => Unit::Day,
                RateLimitUnit::Month => Unit::Month,
                RateLimitUnit::Year => Unit::Year,
            }
            .into(),
        }),
        hits_addend: value.hits,
        ..Default::default()
    }
}

/// A `RateLimitResponse` as an answer; none when the bytes are none.
#[must_use]
pub fn answer(bytes: &[u8]) -> Option<RateAnswer> {
    use pb::rate_limit_response::Code;
    let message = pb::RateLimitResponse::decode(bytes).ok()?;
    Some(RateAnswer {
        over: match Code::try_from(message.overall_code) {
            Ok(Code::Ok) => Some(false),
            Ok(Code::OverLimit) => Some(true),
            Ok(Code::Unknown) | Err(_) => None,
        },
        statuses: message.statuses.iter().map(status).collect(),
        response_headers: headers(message.response_headers_to_add),
        request_headers: headers(message.request_headers_to_add),
        body: message.raw_body.to_vec(),
        metadata: message.dynamic_metadata.map(value::map_of).unwrap_or_default(),
    })
}

fn headers(list: Vec<core::HeaderValue>) -> Vec<ServiceHeader> {
    let option = |one| core::HeaderValueOption { header: Some(one), ..Default::default() };
    list.into_iter().map(|one| header(&option(one))).collect()
}

fn status(status: &pb::rate_limit_response::DescriptorStatus) -> RateStatus {
    RateStatus {
        limit: status.current_limit.as_ref().map(|limit| RateCurrent {
            name: limit.name.clone(),
            requests: limit.requests_per_unit,
            window: window(limit.unit),
        }),
        remaining: status.limit_remaining,
        until_reset: status.duration_until_reset.and_then(|it| {
            Some(Duration::new(u64::try_from(it.seconds).ok()?, u32::try_from(it.nanos).ok()?))
        }),
    }
}

fn window(unit: i32) -> Option<u32> {
    use pb::rate_limit_response::rate_limit::Unit;
    match Unit::try_from(unit).ok()? {
        Unit::Unknown => None,
        Unit::Second => Some(1),
        Unit::Minute => Some(60),
        Unit::Hour => Some(60 * 60),
        Unit::Day => Some(24 * 60 * 60),
        Unit::Week => Some(7 * 24 * 60 * 60),
        Unit::Month => Some(30 * 24 * 60 * 60),
        Unit::Year => Some(365 * 24 * 60 * 60),
    }
}
