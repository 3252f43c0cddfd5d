//! What policies name: identities, namespaces and ports that exist, and texts that can match.

use std::collections::BTreeSet;

use iako_registry::{MeshSnapshot, Workload};
use iako_resources::{
    AuthorizationPolicy, Code, Kind, Labels, Object, Patch,
    istio::authorization_policy::{PathMatch, Source, ValueMatch},
};
use iako_types::Namespace;

use super::findings::{Findings, Part, nearest, selected};

type Policy = Object<AuthorizationPolicy>;

/// Identities that no workload has.
pub(super) fn identities(snapshot: &MeshSnapshot, findings: &mut Findings) {
    let known: BTreeSet<String> = snapshot
        .workloads
        .iter()
        .map(|workload| {
            let identity = workload.identity.to_string();
            identity.strip_prefix("spiffe://").unwrap_or(&identity).to_owned()
        })
        .collect();
    for object in &snapshot.authorization_policies {
        for (rule, source, part) in sources(object) {
            check_principals(snapshot, (object, part.0, part.1), (rule, source), &known, findings);
            check_namespaces(snapshot, (object, part.0, part.1), (rule, source), findings);
        }
    }
}

/// The sources of a policy: position of the rule, source, position of the source and line.
fn sources(object: &Policy) -> impl Iterator<Item = (usize, &Source, (usize, u32))> {
    object.spec.rules.iter().enumerate().flat_map(|(rule, it)| {
        let line = it.line;
        it.sources.iter().enumerate().map(move |(at, source)| (rule, source, (at, line)))
    })
}

fn check_principals(
    snapshot: &MeshSnapshot,
    (object, from, line): (&Policy, usize, u32),
    (rule, source): (usize, &Source),
    known: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let of = (Kind::AuthorizationPolicy, object);
    for (at, principal) in source.principals.any_of.iter().enumerate() {
        let ValueMatch::Exact(text) = principal else { continue };
        let path = &format!("spec.rules[{rule}].from[{from}].source.principals[{at}]");
        let part = Part { path, line };
        if let Some(plain) = text.strip_prefix("spiffe://") {
            let message =
                format!("no identity is written {text}: the scheme does not belong to it");
            let help = format!("write {plain}");
            let found = findings.add(Code::PrincipalNotFound, of, &part, (message, &help));
            found.patch = Some(Box::new(Patch::set_text(path.as_str(), plain)));
            continue;
        }
        let Some((domain, namespace, account)) = taken_apart(text) else {
            let message = format!("{text} has not the form of an identity, so that nobody has it");
            let help = "write trust-domain/ns/namespace/sa/service-account";
            findings.add(Code::PrincipalNotFound, of, &part, (message, help));
            continue;
        };
        // Of other trust domains, of gateways and of namespaces elsewhere nothing is known.
        let is_ours = domain == snapshot.mesh.trust_domain.to_string()
            && namespace != snapshot.mesh.root_namespace.as_str()
            && snapshot.workloads.iter().any(|it| it.namespace.as_str() == namespace);
        if !is_ours || known.contains(text.as_str()) {
            continue;
        }
        let message = format!(
            "no workload of the namespace {namespace} runs as the service account {account}"
        );
        let help = nearest(text, known.iter().map(String::as_str)).map_or_else(
            || "name the serviceAccountName of the pods that are meant".to_owned(),
            |near| format!("did you mean {near}?"),
        );
        findings.add(Code::PrincipalNotFound, of, &part, (message, &help));
    }
}

/// Trust domain, namespace and service account of an identity.
fn taken_apart(text: &str) -> Option<(&str, &str, &str)> {
    let (domain, rest) = text.split_once("/ns/")?;
    let (namespace, account) = rest.split_once("/sa/")?;
    Some((domain, namespace, account))
}

fn check_namespaces(
    snapshot: &MeshSnapshot,
    (object, from, line): (&Policy, usize, u32),
    (rule, source): (usize, &Source),
    findings: &mut Findings,
) {
    // Many directories leave namespaces to others.
    if snapshot.namespaces.is_empty() {
        return;
    }
    for (at, namespace) in source.namespaces.any_of.iter().enumerate() {
        let known = |own: &Namespace| namespace.matches(own.as_str());
        let exists = snapshot.namespaces.keys().any(known)
            || snapshot.workloads.iter().any(|workload| known(&workload.namespace))
            || known(&snapshot.mesh.root_namespace);
        let ValueMatch::Exact(text) = namespace else { continue };
        if exists || text == "default" {
            continue;
        }
        let path = &format!("spec.rules[{rule}].from[{from}].source.namespaces[{at}]");
        let names = snapshot.namespaces.keys().map(Namespace::as_str);
        let help = nearest(text, names).map_or_else(
            || "add a Namespace object, or name another".to_owned(),
            |near| format!("did you mean {near}?"),
        );
        let of = (Kind::AuthorizationPolicy, object);
        let message = format!("the namespace {text} is not defined");
        findings.add(Code::MissingNamespace, of, &Part { path, line }, (message, &help));
    }
}

