//! Listeners: which serve, which still wait, and their sockets.

mod sockets;

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::{Duration, Instant},
};

use iako_proxy_config::{
    Direction, Listener, ListenerKind, RouteConfiguration, RouteSource, Scope, ScopeSource,
    ScopeTable, ScopedRoutes, SourcedName, TcpTarget, Terminal,
};
use iako_rt::clock;

use self::sockets::Bound;
pub(crate) use self::sockets::BoundAddress;
use super::{
    ConfigTask, DrainReach, Told, WARMING_MAX, compile, extensions,
    routes::{self, ClusterNames},
};
use crate::{
    drain::Drain,
    listener::socket::BindError,
    snapshot::{ChainTransport, ListenerSettings},
    transport::server::ServerTlsSlot,
};

/// One listener over its changes.
#[derive(Debug, Default)]
pub(super) struct ListenerEntry {
    active: Option<(Told<Listener>, Arc<ListenerSettings>)>,
    warming: Option<(Told<Listener>, Arc<ListenerSettings>, Instant)>,
    sockets: Vec<Bound>,
    /// Open connections at all of its addresses.
    connections: Arc<AtomicU32>,
    /// Whether an operator closed its sockets.
    stopped: bool,
    /// Why an address has no socket, and when it is tried again.
    unbound: Option<(BindError, Instant)>,
}

impl ListenerEntry {
    pub(super) fn deadline(&self) -> Option<Instant> {
        let warming = self
            .warming
            .as_ref()
            .and_then(|(told, settings, since)| Some(*since + warming_max(&told.value, settings)?));
        let again = self.unbound.as_ref().map(|(_, at)| *at);
        warming.into_iter().chain(again).min()
    }

    pub(super) fn active(&self) -> Option<&Arc<ListenerSettings>> {
        self.active.as_ref().map(|(_, settings)| settings)
    }

    pub(super) fn told(&self) -> Option<&Told<Listener>> {
        self.active.as_ref().map(|(told, _)| told)
    }

    pub(super) fn warming_told(&self) -> Option<&Told<Listener>> {
        self.warming.as_ref().map(|(told, _, _)| told)
    }

    /// What was told last.
    pub(super) fn newest_told(&self) -> Option<&Told<Listener>> {
        self.warming_told().or_else(|| self.told())
    }

    fn versions(&self) -> impl Iterator<Item = &Arc<ListenerSettings>> {
        self.active().into_iter().chain(self.warming.iter().map(|(_, settings, _)| settings))
    }

    /// Whether what it was told would be compiled to something else now.
    pub(super) fn is_other_than(&self, now: impl Fn(&Arc<Listener>) -> Arc<Listener>) -> bool {
        let newest = self.warming.as_ref().map(|(told, settings, _)| (told, settings));
        let newest =
            newest.or_else(|| self.active.as_ref().map(|(told, settings)| (told, settings)));
        newest.is_some_and(|(told, settings)| now(&told.value) != settings.config)
    }

    /// Whether its newest version serves at all of its addresses.
    pub(super) const fn serves(&self) -> bool {
        self.warming.is_none() && self.unbound.is_none()
    }

    pub(super) fn take_bind_error(&mut self) -> Option<BindError> {
        self.unbound.take().map(|(error, _)| error)
    }

    pub(super) fn bound_addresses(&self) -> Vec<BoundAddress> {
        self.sockets.iter().map(|bound| bound.actual.clone()).collect()
    }

    /// Whether a drain of that reach is about it.
    pub(super) fn is_within(&self, reach: DrainReach) -> bool {
        match reach {
            DrainReach::All => true,
            DrainReach::Inbound => {
                self.newest_told().is_some_and(|told| told.value.direction == Direction::Inbound)
            }
        }
    }

    /// Closes its sockets and opens none again.
    pub(super) fn stop_for_good(&mut self) {
        self.stopped = true;
        for bound in &mut self.sockets {
            bound.spare = None;
            bound.handle.stop_accepting();
        }
    }

