//! VirtualServices that take over rules of others.

use std::collections::BTreeSet;

use iako_registry::MeshSnapshot;
use iako_resources::{Code, Kind, Object, VirtualService};

use super::findings::{Findings, Part, nearest, virtual_services};

/// Delegates that are not there or cannot be one, and those that nobody names.
pub(super) fn delegates(snapshot: &MeshSnapshot, findings: &mut Findings) {
    let mut named = BTreeSet::new();
    for object in virtual_services(snapshot) {
        for (delegate, line) in object.spec.delegates() {
            named.insert((delegate.namespace.clone(), delegate.name.clone()));
            let at = object.spec.http.iter().position(|rule| rule.line == line);
            let path = &format!("spec.http[{}].delegate", at.unwrap_or_default());
            let own = virtual_services(snapshot).find(|other| {
                other.meta.name == delegate.name && other.meta.namespace == delegate.namespace
            });
            let name = format!("{}/{}", delegate.namespace, delegate.name);
            let (message, help) = match own {
                Some(other) if !other.spec.is_delegate() => (
                    format!("the VirtualService {name} has hosts, so that it is no delegate"),
                    "remove its hosts and gateways: those of the object that delegates count"
                        .into(),
                ),
                Some(other) if other.spec.delegates().next().is_some() => (
                    format!("the delegate {name} delegates again, which goes no further"),
                    "let the first object name the last one".to_owned(),
                ),
                Some(_) => continue,
                None => {
                    (format!("there is no VirtualService {name}"), advice(snapshot, &delegate.name))
                }
            };
            let of = (Kind::VirtualService, object);
            findings.add(Code::DelegateNotFound, of, &Part { path, line }, (message, &help));
        }
    }
    for object in virtual_services(snapshot).filter(|object| object.spec.is_delegate()) {
        if named.contains(&(object.meta.namespace.clone(), object.meta.name.clone())) {
            continue;
        }
        let message = "it has no hosts, and no VirtualService delegates to it".to_owned();
        let help = "name it under delegate in another VirtualService, or give it hosts";
        let part = Part { path: "spec.hosts", line: 0 };
        findings.add(Code::DelegateUnused, (Kind::VirtualService, object), &part, (message, help));
    }
}

fn advice(snapshot: &MeshSnapshot, name: &str) -> String {
    let all: Vec<&Object<VirtualService>> = virtual_services(snapshot).collect();
    let known = all.iter().filter(|it| it.spec.is_delegate()).map(|it| it.meta.name.as_str());
    nearest(name, known).map_or_else(
        || "define a VirtualService of this name without hosts".to_owned(),
        |near| format!("did you mean {near}?"),
    )
}
