//! The PROXY protocol towards servers.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::transport_sockets::{
    internal_upstream::v3::InternalUpstreamTransport,
    proxy_protocol::v3::ProxyProtocolUpstreamTransport,
};
use prost::Name as _;

use super::{transport, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    PassedTlvs, ProxyProtocolHeader, ProxyProtocolTlv, ProxyProtocolVersion, UpstreamTransport,
};

/// Wrappers that may be around each other. Nobody means more.
const WRAPPERS_MAX: usize = 4;

/// How bytes are sent, and the header ahead of them: looks into the transports that wrap others.
pub(super) fn upstream(
    socket: Option<&core::TransportSocket>,
    at: &At<'_>,
) -> Result<(UpstreamTransport, Option<Box<ProxyProtocolHeader>>), Fault> {
    inside(socket, at, WRAPPERS_MAX)
}

fn inside(
    socket: Option<&core::TransportSocket>,
    at: &At<'_>,
    left: usize,
) -> Result<(UpstreamTransport, Option<Box<ProxyProtocolHeader>>), Fault> {
    let plain = || Ok((transport::upstream(socket, at)?, None));
    let Some(core::transport_socket::ConfigType::TypedConfig(any)) =
        socket.and_then(|socket| socket.config_type.as_ref())
    else {
        return plain();
    };
    let name = pool::full_name(&any.type_url);
    let at_config = at.field("typed_config");
    let at_inner = at_config.field("transport_socket");
    let Some(left) = left.checked_sub(1) else {
        return Err(at_inner.invalid("is wrapped too often", "wrap once"));
    };
    if name == InternalUpstreamTransport::full_name() {
        let config: InternalUpstreamTransport = wire::unpack(any, &at_config)?;
        return inside(config.transport_socket.as_ref(), &at_inner, left);
    }
    if name != ProxyProtocolUpstreamTransport::full_name() {
        return plain();
    }
    let config: ProxyProtocolUpstreamTransport = wire::unpack(any, &at_config)?;
    let (transport, twice) = inside(config.transport_socket.as_ref(), &at_inner, left)?;
    if twice.is_some() {
        return Err(at_inner.invalid("writes a second header", "write one header"));
    }
    let inner = config.config.unwrap_or_default();
    let header = header(&inner, &at_config.field("config"))?;
    Ok((transport, Some(Box::new(header))))
}

/// What a header says.
pub(super) fn header(
    config: &core::ProxyProtocolConfig,
    at: &At<'_>,
) -> Result<ProxyProtocolHeader, Fault> {
    use core::proxy_protocol_config::Version;
    use core::proxy_protocol_pass_through_tl_vs::PassTlVsMatchType;
    let version = match wire::known::<Version>(config.version, &at.field("version"))? {
        Version::V1 => ProxyProtocolVersion::V1,
        Version::V2 => ProxyProtocolVersion::V2,
    };
    let at_passed = at.field("pass_through_tlvs");
    let passed = match &config.pass_through_tlvs {
        None => PassedTlvs::default(),
        Some(passed) => {
            let at_match = at_passed.field("match_type");
            match wire::known::<PassTlVsMatchType>(passed.match_type, &at_match)? {
                PassTlVsMatchType::IncludeAll => PassedTlvs::All,
                PassTlVsMatchType::Include => PassedTlvs::Listed(wire::list(
                    &passed.tlv_type,
                    &at_passed.field("tlv_type"),
                    |kind, at| tlv_kind(*kind, at),
                )?),
            }
        }
    };
    let added = wire::list(&config.added_tlvs, &at.field("added_tlvs"), |entry, at| {
        if entry.value.len() > usize::from(u16::MAX) {
            return Err(at.field("value").invalid("is longer than 65535 bytes", "write less"));
        }
        Ok(ProxyProtocolTlv {
            kind: tlv_kind(entry.r#type, &at.field("type"))?,
            value: entry.value.clone(),
        })
    })?;
    Ok(ProxyProtocolHeader { version, passed, added })
}

fn tlv_kind(kind: u32, at: &At<'_>) -> Result<u8, Fault> {
    u8::try_from(kind).map_err(|_above_255| at.invalid("is no type", "write a number up to 255"))
}
