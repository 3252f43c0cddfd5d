//! Objects of which one scope takes only one: the oldest.

use std::collections::BTreeSet;

use iako_registry::MeshSnapshot;
use iako_resources::{Code, Kind, Labels, Object, Timestamp, selects};
use iako_types::Namespace;

use super::findings::{Findings, Part, key};

/// The objects of one namespace, or of one selector in it.
type Scope<'a> = (&'a Namespace, Option<&'a Labels>);

/// Objects of which an older one of the same scope counts alone.
pub(super) fn shadowed(snapshot: &MeshSnapshot, findings: &mut Findings) {
    let of = snapshot.peer_authentications.iter();
    let objects = of.map(|it| (it.as_ref(), it.spec.selector.as_ref()));
    report(snapshot, Kind::PeerAuthentication, objects.collect(), findings);
    let of = snapshot.telemetries.iter();
    let objects = of.map(|it| (it.as_ref(), it.spec.selector.as_ref()));
    report(snapshot, Kind::Telemetry, objects.collect(), findings);
    let of = snapshot.sidecars.iter();
    let objects = of.map(|it| (it.as_ref(), it.spec.workload_selector.as_ref()));
    report(snapshot, Kind::Sidecar, objects.collect(), findings);
}

/// Reports every object of one kind that an older one keeps from counting, for all its workloads or
/// for some.
fn report<T>(
    snapshot: &MeshSnapshot,
    kind: Kind,
    objects: Vec<(&Object<T>, Option<&Labels>)>,
    findings: &mut Findings,
) {
    let mut older: Vec<(Scope<'_>, &Object<T>)> = Vec::new();
    for (object, selector) in objects {
        let selector = selector.filter(|labels| !labels.is_empty());
        let scope = (&object.meta.namespace, selector);
        let same = older.iter().find(|(other, _)| *other == scope).map(|(_, first)| (*first, None));
        let found = same.or_else(|| {
            let mut others = older.iter().filter(|((namespace, _), _)| *namespace == scope.0);
            others.find_map(|((_, other), first)| {
                let shared = common(snapshot, scope.0, selector?, (*other)?)?;
                Some((*first, Some(shared)))
            })
        });
        if let Some((first, shared)) = found {
            let other = format!("{} at {}", key(kind, first), first.origin);
            let age = if created(first) < created(object) { "is older" } else { "comes first" };
            let message = match shared {
                Some(workload) if kind == Kind::Telemetry => {
                    format!(
                        "{other} selects the workload {workload} too; of fields that both set, those here count"
                    )
                }
                Some(workload) => {
                    format!("{other} {age} and counts instead for the workload {workload}")
                }
                None if kind == Kind::Telemetry && selector.is_some() => {
                    format!(
                        "{other} selects the same workloads; of fields that both set, those here count"
                    )
                }
                None => format!("{other} {age} and counts instead"),
            };
            let help = "keep one object for each workload, and one without a selector";
            let part = Part { path: "", line: 0 };
            findings.add(Code::PolicyShadowed, (kind, object), &part, (message, help));
        }
        older.push((scope, object));
    }
}

fn created<T>(object: &Object<T>) -> Option<Timestamp> {
    object.meta.creation_timestamp
}

/// A workload that both selectors take.
fn common(
    snapshot: &MeshSnapshot,
    namespace: &Namespace,
    one: &Labels,
    other: &Labels,
) -> Option<String> {
    let names: BTreeSet<&str> = snapshot
        .workloads
        .iter()
        .filter(|workload| workload.namespace == *namespace)
        .filter(|workload| selects(one, &workload.labels) && selects(other, &workload.labels))
        .map(|workload| workload.owner.name.as_str())
        .collect();
    names.first().map(|name| format!("{namespace}/{name}"))
}
