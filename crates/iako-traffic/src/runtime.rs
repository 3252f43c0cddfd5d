//! What the runtime says at one moment, and configurations with that written into them.
//!
//! Values are looked up when a configuration is compiled, never for a request: a configuration as it
//! was sent goes in, and the same one comes out with the values that count now. What nothing changes
//! comes out as it went in, not copied.

mod cluster;
mod filter;
mod log;
mod route;
mod tracing;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use iako_proxy_config::{
    Cluster, FilterChain, HttpConnectionManager, Keyed, Listener, ListenerKind, MatchNode,
    MatchOutcome, MatchThen, MatchTree, RouteConfiguration, RouteSource, RuntimeValue,
    RuntimeValues, Scope, ScopeSource, ScopeTable, ScopedRoutes, TcpProxy, Terminal, UdpProxy,
};
use iako_types::Percent;

/// The runtime of one moment: values by key, the last layer's where several have one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runtime {
    values: BTreeMap<String, RuntimeValue>,
}

impl Runtime {
    /// Of layers, a later one over an earlier one.
    #[must_use]
    pub fn of_layers<'a>(layers: impl IntoIterator<Item = &'a RuntimeValues>) -> Self {
        let mut values = BTreeMap::new();
        for layer in layers {
            values.extend(layer.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        Self { values }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of a key; none for the empty key.
    fn value(&self, key: &str) -> Option<&RuntimeValue> {
        self.values.get(key).filter(|_| !key.is_empty())
    }

    /// A whole number; none where there is no number of zero or more.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<u64> {
        self.value(key)?.integer()
    }

    /// A whole number that is at most 2^32 - 1.
    fn small(&self, key: &str) -> Option<u32> {
        self.integer(key).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// Milliseconds.
    fn millis(&self, key: &str) -> Option<Duration> {
        self.integer(key).map(Duration::from_millis)
    }

    /// A number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<f64> {
        self.value(key)?.number
    }

    /// A switch.
    #[must_use]
    pub fn switch(&self, key: &str) -> Option<bool> {
        self.value(key)?.switch
    }

    /// A share: a fraction, or a whole number of percent.
    #[must_use]
    pub fn share(&self, key: &str) -> Option<Percent> {
        self.value(key)?.share()
    }

    /// A share that is written as a whole number of percent only.
    fn percent(&self, key: &str) -> Option<Percent> {
        let percent = self.integer(key)?.min(100);
        Percent::from_whole(u32::try_from(percent).ok()?).ok()
    }

    /// What begins with this, without it.
    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a RuntimeValue)> {
        let from = self
            .values
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.map_while(move |(key, value)| Some((key.strip_prefix(prefix)?, value)))
    }

    /// How many connections of clients all listeners together take; without limit when absent.
    #[must_use]
    pub fn connections_max(&self) -> Option<u32> {
        self.small("overload.global_downstream_max_connections")
    }

    /// A listener as it is now.
    #[must_use]
    pub fn listener(&self, listener: &Arc<Listener>) -> Arc<Listener> {
        self.now(listener)
    }

    /// A route table as it is now.
    #[must_use]
    pub fn routes(&self, routes: &Arc<RouteConfiguration>) -> Arc<RouteConfiguration> {
        self.now(routes)
    }

    /// A cluster as it is now.
    #[must_use]
    pub fn cluster(&self, cluster: &Arc<Cluster>) -> Arc<Cluster> {
        self.now(cluster)
    }

    fn now<T: Tune>(&self, told: &Arc<T>) -> Arc<T> {
        let mut value = Arc::clone(told);
        if !self.is_empty() {
            value.tune(self);
        }
        value
    }
}

/// What the runtime can change.
trait Tune: Clone {
    /// Takes what the runtime says; whether anything is different now.
    fn tune(&mut self, runtime: &Runtime) -> bool;

    /// Whether the runtime may change it. Cheap, so that what is not changed need not be copied.
    fn may_change(&self, _runtime: &Runtime) -> bool {
        true
    }
}

/// Copied only when it is changed.
impl<T: Tune> Tune for Arc<T> {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        if !T::may_change(self, runtime) {
            return false;
        }
        let mut value = T::clone(self);
        let changed = value.tune(runtime);
        if changed {
            *self = Self::new(value);
        }
        changed
    }

    fn may_change(&self, runtime: &Runtime) -> bool {
        T::may_change(self, runtime)
    }
}

