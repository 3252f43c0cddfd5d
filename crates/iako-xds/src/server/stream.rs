//! One client's conversation, as the server sees it: requests in, responses out, no I/O.

mod kind;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use self::kind::{Kind, Removals};
use super::status::TypeStatus;
use crate::{Request, Response, Snapshot, TypeUrl, Variant};

/// Types that one stream may ask for; bounds what a client can make us remember. Envoy has nine.
const TYPES_MAX: usize = 64;

/// How long listeners and routes wait for a client to be ready with the clusters they may refer
/// to. Bounds the harm of a client that never asks for a cluster's endpoints.
const HOLD_MAX: Duration = Duration::from_secs(2);

/// The server's end of one stream.
///
/// Feed it requests and snapshots; then take responses until there are none.
#[derive(Debug)]
pub struct ServerStream {
    variant: Variant,
    snapshot: Option<Arc<Snapshot>>,
    kinds: BTreeMap<TypeUrl, Kind>,
    /// Endpoints of clusters that changed: a client that updates a cluster waits for its
    /// endpoints, and a delta client does not even ask for them.
    endpoints_due: BTreeSet<Arc<str>>,
    /// Endpoints of clusters that are new to the client: until it has them, a request to such a
    /// cluster fails.
    fresh: BTreeSet<Arc<str>>,
    /// Since when listeners and routes wait.
    held_since: Option<Instant>,
    responses: u64,
}

impl ServerStream {
    /// A stream that has heard and said nothing.
    #[must_use]
    pub const fn new(variant: Variant) -> Self {
        Self {
            variant,
            snapshot: None,
            kinds: BTreeMap::new(),
            endpoints_due: BTreeSet::new(),
            fresh: BTreeSet::new(),
            held_since: None,
            responses: 0,
        }
    }

    /// Takes a message of the client.
    pub fn on_request(&mut self, request: Request) {
        let (Request::Delta(type_url, _) | Request::State(type_url, _)) = &request;
        if self.kinds.len() >= TYPES_MAX && !self.kinds.contains_key(type_url) {
            return;
        }
        match request {
            Request::Delta(type_url, request) => {
                let kind = self.kinds.entry(type_url.clone()).or_default();
                kind.on_delta(request, &type_url);
            }
            Request::State(type_url, request) => {
                let kind = self.kinds.entry(type_url.clone()).or_default();
                kind.on_state(request, &type_url);
            }
        }
    }

