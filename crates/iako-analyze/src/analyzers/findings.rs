//! Where analyzers put what they find.

use std::time::SystemTime;

use iako_registry::{MeshSnapshot, ServiceSource, Workload};
use iako_resources::{
    Code, Diagnostic, Kind, Labels, Object, Resource, ResourceKey, Severity, VirtualService,
    selects,
};
use iako_types::{HostPattern, Namespace};

/// What analyzers found so far.
#[derive(Debug)]
pub(super) struct Findings {
    /// The time; `None` where it is not known.
    pub(super) now: Option<SystemTime>,
    diagnostics: Vec<Diagnostic>,
}

/// Which part of an object a finding is about: its field and its line, 0 for the object as a whole.
pub(super) struct Part<'a> {
    pub(super) path: &'a str,
    pub(super) line: u32,
}

impl Findings {
    /// Nothing so far.
    pub(super) const fn at(now: Option<SystemTime>) -> Self {
        Self { now, diagnostics: Vec::new() }
    }

    /// Adds a finding about a part of an object: what is wrong, and what to do. It is handed out, for
    /// who knows more about how bad it is.
    pub(super) fn add<T>(
        &mut self,
        code: Code,
        (kind, object): (Kind, &Object<T>),
        part: &Part<'_>,
        (message, help): (String, &str),
    ) -> &mut Diagnostic {
        let origin =
            if part.line == 0 { object.origin.clone() } else { object.origin_at(part.line) };
        let diagnostic =
            Diagnostic::new(code, key(kind, object), origin, message).at(part.path).with_help(help);
        self.diagnostics.push_mut(diagnostic)
    }

    /// Adds a finding about something that is no object of its own kind.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }
}

/// Every VirtualService, those that are not applied yet included.
pub(super) fn virtual_services(
    snapshot: &MeshSnapshot,
) -> impl Iterator<Item = &Object<VirtualService>> {
    let waiting = snapshot.waiting.iter().filter_map(|resource| {
        let Resource::VirtualService(object) = resource else { return None };
        Some(object.as_ref())
    });
    snapshot.virtual_services.iter().map(AsRef::as_ref).chain(waiting)
}

/// An object's name for messages.
pub(super) fn key<T>(kind: Kind, object: &Object<T>) -> ResourceKey {
    ResourceKey { kind, namespace: object.meta.namespace.clone(), name: object.meta.name.clone() }
}

/// The workloads that a policy in `namespace` with this selector applies to.
pub(super) fn selected<'a>(
    snapshot: &'a MeshSnapshot,
    namespace: &'a Namespace,
    selector: Option<&'a Labels>,
) -> impl Iterator<Item = &'a Workload> {
    let root = *namespace == snapshot.mesh.root_namespace;
    snapshot.workloads.iter().map(AsRef::as_ref).filter(move |workload| {
        (root || workload.namespace == *namespace)
            && selector.is_none_or(|labels| selects(labels, &workload.labels))
    })
}

/// How bad it is that a host is in no registry. Where nothing else of its namespace was read, the
/// host is likely to be defined where we cannot look.
pub(super) fn severity_of_unknown(snapshot: &MeshSnapshot, host: &HostPattern) -> Severity {
    let text = host.to_string();
    let inside = text.strip_suffix(&format!(".svc.{}", snapshot.mesh.cluster_domain));
    let namespace = inside.and_then(|rest| rest.rsplit('.').next());
    let read = snapshot.services.iter().any(|service| match namespace {
        Some(namespace) => service.namespace.as_str() == namespace,
        None => service.source == ServiceSource::ServiceEntry,
    });
    if read { Severity::Warning } else { Severity::Info }
}

/// Labels as a user writes them.
pub(super) fn written(labels: &Labels) -> String {
    let pairs = labels.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

/// The name among `known` that differs least from `wanted`, if any is near.
pub(super) fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.map(|name| (distance(wanted, name), name));
    let (distance, name) = distances.min()?;
    (distance <= wanted.chars().count().div_ceil(3)).then_some(name)
}

/// Fewest insertions, removals and replacements of characters that make one text of another.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, character) in from.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line.saturating_add(1);
        let mut next = vec![left];
        for (above, other) in row.iter().skip(1).zip(&to) {
            let replaced = diagonal.saturating_add(usize::from(character != *other));
            left = replaced.min(left.saturating_add(1)).min(above.saturating_add(1));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_name() {
        let known = ["cart-service", "payment-service"];
        assert_eq!(nearest("cart-servce", known.into_iter()), Some("cart-service"));
        assert_eq!(nearest("web", known.into_iter()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
