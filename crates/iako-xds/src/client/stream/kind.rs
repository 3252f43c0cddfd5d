//! One type of resources: what is wanted, what the server knows of that, and what we have.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{IncomingResponse, Interest, Received, Update, Verdict};
use crate::{DeltaRequest, Resource, StateRequest, Variant, Version};

#[derive(Debug, Default)]
pub(super) struct Kind {
    wanted: Wanted,
    /// What the server was told on this connection; none before its first message.
    announced: Option<Wanted>,
    /// What is in use, by the owner's verdicts.
    held: BTreeMap<Arc<str>, Version>,
    /// Responses of this connection that the owner has not judged.
    open: BTreeSet<String>,
    /// Judgements not yet sent: nonce, and words when it is a rejection.
    judged: VecDeque<(String, Option<String>)>,
    /// The list that was accepted last. State of the world.
    accepted: String,
    /// The nonce received last. State of the world.
    nonce: String,
    /// Whether a name was given on this connection; from then on no names means nothing.
    named: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wanted {
    everything: bool,
    names: BTreeSet<Arc<str>>,
}

impl Wanted {
    fn is_nothing(&self) -> bool {
        !self.everything && self.names.is_empty()
    }

    fn covers(&self, name: &str) -> bool {
        self.everything || self.names.contains(name)
    }
}

impl Kind {
    pub(super) fn want(&mut self, interest: Interest) {
        self.wanted = match interest {
            Interest::Everything => Wanted { everything: true, names: BTreeSet::new() },
            Interest::EverythingAnd(names) => Wanted { everything: true, names },
            Interest::Names(names) => Wanted { everything: false, names },
        };
        let wanted = &self.wanted;
        self.held.retain(|name, _| wanted.covers(name));
    }

    pub(super) fn reset(&mut self) {
        self.announced = None;
        self.open.clear();
        self.judged.clear();
        self.nonce.clear();
        self.named = false;
    }

    pub(super) const fn is_announced(&self) -> bool {
        self.announced.is_some()
    }

    pub(super) fn on_response(&mut self, response: IncomingResponse, variant: Variant) -> Received {
        self.nonce.clone_from(&response.nonce);
        let incoming = match response.resources {
            Ok(incoming) => incoming,
            Err(reason) => return self.refuse(response.nonce, reason),
        };
        let mut seen = BTreeSet::new();
        if let Some(twice) = incoming.iter().find(|one| !seen.insert(&one.resource.name)) {
            let reason = format!("the resource {} is there twice", twice.resource.name);
            return self.refuse(response.nonce, reason);
        }
        let full = variant == Variant::StateOfTheWorld && response.type_url.is_whole_in_responses();
        let mut removed: Vec<Arc<str>> =
            response.removed.iter().map(|name| name.as_str().into()).collect();
        if full {
            let absent = self.held.keys().filter(|name| !seen.contains(name));
            removed.extend(absent.cloned());
        }
        removed.retain(|name| self.wanted.covers(name));
        let is_wanted = |resource: &Resource, aliases: &[String]| {
            self.wanted.covers(&resource.name) || aliases.iter().any(|it| self.wanted.covers(it))
        };
        let (mut resources, mut aliases) = (Vec::new(), BTreeMap::new());
        let mut lifetimes = BTreeMap::new();
        for one in incoming.into_iter().filter(|one| is_wanted(&one.resource, &one.aliases)) {
            let name = &one.resource.name;
            lifetimes.extend(one.ttl.map(|ttl| (Arc::clone(name), ttl)));
            let asked = one.aliases.iter().filter(|alias| self.wanted.covers(alias));
            aliases.extend(asked.map(|alias| (Arc::from(alias.as_str()), Arc::clone(name))));
            if !one.is_heartbeat {
                resources.push(one.resource);
            } else if one.ttl.is_none() {
                let names = one.aliases.iter().map(|alias| Arc::from(alias.as_str()));
                let names: BTreeSet<Arc<str>> = names.chain([one.resource.name]).collect();
                removed.extend(names.into_iter().filter(|name| self.wanted.covers(name)));
            }
        }
        self.open.insert(response.nonce.clone());
        Received::Update(Update {
            type_url: response.type_url,
            version: response.version.as_str().into(),
            nonce: response.nonce,
            resources,
            aliases,
            lifetimes,
            removed,
        })
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.held.remove(name);
    }

