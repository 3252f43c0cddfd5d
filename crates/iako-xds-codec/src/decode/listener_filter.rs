//! Listener filters.

use std::num::NonZeroU32;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::listener::v3 as pb;
use iako_xds_api::envoy::extensions::filters::listener as inspectors;
use prost::Name as _;

use super::{discovered, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ConnectionPredicate, ListenerFilter, ListenerFilterKind, OriginalSrc, PassThroughTlvs,
    ProxyProtocol, TlsInspector, TlvEncoding, TlvRule,
};

/// Envoy's name of the metadata in which a rule without a namespace keeps its value.
const TLV_NAMESPACE: &str = "envoy.filters.listener.proxy_protocol";

pub(super) fn filters(
    filters: &[pb::ListenerFilter],
    at: &At<'_>,
) -> Result<Vec<ListenerFilter>, Fault> {
    wire::list(filters, at, filter)
}

fn filter(filter: &pb::ListenerFilter, at: &At<'_>) -> Result<ListenerFilter, Fault> {
    use pb::listener_filter::ConfigType;
    let at_config = at.field("typed_config");
    let kind = match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) => kind(&filter.name, any, &at_config)?,
        Some(ConfigType::ConfigDiscovery(source)) => {
            let at = at.field("config_discovery");
            let found = discovered::discovered(&filter.name, source, settings, &at)?;
            ListenerFilterKind::Discovered(Box::new(found))
        }
        None => return Err(at_config.missing("write the filter's settings with `@type`")),
    };
    let at_disabled = at.field("filter_disabled");
    let disabled = filter.filter_disabled.as_ref();
    Ok(ListenerFilter {
        kind,
        disabled: disabled.map(|when| predicate(when, &at_disabled)).transpose()?,
    })
}

/// Settings that are sent on their own.
pub(super) fn settings(any: &prost_types::Any, at: &At<'_>) -> Result<ListenerFilterKind, Fault> {
    kind("", any, at)
}

fn kind(name: &str, any: &prost_types::Any, at: &At<'_>) -> Result<ListenerFilterKind, Fault> {
    use inspectors::{
        http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst,
        original_src::v3::OriginalSrc as SourcePb, proxy_protocol::v3::ProxyProtocol as ProxyPb,
        tls_inspector::v3::TlsInspector as TlsPb,
    };
    let kind = pool::full_name(&any.type_url);
    if kind == OriginalDst::full_name() {
        return Ok(ListenerFilterKind::OriginalDst);
    }
    if kind == HttpInspector::full_name() {
        return Ok(ListenerFilterKind::Http);
    }
    if kind == TlsPb::full_name() {
        return tls_inspector(&wire::unpack(any, at)?, at).map(ListenerFilterKind::Tls);
    }
    if kind == ProxyPb::full_name() {
        let filter = proxy_protocol(&wire::unpack(any, at)?, at)?;
        return Ok(ListenerFilterKind::ProxyProtocol(Box::new(filter)));
    }
    if kind == SourcePb::full_name() {
        let SourcePb { bind_port, mark } = wire::unpack(any, at)?;
        let mark = NonZeroU32::new(mark);
        return Ok(ListenerFilterKind::OriginalSrc(OriginalSrc { bind_port, mark }));
    }
    let problem = format!("the listener filter `{name}` ({kind}) is not supported");
    let help = "use original_dst, original_src, tls_inspector, http_inspector or proxy_protocol";
    Err(at.invalid(problem, help))
}

fn tls_inspector(
    message: &inspectors::tls_inspector::v3::TlsInspector,
    at: &At<'_>,
) -> Result<TlsInspector, Fault> {
    let hello_bytes_max = match message.max_client_hello_size {
        None => TlsInspector::HELLO_BYTES_MAX,
        Some(bytes @ 1..=TlsInspector::HELLO_BYTES_MAX) => bytes,
        Some(bytes) => {
            let at = at.field("max_client_hello_size");
            return Err(at.invalid(
                format!("{bytes} is not a size of a first message"),
                format!("write a number from 1 to {}", TlsInspector::HELLO_BYTES_MAX),
            ));
        }
    };
    let closes_on_error = message.close_connection_on_client_hello_parsing_errors;
    Ok(TlsInspector { hello_bytes_max, closes_on_error })
}

