//! Names that several kinds refer by: hosts, namespaces, labels, gateways.

use std::collections::BTreeSet;

use iako_types::{CidrRange, HostPattern, Hostname, Namespace};

use super::{Pattern, StringMatch, TargetKind, TargetRef, Visibility, virtual_service::GatewayRef};
use crate::{
    Code, Labels,
    document::Context,
    reader::{Cursor, Fields, shortened},
};

/// The full name of a host: a name without a dot is one of the object's own namespace.
/// Source: Istio's short names.
pub(crate) fn full_name(text: &str, context: &Context<'_>) -> String {
    if text.contains('.') || text.contains('*') || text.contains(':') || text.is_empty() {
        return text.to_owned();
    }
    format!("{text}.{}.svc.{}", context.namespace, context.cluster_domain)
}

/// A host without a wildcard, completed.
pub(crate) fn host(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<Hostname> {
    let text = cursor.text()?;
    if text.contains('*') {
        cursor.report(Code::BadHost, format!("{text:?} is a wildcard, but one host is needed"));
        return None;
    }
    match full_name(&text, context).parse::<Hostname>() {
        Ok(host) if has_numeric_end(host.as_str()) => {
            cursor
                .report(Code::BadHost, format!("{text:?} ends in a number, which no domain does"));
            None
        }
        Ok(host) => Some(host),
        Err(error) => {
            let message = format!("{:?} is no host name: {error}", shortened(&text));
            cursor.report(Code::BadHost, message);
            None
        }
    }
}

/// A host or a wildcard, completed.
pub(crate) fn host_pattern(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<HostPattern> {
    let text = cursor.text()?;
    match full_name(&text, context).parse::<HostPattern>() {
        Ok(HostPattern::Exact(host)) if has_numeric_end(host.as_str()) => {
            cursor
                .report(Code::BadHost, format!("{text:?} ends in a number, which no domain does"));
            None
        }
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let message = format!("{:?} is no host name: {error}", shortened(&text));
            cursor.report(Code::BadHost, message);
            None
        }
    }
}

/// A name like `foo.123` is refused; an address is not.
fn has_numeric_end(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_err()
        && host.rsplit('.').next().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()))
}

/// Whether an object can be visible to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hiding {
    /// `~` is allowed: its own proxies know the service all the same.
    Allowed,
    /// It is refused: the object would mean nothing.
    Refused,
}

/// `exportTo`: `*`, `.`, `~` or names.
pub(crate) fn visibility(
    fields: &Fields<'_>,
    context: &Context<'_>,
    hiding: Hiding,
) -> Option<Visibility> {
    let list = fields.get("exportTo")?.list();
    let mut words = Vec::new();
    let mut seen = Vec::new();
    for cursor in &list {
        let Some(word) = cursor.text() else { continue };
        let own = if word == "." { context.namespace.as_str().to_owned() } else { word.clone() };
        if seen.contains(&own) {
            cursor.report(Code::Duplicate, format!("{word:?} stands here twice"));
        }
        if word == "~" && hiding == Hiding::Refused {
            cursor.report(Code::BadValue, "an object that nobody sees means nothing");
        }
        seen.push(own);
        words.push(word);
    }
    visibility_of(words.iter().map(String::as_str), list.first(), context)
}

/// The visibility that words mean; `None` when there is no word.
pub(crate) fn visibility_of<'w>(
    words: impl Iterator<Item = &'w str>,
    cursor: Option<&Cursor<'_>>,
    context: &Context<'_>,
) -> Option<Visibility> {
    let words: Vec<&str> = words.collect();
    let alone = words.len() == 1;
    let mut namespaces = BTreeSet::new();
    let report = |code, message: String| {
        if let Some(cursor) = cursor {
            cursor.report(code, message);
        }
    };
    for word in words {
        match word {
            "*" if alone => return Some(Visibility::Mesh),
            "~" if alone => return Some(Visibility::Nobody),
            "*" | "~" => report(Code::Conflict, format!("{word:?} stands alone or not at all")),
            "." => {
                namespaces.insert(context.namespace.clone());
            }
            name => match namespace_name(name) {
                Some(namespace) => {
                    namespaces.insert(namespace);
                }
                None => report(Code::BadValue, format!("{name:?} is no namespace")),
            },
        }
    }
    (!namespaces.is_empty()).then(|| Visibility::Namespaces(namespaces.into_iter().collect()))
}

