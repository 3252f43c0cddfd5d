//! Listener filters.

use std::num::NonZeroU32;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::listener::v3 as pb;
use iako_xds_api::envoy::extensions::filters::listener as inspectors;
use iako_xds_api::envoy::r#type::v3::Int32Range;
use inspectors::proxy_protocol::v3::{ProxyProtocol as ProxyPb, proxy_protocol as proxy_pb};
use prost_types::Any;

use super::{discovered, wire};
use iako_proxy_config::{
    ConnectionPredicate, ListenerFilter, ListenerFilterKind, PassThroughTlvs, ProxyProtocol,
    TlsInspector, TlvEncoding, TlvRule,
};

pub(super) fn filters(values: &[ListenerFilter]) -> Vec<pb::ListenerFilter> {
    values.iter().map(filter).collect()
}

fn filter(value: &ListenerFilter) -> pb::ListenerFilter {
    use pb::listener_filter::ConfigType;
    let (name, config) = if let ListenerFilterKind::Discovered(found) = &value.kind {
        let source = discovered::discovered(found, |own| settings(own).1);
        (found.name.name().to_owned(), ConfigType::ConfigDiscovery(source))
    } else {
        let (name, any) = settings(&value.kind);
        (format!("envoy.filters.listener.{name}"), ConfigType::TypedConfig(any))
    };
    pb::ListenerFilter {
        name,
        filter_disabled: value.disabled.as_ref().map(predicate),
        config_type: Some(config),
    }
}

/// What a filter is called, and what it says of itself.
fn settings(value: &ListenerFilterKind) -> (&'static str, Any) {
    use inspectors::{
        http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst,
        original_src::v3::OriginalSrc,
    };
    match value {
        ListenerFilterKind::OriginalDst => ("original_dst", wire::any(&OriginalDst::default())),
        ListenerFilterKind::Tls(settings) => ("tls_inspector", wire::any(&tls(settings))),
        ListenerFilterKind::Http => ("http_inspector", wire::any(&HttpInspector::default())),
        ListenerFilterKind::ProxyProtocol(settings) => {
            ("proxy_protocol", wire::any(&proxy_protocol(settings)))
        }
        ListenerFilterKind::OriginalSrc(settings) => {
            let mark = settings.mark.map_or(0, NonZeroU32::get);
            ("original_src", wire::any(&OriginalSrc { bind_port: settings.bind_port, mark }))
        }
        // It stands beside the settings, not among them; a default is never one itself.
        ListenerFilterKind::Discovered(_) => ("", Any::default()),
    }
}

fn tls(value: &TlsInspector) -> inspectors::tls_inspector::v3::TlsInspector {
    let bytes = value.hello_bytes_max;
    inspectors::tls_inspector::v3::TlsInspector {
        max_client_hello_size: (bytes != TlsInspector::HELLO_BYTES_MAX).then_some(bytes),
        close_connection_on_client_hello_parsing_errors: value.closes_on_error,
        ..Default::default()
    }
}

fn proxy_protocol(value: &ProxyProtocol) -> ProxyPb {
    use core::proxy_protocol_config::Version;
    let versions = [(value.version_1, Version::V1), (value.version_2, Version::V2)];
    let disallowed = versions.into_iter().filter(|(allowed, _)| !allowed);
    let location = if value.in_filter_state {
        proxy_pb::TlvLocation::FilterState
    } else {
        proxy_pb::TlvLocation::DynamicMetadata
    };
    ProxyPb {
        rules: value.rules.iter().map(rule).collect(),
        allow_requests_without_proxy_protocol: value.optional,
        pass_through_tlvs: pass_through(&value.pass_through),
        disallowed_versions: disallowed.map(|(_, version)| version.into()).collect(),
        stat_prefix: value.stat_prefix.clone(),
        tlv_location: location.into(),
    }
}

fn rule(value: &TlvRule) -> proxy_pb::Rule {
    use proxy_pb::key_value_pair::ValueStringEncoding;
    proxy_pb::Rule {
        tlv_type: value.kind.into(),
        on_tlv_present: Some(proxy_pb::KeyValuePair {
            metadata_namespace: value.namespace.clone(),
            key: value.key.clone(),
            value_string_encoding: match value.encoding {
                TlvEncoding::Utf8 => ValueStringEncoding::Unspecified,
                TlvEncoding::Base64 => ValueStringEncoding::Base64,
            }
            .into(),
        }),
    }
}

pub(super) fn pass_through(value: &PassThroughTlvs) -> Option<core::ProxyProtocolPassThroughTlVs> {
    use core::proxy_protocol_pass_through_tl_vs::PassTlVsMatchType;
    let (kind, types) = match value {
        PassThroughTlvs::None => return None,
        PassThroughTlvs::All => (PassTlVsMatchType::IncludeAll, Vec::new()),
        PassThroughTlvs::Only(types) => {
            (PassTlVsMatchType::Include, types.iter().copied().map(u32::from).collect())
        }
    };
    Some(core::ProxyProtocolPassThroughTlVs { match_type: kind.into(), tlv_type: types })
}

fn predicate(value: &ConnectionPredicate) -> pb::ListenerFilterChainMatchPredicate {
    use pb::listener_filter_chain_match_predicate::{MatchSet, Rule};
    let set =
        |rules: &[ConnectionPredicate]| MatchSet { rules: rules.iter().map(predicate).collect() };
    let rule = match value {
        ConnectionPredicate::Any => Rule::AnyMatch(true),
        ConnectionPredicate::Or(rules) => Rule::OrMatch(set(rules)),
        ConnectionPredicate::And(rules) => Rule::AndMatch(set(rules)),
        ConnectionPredicate::Not(rule) => Rule::NotMatch(Box::new(predicate(rule))),
        ConnectionPredicate::DestinationPorts { start, end } => {
            Rule::DestinationPortRange(Int32Range {
                start: i32::from(*start),
                end: i32::try_from(*end).unwrap_or(i32::MAX),
            })
        }
    };
    pb::ListenerFilterChainMatchPredicate { rule: Some(rule) }
}
