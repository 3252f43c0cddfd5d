//! Settings of filters that are sent on their own: they become a part of the listeners that ask for
//! them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use iako_proxy_config::{
    ConfigOrigin, Discovered, FilterChain, HttpConnectionManager, HttpFilterKind, Listener,
    ListenerFilterKind, NetworkFilter, SourcedName, Terminal,
};
use iako_telemetry::Counter;
use iako_xds_codec::{RawResource, decode};

use super::{
    ConfigTask, ResourceKind, Subscriptions, Told,
    source_stats::{Reception, SourceStats},
    update::checked,
};
use crate::shared::Shared;

/// What was sent, and who is asked for what.
#[derive(Debug, Default)]
pub(super) struct ExtensionStore {
    /// By the keys of their names.
    told: BTreeMap<String, Told<RawResource>>,
    /// Keys of what does not exist, or did not come in time.
    absent: BTreeSet<String>,
    asked: BTreeMap<(Place, String), Asked>,
}

/// Where a filter stands; Envoy counts by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Http,
    Network,
    Listener,
}

impl Place {
    const fn stat_prefix(self) -> &'static str {
        match self {
            Self::Http => "http_filter",
            Self::Network => "network_filter",
            Self::Listener => "tcp_listener_filter",
        }
    }
}

/// Settings that are asked for.
#[derive(Debug)]
struct Asked {
    name: SourcedName,
    stats: SourceStats,
    failed: Counter,
    conflict: Counter,
}

impl Asked {
    fn new(place: Place, name: &SourcedName, shared: &Shared) -> Self {
        let prefix = place.stat_prefix();
        let scope =
            shared.stats.scope(&format!("extension_config_discovery.{prefix}.{}", name.name()));
        let stats = SourceStats::new(&scope);
        stats.asked(&name.source().origin);
        Self {
            name: name.clone(),
            stats,
            failed: scope.counter("config_fail"),
            conflict: scope.counter("config_conflict"),
        }
    }
}

/// A filter of a listener whose settings are sent on their own.
#[derive(Clone, Copy)]
enum Use<'l> {
    Http(&'l Discovered<HttpFilterKind>, Position),
    Network(&'l Discovered<NetworkFilter>),
    Listener(&'l Discovered<ListenerFilterKind>),
}

/// Where an HTTP filter stands among the others: the last one, and only that, is a router.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Inner,
    Last,
}

impl Position {
    fn of(place: usize, all: usize) -> Self {
        if place.checked_add(1) == Some(all) { Self::Last } else { Self::Inner }
    }
}

impl<'l> Use<'l> {
    const fn place(self) -> Place {
        match self {
            Self::Http(..) => Place::Http,
            Self::Network(_) => Place::Network,
            Self::Listener(_) => Place::Listener,
        }
    }

    const fn name(self) -> &'l SourcedName {
        match self {
            Self::Http(found, _) => &found.name,
            Self::Network(found) => &found.name,
            Self::Listener(found) => &found.name,
        }
    }

    const fn is_waited_for(self) -> bool {
        !match self {
            Self::Http(found, _) => found.serves_at_once,
            Self::Network(found) => found.serves_at_once,
            Self::Listener(found) => found.serves_at_once,
        }
    }

    /// Whether it can do what was sent.
    fn check(self, body: &RawResource) -> Result<(), String> {
        match self {
            Self::Http(found, position) => http(found, position, body).map(drop),
            Self::Network(found) => network(found, body).map(drop),
            Self::Listener(found) => listener(found, body).map(drop),
        }
    }
}

fn http(
    found: &Discovered<HttpFilterKind>,
    position: Position,
    body: &RawResource,
) -> Result<HttpFilterKind, String> {
    let (type_name, kind) = checked(decode::http_extension(body))?;
    has_type(found, &type_name)?;
    let name = found.name.name();
    let is_router = matches!(kind, HttpFilterKind::Router(_));
    match (is_router, position) {
        (true, Position::Inner) => {
            Err(format!("extension `{name}`: typed_config is a router and not the last filter"))
        }
        (false, Position::Last) => {
            Err(format!("extension `{name}`: typed_config is the last filter and no router"))
        }
        (true, Position::Last) | (false, Position::Inner) => Ok(kind),
    }
}

fn network(found: &Discovered<NetworkFilter>, body: &RawResource) -> Result<NetworkFilter, String> {
    let (type_name, filter) = checked(decode::network_extension(body))?;
    has_type(found, &type_name).map(|()| filter)
}

fn listener(
    found: &Discovered<ListenerFilterKind>,
    body: &RawResource,
) -> Result<ListenerFilterKind, String> {
    let (type_name, kind) = checked(decode::listener_extension(body))?;
    has_type(found, &type_name).map(|()| kind)
}