/// The name of a namespace: a DNS label.
pub(crate) fn namespace_name(text: &str) -> Option<Namespace> {
    if !is_dns_label(text) {
        return None;
    }
    text.parse().ok()
}

/// Whether a text is a DNS label. Source: RFC 1123.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Reads a namespace.
pub(crate) fn namespace(cursor: &Cursor<'_>) -> Option<Namespace> {
    let text = cursor.text()?;
    let found = namespace_name(&text);
    if found.is_none() {
        cursor.report(Code::BadValue, format!("{text:?} is no namespace"));
    }
    found
}

/// Reads labels: texts to texts.
pub(crate) fn labels(cursor: &Cursor<'_>) -> Labels {
    let mut labels = Labels::new();
    for (key, value) in cursor.entries() {
        let Some(text) = value.text() else { continue };
        if key.is_empty() {
            value.report(Code::EmptyValue, "the key of a label is empty");
        } else if key.contains('*') || text.contains('*') {
            value.report(Code::BadValue, "labels are compared as they are; a star has no meaning");
        }
        labels.insert(key.to_owned(), text);
    }
    labels
}

/// Reads `selector.matchLabels` of a policy. Present without labels means all, and is warned about.
pub(crate) fn policy_selector(fields: &Fields<'_>, field: &'static str) -> Option<Labels> {
    selector_of(fields, field, "matchLabels")
}

/// Most targets of one policy. Source: Istio's schema.
const TARGETS_MAX: usize = 16;

/// Reads `targetRefs`, and `targetRef`, its old form; they exclude a selector.
pub(crate) fn targets(fields: &Fields<'_>, selector: &'static str) -> Vec<TargetRef> {
    let old = fields.get("targetRef").map(|cursor| target(&cursor));
    let several = fields.list_of("targetRefs", target);
    if several.len() > TARGETS_MAX {
        let message = format!("at most {TARGETS_MAX} targets are allowed");
        fields.report("targetRefs", Code::BadValue, message);
    }
    let field = if old.is_some() { "targetRef" } else { "targetRefs" };
    let given = [fields.get(selector).is_some(), old.is_some(), !several.is_empty()];
    let given = given.into_iter().filter(|given| *given).count();
    if given > 1 {
        let message = format!("only one of {selector}, targetRef and targetRefs can be given");
        fields.report(field, Code::Conflict, message);
    } else if given == 1 && (old.is_some() || !several.is_empty()) {
        let message = "targets are read and checked, not yet applied: they are gateways of the \
                       Gateway API and waypoints; other workloads are not meant";
        fields.report(field, Code::FieldIgnored, message);
    }
    old.into_iter().chain(several).flatten().collect()
}

fn target(cursor: &Cursor<'_>) -> Option<TargetRef> {
    let fields = cursor.fields();
    let group = fields.text("group").unwrap_or_default();
    let kind = fields.required("kind").and_then(|cursor| cursor.text());
    let name = fields.required("name").and_then(|cursor| {
        let name = cursor.text()?;
        if name.is_empty() {
            cursor.report(Code::EmptyValue, "the name of the target is empty");
        }
        Some(name)
    });
    if fields.text("namespace").is_some() {
        let message = "a target is always in the namespace of the policy";
        fields.report("namespace", Code::BadValue, message);
    }
    let kind = match (group.as_str(), kind?.as_str()) {
        ("" | "core", "Service") => TargetKind::Service,
        ("networking.istio.io", "ServiceEntry") => TargetKind::ServiceEntry,
        ("gateway.networking.k8s.io", "Gateway") => TargetKind::Gateway,
        ("gateway.networking.k8s.io", "GatewayClass") => TargetKind::GatewayClass,
        (group, kind) => {
            let message = format!("{kind} of the group {group:?} cannot be a target");
            fields.cursor().at("kind").report_with_help(
                Code::BadValue,
                message,
                "targets are Service (no group), ServiceEntry (networking.istio.io), Gateway and \
                 GatewayClass (gateway.networking.k8s.io)",
            );
            return None;
        }
    };
    Some(TargetRef { kind, name: name?, line: cursor.line() })
}

/// Reads `workloadSelector.labels`.
pub(crate) fn workload_selector(fields: &Fields<'_>) -> Option<Labels> {
    selector_of(fields, "workloadSelector", "labels")
}

fn selector_of(fields: &Fields<'_>, field: &'static str, inner: &'static str) -> Option<Labels> {
    let cursor = fields.get(field)?;
    let labels = cursor.fields().get(inner).map(|cursor| labels(&cursor)).unwrap_or_default();
    if labels.is_empty() {
        cursor.report(
            Code::WholeNamespace,
            "the selector has no labels, so it takes every workload of the namespace",
        );
        return None;
    }
    Some(labels)
}

