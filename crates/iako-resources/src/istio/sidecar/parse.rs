//! Reads a `Sidecar`.

use iako_types::HostPattern;

use super::{
    CaptureMode, EgressHost, EgressListener, EgressNamespace, OutboundTrafficPolicy, Sidecar,
    SidecarBind, ingress,
};
use crate::{
    Code,
    document::Context,
    istio::{
        destination_rule::read_connection_pool,
        refer,
        virtual_service::{self, Destination},
    },
    reader::Cursor,
};

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<Sidecar> {
    let fields = cursor.fields();
    let workload_selector = refer::workload_selector(&fields);
    let listeners = fields.get("egress").map(|cursor| read_egress(&cursor, context));
    let egress = listeners.as_ref().map(|listeners| {
        listeners.iter().flat_map(|listener| listener.hosts.iter().cloned()).collect()
    });
    let (outbound_traffic_policy, egress_proxy) = fields
        .get("outboundTrafficPolicy")
        .map(|cursor| read_outbound(&cursor, context))
        .unwrap_or_default();
    let ingress = fields.get("ingress").map(|cursor| ingress::read(&cursor)).unwrap_or_default();
    let inbound_connection_pool = fields.get("inboundConnectionPool").map(|cursor| {
        let message = "limits towards the application are read and checked, not yet applied";
        cursor.report(Code::FieldIgnored, message);
        read_connection_pool(&cursor)
    });
    let says_something = fields.has_elements("egress")
        || fields.has_elements("ingress")
        || outbound_traffic_policy.is_some()
        || inbound_connection_pool.is_some();
    if !says_something {
        let message = "a Sidecar needs egress, ingress, outboundTrafficPolicy or \
                       inboundConnectionPool";
        cursor.report(Code::EmptyValue, message);
    }
    Some(Sidecar {
        workload_selector,
        egress,
        outbound_traffic_policy,
        egress_proxy,
        egress_listeners: listeners.unwrap_or_default(),
        ingress,
        inbound_connection_pool,
    })
}

/// Reads `outboundTrafficPolicy`: the mode, and the proxy that unknown traffic goes to.
fn read_outbound(
    cursor: &Cursor<'_>,
    context: &Context<'_>,
) -> (Option<OutboundTrafficPolicy>, Option<Destination>) {
    let fields = cursor.fields();
    // The zero value of the field is REGISTRY_ONLY, so that is what an empty block means.
    let mode = fields.get("mode").map_or(OutboundTrafficPolicy::RegistryOnly, |cursor| {
        read_policy(&cursor).unwrap_or_default()
    });
    let proxy = fields.get("egressProxy").and_then(|cursor| {
        let message = "egressProxy is read and checked, not yet applied; use a ServiceEntry and a \
                       VirtualService";
        cursor.report(Code::FieldIgnored, message);
        if mode != OutboundTrafficPolicy::AllowAny {
            cursor.report(Code::Conflict, "egressProxy goes with mode ALLOW_ANY only");
        }
        let destination = virtual_service::read_destination(&cursor, context)?;
        if destination.port.is_none() {
            cursor.at("port").report(Code::MissingField, "the field port is missing");
        }
        Some(destination)
    });
    (Some(mode), proxy)
}

fn read_egress(cursor: &Cursor<'_>, context: &Context<'_>) -> Vec<EgressListener> {
    let list = cursor.list();
    let mut listeners: Vec<EgressListener> = Vec::new();
    for (index, cursor) in list.iter().enumerate() {
        let listener = read_listener(cursor, context);
        let taken = |other: &EgressListener| match (&other.port, &listener.port) {
            (Some(other_port), Some(port)) if port.number == 0 => {
                other_port.number == 0 && other.bind == listener.bind
            }
            (Some(other), Some(port)) => other.number == port.number,
            (None | Some(_), None) | (None, Some(_)) => false,
        };
        if listeners.iter().any(taken) {
            let message = "another egress listener has this port already";
            cursor.at("port.number").report(Code::Duplicate, message);
        }
        if listener.port.is_none() && index + 1 < list.len() {
            let message = "an egress listener without port takes every port, so it is the last one";
            cursor.at("port").report(Code::MissingField, message);
        }
        listeners.push(listener);
    }
    listeners
}

