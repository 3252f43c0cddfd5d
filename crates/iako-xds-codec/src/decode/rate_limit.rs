//! What a request counts as, for limits of rates.

use iako_xds_api::envoy::config::route::v3 as pb;
use iako_xds_api::envoy::r#type::metadata::v3::{MetadataKey, metadata_key};
use iako_xds_api::envoy::r#type::v3::RateLimitUnit as Unit;
use pb::rate_limit as inner;

use super::{matcher, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    MetadataPlace, RateLimit, RateLimitAction, RateLimitEntry, RateLimitHits,
    RateLimitMetadataSource, RateLimitOverride, RateLimitUnit,
};

pub(super) fn rate_limits(limits: &[pb::RateLimit], at: &At<'_>) -> Result<Vec<RateLimit>, Fault> {
    wire::list(limits, at, rate_limit)
}

fn rate_limit(config: &pb::RateLimit, at: &At<'_>) -> Result<RateLimit, Fault> {
    use inner::XRateLimitOption as Headers;
    let stage = config.stage.unwrap_or(0);
    if stage > 10 {
        return Err(at.field("stage").invalid(format!("{stage} is no stage"), "write 0 to 10"));
    }
    let actions = wire::list(&config.actions, &at.field("actions"), action)?;
    if actions.is_empty() {
        return Err(at.field("actions").missing("write what the descriptor is made of"));
    }
    let (at_limit, at_headers) = (at.field("limit"), at.field("x_ratelimit_option"));
    let limit = config.limit.as_ref().map(|limit| overridden(limit, &at_limit)).transpose()?;
    let hits = config.hits_addend.as_ref();
    Ok(RateLimit {
        stage,
        disable_key: config.disable_key.clone(),
        actions,
        limit: limit.flatten(),
        hits: hits.map(|hits| addend(hits, &at.field("hits_addend"))).transpose()?,
        on_stream_done: config.apply_on_stream_done,
        headers: match wire::known::<Headers>(config.x_ratelimit_option, &at_headers)? {
            Headers::Unspecified => None,
            Headers::Off => Some(false),
            Headers::DraftVersion03 => Some(true),
        },
    })
}

fn addend(config: &inner::HitsAddend, at: &At<'_>) -> Result<RateLimitHits, Fault> {
    if config.is_negative_hits {
        return Err(at.field("is_negative_hits").invalid("is not supported", "leave it out"));
    }
    match (config.number, config.format.as_str()) {
        (Some(number), "") => Ok(RateLimitHits::Number(number)),
        (None, format) if !format.is_empty() => Ok(RateLimitHits::Format(format.to_owned())),
        _ => Err(at.invalid("is not one of `number` and `format`", "write one of the two")),
    }
}

fn overridden(config: &inner::Override, at: &At<'_>) -> Result<Option<RateLimitOverride>, Fault> {
    use inner::r#override::OverrideSpecifier as Kind;
    Ok(match &config.override_specifier {
        None => None,
        Some(Kind::DynamicMetadata(place)) => {
            let at = at.field("dynamic_metadata");
            let path = path(place.metadata_key.as_ref(), &at.field("metadata_key"))?;
            Some(RateLimitOverride::Metadata(path))
        }
        Some(Kind::RateLimit(fixed)) => {
            let at = at.field("rate_limit");
            let unit = match wire::known::<Unit>(fixed.unit, &at.field("unit"))? {
                Unit::Second => RateLimitUnit::Second,
                Unit::Minute => RateLimitUnit::Minute,
                Unit::Hour => RateLimitUnit::Hour,
                Unit::Day => RateLimitUnit::Day,
                Unit::Month => RateLimitUnit::Month,
                Unit::Year => RateLimitUnit::Year,
                Unit::Unknown => return Err(at.field("unit").missing("write a unit of time")),
            };
            Some(RateLimitOverride::Fixed { requests: fixed.requests_per_unit, unit })
        }
    })
}

pub(super) fn path(config: Option<&MetadataKey>, at: &At<'_>) -> Result<MetadataPlace, Fault> {
    use metadata_key::path_segment::Segment;
    let config = config.ok_or_else(|| at.missing("write where the value stands"))?;
    let path = wire::list(&config.path, &at.field("path"), |segment, at| match &segment.segment {
        Some(Segment::Key(key)) => Ok(key.clone()),
        Some(Segment::Index(_)) => {
            Err(at.field("index").invalid("is not supported", "name keys of objects"))
        }
        None => Err(at.missing("write a `key`")),
    })?;
    Ok(MetadataPlace { key: config.key.clone(), path })
}

/// Key and value of an entry; `key` when none is written.
fn entry(key: &str, own_key: &str, value: &str, default_value: &str) -> RateLimitEntry {
    RateLimitEntry {
        key: if own_key.is_empty() { key.to_owned() } else { own_key.to_owned() },
        value: value.to_owned(),
        default_value: default_value.to_owned(),
    }
}