/// Reads a list of gateways; `name` is one of the object's own namespace.
pub(crate) fn gateways(fields: &Fields<'_>, context: &Context<'_>) -> Vec<GatewayRef> {
    let list = fields.get("gateways").map(|cursor| cursor.list()).unwrap_or_default();
    list.iter().filter_map(|cursor| gateway(cursor, context)).collect()
}

fn gateway(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<GatewayRef> {
    let text = cursor.text()?;
    if text == "mesh" {
        return Some(GatewayRef::Mesh);
    }
    let (namespace, name) = match text.split_once('/') {
        Some((".", name)) => (Some(context.namespace.clone()), name.to_owned()),
        Some((namespace, name)) => (namespace_name(namespace), name.to_owned()),
        None => match text.split_once('.') {
            Some((name, rest)) => {
                cursor.report(
                    Code::Deprecated,
                    format!("{text:?} is the old form of a gateway's name; write namespace/name"),
                );
                (namespace_name(rest.split('.').next().unwrap_or(rest)), name.to_owned())
            }
            None => (Some(context.namespace.clone()), text.clone()),
        },
    };
    match namespace {
        Some(namespace) if is_dns_label(&name) => Some(GatewayRef::Gateway { namespace, name }),
        _ => {
            let message = format!("{text:?} is no gateway; write name, namespace/name or mesh");
            cursor.report(Code::BadValue, message);
            None
        }
    }
}

/// Reads a regular expression.
pub(crate) fn pattern(cursor: &Cursor<'_>) -> Option<Pattern> {
    let text = cursor.text()?;
    match Pattern::new(&text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let message = format!("{:?} does not compile: {error}", shortened(&text));
            cursor.report(Code::BadRegex, message);
            None
        }
    }
}

/// Whether a missing value in a [`StringMatch`] has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emptiness {
    /// `{}`, `regex: "*"` mean that the header or parameter exists.
    IsPresence,
    /// They mean nothing.
    IsError,
}

/// Reads a `StringMatch`.
pub(crate) fn string_match(cursor: &Cursor<'_>, emptiness: Emptiness) -> Option<StringMatch> {
    let fields = cursor.fields();
    let exact = fields.get("exact");
    let prefix = fields.get("prefix");
    let regex = fields.get("regex");
    let given = [&exact, &prefix, &regex].into_iter().flatten().count();
    if given > 1 {
        cursor.report(Code::Conflict, "only one of exact, prefix and regex can be given");
        return None;
    }
    if let Some(cursor) = exact {
        return cursor.text().map(StringMatch::Exact);
    }
    if let Some(cursor) = prefix {
        return cursor.text().map(StringMatch::Prefix);
    }
    if let Some(cursor) = regex {
        let is_star = cursor.node().as_text() == Some("*");
        if is_star && emptiness == Emptiness::IsPresence {
            return Some(StringMatch::Present);
        }
        return pattern(&cursor).map(StringMatch::Regex);
    }
    if emptiness == Emptiness::IsPresence {
        return Some(StringMatch::Present);
    }
    cursor.report(Code::EmptyValue, "one of exact, prefix and regex is needed");
    None
}

/// A boolean in a text, as annotations have it. Source: Go's `strconv.ParseBool`.
pub(crate) fn boolean_word(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reports a path of a Unix socket that is neither absolute nor an abstract name (`@name`).
pub(crate) fn check_socket(cursor: &Cursor<'_>, path: &str) {
    let is_file = path.starts_with('/') && !path.ends_with('/');
    if !is_file && !path.starts_with('@') {
        let message = format!("{path:?} is no absolute path of a socket, as in unix:///run/x.sock");
        cursor.report(Code::BadValue, message);
    }
}

/// Reads an address or a range.
pub(crate) fn cidr(cursor: &Cursor<'_>) -> Option<CidrRange> {
    let text = cursor.text()?;
    let parsed = cidr_of(&text);
    if parsed.is_none() {
        cursor.report(Code::BadValue, format!("{text:?} is no address and no range"));
    }
    parsed
}

/// An address or a range.
pub(crate) fn cidr_of(text: &str) -> Option<CidrRange> {
    match text.parse::<CidrRange>() {
        Ok(range) => Some(range),
        Err(_) => text.parse::<std::net::IpAddr>().ok().map(CidrRange::from),
    }
}
