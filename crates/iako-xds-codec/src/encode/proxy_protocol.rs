//! The PROXY protocol towards servers.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::transport_sockets::proxy_protocol::v3 as pb;

use super::transport;
use iako_proxy_config::{PassedTlvs, ProxyProtocolHeader, ProxyProtocolVersion, UpstreamTransport};

/// A transport with the header ahead of it; none for plain bytes alone.
pub(super) fn upstream(
    transport: &UpstreamTransport,
    value: Option<&ProxyProtocolHeader>,
) -> Option<core::TransportSocket> {
    let Some(value) = value else { return transport::upstream(transport) };
    Some(around(transport, value))
}

/// A transport with the header ahead of it, plain bytes named as such.
pub(super) fn upstream_or_raw(
    transport: &UpstreamTransport,
    value: Option<&ProxyProtocolHeader>,
) -> core::TransportSocket {
    match value {
        Some(value) => around(transport, value),
        None => transport::upstream_or_raw(transport),
    }
}

fn around(transport: &UpstreamTransport, value: &ProxyProtocolHeader) -> core::TransportSocket {
    let config = pb::ProxyProtocolUpstreamTransport {
        config: Some(header(value)),
        transport_socket: Some(transport::upstream_or_raw(transport)),
        ..Default::default()
    };
    transport::socket("envoy.transport_sockets.upstream_proxy_protocol", &config)
}

/// What a header says.
pub(super) fn header(value: &ProxyProtocolHeader) -> core::ProxyProtocolConfig {
    use core::proxy_protocol_config::Version;
    use core::proxy_protocol_pass_through_tl_vs::PassTlVsMatchType;
    let version = match value.version {
        ProxyProtocolVersion::V1 => Version::V1,
        ProxyProtocolVersion::V2 => Version::V2,
    };
    let passed = |match_type: PassTlVsMatchType, kinds: &[u8]| core::ProxyProtocolPassThroughTlVs {
        match_type: match_type.into(),
        tlv_type: kinds.iter().copied().map(u32::from).collect(),
    };
    let added = value.added.iter().map(|tlv| core::TlvEntry {
        r#type: u32::from(tlv.kind),
        value: tlv.value.clone(),
        ..Default::default()
    });
    core::ProxyProtocolConfig {
        version: version.into(),
        pass_through_tlvs: match &value.passed {
            PassedTlvs::All => Some(passed(PassTlVsMatchType::IncludeAll, &[])),
            PassedTlvs::Listed(kinds) if kinds.is_empty() => None,
            PassedTlvs::Listed(kinds) => Some(passed(PassTlVsMatchType::Include, kinds)),
        },
        added_tlvs: added.collect(),
    }
}
