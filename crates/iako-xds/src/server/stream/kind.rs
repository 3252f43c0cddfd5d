//! One type of resources within a stream: what the client wants, has, and was told last.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use crate::{
    DeltaRequest, Resource, ResourceSet, StateRequest, TypeUrl, Version,
    server::status::{Nack, TypeStatus},
};

/// Whether disappeared resources may be told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removals {
    /// Yes.
    Sent,
    /// Not yet: something may still refer to them.
    Held,
}

/// What a response will hold.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) version: Version,
    pub(super) resources: Vec<Resource>,
    pub(super) removed: Vec<Arc<str>>,
    /// Endpoints of the clusters in it that the client did not have in this version.
    pub(super) changed: Vec<Arc<str>>,
}

/// What the client was last told about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    /// It has this version, from an earlier stream.
    Version(Version),
    /// It was sent this. Rejected or not: the same is not sent twice unless asked for.
    Sent(Resource),
    /// It was told that there is none.
    Nothing,
}

impl Held {
    const fn version(&self) -> Option<&Version> {
        match self {
            Self::Version(version) => Some(version),
            Self::Sent(resource) => Some(&resource.version),
            Self::Nothing => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Kind {
    /// Whether a message of this type has arrived.
    begun: bool,
    wildcard: bool,
    names: BTreeSet<Arc<str>>,
    /// Whether a name was ever given; from then on no names means nothing. State of the world.
    named: bool,
    held: BTreeMap<Arc<str>, Held>,
    /// Names to be answered even if the client seems to have them.
    due: BTreeSet<Arc<str>>,
    /// Whether an answer is owed even if it holds nothing.
    answer_due: bool,
    /// The version that the client brought from an earlier stream. State of the world.
    brought: Option<Version>,
    /// Whether the client came with something from an earlier stream. State of the world.
    returned: bool,
    /// Whether anything has happened since the last look.
    pub(super) changed: bool,
    /// The last response.
    last: Option<(String, Version)>,
    /// Whether the last response waits for the client's verdict.
    waiting: bool,
    acknowledged: Option<Version>,
    rejected: Option<Nack>,
}

impl Kind {
    pub(super) fn on_delta(&mut self, request: DeltaRequest, type_url: &TypeUrl) {
        let first = !mem::replace(&mut self.begun, true);
        self.changed = true;
        self.judge(&request.nonce, request.error);
        if first {
            let unnamed = request.subscribe.is_empty() && request.unsubscribe.is_empty();
            self.wildcard = unnamed && type_url.is_wildcard_by_default();
            self.answer_due = self.wildcard;
        }
        for name in request.subscribe {
            self.subscribe(name);
        }
        for name in request.unsubscribe {
            self.unsubscribe(&name);
        }
        if first && !request.initial_versions.is_empty() {
            self.bring(request.initial_versions);
        }
        if !self.wildcard {
            let names = &self.names;
            self.held.retain(|held, _| names.contains(held));
        }
    }

    /// What the client has from an earlier stream is compared by version; only differences are
    /// owed to it.
    fn bring(&mut self, versions: BTreeMap<String, String>) {
        let versions = versions.into_iter();
        self.held = versions
            .map(|(name, version)| (name.into(), Held::Version(version.as_str().into())))
            .collect();
        let held = &self.held;
        self.due.retain(|name| !held.contains_key(name));
        self.answer_due = false;
    }

    fn subscribe(&mut self, name: String) {
        if name == "*" {
            self.wildcard = true;
            self.answer_due = true;
        } else {
            let name: Arc<str> = name.into();
            self.due.insert(Arc::clone(&name));
            self.names.insert(name);
        }
    }

    fn unsubscribe(&mut self, name: &str) {
        if name == "*" {
            self.wildcard = false;
        } else if self.names.remove(name) {
            if self.wildcard {
                // It cannot know whether the wildcard still covers the name.
                self.due.insert(name.into());
            } else {
                self.due.remove(name);
            }
        }
    }

    pub(super) fn on_state(&mut self, request: StateRequest, type_url: &TypeUrl) {
        let first = !mem::replace(&mut self.begun, true);
        let last = self.last.as_ref().map_or("", |(nonce, _)| nonce.as_str());
        if !first && request.nonce != last {
            // Answers to something older; the client's answer to the last response follows.
            return;
        }
        self.changed = true;
        if first && !request.version.is_empty() {
            self.brought = Some(request.version.as_str().into());
            self.returned = true;
        }
        self.judge(&request.nonce, request.error);
        self.named |= !request.names.is_empty();
        let wildcard = request.names.iter().any(|name| name == "*")
            || (!self.named && type_url.is_wildcard_by_default());
        let names: BTreeSet<Arc<str>> =
            request.names.into_iter().filter(|name| name != "*").map(Into::into).collect();
        if !first && wildcard == self.wildcard && names == self.names {
            return;
        }
        let widened = wildcard && !self.wildcard;
        self.due.extend(names.difference(&self.names).cloned());
        self.due.retain(|name| names.contains(name));
        self.answer_due |= widened || (type_url.is_full_state() && (wildcard || !names.is_empty()));
        self.wildcard = wildcard;
        self.names = names;
        if !wildcard {
            let names = &self.names;
            self.held.retain(|held, _| names.contains(held));
        }
    }

    /// Takes the client's verdict on the last response; a verdict on an older one says nothing.
    fn judge(&mut self, nonce: &str, error: Option<String>) {
        let Some((last, version)) = &self.last else { return };
        if nonce.is_empty() || nonce != last {
            return;
        }
        self.waiting = false;
        match error {
            Some(message) => self.rejected = Some(Nack { version: version.clone(), message }),
            None => {
                self.acknowledged = Some(version.clone());
                self.rejected = None;
            }
        }
    }

    /// Sends these again although they did not change, if the client wants them.
    pub(super) fn push_again(&mut self, names: BTreeSet<Arc<str>>) {
        for name in names {
            if self.wildcard || self.names.contains(&name) {
                self.due.insert(name);
                self.changed = true;
            }
        }
    }

    pub(super) fn next_delta(
        &mut self,
        set: Option<&ResourceSet>,
        removals: Removals,
    ) -> Option<Answer> {
        if self.waiting || !self.changed {
            return None;
        }
        let resources = self.news(set);
        let visible = |name: &Arc<str>| {
            (self.wildcard || self.names.contains(name))
                && set.is_some_and(|set| set.get(name).is_some())
        };
        // A name just asked for is answered at once, one that disappeared may have to wait.
        let missing = |name: &&Arc<str>| {
            let held = self.held.get(*name);
            !visible(name) && (self.due.contains(*name) || held.is_none())
        };
        let mut removed: BTreeSet<Arc<str>> =
            self.names.iter().chain(&self.due).filter(missing).cloned().collect();
        let vanished =
            |(name, held): &(&Arc<str>, &Held)| held.version().is_some() && !visible(name);
        let vanished: Vec<_> =
            self.held.iter().filter(vanished).map(|(name, _)| Arc::clone(name)).collect();
        let all_told = vanished.is_empty() || removals == Removals::Sent;
        if removals == Removals::Sent {
            removed.extend(vanished);
        }
        if resources.is_empty() && removed.is_empty() && !self.answer_due {
            self.changed = !all_told;
            return None;
        }
        for name in &removed {
            if self.names.contains(name) {
                self.held.insert(Arc::clone(name), Held::Nothing);
            } else {
                self.held.remove(name);
            }
        }
        Some(self.answer(resources, removed.into_iter().collect()))
    }

    /// The next response of a full-state type to a state-of-the-world client: all or nothing.
    pub(super) fn next_whole(
        &mut self,
        set: Option<&ResourceSet>,
        removals: Removals,
    ) -> Option<Answer> {
        if self.waiting || !self.changed {
            return None;
        }
        let news = self.news(set);
        let exists = |name: &Arc<str>| set.is_some_and(|set| set.get(name).is_some());
        let kept: Vec<Resource> = self
            .held
            .values()
            .filter_map(|held| match held {
                Held::Sent(resource) if !exists(&resource.name) => Some(resource.clone()),
                Held::Sent(_) | Held::Version(_) | Held::Nothing => None,
            })
            .collect();
        let drops = !kept.is_empty() && removals == Removals::Sent;
        if news.is_empty() && !drops && !self.answer_due {
            self.changed = !kept.is_empty();
            return None;
        }
        let changed: Vec<_> = news.iter().map(endpoints_of).collect();
        let mut all: Vec<Resource> = self.visible(set).cloned().collect();
        if removals == Removals::Held {
            all.extend(kept);
        }
        self.held.clear();
        Some(Answer { changed, ..self.answer(all, Vec::new()) })
    }

    /// When the client brought exactly this list of a full-state type from an earlier stream, it
    /// has it already.
    pub(super) fn take_up(&mut self, set: Option<&ResourceSet>) {
        let Some(brought) = self.brought.take() else { return };
        let current = Version::of_list(
            self.visible(set).map(|resource| (resource.name.as_ref(), &resource.version)),
        );
        if self.wildcard && self.names.is_empty() && current == brought {
            let sent =
                self.visible(set).map(|one| (Arc::clone(&one.name), Held::Sent(one.clone())));
            self.held = sent.collect();
            self.answer_due = false;
            self.acknowledged = Some(brought);
        }
    }

    /// The next response of another type to a state-of-the-world client: what is new. Absence
    /// says nothing there, so disappeared resources are only forgotten.
    pub(super) fn next_partial(&mut self, set: Option<&ResourceSet>) -> Option<Answer> {
        if self.waiting || !self.changed {
            return None;
        }
        let resources = self.news(set);
        self.held.retain(|name, _| set.is_some_and(|set| set.get(name).is_some()));
        if resources.is_empty() && !(self.answer_due && self.wildcard) {
            self.due.clear();
            self.changed = false;
            return None;
        }
        Some(self.answer(resources, Vec::new()))
    }

    /// Resources that the client wants and does not have, or must be answered.
    fn news(&self, set: Option<&ResourceSet>) -> Vec<Resource> {
        let is_new = |resource: &&Resource| {
            let held = self.held.get(&resource.name).and_then(Held::version);
            held != Some(&resource.version) || self.due.contains(&resource.name)
        };
        self.visible(set).filter(is_new).cloned().collect()
    }

    /// Resources that exist and that the client wants.
    fn visible<'a>(&'a self, set: Option<&'a ResourceSet>) -> impl Iterator<Item = &'a Resource> {
        let all = set.filter(|_| self.wildcard).into_iter().flat_map(ResourceSet::iter);
        let names = self.names.iter().filter(|_| !self.wildcard);
        all.chain(names.filter_map(move |name| set?.get(name)))
    }

    /// Notes what the response tells the client.
    fn answer(&mut self, resources: Vec<Resource>, removed: Vec<Arc<str>>) -> Answer {
        for resource in &resources {
            self.held.insert(Arc::clone(&resource.name), Held::Sent(resource.clone()));
        }
        self.due.clear();
        self.answer_due = false;
        // What was held back, or changes while this is on its way, is looked at afterwards.
        self.changed = true;
        let list = self.held.iter();
        let known = list.filter_map(|(name, held)| Some((name.as_ref(), held.version()?)));
        let version = Version::of_list(known);
        let changed = resources.iter().map(endpoints_of).collect();
        Answer { version, resources, removed, changed }
    }

    pub(super) fn sent(&mut self, nonce: &str, version: &Version) {
        self.last = Some((nonce.to_owned(), version.clone()));
        self.waiting = true;
    }

    /// Endpoints of the clusters that the client wants and has in no version.
    pub(super) fn lacking(&self, set: Option<&ResourceSet>) -> BTreeSet<Arc<str>> {
        let lacks = |resource: &&Resource| !self.has(&resource.name);
        self.visible(set).filter(lacks).map(endpoints_of).collect()
    }

    /// Whether the client was told that this exists.
    pub(super) fn has(&self, name: &str) -> bool {
        self.held.get(name).is_some_and(|held| held.version().is_some())
    }

    /// Whether the client has anything, from this stream or an earlier one.
    pub(super) fn has_any(&self) -> bool {
        self.returned || self.held.values().any(|held| held.version().is_some())
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Whether the client runs what it was last sent.
    pub(super) const fn is_settled(&self) -> bool {
        !self.waiting && self.rejected.is_none()
    }

    pub(super) fn status(&self, type_url: &TypeUrl) -> TypeStatus {
        TypeStatus {
            type_url: type_url.clone(),
            resources: self.held.values().filter(|held| held.version().is_some()).count(),
            sent: match &self.last {
                Some((_, version)) => Some(version.clone()),
                // It came with this very list, so nothing had to be sent.
                None => self.acknowledged.clone(),
            },
            acknowledged: self.acknowledged.clone(),
            waiting: self.waiting,
            rejected: self.rejected.clone(),
        }
    }
}

fn endpoints_of(cluster: &Resource) -> Arc<str> {
    cluster.endpoints.clone().unwrap_or_else(|| Arc::clone(&cluster.name))
}
