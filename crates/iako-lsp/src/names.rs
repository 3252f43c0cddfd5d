//! Names that fields refer to, and where they are defined.

use iako_analyze::Project;
use iako_resources::{Object, Origin, Resource};

use crate::spot::{At, Spot};

/// What a field refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference {
    /// A host of a Service or ServiceEntry.
    Host,
    /// A subset of a DestinationRule.
    Subset,
    /// A Gateway.
    Gateway,
    /// A Secret of the same namespace.
    Secret,
    /// A Service of the same namespace, by its name alone.
    Service,
}

/// A name that can stand in a field.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// As it is written there.
    pub(crate) written: String,
    /// What it is.
    pub(crate) detail: String,
    /// Where it is defined.
    pub(crate) origin: Option<Origin>,
}

/// What the field at the cursor refers to.
pub(crate) fn reference(spot: &Spot) -> Option<Reference> {
    let pattern = spot.pattern();
    // In a list of texts an element that is typed may still become a mapping.
    if spot.at == At::Key && !pattern.ends_with("[]") {
        return None;
    }
    let ends = |end: &str| pattern.ends_with(end);
    match (spot.group.as_str(), spot.kind.as_str()) {
        ("networking.istio.io", "VirtualService") => {
            let is_target = ends("destination.host") || ends("mirror.host");
            if is_target || pattern == "spec.hosts[]" {
                Some(Reference::Host)
            } else if ends("destination.subset") || ends("mirror.subset") {
                Some(Reference::Subset)
            } else if ends("gateways[]") {
                Some(Reference::Gateway)
            } else {
                None
            }
        }
        ("networking.istio.io", "DestinationRule") => {
            (pattern == "spec.host").then_some(Reference::Host)
        }
        ("networking.istio.io", "Gateway") => ends("credentialName").then_some(Reference::Secret),
        ("gateway.networking.k8s.io", _) => {
            if ends("backendRefs[].name") || ends("backendRef.name") {
                Some(Reference::Service)
            } else {
                ends("certificateRefs[].name").then_some(Reference::Secret)
            }
        }
        _ => None,
    }
}

/// Every name that can stand in the field at the cursor.
pub(crate) fn names(reference: Reference, spot: &Spot, project: &Project) -> Vec<Name> {
    let resources = project.contents().flat_map(|content| &content.resources);
    let mut names: Vec<Name> = match reference {
        Reference::Host => resources.flat_map(|it| hosts(it, spot)).collect(),
        Reference::Service => resources.filter_map(|it| service(it, spot)).collect(),
        Reference::Subset => resources.flat_map(|it| subsets(it, spot)).collect(),
        Reference::Gateway => resources.filter_map(|it| gateway(it, spot)).collect(),
        Reference::Secret => resources.filter_map(|it| secret(it, spot)).collect(),
    };
    if reference == Reference::Gateway {
        let detail = "the sidecars".to_owned();
        names.push(Name { written: "mesh".to_owned(), detail, origin: None });
    }
    names.sort_by(|a, b| a.written.cmp(&b.written));
    names.dedup_by(|a, b| a.written == b.written);
    names
}

/// Where the name under the cursor is defined.
pub(crate) fn definitions(reference: Reference, spot: &Spot, project: &Project) -> Vec<Origin> {
    let names = names(reference, spot, project);
    let is_it = |name: &Name| match reference {
        Reference::Host => {
            full(&name.written, &spot.namespace) == full(&spot.word, &spot.namespace)
        }
        Reference::Gateway => {
            let full = |name: &str| match name.split_once('/') {
                Some(_) => name.to_owned(),
                None => format!("{}/{name}", spot.namespace),
            };
            full(&name.written) == full(&spot.word)
        }
        Reference::Subset | Reference::Secret | Reference::Service => name.written == spot.word,
    };
    names.into_iter().filter(is_it).filter_map(|name| name.origin).collect()
}

/// A host in full; short names are completed as Istio does.
fn full(host: &str, namespace: &str) -> String {
    if host.contains('.') || host.contains('*') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.cluster.local")
    }
}

fn hosts(resource: &Resource, spot: &Spot) -> Vec<Name> {
    if let Resource::Service(service) = resource {
        let (name, namespace) = (&service.meta.name, service.meta.namespace.as_str());
        let written = if namespace == spot.namespace {
            name.clone()
        } else {
            format!("{name}.{namespace}.svc.cluster.local")
        };
        return vec![named(written, service, "Service")];
    }
    let Resource::ServiceEntry(entry) = resource else { return Vec::new() };
    let hosts = entry.spec.hosts.iter();
    hosts.map(|host| named(host.to_string(), entry, "ServiceEntry")).collect()
}

fn service(resource: &Resource, spot: &Spot) -> Option<Name> {
    let Resource::Service(service) = resource else { return None };
    let is_near = service.meta.namespace.as_str() == spot.namespace;
    is_near.then(|| named(service.meta.name.clone(), service, "Service"))
}

fn subsets(resource: &Resource, spot: &Spot) -> Vec<Name> {
    let Resource::DestinationRule(rule) = resource else { return Vec::new() };
    let host = spot.sibling("host").map(|host| full(host, &spot.namespace));
    if host.is_some_and(|host| host != rule.spec.host.to_string()) {
        return Vec::new();
    }
    let names = rule.spec.subsets.iter().map(|subset| Name {
        written: subset.name.clone(),
        detail: format!("subset of DestinationRule {}/{}", rule.meta.namespace, rule.meta.name),
        origin: Some(rule.origin_at(subset.line)),
    });
    names.collect()
}

fn gateway(resource: &Resource, spot: &Spot) -> Option<Name> {
    let Resource::Gateway(gateway) = resource else { return None };
    let (name, namespace) = (&gateway.meta.name, gateway.meta.namespace.as_str());
    let written =
        if namespace == spot.namespace { name.clone() } else { format!("{namespace}/{name}") };
    Some(named(written, gateway, "Gateway"))
}

fn secret(resource: &Resource, spot: &Spot) -> Option<Name> {
    let Resource::Secret(secret) = resource else { return None };
    let is_near = secret.meta.namespace.as_str() == spot.namespace;
    is_near.then(|| named(secret.meta.name.clone(), secret, "Secret"))
}

fn named<T>(written: String, object: &Object<T>, kind: &str) -> Name {
    let detail = format!("{kind} {}/{}", object.meta.namespace, object.meta.name);
    Name { written, detail, origin: Some(object.origin.clone()) }
}