/// Ports that none of the workloads of a policy has.
pub(super) fn ports(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.peer_authentications {
        let scope = (&object.meta.namespace, object.spec.selector.as_ref());
        for port in object.spec.port_modes.keys() {
            let path = format!("spec.portLevelMtls[\"{port}\"]");
            let part = Part { path: &path, line: 0 };
            check_port(
                snapshot,
                (Kind::PeerAuthentication, object),
                scope,
                (*port, &part),
                findings,
            );
        }
    }
    for object in &snapshot.authorization_policies {
        let scope = (&object.meta.namespace, object.spec.selector.as_ref());
        for (rule, it) in object.spec.rules.iter().enumerate() {
            for (to, operation) in it.operations.iter().enumerate() {
                for (at, port) in operation.ports.any_of.iter().enumerate() {
                    let path = format!("spec.rules[{rule}].to[{to}].operation.ports[{at}]");
                    let part = Part { path: &path, line: it.line };
                    let of = (Kind::AuthorizationPolicy, object.as_ref());
                    check_port(snapshot, of, scope, (*port, &part), findings);
                }
            }
        }
    }
}

fn check_port<T>(
    snapshot: &MeshSnapshot,
    of: (Kind, &Object<T>),
    (namespace, selector): (&Namespace, Option<&Labels>),
    (port, part): (u16, &Part<'_>),
    findings: &mut Findings,
) {
    let workloads: Vec<&Workload> = selected(snapshot, namespace, selector).collect();
    let mut known = BTreeSet::new();
    for workload in &workloads {
        let own: Vec<u16> = workload.ports.iter().map(|own| own.port).collect();
        // Who declares nothing may listen anywhere.
        if own.is_empty() {
            return;
        }
        known.extend(own);
        known.extend(snapshot.services_of(workload).into_iter().map(|(_, _, target)| target));
    }
    if workloads.is_empty() || known.contains(&port) {
        return;
    }
    let as_service = workloads.iter().flat_map(|workload| snapshot.services_of(workload));
    let target = as_service.into_iter().find(|(_, number, _)| *number == port).map(|(_, _, to)| to);
    let list: Vec<String> = known.iter().map(ToString::to_string).collect();
    let message =
        format!("no workload of this policy has port {port}; they have {}", list.join(", "));
    let help = target.map_or_else(
        || "name a port of the pods".to_owned(),
        |to| format!("{port} is the port of their Service; the pods call it {to}"),
    );
    findings.add(Code::PolicyPortNotFound, of, part, (message, &help));
}

/// Methods and paths that no request has.
pub(super) fn texts(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.authorization_policies {
        for (rule, it) in object.spec.rules.iter().enumerate() {
            for (to, operation) in it.operations.iter().enumerate() {
                let start = format!("spec.rules[{rule}].to[{to}].operation");
                for (at, method) in operation.methods.any_of.iter().enumerate() {
                    let path = format!("{start}.methods[{at}]");
                    check_method(object, method, &Part { path: &path, line: it.line }, findings);
                }
                for (at, wanted) in operation.paths.any_of.iter().enumerate() {
                    let path = format!("{start}.paths[{at}]");
                    check_path(object, wanted, &Part { path: &path, line: it.line }, findings);
                }
            }
        }
    }
}

const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

fn check_method(object: &Policy, method: &ValueMatch, part: &Part<'_>, findings: &mut Findings) {
    let ValueMatch::Exact(text) = method else { return };
    let upper = text.to_ascii_uppercase();
    if *text == upper || !METHODS.contains(&upper.as_str()) {
        return;
    }
    let message = format!("no request has the method {text}: methods are written in capitals");
    let help = format!("write {upper}");
    let of = (Kind::AuthorizationPolicy, object);
    let found = findings.add(Code::NeverMatches, of, part, (message, &help));
    found.patch = Some(Box::new(Patch::set_text(part.path, &upper)));
}

fn check_path(object: &Policy, wanted: &PathMatch, part: &Part<'_>, findings: &mut Findings) {
    let text = match wanted {
        PathMatch::Value(ValueMatch::Exact(text) | ValueMatch::Prefix(text))
        | PathMatch::Template(text) => text,
        PathMatch::Value(ValueMatch::Present | ValueMatch::Suffix(_)) => return,
    };
    if text.starts_with('/') || text.is_empty() || text.starts_with('{') {
        return;
    }
    let message = format!("no path begins with {text}: every path begins with a slash");
    let help = format!("write /{text}");
    let of = (Kind::AuthorizationPolicy, object);
    findings.add(Code::NeverMatches, of, part, (message, &help));
}