    /// Leaves its sockets to another process.
    pub(super) fn hand_over(&mut self) {
        self.stopped = true;
        self.sockets.iter().for_each(|bound| bound.handle.hand_over());
    }

    /// Closes its sockets because it is removed.
    fn retire(mut self) {
        for mut bound in std::mem::take(&mut self.sockets) {
            bound.spare = None;
            bound.handle.retire(self.active());
        }
    }

    /// The signals of its chains.
    pub(super) fn drains(&self) -> impl Iterator<Item = Drain> {
        let chains = self.active().into_iter().flat_map(|settings| &settings.chains);
        chains.map(|chain| chain.drain.clone())
    }

    pub(super) fn tls_slots(&self) -> impl Iterator<Item = &Arc<ServerTlsSlot>> {
        self.versions().flat_map(|settings| slots_of(settings))
    }

    /// The secrets that its filters show or sign with.
    pub(super) fn filter_secrets(&self) -> impl Iterator<Item = &SourcedName> {
        self.versions().flat_map(|settings| secrets_of(&settings.config))
    }

    /// The tables that it needs.
    pub(super) fn routes_named(&self) -> impl Iterator<Item = (SourcedName, &str)> {
        self.versions().flat_map(|settings| routes_of(&settings.config))
    }

    /// Adds the clusters that it names itself.
    pub(super) fn clusters_named<'t>(&'t self, named: &mut ClusterNames<'t>) {
        for settings in self.versions() {
            if let ListenerKind::Udp(proxy) = &settings.config.kind {
                named.insert(&proxy.cluster);
            }
            for chain in settings.config.chains.iter().chain(&settings.config.default_chain) {
                match &chain.terminal {
                    Terminal::Tcp(tcp) => match &tcp.target {
                        TcpTarget::Cluster(cluster) => {
                            named.insert(cluster);
                        }
                        TcpTarget::Weighted(targets) => {
                            named.extend(targets.iter().map(|target| target.cluster.as_str()));
                        }
                    },
                    Terminal::Http(http) => match &http.routes {
                        RouteSource::Inline(table) => routes::clusters_named(table, named),
                        RouteSource::Scoped(routes) => {
                            for table in inline_tables(routes) {
                                routes::clusters_named(table, named);
                            }
                        }
                        RouteSource::Rds(_) => {}
                    },
                    Terminal::Direct(_) | Terminal::Echo => {}
                }
            }
        }
    }
}

fn slots_of(settings: &ListenerSettings) -> impl Iterator<Item = &Arc<ServerTlsSlot>> {
    settings.chains.iter().filter_map(|chain| match &chain.transport {
        ChainTransport::Tls(slot) => Some(slot),
        ChainTransport::Raw => None,
    })
}

/// The secrets that HTTP filters show or sign with, by settings of inline routes too.
fn secrets_of(listener: &Listener) -> impl Iterator<Item = &SourcedName> {
    let chains = listener.chains.iter().chain(&listener.default_chain);
    let filters = chains.flat_map(|chain| match &chain.terminal {
        Terminal::Http(http) => http.filters.as_slice(),
        Terminal::Tcp(_) | Terminal::Direct(_) | Terminal::Echo => &[],
    });
    let of_filters = filters.flat_map(|filter| filter.kind.secrets());
    let tables = listener.chains.iter().chain(&listener.default_chain).flat_map(|chain| {
        let Terminal::Http(http) = &chain.terminal else { return Vec::new() };
        match &http.routes {
            RouteSource::Inline(table) => vec![table.as_ref()],
            RouteSource::Scoped(routes) => inline_tables(routes).collect(),
            RouteSource::Rds(_) => Vec::new(),
        }
    });
    of_filters.chain(tables.flat_map(routes::secrets_named))
}