fn has_type<Kind>(found: &Discovered<Kind>, type_name: &str) -> Result<(), String> {
    if found.type_names.contains(type_name) {
        return Ok(());
    }
    let wanted: Vec<_> = found.type_names.iter().map(String::as_str).collect();
    Err(format!(
        "extension `{}`: typed_config is a `{type_name}`, not one of type_urls: {}",
        found.name.name(),
        wanted.join(", ")
    ))
}

/// Filters of a listener whose settings are sent on their own.
fn uses(listener: &Listener) -> impl Iterator<Item = Use<'_>> {
    let inspectors = listener.inspectors.iter().filter_map(|filter| match &filter.kind {
        ListenerFilterKind::Discovered(found) => Some(Use::Listener(found)),
        ListenerFilterKind::OriginalDst
        | ListenerFilterKind::OriginalSrc(_)
        | ListenerFilterKind::Tls(_)
        | ListenerFilterKind::Http
        | ListenerFilterKind::ProxyProtocol(_) => None,
    });
    let chains = listener.chains.iter().chain(&listener.default_chain);
    inspectors.chain(chains.flat_map(uses_of_chain))
}

fn uses_of_chain(chain: &FilterChain) -> Vec<Use<'_>> {
    let mut uses = Vec::new();
    for filter in &chain.filters {
        if let NetworkFilter::Discovered(found) = filter {
            uses.push(Use::Network(found));
        }
    }
    if let Terminal::Http(manager) = &chain.terminal {
        let all = manager.filters.len();
        for (place, filter) in manager.filters.iter().enumerate() {
            if let HttpFilterKind::Discovered(found) = &filter.kind {
                uses.push(Use::Http(found, Position::of(place, all)));
            }
        }
    }
    uses
}

/// Names that a listener waits for before it serves.
pub(super) fn awaited(listener: &Listener) -> impl Iterator<Item = &SourcedName> {
    uses(listener).filter(|one| one.is_waited_for()).map(Use::name)
}

impl ExtensionStore {
    /// Whether everything that a listener waits for came, or is not waited for any longer.
    pub(super) fn has_all_of(&self, listener: &Listener) -> bool {
        let known = |key: &str| self.told.contains_key(key) || self.absent.contains(key);
        awaited(listener).all(|name| known(name.key()))
    }

    /// What was sent, in the order of its names.
    pub(super) fn all(&self) -> Vec<Told<RawResource>> {
        self.told.values().cloned().collect()
    }

    /// A listener goes on without what did not come.
    pub(super) fn give_up(&mut self, listener: &Listener) {
        for one in uses(listener).filter(|one| one.is_waited_for()) {
            let key = one.name().key();
            if self.told.contains_key(key) || !self.absent.insert(key.to_owned()) {
                continue;
            }
            if let Some(asked) = self.asked.get(&(one.place(), key.to_owned())) {
                asked.stats.gave_up();
                asked.failed.inc();
            }
        }
    }

    /// The listener with what was sent written in it.
    pub(super) fn written_into(&self, listener: &Arc<Listener>) -> Arc<Listener> {
        if uses(listener).next().is_none() {
            return Arc::clone(listener);
        }
        let mut written = Listener::clone(listener);
        for filter in &mut written.inspectors {
            if let ListenerFilterKind::Discovered(found) = &filter.kind {
                let read = |body: &_| self::listener(found, body);
                filter.kind = self.settled(Place::Listener, found, read, || filter.kind.clone());
            }
        }
        for chain in written.chains.iter_mut().chain(&mut written.default_chain) {
            self.write_into(chain);
        }
        Arc::new(written)
    }

    fn write_into(&self, chain: &mut FilterChain) {
        for filter in &mut chain.filters {
            if let NetworkFilter::Discovered(found) = &*filter {
                let read = |body: &_| network(found, body);
                *filter = self.settled(Place::Network, found, read, || filter.clone());
            }
        }
        let Terminal::Http(manager) = &mut chain.terminal else { return };
        let asks = |kind: &HttpFilterKind| matches!(kind, HttpFilterKind::Discovered(_));
        if !manager.filters.iter().any(|filter| asks(&filter.kind)) {
            return;
        }
        let mut written = HttpConnectionManager::clone(manager);
        let all = written.filters.len();
        for (place, filter) in written.filters.iter_mut().enumerate() {
            if let HttpFilterKind::Discovered(found) = &filter.kind {
                let read = |body: &_| http(found, Position::of(place, all), body);
                filter.kind = self.settled(Place::Http, found, read, || filter.kind.clone());
            }
        }
        *manager = Arc::new(written);
    }

