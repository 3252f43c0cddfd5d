//! The kinds of the Gateway API, and what they share.
//!
//! Their published schemas and rules are held against every document elsewhere; the readers here
//! make values of what these accept, and check what schemas cannot say, such as that regular
//! expressions compile. Nothing acts on these kinds yet.

pub mod gateway;
pub mod http_route;
pub mod policy;
pub mod route;

use iako_types::{HostPattern, Namespace};

use crate::{
    Code,
    document::Context,
    istio::{Pattern, refer},
    reader::Fields,
};

/// An object that another one names. Source: `gateway.networking.k8s.io/v1.ObjectReference`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// The group of its kind; empty is Kubernetes' own.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; that of the object that names it when none was written.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
}

/// What a route is attached to. Source: `gateway.networking.k8s.io/v1.ParentReference`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentRef {
    /// A Gateway or a ListenerSet; a Service for routes within the mesh.
    pub object: ObjectRef,
    /// Only this listener, or this port of a Service by name.
    pub section: Option<String>,
    /// Only listeners on this port, or this port of a Service.
    pub port: Option<u16>,
    /// Line in its file, from 1.
    pub line: u32,
}

impl ParentRef {
    /// Whether the route is one within the mesh: its parent is a Service.
    #[must_use]
    pub fn is_mesh(&self) -> bool {
        self.object.kind == "Service" && self.object.group.is_empty()
    }
}

/// Where requests or connections go. Source: `gateway.networking.k8s.io/v1.BackendRef`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendRef {
    /// The service.
    pub object: ObjectRef,
    /// Its port; always there for a Service.
    pub port: Option<u16>,
    /// Share relative to its siblings; 0 gets nothing. Default: 1.
    pub weight: u32,
    /// Line in its file, from 1.
    pub line: u32,
}

/// A group and a kind that references are completed with.
type Kinded = (&'static str, &'static str);

const GATEWAY: Kinded = ("gateway.networking.k8s.io", "Gateway");
const SERVICE: Kinded = ("", "Service");
const SECRET: Kinded = ("", "Secret");

/// Reads a reference; the schema has said what is wrong with it.
fn read_object(fields: &Fields<'_>, context: &Context<'_>, default: Kinded) -> Option<ObjectRef> {
    let text = |name| fields.get(name).and_then(|cursor| cursor.text());
    let namespace = match fields.get("namespace") {
        Some(cursor) => refer::namespace(&cursor)?,
        None => context.namespace.clone(),
    };
    Some(ObjectRef {
        group: text("group").unwrap_or_else(|| default.0.to_owned()),
        kind: text("kind").unwrap_or_else(|| default.1.to_owned()),
        namespace,
        name: text("name")?,
    })
}

/// Reads a list of references.
fn read_objects(
    fields: &Fields<'_>,
    name: &'static str,
    context: &Context<'_>,
    default: Kinded,
) -> Vec<ObjectRef> {
    let objects = fields.list_of(name, |cursor| {
        let fields = cursor.fields();
        let object = read_object(&fields, context, default);
        fields.ignore_rest();
        object
    });
    objects.into_iter().flatten().collect()
}

/// Reads `parentRefs`.
fn read_parents(fields: &Fields<'_>, context: &Context<'_>) -> Vec<ParentRef> {
    let parents = fields.list_of("parentRefs", |cursor| {
        let fields = cursor.fields();
        let object = read_object(&fields, context, GATEWAY);
        let section = fields.text("sectionName");
        let port = fields.get("port").and_then(|cursor| cursor.port());
        fields.ignore_rest();
        Some(ParentRef { object: object?, section, port, line: cursor.line() })
    });
    parents.into_iter().flatten().collect()
}

/// Reads `hostnames`.
fn read_hostnames(fields: &Fields<'_>) -> Vec<HostPattern> {
    let hosts = fields.list_of("hostnames", |cursor| cursor.parsed::<HostPattern>(Code::BadHost));
    hosts.into_iter().flatten().collect()
}

/// Reads one of `backendRefs`, but not its filters.
fn read_backend(fields: &Fields<'_>, context: &Context<'_>) -> Option<BackendRef> {
    let object = read_object(fields, context, SERVICE);
    let port = fields.get("port").and_then(|cursor| cursor.port());
    let weight = fields.get("weight").and_then(|cursor| cursor.count());
    let line = fields.cursor().line();
    Some(BackendRef { object: object?, port, weight: weight.unwrap_or(1), line })
}

/// How a header or a query parameter is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueMatch {
    /// The same text.
    Exact(String),
    /// The whole text matches.
    Regex(Pattern),
}

/// Reads `headers` or `queryParams` of a match: of two of one name the first counts.
fn read_values(fields: &Fields<'_>, name: &'static str) -> Vec<(String, ValueMatch)> {
    let mut values: Vec<(String, ValueMatch)> = Vec::new();
    for cursor in fields.get(name).map(|cursor| cursor.list()).unwrap_or_default() {
        let fields = cursor.fields();
        let is_regex = fields.text("type").is_some_and(|word| word == "RegularExpression");
        let name = fields.text("name");
        let value = fields.get("value").and_then(|cursor| {
            if is_regex {
                return refer::pattern(&cursor).map(ValueMatch::Regex);
            }
            cursor.text().map(ValueMatch::Exact)
        });
        fields.ignore_rest();
        let Some((name, value)) = name.zip(value) else { continue };
        let seen = values.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name));
        if seen {
            let message = format!("{name} stands here already; only the first one counts");
            cursor.at("name").report(Code::NoEffect, message);
        } else {
            values.push((name, value));
        }
    }
    values
}