    /// Takes a new state. It replaces the one before, sent or not.
    pub fn on_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        let before = self.snapshot.replace(snapshot);
        let Some(now) = &self.snapshot else { return };
        for (type_url, kind) in &mut self.kinds {
            let old = before.as_ref().and_then(|before| before.set(type_url));
            kind.changed |= before.is_none() || old != now.set(type_url);
        }
    }

    /// What is to be sent next; none when everything is sent or waits for the client.
    ///
    /// Types go out in the order that makes before it breaks. A client that has listeners or
    /// routes is sent others only when it is ready with the clusters that are new, or after 2 s;
    /// clusters and endpoints are removed only when it has taken the listeners and routes that no
    /// longer need them.
    pub fn next_response(&mut self, now: Instant) -> Option<Response> {
        let snapshot = Arc::clone(self.snapshot.as_ref()?);
        let types: Vec<TypeUrl> = self.kinds.keys().cloned().collect();
        for (type_url, kind) in &mut self.kinds {
            if type_url.is_full_state() {
                kind.take_up(snapshot.set(type_url).map(AsRef::as_ref));
            }
        }
        let hold = self.hold_references(&snapshot, now);
        for type_url in &types {
            let refers = REFERRING.contains(type_url);
            if hold && refers && self.kinds.get(type_url).is_some_and(Kind::has_any) {
                continue;
            }
            let removals = if is_target(type_url) { Removals::Held } else { Removals::Sent };
            if let Some(response) = self.respond(type_url, &snapshot, removals) {
                return Some(response);
            }
        }
        if hold || !self.references_settled() {
            return None;
        }
        let mut targets = types.iter().filter(|type_url| is_target(type_url));
        targets.find_map(|type_url| self.respond(type_url, &snapshot, Removals::Sent))
    }

    /// When to ask for responses again although nothing has happened; none when that is not needed.
    #[must_use]
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        self.held_since?.checked_add(HOLD_MAX).filter(|until| *until > now)
    }

    /// The state that is told now.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// How far the client is, in order of sending.
    #[must_use]
    pub fn status(&self) -> Vec<TypeStatus> {
        self.kinds.iter().map(|(type_url, kind)| kind.status(type_url)).collect()
    }

    fn respond(
        &mut self,
        type_url: &TypeUrl,
        snapshot: &Snapshot,
        removals: Removals,
    ) -> Option<Response> {
        let set = snapshot.set(type_url).map(AsRef::as_ref);
        if set.is_none() && !type_url.is_core() {
            // Nobody here serves this type; saying that its resources do not exist would be a lie.
            return None;
        }
        let kind = self.kinds.get_mut(type_url)?;
        if *type_url == TypeUrl::ENDPOINTS && !kind.is_waiting() {
            kind.push_again(std::mem::take(&mut self.endpoints_due));
        }
        let added = if *type_url == TypeUrl::CLUSTER { kind.lacking(set) } else { BTreeSet::new() };
        let answer = match self.variant {
            Variant::Delta => kind.next_delta(set, removals),
            Variant::StateOfTheWorld if type_url.is_full_state() => kind.next_whole(set, removals),
            Variant::StateOfTheWorld => kind.next_partial(set),
        }?;
        self.responses = self.responses.saturating_add(1);
        let nonce = self.responses.to_string();
        kind.sent(&nonce, &answer.version);
        if *type_url == TypeUrl::CLUSTER {
            self.endpoints_due.extend(answer.changed);
            self.fresh.extend(added);
        }
        Some(Response {
            type_url: type_url.clone(),
            version: answer.version,
            nonce,
            resources: answer.resources,
            removed: answer.removed,
        })
    }

    /// Whether listeners and routes must wait for clusters that the client does not have ready.
    fn hold_references(&mut self, snapshot: &Snapshot, now: Instant) -> bool {
        let endpoints = self.kinds.get(&TypeUrl::ENDPOINTS);
        let (due, set) = (&self.endpoints_due, snapshot.set(&TypeUrl::ENDPOINTS));
        self.fresh.retain(|name| {
            let exists = set.is_some_and(|set| set.get(name).is_some());
            let has = endpoints.is_some_and(|kind| !kind.is_waiting() && kind.has(name));
            exists && (!has || due.contains(name))
        });
        let clusters = self.kinds.get(&TypeUrl::CLUSTER);
        let set = snapshot.set(&TypeUrl::CLUSTER).map(AsRef::as_ref);
        let unsent = clusters.is_some_and(|kind| !kind.lacking(set).is_empty());
        if self.fresh.is_empty() && !unsent {
            self.held_since = None;
            return false;
        }
        let since = *self.held_since.get_or_insert(now);
        let hold = now.duration_since(since) < HOLD_MAX;
        if !hold {
            // These were waited for long enough; the next new cluster is waited for again.
            self.fresh.clear();
            self.held_since = self.held_since.filter(|_| unsent);
        }
        hold
    }

    /// Whether the client has taken all that may refer to clusters. After a rejection it still
    /// runs the old listeners and routes, which need the old clusters.
    fn references_settled(&self) -> bool {
        let mut kinds = REFERRING.iter().filter_map(|type_url| self.kinds.get(type_url));
        kinds.all(Kind::is_settled)
    }
}

/// Types whose resources refer to clusters.
static REFERRING: [TypeUrl; 4] =
    [TypeUrl::LISTENER, TypeUrl::SCOPED_ROUTES, TypeUrl::ROUTES, TypeUrl::VIRTUAL_HOST];

/// Whether listeners and routes refer to resources of this type.
fn is_target(type_url: &TypeUrl) -> bool {
    *type_url == TypeUrl::CLUSTER || *type_url == TypeUrl::ENDPOINTS
}
