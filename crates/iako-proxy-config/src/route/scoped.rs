//! Route tables that are chosen by a key made of the request.

use std::sync::Arc;

use crate::{ConfigSource, HeaderName, RouteConfiguration};

/// Route tables by scope.
/// Source: `envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes`.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopedRoutes {
    /// The name of the set of scopes.
    pub name: String,
    /// How the key of a request is made; at least one part. A request for which one cannot be made
    /// has no routes.
    pub key: Vec<ScopeFragment>,
    /// Where the scopes come from.
    pub scopes: ScopeSource,
    /// Where the tables come from that scopes name.
    pub tables: ConfigSource,
}

/// Where scopes come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ScopeSource {
    /// All that are sent from there (SRDS).
    Discovered(ConfigSource),
    /// Written in the listener. No key stands in two of them.
    Inline(Vec<Arc<Scope>>),
}

/// One scope. Source: `envoy.config.route.v3.ScopedRouteConfiguration`.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// Its name.
    pub name: String,
    /// The key of the requests that it takes, part by part.
    pub key: Vec<String>,
    /// Its routes.
    pub routes: ScopeTable,
    /// Whether its routes are asked for only when a request needs them. Envoy default: false.
    pub on_demand: bool,
}

/// The routes of a scope.
#[derive(Debug, Clone, PartialEq)]
pub enum ScopeTable {
    /// Sent under this name, from where [`ScopedRoutes::tables`] says.
    Rds(String),
    /// Written in the scope.
    Inline(Arc<RouteConfiguration>),
}

/// A part of a request's key. Source: `ScopedRoutes.ScopeKeyBuilder.FragmentBuilder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeFragment {
    /// The header that it is taken from.
    pub header: HeaderName,
    /// What parts the header's elements; the whole value is one element when empty.
    pub separator: String,
    /// Which element.
    pub element: ScopeElement,
}

/// Which element of a header is part of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeElement {
    /// The one at this place, from 0.
    Index(u32),
    /// The value of the first one with this key.
    Value {
        /// What parts key and value; not empty.
        separator: String,
        /// The key; not empty.
        key: String,
    },
}