    /// What a filter does now: what was sent for it, its default, or `otherwise` nothing.
    fn settled<Kind: Clone>(
        &self,
        place: Place,
        found: &Discovered<Kind>,
        read: impl FnOnce(&RawResource) -> Result<Kind, String>,
        otherwise: impl FnOnce() -> Kind,
    ) -> Kind {
        let key = found.name.key();
        match self.told.get(key).map(|told| read(&told.value)) {
            Some(Ok(kind)) => return kind,
            Some(Err(error)) => {
                // It was sent for an older version of the listener.
                tracing::warn!(extension = found.name.name(), error, "settings do not fit");
                if let Some(asked) = self.asked.get(&(place, key.to_owned())) {
                    asked.conflict.inc();
                }
            }
            None => {}
        }
        found.default.as_deref().cloned().unwrap_or_else(otherwise)
    }

    /// Counts how something was received, by who asks there for this key, or for anything.
    pub(super) fn note(&self, origin: &ConfigOrigin, key: Option<&str>, reception: &Reception) {
        for asked in self.asked.values().filter(|asked| asked.name.source().origin == *origin) {
            if key.is_none_or(|key| key == asked.name.key()) {
                asked.stats.note(reception);
                if *reception == Reception::Refused {
                    asked.failed.inc();
                }
            }
        }
    }

    fn count_reload(&self, key: &str) {
        let asked = self.asked.iter().filter(|((_, own), _)| own == key);
        asked.for_each(|(_, asked)| asked.stats.reloaded());
    }
}

impl ConfigTask {
    /// Asks for what listeners need, and forgets what none of them does.
    pub(super) fn ask_for_extensions(&mut self, wanted: &mut Subscriptions) {
        let mut needed: BTreeMap<(Place, String), SourcedName> = BTreeMap::new();
        for entry in self.listeners.values() {
            let told = entry.told().into_iter().chain(entry.warming_told());
            for one in told.flat_map(|told| uses(&told.value)) {
                let key = (one.place(), one.name().key().to_owned());
                needed.entry(key).or_insert_with(|| one.name().clone());
            }
        }
        let ExtensionStore { told, absent, asked } = &mut self.extensions;
        asked.retain(|key, _| needed.contains_key(key));
        let keys: BTreeSet<&str> = needed.keys().map(|(_, key)| key.as_str()).collect();
        told.retain(|key, _| keys.contains(key.as_str()));
        absent.retain(|key| keys.contains(key.as_str()));
        for (key, name) in &needed {
            wanted.want(ResourceKind::Extension, name);
            let new = || Asked::new(key.0, name, &self.shared);
            asked.entry(key.clone()).or_insert_with(new);
        }
    }

    /// Takes settings of a filter, for every listener that asks for them or for none.
    pub(super) fn set_extension(
        &mut self,
        key: &str,
        told: Told<RawResource>,
    ) -> Result<(), String> {
        if self.extensions.told.get(key).is_some_and(|before| before.value == told.value) {
            return Ok(());
        }
        let body = &told.value;
        for entry in self.listeners.values() {
            let listeners = entry.told().into_iter().chain(entry.warming_told());
            let uses = listeners.flat_map(|told| uses(&told.value));
            for one in uses.filter(|one| one.name().key() == key) {
                one.check(body)?;
            }
        }
        let before = self.extensions.told.insert(key.to_owned(), told);
        if let Err(error) = self.rewrite_extensions(key) {
            match before {
                Some(before) => drop(self.extensions.told.insert(key.to_owned(), before)),
                None => drop(self.extensions.told.remove(key)),
            }
            return Err(error);
        }
        self.extensions.absent.remove(key);
        self.extensions.count_reload(key);
        Ok(())
    }

    /// There are no such settings: filters do what they do by default.
    pub(super) fn extension_does_not_exist(&mut self, key: &str) {
        self.extensions.told.remove(key);
        self.extensions.absent.insert(key.to_owned());
        self.extensions.count_reload(key);
        if let Err(error) = self.rewrite_extensions(key) {
            tracing::error!(key, error, "a filter keeps settings that were removed");
        }
    }

    /// A source has nothing: listeners go on without.
    pub(super) fn extensions_do_not_come(&mut self, origin: &ConfigOrigin) {
        let asked = self.extensions.asked.values().map(|asked| &asked.name);
        let silent = asked.filter(|name| name.source().origin == *origin);
        let keys: Vec<String> = silent.map(|name| name.key().to_owned()).collect();
        self.extensions.absent.extend(keys);
    }

    /// Makes listeners anew that ask for this.
    fn rewrite_extensions(&mut self, key: &str) -> Result<(), String> {
        let asks = |listener: &Listener| uses(listener).any(|one| one.name().key() == key);
        let names: Vec<String> = self
            .listeners
            .iter()
            .filter(|(_, entry)| entry.newest_told().is_some_and(|told| asks(&told.value)))
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().try_for_each(|name| self.make_listener_anew(name))
    }
}
