//! `GatewayClass`, `Gateway` and `ListenerSet`.

use std::collections::BTreeMap;

use iako_types::HostPattern;

use super::{GATEWAY, ObjectRef, SECRET, read_object, read_objects};
use crate::{
    Code, Labels,
    document::Context,
    reader::{Cursor, Fields},
};

/// Which control plane runs gateways of a class. Source: `gateway.networking.k8s.io/v1.GatewayClass`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayClass {
    /// The control plane, such as `istio.io/gateway-controller`.
    pub controller: String,
    /// Settings of the class.
    pub parameters: Option<ObjectRef>,
}

/// A gateway and its listeners. Source: `gateway.networking.k8s.io/v1.Gateway`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its class.
    pub class: String,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Addresses it wants: type (`IPAddress`, `Hostname` or another) and value.
    pub addresses: Vec<(String, String)>,
    /// Labels of what is made for it.
    pub labels: Labels,
    /// Annotations of what is made for it.
    pub annotations: Labels,
    /// Whose ListenerSets may add listeners. Default: nobody's.
    pub allowed_listeners: AllowedNamespaces,
}

/// Listeners that are added to a Gateway. Source: `gateway.networking.k8s.io/v1.ListenerSet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSet {
    /// The Gateway.
    pub parent: ObjectRef,
    /// Its listeners.
    pub listeners: Vec<Listener>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name, unique in the object.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// What is spoken: `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`, or a word of others.
    pub protocol: String,
    /// Hosts it is for; `None` is every host.
    pub hostname: Option<HostPattern>,
    /// TLS that it ends or passes on.
    pub tls: Option<ListenerTls>,
    /// Whose routes it takes. Default: those of the same namespace.
    pub routes: AllowedNamespaces,
    /// Kinds of routes it takes, with their group; none is what goes with the protocol.
    pub route_kinds: Vec<(String, String)>,
    /// Line in its file, from 1.
    pub line: u32,
}

/// TLS of a listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerTls {
    /// Passed on as it is; else it ends here.
    pub mode: TlsMode,
    /// Secrets with certificate and key.
    pub certificates: Vec<ObjectRef>,
    /// Further settings, such as Istio's `gateway.istio.io/tls-terminate-mode`.
    pub options: BTreeMap<String, String>,
}

/// What becomes of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// It ends here. The default.
    #[default]
    Terminate,
    /// It is passed on.
    Passthrough,
}

/// Namespaces whose objects are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedNamespaces {
    /// Every one.
    All,
    /// That of the object.
    Same,
    /// Those with these labels. Expressions other than labels take none.
    Selected(Labels),
    /// None.
    Nobody,
}

/// Reads the specification of a `GatewayClass`.
pub(crate) fn parse_class(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<GatewayClass> {
    let fields = cursor.fields();
    let controller = fields.text("controllerName");
    let parameters = fields.get("parametersRef").and_then(|cursor| {
        let fields = cursor.fields();
        let object = read_object(&fields, context, ("", ""));
        fields.ignore_rest();
        object
    });
    fields.ignore_rest();
    Some(GatewayClass { controller: controller?, parameters })
}

/// Reads the specification of a `Gateway`.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<Gateway> {
    let fields = cursor.fields();
    let class = fields.text("gatewayClassName");
    let listeners = read_listeners(&fields, context);
    let addresses = fields.list_of("addresses", |cursor| {
        let fields = cursor.fields();
        let kind = fields.text("type").unwrap_or_else(|| "IPAddress".to_owned());
        let value = fields.text("value").unwrap_or_default();
        fields.ignore_rest();
        (kind, value)
    });
    let made = fields.get("infrastructure").map(|cursor| {
        let fields = cursor.fields();
        let texts = |name| fields.get(name).map(|cursor| read_texts(&cursor)).unwrap_or_default();
        let made = (texts("labels"), texts("annotations"));
        fields.ignore_rest();
        made
    });
    let (labels, annotations) = made.unwrap_or_default();
    let allowed_listeners = fields.get("allowedListeners").and_then(|cursor| {
        let fields = cursor.fields();
        let allowed = read_namespaces(&fields, &AllowedNamespaces::Nobody);
        fields.ignore_rest();
        allowed
    });
    fields.ignore_rest();
    Some(Gateway {
        class: class?,
        listeners,
        addresses,
        labels,
        annotations,
        allowed_listeners: allowed_listeners.unwrap_or(AllowedNamespaces::Nobody),
    })
}