/// Tables that it asks for, each with the prefix of the statistics of who does.
fn routes_of(listener: &Listener) -> impl Iterator<Item = (SourcedName, &str)> {
    let chains = listener.chains.iter().chain(&listener.default_chain);
    chains.flat_map(|chain| {
        let Terminal::Http(http) = &chain.terminal else { return Vec::new() };
        let prefix = http.stat_prefix.as_str();
        match &http.routes {
            RouteSource::Rds(name) => vec![(name.clone(), prefix)],
            RouteSource::Scoped(routes) => {
                let named = scopes_of(routes).iter().filter_map(|scope| match &scope.routes {
                    ScopeTable::Rds(name) => Some(name.as_str()),
                    ScopeTable::Inline(_) => None,
                });
                let from = |name| (SourcedName::new(name, routes.tables.clone()), prefix);
                named.map(from).collect()
            }
            RouteSource::Inline(_) => Vec::new(),
        }
    })
}

/// How long a listener waits for what it needs; for ever when absent.
fn warming_max(told: &Listener, settings: &ListenerSettings) -> Option<Duration> {
    let secrets = slots_of(settings).flat_map(|slot| slot.secrets());
    let secrets = secrets.chain(secrets_of(&settings.config));
    let others = secrets.chain(extensions::awaited(told)).cloned();
    let mut names = routes_of(&settings.config).map(|(name, _)| name).chain(others);
    let longest = names.try_fold(Duration::ZERO, |longest, name| {
        name.source().initial_fetch_timeout.map(|own| own.max(longest))
    });
    longest.map(|longest| if longest.is_zero() { WARMING_MAX } else { longest })
}

/// Whether two versions of a listener are the same but for filter chains.
fn differs_in_chains(old: &Listener, new: &Listener) -> bool {
    let without = |listener: &Listener| Listener {
        chains: Vec::new(),
        default_chain: None,
        ..listener.clone()
    };
    without(old) == without(new)
}

/// The scopes that are written in a listener.
fn scopes_of(routes: &ScopedRoutes) -> &[Arc<Scope>] {
    match &routes.scopes {
        ScopeSource::Inline(scopes) => scopes,
        ScopeSource::Discovered(_) => &[],
    }
}

/// The tables that are written in scopes that are written in a listener.
fn inline_tables(routes: &ScopedRoutes) -> impl Iterator<Item = &RouteConfiguration> {
    scopes_of(routes).iter().filter_map(|scope| match &scope.routes {
        ScopeTable::Inline(table) => Some(table.as_ref()),
        ScopeTable::Rds(_) => None,
    })
}

impl ConfigTask {
    /// Takes a listener; it serves once its routes and secrets are there.
    pub(super) fn set_listener(
        &mut self,
        listener: Listener,
        told: impl FnOnce(Listener) -> Told<Listener>,
    ) -> Result<(), String> {
        let name = listener.name.clone();
        let told = told(listener);
        let entry = self.listeners.entry(name.clone()).or_default();
        let newest = entry.warming_told().or_else(|| entry.told());
        if let Some(newest) = newest {
            if newest.is_static() {
                return Err(format!("listener {name:?} is the bootstrap's and cannot be changed"));
            }
            if newest.value == told.value {
                return Ok(());
            }
        }
        let changed = newest.is_some();
        let in_place = newest.is_some_and(|newest| differs_in_chains(&newest.value, &told.value));
        let previous = entry.active().map(Arc::clone);
        let settings = self.compile_listener(&told.value, previous.as_deref());
        let settings = match settings {
            Ok(settings) => settings,
            Err(error) => {
                if !changed {
                    self.listeners.remove(&name);
                }
                return Err(format!("listener {name:?}: {error}"));
            }
        };
        let server = &self.shared.server;
        if changed {
            server.listener_modified.inc();
            if in_place {
                server.listener_in_place_updated.inc();
            }
        } else {
            server.listener_added.inc();
        }
        if let Some(entry) = self.listeners.get_mut(&name) {
            entry.warming = Some((told, Arc::new(settings), clock::now()));
        }
        Ok(())
    }