fn action(config: &inner::Action, at: &At<'_>) -> Result<RateLimitAction, Fault> {
    use inner::action::ActionSpecifier as Kind;
    Ok(match &config.action_specifier {
        Some(Kind::SourceCluster(_)) => RateLimitAction::SourceCluster,
        Some(Kind::DestinationCluster(_)) => RateLimitAction::DestinationCluster,
        Some(Kind::RemoteAddress(_)) => RateLimitAction::RemoteAddress,
        Some(Kind::MaskedRemoteAddress(config)) => {
            masked(*config, &at.field("masked_remote_address"))?
        }
        Some(Kind::RequestHeaders(config)) => {
            let at = at.field("request_headers");
            RateLimitAction::RequestHeader {
                name: wire::header_name(&config.header_name, &at.field("header_name"))?,
                key: config.descriptor_key.clone(),
                skip_if_absent: config.skip_if_absent,
            }
        }
        Some(Kind::QueryParameters(config)) => RateLimitAction::QueryParameter {
            name: config.query_parameter_name.clone(),
            key: config.descriptor_key.clone(),
            skip_if_absent: config.skip_if_absent,
        },
        Some(Kind::GenericKey(config)) => RateLimitAction::GenericKey(entry(
            "generic_key",
            &config.descriptor_key,
            &config.descriptor_value,
            &config.default_value,
        )),
        Some(
            Kind::HeaderValueMatch(_)
            | Kind::QueryParameterValueMatch(_)
            | Kind::RemoteAddressMatch(_),
        ) => conditional(config, at)?,
        Some(Kind::DynamicMetadata(config)) => {
            let at = at.field("dynamic_metadata");
            RateLimitAction::Metadata {
                key: config.descriptor_key.clone(),
                source: RateLimitMetadataSource::Dynamic,
                path: path(config.metadata_key.as_ref(), &at.field("metadata_key"))?,
                default_value: config.default_value.clone(),
                skip_if_absent: false,
            }
        }
        Some(Kind::Metadata(config)) => metadata(config, &at.field("metadata"))?,
        Some(Kind::Extension(_)) => {
            let help = "use one of the actions of the schema itself";
            return Err(at.field("extension").invalid("is not supported", help));
        }
        None => return Err(at.missing("write one action, such as `remote_address`")),
    })
}

fn masked(
    config: inner::action::MaskedRemoteAddress,
    at: &At<'_>,
) -> Result<RateLimitAction, Fault> {
    let bits = |bits: Option<u32>, most: u8, field: &'static str| {
        let bits = bits.unwrap_or_else(|| u32::from(most));
        u8::try_from(bits).ok().filter(|bits| *bits <= most).ok_or_else(|| {
            let problem = format!("{bits} is more than an address has");
            at.field(field).invalid(problem, format!("write 0 to {most}"))
        })
    };
    Ok(RateLimitAction::MaskedRemoteAddress {
        v4_bits: bits(config.v4_prefix_mask_len, 32, "v4_prefix_mask_len")?,
        v6_bits: bits(config.v6_prefix_mask_len, 128, "v6_prefix_mask_len")?,
    })
}

/// Actions that give an entry where something is met.
fn conditional(config: &inner::Action, at: &At<'_>) -> Result<RateLimitAction, Fault> {
    use inner::action::ActionSpecifier as Kind;
    match &config.action_specifier {
        Some(Kind::HeaderValueMatch(config)) => {
            let at = at.field("header_value_match");
            let (own, value) = (&config.descriptor_key, &config.descriptor_value);
            Ok(RateLimitAction::HeaderValueMatch {
                entry: entry("header_match", own, value, &config.default_value),
                expect: config.expect_match.unwrap_or(true),
                headers: matcher::headers(&config.headers, &at.field("headers"))?,
            })
        }
        Some(Kind::QueryParameterValueMatch(config)) => {
            let at = at.field("query_parameter_value_match");
            let at = at.field("query_parameters");
            let (own, value) = (&config.descriptor_key, &config.descriptor_value);
            Ok(RateLimitAction::QueryParameterValueMatch {
                entry: entry("query_match", own, value, &config.default_value),
                expect: config.expect_match.unwrap_or(true),
                query: wire::list(&config.query_parameters, &at, matcher::query)?,
            })
        }
        Some(Kind::RemoteAddressMatch(config)) => {
            let at = at.field("remote_address_match");
            let at = at.field("address_matcher");
            let networks = config.address_matcher.as_ref();
            let networks = networks.ok_or_else(|| at.missing("write `ranges`"))?;
            let (own, value) = (&config.descriptor_key, &config.descriptor_value);
            Ok(RateLimitAction::RemoteAddressMatch {
                entry: entry("remote_address_match", own, value, &config.default_value),
                ranges: matcher::networks(&networks.ranges, &at.field("ranges"))?,
                invert: networks.invert_match,
            })
        }
        _ => Err(at.missing("write one action, such as `remote_address`")),
    }
}

fn metadata(config: &inner::action::MetaData, at: &At<'_>) -> Result<RateLimitAction, Fault> {
    use inner::action::meta_data::Source;
    let source = match wire::known::<Source>(config.source, &at.field("source"))? {
        Source::Dynamic => RateLimitMetadataSource::Dynamic,
        Source::RouteEntry => RateLimitMetadataSource::Route,
        Source::ClusterEntry => RateLimitMetadataSource::Cluster,
        Source::ClusterLocalityEntry => RateLimitMetadataSource::Locality,
    };
    Ok(RateLimitAction::Metadata {
        key: config.descriptor_key.clone(),
        source,
        path: path(config.metadata_key.as_ref(), &at.field("metadata_key"))?,
        default_value: config.default_value.clone(),
        skip_if_absent: config.skip_if_absent,
    })
}
