//! What a request counts as, for limits of rates.

use iako_xds_api::envoy::config::route::v3 as pb;
use iako_xds_api::envoy::r#type::matcher::v3::AddressMatcher;
use iako_xds_api::envoy::r#type::metadata::v3::{MetadataKey, metadata_key};
use iako_xds_api::envoy::r#type::v3::RateLimitUnit as Unit;
use pb::rate_limit as inner;
use pb::rate_limit::action::{self, ActionSpecifier as Kind};

use super::matcher;
use iako_proxy_config::{
    MetadataPlace, RateLimit, RateLimitAction, RateLimitHits, RateLimitMetadataSource,
    RateLimitOverride, RateLimitUnit,
};

pub(super) fn rate_limit(value: &RateLimit) -> pb::RateLimit {
    use inner::XRateLimitOption as Headers;
    let headers = match value.headers {
        None => Headers::Unspecified,
        Some(false) => Headers::Off,
        Some(true) => Headers::DraftVersion03,
    };
    pb::RateLimit {
        stage: (value.stage > 0).then_some(value.stage),
        disable_key: value.disable_key.clone(),
        actions: value.actions.iter().map(rate_limit_action).collect(),
        limit: value.limit.as_ref().map(overridden),
        hits_addend: value.hits.as_ref().map(|hits| match hits {
            RateLimitHits::Number(number) => {
                inner::HitsAddend { number: Some(*number), ..Default::default() }
            }
            RateLimitHits::Format(format) => {
                inner::HitsAddend { format: format.clone(), ..Default::default() }
            }
        }),
        apply_on_stream_done: value.on_stream_done,
        x_ratelimit_option: headers.into(),
    }
}

fn overridden(value: &RateLimitOverride) -> inner::Override {
    use inner::r#override::{DynamicMetadata, OverrideSpecifier, RateLimitOverride as Fixed};
    let specifier = match value {
        RateLimitOverride::Metadata(place) => {
            OverrideSpecifier::DynamicMetadata(DynamicMetadata { metadata_key: Some(path(place)) })
        }
        RateLimitOverride::Fixed { requests, unit } => {
            let unit = match unit {
                RateLimitUnit::Second => Unit::Second,
                RateLimitUnit::Minute => Unit::Minute,
                RateLimitUnit::Hour => Unit::Hour,
                RateLimitUnit::Day => Unit::Day,
                RateLimitUnit::Month => Unit::Month,
                RateLimitUnit::Year => Unit::Year,
            };
            OverrideSpecifier::RateLimit(Fixed { requests_per_unit: *requests, unit: unit.into() })
        }
    };
    inner::Override { override_specifier: Some(specifier) }
}

pub(super) fn path(value: &MetadataPlace) -> MetadataKey {
    use metadata_key::{PathSegment, path_segment::Segment};
    let segment = |key: &String| PathSegment { segment: Some(Segment::Key(key.clone())) };
    MetadataKey { key: value.key.clone(), path: value.path.iter().map(segment).collect() }
}

fn rate_limit_action(value: &RateLimitAction) -> inner::Action {
    let kind = match value {
        RateLimitAction::SourceCluster => Kind::SourceCluster(action::SourceCluster {}),
        RateLimitAction::DestinationCluster => {
            Kind::DestinationCluster(action::DestinationCluster {})
        }
        RateLimitAction::RemoteAddress => Kind::RemoteAddress(action::RemoteAddress {}),
        RateLimitAction::MaskedRemoteAddress { v4_bits, v6_bits } => {
            Kind::MaskedRemoteAddress(action::MaskedRemoteAddress {
                v4_prefix_mask_len: Some(u32::from(*v4_bits)),
                v6_prefix_mask_len: Some(u32::from(*v6_bits)),
            })
        }
        RateLimitAction::RequestHeader { name, key, skip_if_absent } => {
            Kind::RequestHeaders(action::RequestHeaders {
                header_name: name.as_str().to_owned(),
                descriptor_key: key.clone(),
                skip_if_absent: *skip_if_absent,
            })
        }
        RateLimitAction::QueryParameter { name, key, skip_if_absent } => {
            Kind::QueryParameters(action::QueryParameters {
                query_parameter_name: name.clone(),
                descriptor_key: key.clone(),
                skip_if_absent: *skip_if_absent,
            })
        }
        RateLimitAction::Metadata { key, source, path: place, default_value, skip_if_absent } => {
            use action::meta_data::Source;
            let source = match source {
                RateLimitMetadataSource::Dynamic => Source::Dynamic,
                RateLimitMetadataSource::Route => Source::RouteEntry,
                RateLimitMetadataSource::Cluster => Source::ClusterEntry,
                RateLimitMetadataSource::Locality => Source::ClusterLocalityEntry,
            };
            Kind::Metadata(action::MetaData {
                descriptor_key: key.clone(),
                metadata_key: Some(path(place)),
                default_value: default_value.clone(),
                source: source.into(),
                skip_if_absent: *skip_if_absent,
            })
        }
        RateLimitAction::GenericKey(_)
        | RateLimitAction::HeaderValueMatch { .. }
        | RateLimitAction::QueryParameterValueMatch { .. }
        | RateLimitAction::RemoteAddressMatch { .. } => return conditional(value),
    };
    inner::Action { action_specifier: Some(kind) }
}

/// Actions that give an entry with key and value of their own.
fn conditional(value: &RateLimitAction) -> inner::Action {
    let kind = match value {
        RateLimitAction::GenericKey(entry) => Some(Kind::GenericKey(action::GenericKey {
            descriptor_value: entry.value.clone(),
            default_value: entry.default_value.clone(),
            descriptor_key: entry.key.clone(),
        })),
        RateLimitAction::HeaderValueMatch { entry, expect, headers } => {
            Some(Kind::HeaderValueMatch(action::HeaderValueMatch {
                descriptor_value: entry.value.clone(),
                default_value: entry.default_value.clone(),
                descriptor_key: entry.key.clone(),
                expect_match: (!*expect).then_some(false),
                headers: matcher::headers(headers),
            }))
        }
        RateLimitAction::QueryParameterValueMatch { entry, expect, query } => {
            Some(Kind::QueryParameterValueMatch(action::QueryParameterValueMatch {
                descriptor_value: entry.value.clone(),
                default_value: entry.default_value.clone(),
                descriptor_key: entry.key.clone(),
                expect_match: (!*expect).then_some(false),
                query_parameters: query.iter().map(matcher::query).collect(),
            }))
        }
        RateLimitAction::RemoteAddressMatch { entry, ranges, invert } => {
            Some(Kind::RemoteAddressMatch(action::RemoteAddressMatch {
                descriptor_value: entry.value.clone(),
                default_value: entry.default_value.clone(),
                descriptor_key: entry.key.clone(),
                address_matcher: Some(AddressMatcher {
                    ranges: matcher::networks(ranges),
                    invert_match: *invert,
                }),
            }))
        }
        RateLimitAction::SourceCluster
        | RateLimitAction::DestinationCluster
        | RateLimitAction::RemoteAddress
        | RateLimitAction::MaskedRemoteAddress { .. }
        | RateLimitAction::RequestHeader { .. }
        | RateLimitAction::QueryParameter { .. }
        | RateLimitAction::Metadata { .. } => None,
    };
    inner::Action { action_specifier: kind }
}