    /// Compiles the newest version of a listener again, because something that is sent beside it
    /// changed. It serves once what that refers to is there.
    pub(super) fn make_listener_anew(&mut self, name: &str) -> Result<(), String> {
        let Some(entry) = self.listeners.get(name) else { return Ok(()) };
        let Some(told) = entry.newest_told().cloned() else { return Ok(()) };
        let previous = entry.active().map(Arc::clone);
        let settings = self.compile_listener(&told.value, previous.as_deref())?;
        if let Some(entry) = self.listeners.get_mut(name) {
            let since = entry.warming.as_ref().map_or_else(clock::now, |(_, _, since)| *since);
            entry.warming = Some((told, Arc::new(settings), since));
        }
        Ok(())
    }

    /// A listener with what is sent beside it, and with what the runtime says now.
    pub(super) fn written_now(&self, told: &Arc<Listener>) -> Arc<Listener> {
        let listener = self.extensions.written_into(&self.scopes.written_into(told));
        self.runtime.now().listener(&listener)
    }

    fn compile_listener(
        &mut self,
        listener: &Arc<Listener>,
        previous: Option<&ListenerSettings>,
    ) -> Result<ListenerSettings, String> {
        let shared = Arc::clone(&self.shared);
        let listener = self.written_now(listener);
        let settings = compile::listener(&listener, previous, &shared, || self.take_id())?;
        for slot in slots_of(&settings) {
            self.secrets.refresh_server(slot)?;
        }
        Ok(settings)
    }

    pub(super) fn remove_listener(&mut self, name: &str) {
        let is_static = |entry: &ListenerEntry| entry.told().is_some_and(Told::is_static);
        if self.listeners.get(name).is_some_and(is_static) {
            return;
        }
        if let Some(entry) = self.listeners.remove(name) {
            entry.retire();
            self.listeners_leaving.push(clock::now() + self.drain_settings.time);
            self.shared.server.listener_removed.inc();
            self.dirty = true;
        }
    }

    /// Lets listeners serve that have what they need, or have waited long enough.
    pub(super) fn settle_listeners(&mut self, now: Instant) {
        if !self.initial.clusters_warm || !self.runtime.is_settled() {
            return;
        }
        let known = |(name, _): (SourcedName, &str)| {
            self.routes.get(name.key()).is_some_and(routes::RouteEntry::is_known)
        };
        for (name, entry) in &mut self.listeners {
            let Some((told, settings, since)) = &entry.warming else { continue };
            let has_routes =
                self.scopes.has_all_of(&told.value) && routes_of(&settings.config).all(known);
            let has_secrets = slots_of(settings).all(|slot| slot.is_ready())
                && secrets_of(&settings.config).all(|name| self.secrets.has_generic(name));
            let has_extensions = self.extensions.has_all_of(&told.value);
            let waited = now.saturating_duration_since(*since);
            let late = warming_max(&told.value, settings).is_some_and(|longest| waited >= longest);
            let is_warm = has_routes && has_secrets && has_extensions;
            if !late && !is_warm {
                continue;
            }
            if !is_warm {
                tracing::warn!(
                    listener = %name,
                    routes = has_routes,
                    secrets = has_secrets,
                    extensions = has_extensions,
                    "listener serves without what it waited for"
                );
                self.extensions.give_up(&told.value);
                for (name, _) in routes_of(&settings.config) {
                    self.routes.get(name.key()).into_iter().for_each(routes::RouteEntry::give_up);
                }
            }
            if let Some((told, settings, _)) = entry.warming.take() {
                // As Envoy counts: once for each worker, and not when only a part was sent anew.
                let is_same = entry.told().is_some_and(|old| Arc::ptr_eq(&old.value, &told.value));
                entry.active = Some((told, settings));
                let counted = if is_same { 0 } else { self.shared.concurrency };
                for _ in 0..counted {
                    self.shared.server.listener_create_success.inc();
                }
                self.dirty = true;
            }
        }
    }
}
