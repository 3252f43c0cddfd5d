//! What one client was told and is told next, in either form of the conversation.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use iako_xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    Resource as Wire,
};
use prost::Message as _;
use prost_types::Any;

use super::{Board, Key, Told, serve::Answer, short};

/// One conversation.
pub(super) struct Stream {
    pub(super) board: Arc<Board>,
    kinds: BTreeMap<String, Kind>,
    nonce: u64,
    /// What is told later, and when.
    pub(super) later: Vec<(Key, Duration)>,
}

/// What a client asked for of a type, and has.
#[derive(Debug, Default)]
struct Kind {
    everything: bool,
    names: BTreeSet<String>,
    /// Versions, by name.
    has: BTreeMap<String, String>,
    /// Names that are told later.
    delayed: BTreeSet<String>,
}

impl Stream {
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self { board, kinds: BTreeMap::new(), nonce: 0, later: Vec::new() }
    }

    fn next_nonce(&mut self) -> String {
        self.nonce += 1;
        self.nonce.to_string()
    }

    fn version(&self) -> String {
        self.board.version.lock().to_string()
    }

    fn note<E>(&self, kind: &str, names: &[String], refusal: Option<&E>) {
        if refusal.is_some() {
            self.board.refused.lock().insert(short(kind).to_owned());
        }
        let named = names.iter().filter(|name| *name != "*").cloned();
        let named: Vec<String> = named.collect();
        if !named.is_empty() {
            self.board.asked.lock().entry(short(kind).to_owned()).or_default().extend(named);
        }
    }

    /// Takes a request of the delta form.
    pub(super) fn hear_delta(
        &mut self,
        request: DeltaDiscoveryRequest,
    ) -> Vec<DeltaDiscoveryResponse> {
        let type_url = request.type_url;
        let subscribed = request.resource_names_subscribe;
        self.note(&type_url, &subscribed, request.error_detail.as_ref());
        let is_first = !self.kinds.contains_key(&type_url);
        let kind = self.kinds.entry(type_url.clone()).or_default();
        if is_first {
            kind.has = request.initial_resource_versions.into_iter().collect();
        }
        let asks_all = is_first && subscribed.is_empty();
        kind.everything |= asks_all || subscribed.iter().any(|name| name == "*");
        kind.names.extend(subscribed.iter().filter(|name| *name != "*").cloned());
        for name in &request.resource_names_unsubscribe {
            kind.names.remove(name);
            kind.has.remove(name);
            kind.everything &= name != "*";
        }
        // What is asked for by name is told, whatever the client has.
        for name in &subscribed {
            kind.has.remove(name);
        }
        if !asks_all && subscribed.is_empty() {
            return Vec::new();
        }
        let told = self.delta(&type_url, &subscribed);
        if told.is_none() && asks_all {
            return vec![self.delta_of(&type_url, Vec::new(), Vec::new())];
        }
        told.into_iter().collect()
    }

    /// What a client does not have yet.
    fn delta(&mut self, type_url: &str, subscribed: &[String]) -> Option<DeltaDiscoveryResponse> {
        let board = Arc::clone(&self.board);
        let resources = board.resources.lock();
        let kind = self.kinds.get_mut(type_url)?;
        let of_type = resources.iter().filter(|((kind, _), _)| kind == type_url);
        let of_type: BTreeMap<&String, &Told> =
            of_type.map(|((_, name), told)| (name, told)).collect();
        let mut sent = Vec::new();
        for (name, told) in &of_type {
            let is_named = kind.names.contains(*name)
                || told.aliases.iter().any(|alias| kind.names.contains(alias));
            let is_wanted = is_named || (kind.everything && !told.asked_only);
            let is_new = kind.has.get(*name) != Some(&told.version);
            if !is_wanted || !is_new {
                continue;
            }
            kind.has.insert((*name).clone(), told.version.clone());
            if let Some(after) = told.after {
                self.later.push(((type_url.to_owned(), (*name).clone()), after));
            } else {
                sent.push(wire(name, told));
            }
        }
        let silent = board.silent.lock();
        let is_alias = |name: &String| of_type.values().any(|told| told.aliases.contains(name));
        let is_known = |name: &String| of_type.contains_key(name) || is_alias(name);
        let unknown = subscribed.iter().filter(|name| *name != "*" && !is_known(name));
        let mut removed: Vec<String> =
            unknown.filter(|name| !silent.contains(*name)).cloned().collect();
        let gone = kind.has.keys().filter(|name| !of_type.contains_key(name));
        removed.extend(gone.cloned());
        kind.has.retain(|name, _| of_type.contains_key(name));
        drop(resources);
        drop(silent);
        (!sent.is_empty() || !removed.is_empty()).then(|| self.delta_of(type_url, sent, removed))
    }

    fn delta_of(
        &mut self,
        type_url: &str,
        resources: Vec<Wire>,
        removed_resources: Vec<String>,
    ) -> DeltaDiscoveryResponse {
        let version = self.version();
        DeltaDiscoveryResponse {
            system_version_info: version,
            resources,
            type_url: type_url.to_owned(),
            removed_resources,
            nonce: self.next_nonce(),
            ..DeltaDiscoveryResponse::default()
        }
    }

    /// Takes a request of the state-of-the-world form.
    pub(super) fn hear_state(&mut self, request: DiscoveryRequest) -> Vec<DiscoveryResponse> {
        let type_url = request.type_url;
        self.note(&type_url, &request.resource_names, request.error_detail.as_ref());
        let is_first = !self.kinds.contains_key(&type_url);
        let kind = self.kinds.entry(type_url.clone()).or_default();
        let names: BTreeSet<String> = request.resource_names.into_iter().collect();
        let is_new = is_first || kind.names != names;
        kind.everything =
            names.contains("*") || (names.is_empty() && (is_first || kind.everything));
        kind.names = names;
        let told = if is_new { self.state(&type_url) } else { None };
        told.into_iter().collect()
    }

    /// Everything of a type that a client asked for; nothing where there is nothing, unless it asked
    /// for all that there is.
    fn state(&mut self, type_url: &str) -> Option<DiscoveryResponse> {
        let board = Arc::clone(&self.board);
        let resources = board.resources.lock();
        let kind = self.kinds.get_mut(type_url)?;
        let of_type = resources.iter().filter(|((kind, _), _)| kind == type_url);
        let wanted: Vec<(&String, &Told)> = of_type
            .map(|((_, name), told)| (name, told))
            .filter(|(name, told)| {
                kind.names.contains(*name) || (kind.everything && !told.asked_only)
            })
            .collect();
        let mut sent = Vec::new();
        kind.has.clear();
        for (name, told) in wanted {
            if let Some(after) = told.after
                && kind.delayed.insert(name.clone())
            {
                self.later.push(((type_url.to_owned(), name.clone()), after));
                continue;
            }
            kind.has.insert(name.clone(), told.version.clone());
            sent.push(state_wire(name, told));
        }
        let says_something = !sent.is_empty() || kind.everything;
        drop(resources);
        let version = self.version();
        says_something.then(|| DiscoveryResponse {
            version_info: version,
            resources: sent,
            type_url: type_url.to_owned(),
            nonce: self.next_nonce(),
            ..DiscoveryResponse::default()
        })
    }
}

