//! Facts that travel in metadata: which rule of the user's made this, which services a cluster
//! stands for, who an endpoint is.

use std::collections::BTreeMap;

use iako_xds_api::envoy::config::core::v3::Metadata;
use prost_types::{Struct, Value, value::Kind};

use serde_json::{Map, Value as Json};

use crate::{encode, text};
use iako_proxy_config::{
    ClusterMetadata, EndpointMetadata, FilterMetadata, RuleOrigin, ServiceReference, WorkloadLabel,
};

/// The key under which a route lists further subsets.
pub(crate) const FALLBACK_LIST: &str = "fallback_list";

/// Metadata of a subset, in the order of keys.
type Subset = Vec<(String, String)>;

fn text(value: &Value) -> Option<&str> {
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

fn field<'a>(fields: &'a Struct, name: &str) -> &'a str {
    fields.fields.get(name).and_then(text).unwrap_or_default()
}

fn section<'a>(metadata: Option<&'a Metadata>, name: &str) -> Option<&'a Struct> {
    metadata?.filter_metadata.get(name)
}

/// A value as text; none for what has parts.
fn scalar(value: &Value) -> Option<String> {
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text.clone()),
        Some(Kind::BoolValue(value)) => Some(value.to_string()),
        Some(Kind::NumberValue(value)) => Some(value.to_string()),
        Some(Kind::NullValue(_) | Kind::StructValue(_) | Kind::ListValue(_)) | None => None,
    }
}

/// The texts of a struct; what has another type is written as JSON would write it.
pub(super) fn texts(fields: &Struct) -> BTreeMap<String, String> {
    let entries = fields.fields.iter();
    entries.filter_map(|(key, value)| Some((key.clone(), scalar(value)?))).collect()
}

/// The lists of a struct, with their texts.
fn lists(fields: &Struct) -> BTreeMap<String, Vec<String>> {
    let entries = fields.fields.iter().filter_map(|(key, value)| match &value.kind {
        Some(Kind::ListValue(list)) => {
            Some((key.clone(), list.values.iter().filter_map(scalar).collect()))
        }
        _ => None,
    });
    entries.collect()
}

/// What a route asks for: the metadata of a subset, in the order of keys, and of those that are
/// tried in its place, each with what it has in common with the first.
pub(super) fn subsets(wanted: Option<&Metadata>) -> (Subset, Vec<Subset>) {
    let Some(fields) = section(wanted, "envoy.lb") else { return Default::default() };
    let first = texts(fields);
    let alternatives = match fields.fields.get(FALLBACK_LIST).map(|value| &value.kind) {
        Some(Some(Kind::ListValue(list))) => list.values.as_slice(),
        _ => &[],
    };
    let merged = |value: &Value| {
        let mut subset = first.clone();
        if let Some(Kind::StructValue(fields)) = &value.kind {
            subset.extend(texts(fields));
        }
        subset.into_iter().collect()
    };
    let alternatives = alternatives.iter().map(merged).collect();
    (first.into_iter().collect(), alternatives)
}

/// The rule that a piece of configuration was made from: `istio.config` as Istio writes it, and
/// our own additions under `iako`.
pub(super) fn origin(metadata: Option<&Metadata>) -> Option<RuleOrigin> {
    let mut origin =
        section(metadata, "istio").and_then(|istio| istio_config(field(istio, "config")));
    if let Some(iako) = section(metadata, "iako") {
        let own = origin.get_or_insert_default();
        for (name, place) in
            [("kind", &mut own.kind), ("namespace", &mut own.namespace), ("name", &mut own.name)]
        {
            if !field(iako, name).is_empty() {
                field(iako, name).clone_into(place);
            }
        }
        field(iako, "file").clone_into(&mut own.file);
        own.line = field(iako, "line").parse().unwrap_or_default();
    }
    origin
}

