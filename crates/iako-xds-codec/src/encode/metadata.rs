//! Facts that travel in metadata.

use std::collections::BTreeMap;

use iako_xds_api::envoy::config::core::v3::Metadata;
use prost_types::{ListValue, Struct, Value, value::Kind};

use crate::decode::{CONNECTIONS_MAX, FALLBACK_LIST, OWN_METADATA};
use crate::text;
use iako_proxy_config::{
    ClusterMetadata, EndpointMetadata, FilterMetadata, RuleOrigin, ServiceReference, WorkloadLabel,
};

fn text(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.to_owned())) }
}

fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}

/// A map of texts as a structure.
pub(super) fn texts(values: &BTreeMap<String, String>) -> Struct {
    Struct { fields: values.iter().map(|(key, value)| (key.clone(), text(value))).collect() }
}

/// Sections that hold something, or nothing.
fn metadata(sections: impl IntoIterator<Item = (&'static str, Struct)>) -> Option<Metadata> {
    let filled = sections.into_iter().filter(|(_, section)| !section.fields.is_empty());
    let filter_metadata: BTreeMap<_, _> =
        filled.map(|(name, section)| (name.to_owned(), section)).collect();
    (!filter_metadata.is_empty()).then(|| Metadata { filter_metadata, ..Metadata::default() })
}

/// Sections with what else is said, which stands over what they say themselves.
fn with_rest(known: Option<Metadata>, rest: &FilterMetadata) -> Option<Metadata> {
    if rest.is_empty() {
        return known;
    }
    let mut all = known.unwrap_or_default();
    for (namespace, facts) in rest.iter() {
        let section = all.filter_metadata.entry(namespace.to_owned()).or_default();
        section.fields.extend(text::struct_from_json(facts).fields);
    }
    Some(all)
}

/// What is said of a route or virtual host.
pub(crate) fn of_rule(origin: Option<&RuleOrigin>, rest: &FilterMetadata) -> Option<Metadata> {
    let known = origin.and_then(|origin| {
        metadata([("istio", istio_config(origin)), ("iako", own_origin(origin))])
    });
    with_rest(known, rest)
}

/// What is said of a listener: its limit, for which Envoy's schema has no field, and which an Envoy
/// passes over, and everything else.
pub(crate) fn of_listener(connections_max: Option<u32>, rest: &FilterMetadata) -> Option<Metadata> {
    let section = connections_max.map(|most| {
        let number = Value { kind: Some(Kind::NumberValue(f64::from(most))) };
        (OWN_METADATA, object([(CONNECTIONS_MAX, number)]))
    });
    with_rest(metadata(section), rest)
}

/// What `istio.config` cannot say: the kind with its own spelling, the file and the line.
fn own_origin(origin: &RuleOrigin) -> Struct {
    let line = if origin.line == 0 { String::new() } else { origin.line.to_string() };
    let parts = [
        ("kind", origin.kind.as_str()),
        ("namespace", origin.namespace.as_str()),
        ("name", origin.name.as_str()),
        ("file", origin.file.as_str()),
        ("line", line.as_str()),
    ];
    object(
        parts
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, text(value))),
    )
}

/// `istio.config`, where Istio's kinds have a path.
fn istio_config(origin: &RuleOrigin) -> Struct {
    let Some(group) = istio_group(&origin.kind) else { return Struct::default() };
    let path = format!(
        "/apis/{group}/v1/namespaces/{}/{}/{}",
        origin.namespace,
        kebab_case(&origin.kind),
        origin.name
    );
    object([("config", text(&path))])
}

fn istio_group(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "VirtualService" | "DestinationRule" | "Gateway" | "ServiceEntry" | "Sidecar"
        | "WorkloadEntry" => "networking.istio.io",
        "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication" => {
            "security.istio.io"
        }
        _ => return None,
    })
}

/// `VirtualService` as `virtual-service`.
fn kebab_case(name: &str) -> String {
    let mut words = String::with_capacity(name.len().saturating_add(4));
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

pub(crate) fn of_cluster(facts: &ClusterMetadata) -> Option<Metadata> {
    let mut istio = facts.origin.as_ref().map(istio_config).unwrap_or_default();
    let mut add = |name: &str, value: Value| {
        istio.fields.insert(name.to_owned(), value);
    };
    if !facts.services.is_empty() {
        let values = facts.services.iter().map(service).collect();
        add("services", Value { kind: Some(Kind::ListValue(ListValue { values })) });
    }
    if !facts.subset.is_empty() {
        add("subset", text(&facts.subset));
    }
    if facts.external {
        add("external", Value { kind: Some(Kind::BoolValue(true)) });
    }
    if !facts.alpn_override {
        add("alpn_override", text("false"));
    }
    let own = facts.origin.as_ref().map(own_origin).unwrap_or_default();
    with_rest(metadata([("istio", istio), ("iako", own)]), &facts.rest)
}

fn service(service: &ServiceReference) -> Value {
    let fields = object([
        ("host", text(&service.host)),
        ("name", text(&service.name)),
        ("namespace", text(&service.namespace)),
    ]);
    Value { kind: Some(Kind::StructValue(fields)) }
}

pub(crate) fn of_endpoint(facts: &EndpointMetadata) -> Option<Metadata> {
    let mut lb = texts(&facts.lb);
    let lists = facts.lb_lists.iter().map(|(key, values)| {
        let values = values.iter().map(|value| text(value)).collect();
        (key.clone(), Value { kind: Some(Kind::ListValue(ListValue { values })) })
    });
    lb.fields.extend(lists);
    let workload =
        facts.workload.as_ref().map(|workload| object([("workload", text(&label(workload)))]));
    let known = metadata([
        ("envoy.transport_socket_match", texts(&facts.transport_match)),
        ("envoy.lb", lb),
        ("istio", workload.unwrap_or_default()),
    ]);
    with_rest(known, &facts.rest)
}

fn label(workload: &WorkloadLabel) -> String {
    [
        workload.workload.as_str(),
        &workload.namespace,
        &workload.canonical_name,
        &workload.canonical_revision,
        &workload.cluster,
    ]
    .join(";")
}

/// Metadata that chooses a subset, or one of several.
pub(super) fn of_subset(
    subset: &[(String, String)],
    fallbacks: &[Vec<(String, String)>],
) -> Option<Metadata> {
    let fields = |pairs: &[(String, String)]| texts(&pairs.iter().cloned().collect());
    let mut wanted = fields(subset);
    if !fallbacks.is_empty() {
        let each =
            |pairs: &Vec<(String, String)>| Value { kind: Some(Kind::StructValue(fields(pairs))) };
        let values = fallbacks.iter().map(each).collect();
        let list = Value { kind: Some(Kind::ListValue(ListValue { values })) };
        wanted.fields.insert(FALLBACK_LIST.to_owned(), list);
    }
    metadata([("envoy.lb", wanted)])
}
