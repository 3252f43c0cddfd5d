//! Reads what stands before the first bytes towards a service: a tunnel, or the PROXY protocol.

use super::{ProxyProtocolVersion, Tunnel, TunnelMethod};
use crate::{Code, reader::Cursor};

/// Reads `tunnel`.
pub(super) fn read_tunnel(cursor: &Cursor<'_>) -> Option<Tunnel> {
    let fields = cursor.fields();
    let message = "tunnels are read and checked, not yet applied: connections go straight to the \
                   service";
    cursor.report(Code::FieldIgnored, message);
    let method = fields.get("protocol").filter(|cursor| cursor.node().as_text() != Some(""));
    let method = method.map(|cursor| {
        cursor.word(&[("CONNECT", TunnelMethod::Connect), ("POST", TunnelMethod::Post)])
    });
    let target_host = fields.required("targetHost").and_then(|cursor| cursor.parsed(Code::BadHost));
    let target_port = fields.required("targetPort").and_then(|cursor| cursor.port());
    Some(Tunnel {
        method: method.unwrap_or(Some(TunnelMethod::Connect))?,
        target_host: target_host?,
        target_port: target_port?,
    })
}

/// Reads `proxyProtocol`.
pub(super) fn read_proxy_protocol(cursor: &Cursor<'_>) -> Option<ProxyProtocolVersion> {
    let fields = cursor.fields();
    let message = "the PROXY protocol towards services is read, not yet applied";
    cursor.report(Code::FieldIgnored, message);
    let Some(version) = fields.get("version") else { return Some(ProxyProtocolVersion::V1) };
    version.word(&[("V1", ProxyProtocolVersion::V1), ("V2", ProxyProtocolVersion::V2)])
}