    fn refuse(&mut self, nonce: String, reason: String) -> Received {
        self.judged.push_back((nonce, Some(reason.clone())));
        Received::Refused(reason)
    }

    pub(super) fn on_verdict(&mut self, update: &Update, verdict: Verdict) {
        let taken = |name: &Arc<str>| match &verdict {
            Verdict::Accepted => true,
            Verdict::Rejected { .. } => false,
            Verdict::PartlyAccepted { rejected, .. } => !rejected.contains(name),
        };
        for resource in &update.resources {
            if taken(&resource.name) && self.wanted.covers(&resource.name) {
                self.held.insert(Arc::clone(&resource.name), resource.version.clone());
            }
        }
        for name in update.removed.iter().filter(|name| taken(name)) {
            self.held.remove(name);
        }
        let words = match verdict {
            Verdict::Accepted => None,
            Verdict::Rejected { message } | Verdict::PartlyAccepted { message, .. } => {
                Some(message)
            }
        };
        if self.open.remove(&update.nonce) {
            if words.is_none() {
                update.version.as_str().clone_into(&mut self.accepted);
            }
            self.judged.push_back((update.nonce.clone(), words));
        }
    }

    /// A delta server is never sent a verdict and a wish in one message: some drop the wish.
    pub(super) fn next_delta(&mut self) -> Option<DeltaRequest> {
        if let Some((nonce, error)) = self.judged.pop_front() {
            return Some(DeltaRequest { nonce, error, ..DeltaRequest::default() });
        }
        let text = |names: BTreeSet<&Arc<str>>| -> Vec<String> {
            names.into_iter().map(ToString::to_string).collect()
        };
        let Some(announced) = self.announced.replace(self.wanted.clone()) else {
            if self.wanted.is_nothing() {
                self.announced = None;
                return None;
            }
            let held = self.held.iter();
            let mut subscribe = text(self.wanted.names.iter().collect());
            if self.wanted.everything && !subscribe.is_empty() {
                subscribe.push("*".to_owned());
            }
            return Some(DeltaRequest {
                subscribe,
                initial_versions: held
                    .map(|(name, version)| (name.to_string(), version.to_string()))
                    .collect(),
                ..DeltaRequest::default()
            });
        };
        if announced == self.wanted {
            return None;
        }
        let (old, new) = (&announced.names, &self.wanted.names);
        let mut request = DeltaRequest {
            subscribe: text(new.difference(old).collect()),
            unsubscribe: text(old.difference(new).collect()),
            ..DeltaRequest::default()
        };
        match (announced.everything, self.wanted.everything) {
            (false, true) => request.subscribe.push("*".to_owned()),
            (true, false) => request.unsubscribe.push("*".to_owned()),
            (true, true) | (false, false) => {}
        }
        Some(request)
    }

    pub(super) fn next_state(&mut self) -> Option<StateRequest> {
        let judged = self.judged.pop_front();
        let changed = self.announced.as_ref() != Some(&self.wanted);
        let first = self.announced.is_none();
        if judged.is_none() && (!changed || (first && self.wanted.is_nothing())) {
            return None;
        }
        // Carrying the nonce of an unjudged response would pass for its acceptance, so a wish
        // waits for the verdict and travels with it.
        if judged.is_none() && !self.open.is_empty() {
            return None;
        }
        let (nonce, error) = judged.unwrap_or_else(|| (self.nonce.clone(), None));
        self.announced = Some(self.wanted.clone());
        let mut names: Vec<String> = self.wanted.names.iter().map(ToString::to_string).collect();
        if self.wanted.everything && (self.named || !names.is_empty()) {
            names.push("*".to_owned());
        }
        self.named |= !names.is_empty();
        Some(StateRequest { version: self.accepted.clone(), names, nonce, error })
    }
}
