//! Reads listeners towards the application, and what they share with those for egress.

use std::net::IpAddr;

use iako_types::AppProtocol;

use super::{CaptureMode, IngressListener, IngressTarget, SidecarBind, SidecarPort};
use crate::{
    Code,
    istio::{
        destination_rule::read_connection_pool,
        gateway::{self, ServerTlsMode, ServerTlsSettings},
        refer,
    },
    reader::{Cursor, Fields},
};

/// Reads `ingress`.
pub(super) fn read(cursor: &Cursor<'_>) -> Vec<IngressListener> {
    let message = "ingress listeners are read and checked, not yet applied: inbound listeners are \
                   made from the services of the workload";
    cursor.report(Code::FieldIgnored, message);
    let mut listeners: Vec<IngressListener> = Vec::new();
    for cursor in cursor.list() {
        let Some(listener) = read_listener(&cursor) else { continue };
        if listeners.iter().any(|other| other.port.number == listener.port.number) {
            let message = "another ingress listener has this port already";
            cursor.at("port.number").report(Code::Duplicate, message);
        }
        listeners.push(listener);
    }
    listeners
}

fn read_listener(cursor: &Cursor<'_>) -> Option<IngressListener> {
    let fields = cursor.fields();
    let port = fields.required("port").and_then(|cursor| read_port(&cursor, None));
    let bind = fields.get("bind").and_then(|cursor| read_bind(&cursor));
    let capture = read_capture(&fields);
    let target = fields.get("defaultEndpoint").and_then(|cursor| read_target(&cursor));
    let tls = fields.get("tls").map(|cursor| gateway::read_tls(&cursor));
    let connection_pool = fields.get("connectionPool").map(|cursor| read_connection_pool(&cursor));
    let bind = match bind {
        Some(SidecarBind::Socket(_)) => {
            fields.report("bind", Code::BadValue, "an ingress listener binds to an address");
            None
        }
        Some(SidecarBind::Ip(address)) => Some(address),
        None => None,
    };
    let port = port?;
    if let Some(tls) = &tls {
        report_tls(&fields, port.protocol, tls);
    }
    if fields.has("connectionPool") && !port.protocol.is_http() {
        let place = cursor.at("connectionPool");
        if place.node().get("http").is_some() {
            let message = "the port does not speak HTTP, so the settings of http change nothing";
            place.at("http").report(Code::NoEffect, message);
        }
    }
    Some(IngressListener { port, bind, capture, target, tls, connection_pool, line: cursor.line() })
}

fn report_tls(fields: &Fields<'_>, protocol: AppProtocol, tls: &ServerTlsSettings) {
    if !protocol.is_tls() {
        let message = "tls goes with a port of protocol HTTPS or TLS";
        fields.report("tls", Code::Conflict, message);
    }
    let place = fields.cursor().at("tls");
    if matches!(tls.mode, ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough) {
        let message = "the TLS of an ingress listener is its own: use SIMPLE or MUTUAL";
        place.at("mode").report(Code::Conflict, message);
    }
    if tls.https_redirect {
        let message = "httpsRedirect belongs to gateways";
        place.at("httpsRedirect").report(Code::Conflict, message);
    }
    for field in ["subjectAltNames", "credentialName", "credentialNames", "tlsCertificates"] {
        if place.node().get(field).is_some() {
            place.at(field).report(Code::Conflict, format!("{field} belongs to gateways"));
        }
    }
    gateway::report_certificates(&place, tls);
}

/// Reads a port of a listener; one on a Unix socket may have the number 0.
pub(super) fn read_port(cursor: &Cursor<'_>, bind: Option<&SidecarBind>) -> Option<SidecarPort> {
    let fields = cursor.fields();
    let on_socket = matches!(bind, Some(SidecarBind::Socket(_)));
    let number = match fields.get("number") {
        Some(cursor) if on_socket => {
            cursor.integer(0, i64::from(u16::MAX)).and_then(|number| u16::try_from(number).ok())
        }
        Some(cursor) => cursor.port(),
        None if on_socket => Some(0),
        None => {
            fields.report("number", Code::MissingField, "the field number is missing");
            None
        }
    };
    let name = fields.get("name").and_then(|cursor| {
        let text = cursor.text().filter(|text| !text.is_empty())?;
        crate::istio::service_entry::check_ports(&cursor, &text);
        Some(text)
    });
    let protocol = match fields.get("protocol") {
        Some(cursor) => crate::istio::service_entry::read_protocol(&cursor),
        None => Some(AppProtocol::Unknown),
    };
    if fields.get("targetPort").is_some() {
        fields.report("targetPort", Code::BadValue, "targetPort has no meaning in a Sidecar");
    }
    Some(SidecarPort { number: number?, protocol: protocol?, name })
}

/// Reads where a listener listens.
pub(super) fn read_bind(cursor: &Cursor<'_>) -> Option<SidecarBind> {
    let text = cursor.text().filter(|text| !text.is_empty())?;
    if let Some(path) = text.strip_prefix("unix://") {
        refer::check_socket(cursor, path);
        return Some(SidecarBind::Socket(path.to_owned()));
    }
    let address: Option<IpAddr> = text.parse().ok();
    if address.is_none() {
        cursor.report(Code::BadValue, format!("{text:?} is no address and no unix:// path"));
    }
    address.map(SidecarBind::Ip)
}

/// Reads `captureMode`.
pub(super) fn read_capture(fields: &Fields<'_>) -> CaptureMode {
    let mode = fields.get("captureMode").and_then(|cursor| {
        cursor.word(&[
            ("DEFAULT", CaptureMode::Default),
            ("IPTABLES", CaptureMode::Iptables),
            ("NONE", CaptureMode::None),
        ])
    });
    mode.unwrap_or_default()
}

/// Reads `defaultEndpoint`: `127.0.0.1:80`, `0.0.0.0:80`, `[::1]:80`, `[::]:80`, `:80` or a socket.
fn read_target(cursor: &Cursor<'_>) -> Option<IngressTarget> {
    let text = cursor.text().filter(|text| !text.is_empty())?;
    if let Some(path) = text.strip_prefix("unix://") {
        refer::check_socket(cursor, path);
        return Some(IngressTarget::Socket(path.to_owned()));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((&text, ""));
    let port = port.parse::<u16>().ok().filter(|port| *port != 0);
    let target = match (host, port) {
        ("" | "127.0.0.1" | "[::1]", Some(port)) => Some(IngressTarget::Loopback(port)),
        ("0.0.0.0" | "[::]", Some(port)) => Some(IngressTarget::Instance(port)),
        _ => None,
    };
    if target.is_none() {
        let message = format!(
            "{text:?} is no endpoint; write 127.0.0.1:port, 0.0.0.0:port, [::1]:port, [::]:port, \
             :port or unix:///path"
        );
        cursor.report(Code::BadValue, message);
    }
    target
}
