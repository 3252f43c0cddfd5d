//! `BackendTLSPolicy` and `ReferenceGrant`.

use iako_types::{Hostname, Namespace};

use super::{ObjectRef, SERVICE, read_object, read_objects};
use crate::{Code, document::Context, istio::refer, reader::Cursor};

/// TLS from gateways to services. Source: `gateway.networking.k8s.io/v1.BackendTLSPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendTlsPolicy {
    /// The services, each with one of its ports by name; `None` is all.
    pub targets: Vec<(ObjectRef, Option<String>)>,
    /// The server name that is asked for, and proved unless other names are given.
    pub hostname: Hostname,
    /// Objects with the roots that may vouch for the server.
    pub roots: Vec<ObjectRef>,
    /// The roots of the system vouch for it.
    pub system_roots: bool,
    /// Names of which the server must prove one: type (`Hostname` or `URI`) and value.
    pub subject_alt_names: Vec<(String, String)>,
}

/// What objects of other namespaces may name. Source:
/// `gateway.networking.k8s.io/v1.ReferenceGrant`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceGrant {
    /// Who may name: group, kind and namespace.
    pub from: Vec<(String, String, Namespace)>,
    /// What may be named: group, kind and name; `None` is every one.
    pub to: Vec<(String, String, Option<String>)>,
}

/// Reads the specification of a `BackendTLSPolicy`.
pub(crate) fn parse_backend_tls(
    cursor: &Cursor<'_>,
    context: &Context<'_>,
) -> Option<BackendTlsPolicy> {
    let fields = cursor.fields();
    let targets = fields.list_of("targetRefs", |cursor| {
        let fields = cursor.fields();
        let object = read_object(&fields, context, SERVICE);
        let section = fields.text("sectionName");
        fields.ignore_rest();
        Some((object?, section))
    });
    let validation = fields.get("validation");
    fields.ignore_rest();
    let fields = validation?.fields();
    let hostname = fields.get("hostname").and_then(|cursor| cursor.parsed(Code::BadHost));
    let roots = read_objects(&fields, "caCertificateRefs", context, ("", "ConfigMap"));
    let system_roots = fields.text("wellKnownCACertificates").is_some_and(|word| word == "System");
    let names = fields.list_of("subjectAltNames", |cursor| {
        let fields = cursor.fields();
        let kind = fields.text("type").unwrap_or_default();
        let value = fields.text("hostname").or_else(|| fields.text("uri")).unwrap_or_default();
        fields.ignore_rest();
        (kind, value)
    });
    fields.ignore_rest();
    Some(BackendTlsPolicy {
        targets: targets.into_iter().flatten().collect(),
        hostname: hostname?,
        roots,
        system_roots,
        subject_alt_names: names,
    })
}

/// Reads the specification of a `ReferenceGrant`.
pub(crate) fn parse_grant(cursor: &Cursor<'_>, _context: &Context<'_>) -> Option<ReferenceGrant> {
    let fields = cursor.fields();
    let from = fields.list_of("from", |cursor| {
        let fields = cursor.fields();
        let group = fields.get("group").and_then(|cursor| cursor.text());
        let kind = fields.text("kind");
        let namespace = fields.get("namespace").and_then(|cursor| refer::namespace(&cursor));
        fields.ignore_rest();
        Some((group?, kind?, namespace?))
    });
    let to = fields.list_of("to", |cursor| {
        let fields = cursor.fields();
        let group = fields.get("group").and_then(|cursor| cursor.text());
        let kind = fields.text("kind");
        let name = fields.text("name");
        fields.ignore_rest();
        Some((group?, kind?, name))
    });
    fields.ignore_rest();
    Some(ReferenceGrant {
        from: from.into_iter().flatten().collect(),
        to: to.into_iter().flatten().collect(),
    })
}