/// Reads `/apis/networking.istio.io/v1/namespaces/shop/virtual-service/cart`.
fn istio_config(path: &str) -> Option<RuleOrigin> {
    let mut parts = path.strip_prefix("/apis/")?.split('/');
    let (_group, _version) = (parts.next()?, parts.next()?);
    if parts.next()? != "namespaces" {
        return None;
    }
    let (namespace, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    Some(RuleOrigin {
        kind: pascal_case(kind),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..RuleOrigin::default()
    })
}

/// `virtual-service` as `VirtualService`.
fn pascal_case(words: &str) -> String {
    words
        .split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

/// What is said besides what `known` says, which is how the facts that have fields are written.
fn rest(metadata: Option<&Metadata>, known: Option<&Metadata>) -> FilterMetadata {
    let Some(metadata) = metadata else { return FilterMetadata::default() };
    let besides = metadata.filter_metadata.iter().filter_map(|(namespace, facts)| {
        let Some(known) = section(known, namespace) else {
            return Some((namespace.clone(), text::struct_to_json(facts)));
        };
        let facts =
            facts.fields.iter().filter(|(name, fact)| known.fields.get(*name) != Some(fact));
        let facts = facts.map(|(name, fact)| (name.clone(), text::value_to_json(fact)));
        let facts: Map<String, Json> = facts.collect();
        (!facts.is_empty()).then(|| (namespace.clone(), facts))
    });
    FilterMetadata::new(besides.collect())
}

/// What is said of a route or virtual host besides its origin.
pub(super) fn of_rule(metadata: Option<&Metadata>) -> FilterMetadata {
    let origin = origin(metadata);
    rest(metadata, encode::metadata::of_rule(origin.as_ref(), &FilterMetadata::default()).as_ref())
}

/// What is said of a listener besides what has fields of its own.
pub(super) fn of_listener(
    metadata: Option<&Metadata>,
    connections_max: Option<u32>,
) -> FilterMetadata {
    let known = encode::metadata::of_listener(connections_max, &FilterMetadata::default());
    rest(metadata, known.as_ref())
}

pub(super) fn cluster(metadata: Option<&Metadata>) -> ClusterMetadata {
    let mut facts = typed_cluster(metadata);
    facts.rest = rest(metadata, encode::metadata::of_cluster(&facts).as_ref());
    facts
}

fn typed_cluster(metadata: Option<&Metadata>) -> ClusterMetadata {
    let mut facts = ClusterMetadata {
        alpn_override: true,
        origin: origin(metadata),
        ..ClusterMetadata::default()
    };
    let Some(istio) = section(metadata, "istio") else { return facts };
    if let Some(Kind::ListValue(services)) =
        istio.fields.get("services").and_then(|value| value.kind.as_ref())
    {
        facts.services = services.values.iter().filter_map(service).collect();
    }
    field(istio, "subset").clone_into(&mut facts.subset);
    facts.external = matches!(
        istio.fields.get("external").and_then(|value| value.kind.as_ref()),
        Some(Kind::BoolValue(true))
    ) || field(istio, "external") == "true";
    facts.alpn_override = field(istio, "alpn_override") != "false";
    facts
}

fn service(value: &Value) -> Option<ServiceReference> {
    let Some(Kind::StructValue(service)) = &value.kind else { return None };
    Some(ServiceReference {
        host: field(service, "host").to_owned(),
        name: field(service, "name").to_owned(),
        namespace: field(service, "namespace").to_owned(),
    })
}

pub(super) fn endpoint(metadata: Option<&Metadata>) -> EndpointMetadata {
    if metadata.is_none() {
        return EndpointMetadata::default();
    }
    let mut facts = EndpointMetadata {
        transport_match: section(metadata, "envoy.transport_socket_match")
            .map(texts)
            .unwrap_or_default(),
        lb: section(metadata, "envoy.lb").map(texts).unwrap_or_default(),
        lb_lists: section(metadata, "envoy.lb").map(lists).unwrap_or_default(),
        workload: section(metadata, "istio").and_then(|istio| workload(field(istio, "workload"))),
        rest: FilterMetadata::default(),
    };
    facts.rest = rest(metadata, encode::metadata::of_endpoint(&facts).as_ref());
    facts
}

/// Reads `workload;namespace;canonical name;canonical revision;cluster`.
fn workload(label: &str) -> Option<WorkloadLabel> {
    if label.is_empty() {
        return None;
    }
    let mut parts = label.split(';').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Some(WorkloadLabel {
        workload: next(),
        namespace: next(),
        canonical_name: next(),
        canonical_revision: next(),
        cluster: next(),
    })
}
