//! Settings of the mesh that are checked and not applied.

use super::super::{destination_rule, virtual_service};
use crate::{
    Code, Severity,
    reader::{Cursor, Fields, closest},
};

/// Providers that call a service. Source: `MeshConfig.ExtensionProvider`.
const CALLING: [&str; 11] = [
    "datadog",
    "envoyExtAuthzGrpc",
    "envoyExtAuthzHttp",
    "envoyHttpAls",
    "envoyOtelAls",
    "envoyTcpAls",
    "lightstep",
    "opencensus",
    "opentelemetry",
    "skywalking",
    "zipkin",
];
/// Providers that do not.
const OTHERS: [&str; 4] = ["envoyFileAccessLog", "prometheus", "sds", "stackdriver"];

/// Curves for key exchange. Source: BoringSSL.
const CURVES: [&str; 7] =
    ["P-224", "P-256", "P-384", "P-521", "X25519", "X25519Kyber768Draft00", "X25519MLKEM768"];

/// Reports what the settings cannot be, in fields that are not applied.
pub(super) fn report(fields: &Fields<'_>) {
    for name in ["proxyListenPort", "proxyInboundListenPort", "proxyHttpPort"] {
        let Some(cursor) = fields.get(name) else { continue };
        let lowest = i64::from(name == "proxyListenPort");
        if cursor.integer(lowest, i64::from(u16::MAX)).is_some() {
            let message = format!("{name} has no effect here: the ports are fixed");
            cursor.report(Code::FieldIgnored, message);
        }
    }
    if let Some(cursor) = fields.get("meshMTLS") {
        let message = "meshMTLS has no effect here: the mesh speaks TLS 1.3";
        cursor.report(Code::FieldIgnored, message);
        let fields = cursor.fields();
        read_tls(&fields);
        if fields.get("ecdhCurves").is_some() {
            let message = "the curves of the mesh cannot be chosen; use tlsDefaults for the rest";
            fields.report("ecdhCurves", Code::Conflict, message);
        }
    }
    if let Some(cursor) = fields.get("tlsDefaults") {
        cursor.report(Code::FieldIgnored, "tlsDefaults has no effect here: it comes later");
        let fields = cursor.fields();
        read_tls(&fields);
        report_curves(&fields);
    }
    if let Some(cursor) = fields.get("defaultTrafficPolicy") {
        let message = "defaultTrafficPolicy is read and checked, not yet applied";
        cursor.report(Code::FieldIgnored, message);
        let fields = cursor.fields();
        if let Some(cursor) = fields.get("connectionPool") {
            destination_rule::read_connection_pool(&cursor);
        }
        if let Some(cursor) = fields.get("outlierDetection") {
            destination_rule::read_outliers(&cursor);
        }
    }
    if let Some(cursor) = fields.get("defaultInboundHttpRetryPolicy") {
        report_inbound_retries(&cursor);
    }
}

fn read_tls(fields: &Fields<'_>) {
    if let Some(cursor) = fields.get("minProtocolVersion") {
        cursor.word(&[("TLS_AUTO", ()), ("TLSV1_2", ()), ("TLSV1_3", ())]);
    }
    let _suites = fields.texts("cipherSuites");
}

fn report_curves(fields: &Fields<'_>) {
    let mut seen = Vec::new();
    for cursor in fields.get("ecdhCurves").map(|cursor| cursor.list()).unwrap_or_default() {
        let Some(curve) = cursor.text() else { continue };
        if !curve.is_empty() && !CURVES.contains(&curve.as_str()) {
            let message = format!("there is no curve {curve:?}; there are {}", CURVES.join(", "));
            cursor.report_as(Severity::Warning, Code::UnknownEnum, message);
        } else if seen.contains(&curve) {
            cursor.report(Code::NoEffect, format!("the curve {curve} stands here twice"));
        }
        seen.push(curve);
    }
}

fn report_inbound_retries(cursor: &Cursor<'_>) {
    let message = "defaultInboundHttpRetryPolicy has no effect here: requests are not retried at the server's side";
    cursor.report(Code::FieldIgnored, message);
    let _retries = virtual_service::read_retries(cursor);
    for name in ["perTryTimeout", "retryRemoteLocalities", "retryIgnorePreviousHosts"] {
        if cursor.node().get(name).is_some() {
            let message = format!("{name} means nothing for retries towards the application");
            cursor.at(name).report(Code::NoEffect, message);
        }
    }
}

/// Reports an address and ports of `defaultConfig` that cannot be.
pub(super) fn report_default_config(fields: &Fields<'_>) {
    const COMMAND_LINE: &str = "proxies take this from their own command line";
    for (name, why) in [
        ("discoveryAddress", COMMAND_LINE),
        ("statusPort", "the ports are fixed"),
        ("proxyAdminPort", "the ports are fixed"),
    ] {
        let Some(cursor) = fields.get(name) else { continue };
        let is_right = if name == "discoveryAddress" {
            check_address(&cursor)
        } else {
            cursor.port().is_some()
        };
        if is_right {
            let message = format!("{name} has no effect here: {why}");
            cursor.report(Code::FieldIgnored, message);
        }
    }
}