/// Reads the specification of a `ListenerSet`.
pub(crate) fn parse_set(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<ListenerSet> {
    let fields = cursor.fields();
    let parent = fields.get("parentRef").and_then(|cursor| {
        let fields = cursor.fields();
        let object = read_object(&fields, context, GATEWAY);
        fields.ignore_rest();
        object
    });
    let listeners = read_listeners(&fields, context);
    fields.ignore_rest();
    Some(ListenerSet { parent: parent?, listeners })
}

fn read_texts(cursor: &Cursor<'_>) -> Labels {
    let pairs = cursor.entries().into_iter();
    pairs.filter_map(|(key, value)| Some((key.to_owned(), value.text()?))).collect()
}

fn read_listeners(fields: &Fields<'_>, context: &Context<'_>) -> Vec<Listener> {
    let listeners = fields.list_of("listeners", |cursor| read_listener(cursor, context));
    listeners.into_iter().flatten().collect()
}

fn read_listener(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<Listener> {
    let fields = cursor.fields();
    let name = fields.text("name");
    let port = fields.get("port").and_then(|cursor| cursor.port());
    let protocol = fields.text("protocol");
    let hostname = fields.get("hostname").filter(|cursor| cursor.node().as_text() != Some(""));
    let hostname = hostname.and_then(|cursor| cursor.parsed(Code::BadHost));
    let tls = fields.get("tls").map(|cursor| read_tls(&cursor, context));
    let allowed = fields.get("allowedRoutes").map(|cursor| {
        let fields = cursor.fields();
        let namespaces = read_namespaces(&fields, &AllowedNamespaces::Same);
        let kinds = fields.list_of("kinds", |cursor| {
            let fields = cursor.fields();
            let group = fields.get("group").and_then(|cursor| cursor.text());
            let kind = fields.text("kind").unwrap_or_default();
            fields.ignore_rest();
            (group.unwrap_or_else(|| GATEWAY.0.to_owned()), kind)
        });
        fields.ignore_rest();
        (namespaces, kinds)
    });
    fields.ignore_rest();
    let (routes, route_kinds) = allowed.unwrap_or_default();
    Some(Listener {
        name: name?,
        port: port?,
        protocol: protocol?,
        hostname,
        tls,
        routes: routes.unwrap_or(AllowedNamespaces::Same),
        route_kinds,
        line: cursor.line(),
    })
}

fn read_tls(cursor: &Cursor<'_>, context: &Context<'_>) -> ListenerTls {
    let fields = cursor.fields();
    let passes = fields.text("mode").is_some_and(|word| word == "Passthrough");
    let certificates = read_objects(&fields, "certificateRefs", context, SECRET);
    let options = fields.get("options").map(|cursor| read_texts(&cursor)).unwrap_or_default();
    fields.ignore_rest();
    let mode = if passes { TlsMode::Passthrough } else { TlsMode::Terminate };
    ListenerTls { mode, certificates, options }
}

/// Reads `namespaces.from` and its selector; `None` is not written.
fn read_namespaces(fields: &Fields<'_>, default: &AllowedNamespaces) -> Option<AllowedNamespaces> {
    let cursor = fields.get("namespaces")?;
    let fields = cursor.fields();
    let from = fields.text("from");
    let labels = fields.get("selector").map(|cursor| {
        let fields = cursor.fields();
        let labels = fields.get("matchLabels").map(|cursor| read_texts(&cursor));
        if fields.has_elements("matchExpressions") {
            let message = "expressions are read, not yet applied: they take no namespace";
            fields.report("matchExpressions", Code::FieldIgnored, message);
        }
        fields.ignore_rest();
        labels.unwrap_or_default()
    });
    fields.ignore_rest();
    Some(match from.as_deref() {
        Some("All") => AllowedNamespaces::All,
        Some("Same") => AllowedNamespaces::Same,
        Some("Selector") => AllowedNamespaces::Selected(labels.unwrap_or_default()),
        Some("None") => AllowedNamespaces::Nobody,
        _ => default.clone(),
    })
}
