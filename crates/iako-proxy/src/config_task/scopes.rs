//! Scopes of route tables that are sent on their own: they become a part of the listeners that ask
//! for them.

use std::{collections::BTreeMap, sync::Arc};

use iako_proxy_config::{
    ConfigOrigin, ConfigSource, FilterChain, HttpConnectionManager, Listener, RouteSource, Scope,
    ScopeSource, ScopedRoutes, Terminal,
};

use super::ConfigTask;

/// What was sent, by who sent it; an origin that has sent anything is there.
#[derive(Debug, Default)]
pub(super) struct ScopeStore(BTreeMap<ConfigOrigin, BTreeMap<String, Arc<Scope>>>);

impl ScopeStore {
    /// Notes that an origin has spoken.
    pub(super) fn heard(&mut self, origin: &ConfigOrigin) {
        self.0.entry(origin.clone()).or_default();
    }

    /// Takes a scope.
    ///
    /// # Errors
    /// When another one takes the same requests.
    pub(super) fn set(&mut self, origin: &ConfigOrigin, scope: Scope) -> Result<(), String> {
        let scopes = self.0.entry(origin.clone()).or_default();
        let same =
            |(name, other): &(&String, &Arc<Scope>)| **name != scope.name && other.key == scope.key;
        if let Some((name, _)) = scopes.iter().find(same) {
            return Err(format!("the scope {name:?} has the same key as {:?}", scope.name));
        }
        scopes.insert(scope.name.clone(), Arc::new(scope));
        Ok(())
    }

    pub(super) fn remove(&mut self, origin: &ConfigOrigin, name: &str) {
        if let Some(scopes) = self.0.get_mut(origin) {
            scopes.remove(name);
        }
    }

    /// Whether everything that a listener asks for has been answered.
    pub(super) fn has_all_of(&self, listener: &Listener) -> bool {
        sources_of(listener).all(|source| self.0.contains_key(&source.origin))
    }

    /// The listener with the scopes that it asks for written in it.
    pub(super) fn written_into(&self, listener: &Arc<Listener>) -> Arc<Listener> {
        if sources_of(listener).next().is_none() {
            return Arc::clone(listener);
        }
        let mut written = Listener::clone(listener);
        for chain in written.chains.iter_mut().chain(&mut written.default_chain) {
            self.write_into(chain);
        }
        Arc::new(written)
    }

    fn write_into(&self, chain: &mut FilterChain) {
        let Terminal::Http(http) = &mut chain.terminal else { return };
        let RouteSource::Scoped(routes) = &http.routes else { return };
        let ScopeSource::Discovered(source) = &routes.scopes else { return };
        let scopes = self.0.get(&source.origin).into_iter().flat_map(BTreeMap::values);
        let scopes = ScopeSource::Inline(scopes.map(Arc::clone).collect());
        let routes = ScopedRoutes { scopes, ..ScopedRoutes::clone(routes) };
        *http = Arc::new(HttpConnectionManager {
            routes: RouteSource::Scoped(Arc::new(routes)),
            ..HttpConnectionManager::clone(http)
        });
    }
}

/// Where a listener gets scopes from.
pub(super) fn sources_of(listener: &Listener) -> impl Iterator<Item = &ConfigSource> {
    let chains = listener.chains.iter().chain(&listener.default_chain);
    chains.filter_map(|chain| {
        let Terminal::Http(http) = &chain.terminal else { return None };
        let RouteSource::Scoped(routes) = &http.routes else { return None };
        match &routes.scopes {
            ScopeSource::Discovered(source) => Some(source),
            ScopeSource::Inline(_) => None,
        }
    })
}

impl ConfigTask {
    /// Makes listeners anew that ask an origin for scopes.
    pub(super) fn rewrite_scopes(&mut self, origin: &ConfigOrigin) {
        let asks = |listener: &Listener| sources_of(listener).any(|it| it.origin == *origin);
        let names: Vec<String> = self
            .listeners
            .iter()
            .filter(|(_, entry)| entry.newest_told().is_some_and(|told| asks(&told.value)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            if let Err(error) = self.make_listener_anew(&name) {
                tracing::error!(listener = %name, error, "new scopes are not used");
            }
        }
    }
}
