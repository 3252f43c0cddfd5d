//! Reads a `Sidecar`.

use iako_types::HostPattern;

use super::{EgressHost, EgressNamespace, OutboundTrafficPolicy, Sidecar};
use crate::{Code, document::Context, istio::refer, reader::Cursor};

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<Sidecar> {
    let fields = cursor.fields();
    let workload_selector = refer::workload_selector(&fields);
    let egress = fields.get("egress").map(|cursor| cursor.list());
    let egress = egress.map(|listeners| {
        let hosts = listeners.iter().map(|cursor| read_listener(cursor, context));
        hosts.flatten().collect()
    });
    let outbound_traffic_policy = fields.get("outboundTrafficPolicy").map(|cursor| {
        let fields = cursor.fields();
        // The zero value of the field is REGISTRY_ONLY, so that is what an empty block means.
        fields.get("mode").map_or(OutboundTrafficPolicy::RegistryOnly, |cursor| {
            read_policy(&cursor).unwrap_or_default()
        })
    });
    let says_something = egress.is_some()
        || outbound_traffic_policy.is_some()
        || fields.has("ingress")
        || fields.has("inboundConnectionPool");
    if !says_something {
        let message = "a Sidecar needs egress, ingress, outboundTrafficPolicy or \
                       inboundConnectionPool";
        cursor.report(Code::EmptyValue, message);
    }
    Some(Sidecar { workload_selector, egress, outbound_traffic_policy })
}

/// Reads the mode of an outbound traffic policy.
pub(crate) fn read_policy(cursor: &Cursor<'_>) -> Option<OutboundTrafficPolicy> {
    cursor.word(&[
        ("ALLOW_ANY", OutboundTrafficPolicy::AllowAny),
        ("REGISTRY_ONLY", OutboundTrafficPolicy::RegistryOnly),
    ])
}

fn read_listener(cursor: &Cursor<'_>, context: &Context<'_>) -> Vec<EgressHost> {
    let fields = cursor.fields();
    let list = fields.required("hosts").map(|cursor| cursor.list()).unwrap_or_default();
    if fields.has("hosts") && list.is_empty() {
        cursor.report(Code::EmptyValue, "an egress listener needs at least one host");
    }
    let hosts: Vec<EgressHost> =
        list.iter().filter_map(|cursor| read_host(cursor, context)).collect();
    let everything = |host: &EgressHost| {
        host.namespace == EgressNamespace::Any && host.host == HostPattern::Any && !host.excluded
    };
    let included = hosts.iter().filter(|host| !host.excluded).count();
    if included > 1 && hosts.iter().any(everything) {
        cursor.report(Code::NoEffect, "*/* is every host, so the others add nothing");
    }
    hosts
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