/// `host:port`, as a proxy is told of a server.
fn check_address(cursor: &Cursor<'_>) -> bool {
    let Some(text) = cursor.text() else { return false };
    let parts = text.rsplit_once(':').map(|(host, port)| {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_host = host.parse::<iako_types::Hostname>().is_ok();
        is_host && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if parts != Some(true) {
        let message = format!("{text:?} is no address; write host:port");
        cursor.report(Code::BadValue, message);
    }
    parts == Some(true)
}

/// Warns about a provider that Istio would not use. What it says is told once more where an object
/// names it.
pub(super) fn report_provider(cursor: &Cursor<'_>) {
    let kinds: Vec<(&str, Cursor<'_>)> =
        cursor.entries().into_iter().filter(|(key, _)| *key != "name").collect();
    let known: Vec<&'static str> = CALLING.iter().chain(&OTHERS).copied().collect();
    match kinds.as_slice() {
        [] => warn(cursor, Code::MissingField, "the provider says only its name".to_owned()),
        [(key, settings)] if CALLING.contains(key) => report_service(key, settings),
        [(key, _)] if OTHERS.contains(key) => {}
        [(key, settings)] => {
            let near = closest(key, &known).map(|name| format!("; did you mean {name}?"));
            let message = format!("there is no provider {key:?}{}", near.unwrap_or_default());
            warn(settings, Code::UnknownField, message);
        }
        [..] => warn(cursor, Code::Conflict, "a provider is one thing, not several".to_owned()),
    }
}

fn warn(cursor: &Cursor<'_>, code: Code, message: String) {
    cursor.report_as(Severity::Warning, code, message);
}

fn report_service(kind: &str, settings: &Cursor<'_>) {
    let node = settings.node();
    let text = |name: &str| node.get(name).and_then(crate::text::Node::as_text);
    match text("service") {
        None | Some("") => {
            let place = settings.at("service");
            warn(&place, Code::MissingField, format!("{kind} needs a service"));
        }
        Some(service) if !is_service(service) => {
            let message = format!("{service:?} is no service; write host or namespace/host");
            warn(&settings.at("service"), Code::BadHost, message);
        }
        Some(_) => {}
    }
    let port = node.get("port").and_then(|port| match &port.value {
        crate::text::Value::Int(number, _) => Some(*number),
        crate::text::Value::Null
        | crate::text::Value::Bool(_)
        | crate::text::Value::Float(..)
        | crate::text::Value::Text(_)
        | crate::text::Value::List(_)
        | crate::text::Value::Map(_) => None,
    });
    if !port.is_some_and(|port| (1..=65_535).contains(&port)) {
        let message = format!("{kind} needs a port, 1 to 65535");
        warn(&settings.at("port"), Code::BadValue, message);
    }
    if let Some(status) = text("statusOnError").filter(|status| !status.is_empty())
        && !is_status(status)
    {
        let message = format!("{status:?} is no status that Envoy answers");
        warn(&settings.at("statusOnError"), Code::BadValue, message);
    }
    if text("pathPrefix").is_some_and(|prefix| !prefix.is_empty() && !prefix.starts_with('/')) {
        let message = "pathPrefix starts with /".to_owned();
        warn(&settings.at("pathPrefix"), Code::BadValue, message);
    }
    if kind == "lightstep" && text("accessToken").is_none_or(str::is_empty) {
        let message = "lightstep needs an accessToken".to_owned();
        warn(&settings.at("accessToken"), Code::MissingField, message);
    }
    if kind == "opentelemetry" && node.get("grpc").is_some() && node.get("http").is_some() {
        let message = "spans are sent by grpc or http, not by both".to_owned();
        warn(&settings.at("http"), Code::Conflict, message);
    }
}

/// A host, an address, or `namespace/host` with a full name.
fn is_service(text: &str) -> bool {
    let is_host = |host: &str| host.parse::<iako_types::Hostname>().is_ok();
    match text.split_once('/') {
        None => is_host(text),
        Some((namespace, host)) => {
            let of_namespace =
                matches!(namespace, "*" | ".") || crate::istio::refer::is_dns_label(namespace);
            of_namespace && host.contains('.') && is_host(host)
        }
    }
}

/// Source: `envoy.type.v3.StatusCode`.
fn is_status(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|code| {
        matches!(code,
            100 | 102 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=417 | 421..=424
                | 426 | 428 | 429 | 431 | 500..=508 | 510 | 511)
    })
}
