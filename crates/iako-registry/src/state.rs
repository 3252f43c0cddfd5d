//! The one place where changes become a new snapshot.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use iako_resources::{Code, Diagnostic, FileContent, Kind, Resource, ResourceKey};

use crate::{Change, MeshSnapshot, build::build};

/// What all sources hold, and the snapshot made of it. Has one owner.
#[derive(Debug, Clone, Default)]
pub struct MeshState {
    sources: BTreeMap<String, Source>,
    /// The network of local pods that are invented where no `Pod` document says who runs.
    invented: Option<Ipv4Addr>,
    snapshot: Arc<MeshSnapshot>,
}

/// What one source holds.
#[derive(Debug, Clone, Default, PartialEq)]
struct Source {
    objects: BTreeMap<ResourceKey, Resource>,
    files: BTreeMap<Arc<str>, Held>,
}

/// What one file holds.
#[derive(Debug, Clone, Default, PartialEq)]
struct Held {
    resources: Vec<Resource>,
    diagnostics: Vec<Diagnostic>,
}

impl MeshState {
    /// A state that invents the local pods of workloads that no `Pod` document runs, with
    /// addresses of this /16: for looking at a directory that does not run.
    #[must_use]
    pub fn inventing_pods(network: Ipv4Addr) -> Self {
        Self { invented: Some(network), ..Self::default() }
    }

    /// The newest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<MeshSnapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Applies a change and returns the newest snapshot; the same one as before, with the same
    /// version, when nothing is different.
    pub fn apply(&mut self, change: Change) -> Arc<MeshSnapshot> {
        let different = match change {
            Change::Upsert { source, resource } => self.upsert(source, resource),
            Change::Delete { source, key } => self
                .sources
                .get_mut(&source)
                .is_some_and(|source| source.objects.remove(&key).is_some()),
            Change::Replace { source, files } => self.replace(source, files),
        };
        if different || self.snapshot.version == 0 {
            self.snapshot = Arc::new(self.make());
        }
        self.snapshot()
    }

    fn upsert(&mut self, source: String, resource: Resource) -> bool {
        let objects = &mut self.sources.entry(source).or_default().objects;
        let key = resource.key();
        if objects.get(&key) == Some(&resource) {
            return false;
        }
        objects.insert(key, resource);
        true
    }

    fn replace(&mut self, source: String, files: Vec<FileContent>) -> bool {
        let before = self.sources.entry(source).or_default();
        let mut now = Source { objects: before.objects.clone(), files: BTreeMap::new() };
        for file in files {
            let held = keep_last_good(&file, before);
            now.files.insert(file.file, held);
        }
        let different = *before != now;
        *before = now;
        different
    }

    fn make(&self) -> MeshSnapshot {
        let mut diagnostics = Vec::new();
        let mut objects: BTreeMap<ResourceKey, usize> = BTreeMap::new();
        let mut resources: Vec<Resource> = Vec::new();
        for source in self.sources.values() {
            let of_files = source.files.values().flat_map(|held| &held.resources);
            for resource in source.objects.values().chain(of_files) {
                let key = resource.key();
                match objects.get(&key).and_then(|&place| resources.get_mut(place)) {
                    None => {
                        objects.insert(key, resources.len());
                        resources.push(resource.clone());
                    }
                    Some(first) => settle_twice(first, resource, &mut diagnostics),
                }
            }
            let of_files = source.files.values().flat_map(|held| &held.diagnostics);
            diagnostics.extend(of_files.cloned());
        }
        let mut snapshot = build(resources, self.invented);
        snapshot.version = self.snapshot.version.saturating_add(1);
        snapshot.diagnostics = diagnostics;
        snapshot
    }
}

/// What a file holds now: its good objects, and the last good version of those that it breaks.
fn keep_last_good(file: &FileContent, before: &Source) -> Held {
    let mut held =
        Held { resources: file.resources.clone(), diagnostics: file.diagnostics.clone() };
    if !file.complete {
        // What follows the fault is unknown, so nothing of the file is taken.
        if let Some(old) = before.files.get(&file.file).filter(|old| !old.resources.is_empty()) {
            for resource in &old.resources {
                held.diagnostics.push(kept(resource, &[]));
            }
            held.resources.clone_from(&old.resources);
        }
        return held;
    }
    let missing = nameless_faults(file, before);
    for key in file.refused.iter().chain(&missing) {
        let mut old = before.files.values().flat_map(|held| &held.resources);
        let Some(last_good) = old.find(|resource| resource.key() == *key) else { continue };
        if held.resources.iter().all(|resource| resource.key() != *key) {
            let diagnostic = kept(last_good, &held.diagnostics);
            held.resources.push(last_good.clone());
            held.diagnostics.push(diagnostic);
        }
    }
    held
}

/// The objects that the file held and names no more, when it holds one whose kind or name cannot
/// be read: a misspelt `kind` is an edit that breaks an object, not one that removes it.
fn nameless_faults(file: &FileContent, before: &Source) -> Vec<ResourceKey> {
    let faults = [Code::BadMetadata, Code::NotAnObject, Code::UnknownKind];
    let is_nameless = |found: &Diagnostic| found.is_error() && faults.contains(&found.code);
    let held = before.files.get(&file.file);
    let Some(held) = held.filter(|_| file.diagnostics.iter().any(is_nameless)) else {
        return Vec::new();
    };
    let known = |key: &ResourceKey| file.resources.iter().any(|resource| resource.key() == *key);
    held.resources.iter().map(Resource::key).filter(|key| !known(key)).collect()
}

/// Says that an object stays, at the place of what is wrong with it, if that is known.
fn kept(resource: &Resource, diagnostics: &[Diagnostic]) -> Diagnostic {
    let key = resource.key();
    let subject = key.to_string();
    let fault = diagnostics.iter().find(|found| found.is_error() && found.subject == subject);
    let origin = fault.map_or_else(|| resource.origin(), |found| &found.origin).clone();
    let message = "the previous version stays in force until the error is mended".to_owned();
    Diagnostic::new(Code::KeptLastGood, key, origin, message)
}

/// Two documents of one name. A pod that runs counts over the document that asked for it; of
/// anything else the first one counts.
fn settle_twice(first: &mut Resource, second: &Resource, diagnostics: &mut Vec<Diagnostic>) {
    if let (Resource::Pod(asked), Resource::Pod(other)) = (&*first, second) {
        match (asked.spec.ip, other.spec.ip) {
            (None, Some(_)) => {
                *first = second.clone();
                return;
            }
            (Some(_), None) => return,
            _ => {}
        }
    }
    let quiet = matches!(first.kind(), Kind::Namespace | Kind::ServiceAccount);
    if !quiet {
        let message = format!("it is defined already, at {}", first.origin());
        let origin = second.origin().clone();
        let found = Diagnostic::new(Code::DuplicateObject, second.key(), origin, message);
        diagnostics.push(found.with_help("remove one of the two"));
    }
}