impl Answer for DeltaDiscoveryResponse {
    fn news(stream: &mut Stream) -> Vec<Self> {
        let mut types: Vec<String> = stream.kinds.keys().cloned().collect();
        types.sort_by_key(|kind| order(kind));
        types.iter().filter_map(|kind| stream.delta(kind, &[])).collect()
    }

    fn due(stream: &mut Stream, (type_url, name): &Key) -> Vec<Self> {
        let board = Arc::clone(&stream.board);
        let told = board.resources.lock().get(&(type_url.clone(), name.clone())).cloned();
        let sent = told.map(|told| wire(name, &told));
        sent.map(|one| stream.delta_of(type_url, vec![one], Vec::new())).into_iter().collect()
    }

    fn heartbeat(stream: &mut Stream, (type_url, name): &Key) -> Vec<Self> {
        let board = Arc::clone(&stream.board);
        let told = board.resources.lock().get(&(type_url.clone(), name.clone())).cloned();
        let sent = told.map(|told| wire(name, &Told { body: None, ..told }));
        sent.map(|one| stream.delta_of(type_url, vec![one], Vec::new())).into_iter().collect()
    }
}

impl Answer for DiscoveryResponse {
    fn news(stream: &mut Stream) -> Vec<Self> {
        let board = Arc::clone(&stream.board);
        let mut types: Vec<String> = stream.kinds.keys().cloned().collect();
        types.sort_by_key(|kind| order(kind));
        let is_stale = |stream: &Stream, type_url: &String| {
            let resources = board.resources.lock();
            let kind = &stream.kinds[type_url];
            let known = |name: &String| resources.contains_key(&(type_url.clone(), name.clone()));
            let wanted = resources.iter().filter(|((kind, _), _)| kind == type_url);
            let mut wanted = wanted.filter(|((_, name), told)| {
                kind.names.contains(name) || (kind.everything && !told.asked_only)
            });
            wanted.any(|((_, name), told)| kind.has.get(name) != Some(&told.version))
                || kind.has.keys().any(|name| !known(name))
        };
        types.retain(|kind| is_stale(stream, kind));
        types.iter().filter_map(|kind| stream.state(kind)).collect()
    }

    fn due(stream: &mut Stream, (type_url, _): &Key) -> Vec<Self> {
        stream.state(type_url).into_iter().collect()
    }

    fn heartbeat(stream: &mut Stream, (type_url, name): &Key) -> Vec<Self> {
        let board = Arc::clone(&stream.board);
        let told = board.resources.lock().get(&(type_url.clone(), name.clone())).cloned();
        let sent = told.map(|told| state_wire(name, &Told { body: None, ..told }));
        let Some(one) = sent else { return Vec::new() };
        let version = stream.version();
        vec![Self {
            version_info: version,
            resources: vec![one],
            type_url: type_url.clone(),
            nonce: stream.next_nonce(),
            ..Self::default()
        }]
    }
}

/// Make before break.
fn order(type_url: &str) -> usize {
    let order = ["Cluster", "ClusterLoadAssignment", "Secret", "Listener", "RouteConfiguration"];
    order.iter().position(|kind| *kind == short(type_url)).unwrap_or(order.len())
}

fn wire(name: &str, told: &Told) -> Wire {
    Wire {
        name: name.to_owned(),
        version: told.version.clone(),
        aliases: told.aliases.clone(),
        resource: told.body.clone(),
        ttl: told.ttl.map(|ttl| prost_types::Duration::try_from(ttl).unwrap()),
        ..Wire::default()
    }
}

/// What is more than a body travels in a wrapping.
fn state_wire(name: &str, told: &Told) -> Any {
    match &told.body {
        Some(body) if told.ttl.is_none() => body.clone(),
        _ => Any {
            type_url: "type.googleapis.com/envoy.service.discovery.v3.Resource".to_owned(),
            value: wire(name, told).encode_to_vec(),
        },
    }
}