impl<T: Tune> Tune for Box<T> {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        T::tune(self, runtime)
    }
}

impl<T: Tune> Tune for Option<T> {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        self.as_mut().is_some_and(|value| value.tune(runtime))
    }
}

impl<T: Tune> Tune for Vec<T> {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        all(self.iter_mut(), runtime)
    }
}

/// Every one of several, also when an earlier one is different already.
fn all<'a, T: Tune + 'a>(values: impl Iterator<Item = &'a mut T>, runtime: &Runtime) -> bool {
    values.map(|value| value.tune(runtime)).filter(|changed| *changed).count() > 0
}

/// Writes a value in the place of another one; whether they differ.
fn set<T: PartialEq>(place: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) if *place != value => {
            *place = value;
            true
        }
        Some(_) | None => false,
    }
}

impl Tune for Keyed<Percent> {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let share = self.key.as_deref().and_then(|key| runtime.share(key));
        set(&mut self.value, share)
    }
}

impl Tune for Keyed<bool> {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let on = self.key.as_deref().and_then(|key| runtime.switch(key));
        set(&mut self.value, on)
    }
}

impl Tune for Keyed<f64> {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let number = self.key.as_deref().and_then(|key| runtime.number(key));
        set(&mut self.value, number)
    }
}

impl Tune for Keyed<u32> {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let number = self.key.as_deref().and_then(|key| runtime.small(key));
        set(&mut self.value, number)
    }
}

impl Tune for Listener {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let key = format!("envoy.resource_limits.listener.{}.connection_limit", self.name);
        let limit = runtime.small(&key).map(Some);
        let changed = [
            set(&mut self.connections_max, limit),
            self.chains.tune(runtime),
            self.default_chain.tune(runtime),
            self.access_log.tune(runtime),
            match &mut self.kind {
                ListenerKind::Udp(proxy) => proxy.tune(runtime),
                ListenerKind::Stream | ListenerKind::Internal => false,
            },
        ];
        changed.contains(&true)
    }
}

impl Tune for FilterChain {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let terminal = match &mut self.terminal {
            Terminal::Http(manager) => manager.tune(runtime),
            Terminal::Tcp(proxy) => proxy.tune(runtime),
            Terminal::Direct(_) | Terminal::Echo => false,
        };
        self.filters.tune(runtime) || terminal
    }
}

impl Tune for TcpProxy {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        self.access_log.tune(runtime)
    }
}

impl Tune for UdpProxy {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let changed = [self.access_log.tune(runtime), self.proxy_access_log.tune(runtime)];
        changed.contains(&true)
    }
}

impl Tune for HttpConnectionManager {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let changed = [
            self.routes.tune(runtime),
            self.filters.tune(runtime),
            self.access_log.tune(runtime),
            self.local_reply.tune(runtime),
            self.tracing.tune(runtime),
        ];
        changed.contains(&true)
    }
}

impl Tune for RouteSource {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        match self {
            Self::Rds(_) => false,
            Self::Inline(table) => table.tune(runtime),
            Self::Scoped(routes) => routes.tune(runtime),
        }
    }
}

impl Tune for ScopedRoutes {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        match &mut self.scopes {
            ScopeSource::Discovered(_) => false,
            ScopeSource::Inline(scopes) => scopes.tune(runtime),
        }
    }
}

impl Tune for Scope {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        match &mut self.routes {
            ScopeTable::Rds(_) => false,
            ScopeTable::Inline(table) => table.tune(runtime),
        }
    }
}

/// Only what it chooses: conditions of trees have no keys of their own.
impl<A: Tune, I: Clone> Tune for MatchTree<A, I> {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let node = match &mut self.node {
            MatchNode::Never => false,
            MatchNode::List(entries) => {
                all(entries.iter_mut().map(|(_, outcome)| outcome), runtime)
            }
            MatchNode::Exact { outcomes, .. } | MatchNode::Prefix { outcomes, .. } => {
                all(outcomes.values_mut(), runtime)
            }
        };
        self.otherwise.tune(runtime) || node
    }
}

impl<A: Tune, I: Clone> Tune for MatchOutcome<A, I> {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        match &mut self.then {
            MatchThen::Action(action) => action.tune(runtime),
            MatchThen::Tree(tree) => tree.tune(runtime),
        }
    }
}

#[cfg(test)]
mod tests;