/// Reads the mode of an outbound traffic policy.
pub(crate) fn read_policy(cursor: &Cursor<'_>) -> Option<OutboundTrafficPolicy> {
    cursor.word(&[
        ("ALLOW_ANY", OutboundTrafficPolicy::AllowAny),
        ("REGISTRY_ONLY", OutboundTrafficPolicy::RegistryOnly),
    ])
}

fn read_listener(cursor: &Cursor<'_>, context: &Context<'_>) -> EgressListener {
    let fields = cursor.fields();
    let bind = fields.get("bind").and_then(|cursor| ingress::read_bind(&cursor));
    let capture = ingress::read_capture(&fields);
    let on_socket = matches!(bind, Some(SidecarBind::Socket(_)));
    let port = fields.get("port").and_then(|cursor| {
        let message = "a port of its own is read and checked, not yet applied: the hosts are known \
                       on all their ports";
        cursor.report(Code::FieldIgnored, message);
        ingress::read_port(&cursor, bind.as_ref())
    });
    if fields.has("bind") || fields.has("captureMode") {
        let field = if fields.has("bind") { "bind" } else { "captureMode" };
        let message =
            "it is read and checked, not yet applied: the proxy has one outbound listener";
        fields.report(field, Code::FieldIgnored, message);
    }
    if on_socket && capture == CaptureMode::Iptables {
        let message = "connections to a Unix socket are not captured; use DEFAULT or NONE";
        fields.report("captureMode", Code::Conflict, message);
    }
    let list = fields.required("hosts").map(|cursor| cursor.list()).unwrap_or_default();
    if fields.has("hosts") && list.is_empty() {
        fields.report("hosts", Code::EmptyValue, "an egress listener needs at least one host");
    }
    let mut hosts: Vec<EgressHost> = Vec::new();
    for cursor in &list {
        let Some(host) = read_host(cursor, context) else { continue };
        let overlaps = |other: &EgressHost| {
            !other.excluded
                && !host.excluded
                && other.namespace == host.namespace
                && (other.host == host.host
                    || other.host == HostPattern::Any
                    || host.host == HostPattern::Any)
        };
        if hosts.iter().any(overlaps) {
            cursor.report(Code::NoEffect, "another host of the same namespace overlaps this one");
        }
        hosts.push(host);
    }
    let everything = |host: &EgressHost| {
        host.namespace == EgressNamespace::Any && host.host == HostPattern::Any && !host.excluded
    };
    let included = hosts.iter().filter(|host| !host.excluded).count();
    if included > 1 && hosts.iter().any(everything) {
        fields.report("hosts", Code::NoEffect, "*/* is every host, so the others add nothing");
    }
    EgressListener { port, bind, capture, hosts, line: cursor.line() }
}

fn read_host(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<EgressHost> {
    let text = cursor.text()?;
    let Some((namespace, host)) = text.split_once('/') else {
        let message = format!("{text:?} names no namespace; write namespace/host, such as ./*");
        cursor.report(Code::BadHost, message);
        return None;
    };
    let (excluded, namespace) = match namespace.strip_prefix('~') {
        Some(rest) if !rest.is_empty() => (true, rest),
        _ => (false, namespace),
    };
    let namespace = match namespace {
        "*" => EgressNamespace::Any,
        "." => EgressNamespace::Named(context.namespace.clone()),
        "~" => EgressNamespace::Nothing,
        name => match refer::namespace_name(name) {
            Some(namespace) => EgressNamespace::Named(namespace),
            None => {
                cursor.report(Code::BadValue, format!("{name:?} is no namespace"));
                return None;
            }
        },
    };
    match host.parse::<HostPattern>() {
        Ok(HostPattern::Exact(name)) if !name.as_str().contains('.') => {
            let message = format!("{host:?} is a short name; write the full name of the service");
            cursor.report(Code::BadHost, message);
            None
        }
        Ok(host) => Some(EgressHost { namespace, host, excluded }),
        Err(error) => {
            cursor.report(Code::BadHost, format!("{text:?} is no host: {error}"));
            None
        }
    }
}