fn proxy_protocol(
    message: &inspectors::proxy_protocol::v3::ProxyProtocol,
    at: &At<'_>,
) -> Result<ProxyProtocol, Fault> {
    use core::proxy_protocol_config::Version;
    use inspectors::proxy_protocol::v3::proxy_protocol::TlvLocation;
    let at_versions = at.field("disallowed_versions");
    let disallowed = wire::list(&message.disallowed_versions, &at_versions, |version, at| {
        wire::known::<Version>(*version, at)
    })?;
    let at_location = at.field("tlv_location");
    Ok(ProxyProtocol {
        optional: message.allow_requests_without_proxy_protocol,
        version_1: !disallowed.contains(&Version::V1),
        version_2: !disallowed.contains(&Version::V2),
        rules: wire::list(&message.rules, &at.field("rules"), tlv_rule)?,
        pass_through: pass_through(
            message.pass_through_tlvs.as_ref(),
            &at.field("pass_through_tlvs"),
        )?,
        in_filter_state: wire::known::<TlvLocation>(message.tlv_location, &at_location)?
            == TlvLocation::FilterState,
        stat_prefix: message.stat_prefix.clone(),
    })
}

fn tlv_rule(
    rule: &inspectors::proxy_protocol::v3::proxy_protocol::Rule,
    at: &At<'_>,
) -> Result<TlvRule, Fault> {
    use inspectors::proxy_protocol::v3::proxy_protocol::key_value_pair::ValueStringEncoding;
    let at_pair = at.field("on_tlv_present");
    let pair = rule.on_tlv_present.as_ref();
    let pair = pair.ok_or_else(|| at_pair.missing("write the `key` under which it is kept"))?;
    if pair.key.is_empty() {
        return Err(at_pair.field("key").missing("write the key under which it is kept"));
    }
    let at_encoding = at_pair.field("value_string_encoding");
    let namespace = match pair.metadata_namespace.as_str() {
        "" => TLV_NAMESPACE,
        name => name,
    };
    Ok(TlvRule {
        kind: tlv_type(rule.tlv_type, &at.field("tlv_type"))?,
        namespace: namespace.to_owned(),
        key: pair.key.clone(),
        encoding: match wire::known(pair.value_string_encoding, &at_encoding)? {
            ValueStringEncoding::Unspecified | ValueStringEncoding::SanitizedUtf8 => {
                TlvEncoding::Utf8
            }
            ValueStringEncoding::Base64 => TlvEncoding::Base64,
        },
    })
}

fn tlv_type(kind: u32, at: &At<'_>) -> Result<u8, Fault> {
    u8::try_from(kind).map_err(|_too_large| {
        at.invalid(format!("{kind} is not a type of a TLV"), "write a number from 0 to 255")
    })
}

pub(super) fn pass_through(
    message: Option<&core::ProxyProtocolPassThroughTlVs>,
    at: &At<'_>,
) -> Result<PassThroughTlvs, Fault> {
    use core::proxy_protocol_pass_through_tl_vs::PassTlVsMatchType;
    let Some(message) = message else { return Ok(PassThroughTlvs::None) };
    Ok(match wire::known(message.match_type, &at.field("match_type"))? {
        PassTlVsMatchType::IncludeAll => PassThroughTlvs::All,
        PassTlVsMatchType::Include => PassThroughTlvs::Only(wire::list(
            &message.tlv_type,
            &at.field("tlv_type"),
            |kind, at| tlv_type(*kind, at),
        )?),
    })
}

fn predicate(
    message: &pb::ListenerFilterChainMatchPredicate,
    at: &At<'_>,
) -> Result<ConnectionPredicate, Fault> {
    use pb::listener_filter_chain_match_predicate::Rule;
    let all = |set: &pb::listener_filter_chain_match_predicate::MatchSet, field: &'static str| {
        let at = at.field(field);
        let at_rules = at.field("rules");
        if set.rules.len() < 2 {
            return Err(at_rules.invalid("has fewer than two rules", "write at least two"));
        }
        wire::list(&set.rules, &at_rules, predicate)
    };
    Ok(match &message.rule {
        Some(Rule::OrMatch(set)) => ConnectionPredicate::Or(all(set, "or_match")?),
        Some(Rule::AndMatch(set)) => ConnectionPredicate::And(all(set, "and_match")?),
        Some(Rule::NotMatch(rule)) => {
            ConnectionPredicate::Not(Box::new(predicate(rule, &at.field("not_match"))?))
        }
        Some(Rule::AnyMatch(true)) => ConnectionPredicate::Any,
        Some(Rule::AnyMatch(false)) => {
            return Err(at.field("any_match").invalid("cannot be false", "leave it out"));
        }
        Some(Rule::DestinationPortRange(range)) => {
            let at = at.field("destination_port_range");
            let (start, end) = (u16::try_from(range.start), u32::try_from(range.end));
            match (start, end) {
                (Ok(start), Ok(end)) if u32::from(start) < end && end <= 65_536 => {
                    ConnectionPredicate::DestinationPorts { start, end }
                }
                _ => {
                    let problem = format!("{} to {} is no range of ports", range.start, range.end);
                    return Err(at.invalid(
                        problem,
                        "write a `start` from 0 to 65535 and an `end` that is larger and not part of it",
                    ));
                }
            }
        }
        None => return Err(at.missing("write a rule, such as `destination_port_range`")),
    })
}
