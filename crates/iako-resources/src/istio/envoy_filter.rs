//! `EnvoyFilter`: patches of what proxies are told.

mod names;
mod parse;
mod value;

use crate::Labels;

use super::{Pattern, TargetRef};

pub(crate) use parse::parse;

/// Patches of the configuration of the proxies it selects.
/// Source: `istio.networking.v1alpha3.EnvoyFilter`.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvoyFilter {
    /// Labels of the workloads; `None` is the namespace, or the mesh in the root namespace.
    pub selector: Option<Labels>,
    /// What it is for instead of workloads by label.
    pub targets: Vec<TargetRef>,
    /// Lower ones are applied first. Default: 0.
    pub priority: i64,
    /// The patches, in order.
    pub patches: Vec<ConfigPatch>,
}

/// One patch. Source: `istio.networking.v1alpha3.EnvoyFilter.EnvoyConfigObjectPatch`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigPatch {
    /// What kind of thing is patched.
    pub apply_to: ApplyTo,
    /// Where the thing is.
    pub context: PatchContext,
    /// Which proxies are meant.
    pub proxy: ProxyMatch,
    /// Which thing is meant; `None` is every one.
    pub object: Option<ObjectMatch>,
    /// What is done with it.
    pub operation: PatchOperation,
    /// Envoy's message, or a part of it; always there but with `REMOVE`.
    pub value: Option<serde_json::Value>,
    /// Where an added filter stands.
    pub filter_class: FilterClass,
    /// Line in its file, from 1.
    pub line: u32,
}

/// What kind of thing is patched. Source: `EnvoyFilter.ApplyTo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Istio's own")]
pub enum ApplyTo {
    Listener,
    ListenerFilter,
    FilterChain,
    NetworkFilter,
    HttpFilter,
    RouteConfiguration,
    VirtualHost,
    HttpRoute,
    Cluster,
    ExtensionConfig,
    Bootstrap,
}

impl ApplyTo {
    /// The full name of Envoy's message that is patched.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Listener => "envoy.config.listener.v3.Listener",
            Self::ListenerFilter => "envoy.config.listener.v3.ListenerFilter",
            Self::FilterChain => "envoy.config.listener.v3.FilterChain",
            Self::NetworkFilter => "envoy.config.listener.v3.Filter",
            Self::HttpFilter => {
                "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
            }
            Self::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "envoy.config.route.v3.VirtualHost",
            Self::HttpRoute => "envoy.config.route.v3.Route",
            Self::Cluster => "envoy.config.cluster.v3.Cluster",
            Self::ExtensionConfig => "envoy.config.core.v3.TypedExtensionConfig",
            Self::Bootstrap => "envoy.config.bootstrap.v3.Bootstrap",
        }
    }
}

/// Where the patched thing is. Source: `EnvoyFilter.PatchContext`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PatchContext {
    /// Everywhere.
    #[default]
    Any,
    /// On the way into a workload.
    SidecarInbound,
    /// On the way out of a workload.
    SidecarOutbound,
    /// In gateways.
    Gateway,
    /// In waypoints.
    Waypoint,
}

/// Which proxies are meant. Source: `EnvoyFilter.ProxyMatch`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyMatch {
    /// What the version of the proxy must match.
    pub version: Option<Pattern>,
    /// What its metadata must have.
    pub metadata: Labels,
}

/// Which thing is patched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectMatch {
    /// A listener, or something in one.
    Listener(ListenerMatch),
    /// A route table, or something in one.
    RouteConfiguration(RouteConfigurationMatch),
    /// A cluster.
    Cluster(ClusterMatch),
}

/// Source: `EnvoyFilter.ListenerMatch`. What is not given is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerMatch {
    /// Its name.
    pub name: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// A listener filter, by name.
    pub listener_filter: Option<String>,
    /// A filter chain.
    pub filter_chain: Option<FilterChainMatch>,
}

/// Source: `EnvoyFilter.ListenerMatch.FilterChainMatch`. What is not given is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterChainMatch {
    /// Its name.
    pub name: Option<String>,
    /// A server name that it takes.
    pub sni: Option<String>,
    /// The transport that it takes, such as `tls`.
    pub transport_protocol: Option<String>,
    /// Application protocols that it takes, with commas between them.
    pub application_protocols: Option<String>,
    /// The port that it takes.
    pub destination_port: Option<u16>,
    /// A network filter, by name.
    pub filter: Option<String>,
    /// An HTTP filter in the connection manager, by name.
    pub sub_filter: Option<String>,
}

/// Source: `EnvoyFilter.RouteConfigurationMatch`. What is not given is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteConfigurationMatch {
    /// Its name.
    pub name: Option<String>,
    /// The port that it is for.
    pub port: Option<u16>,
    /// The name of that port, in gateways.
    pub port_name: Option<String>,
    /// The Gateway that it is for, as `namespace/name`.
    pub gateway: Option<String>,
    /// A virtual host, by name (`host:port`).
    pub virtual_host: Option<String>,
    /// A virtual host, by one of its domains.
    pub domain: Option<String>,
    /// A route, by name.
    pub route: Option<String>,
    /// A route, by what it does: `ROUTE`, `REDIRECT` or `DIRECT_RESPONSE`.
    pub action: Option<&'static str>,
}

/// Source: `EnvoyFilter.ClusterMatch`. What is not given is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterMatch {
    /// Its name.
    pub name: Option<String>,
    /// The host of the service.
    pub service: Option<String>,
    /// The port of the service; of inbound clusters that of the workload.
    pub port: Option<u16>,
    /// The subset.
    pub subset: Option<String>,
}

/// What is done. Source: `EnvoyFilter.Patch.Operation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchOperation {
    /// Fields are set, lists get longer.
    Merge,
    /// Fields are set, lists are replaced.
    MergeAndReplaceList,
    /// Something is added at the end.
    Add,
    /// It is removed.
    Remove,
    /// Something is added before it.
    InsertBefore,
    /// Something is added after it.
    InsertAfter,
    /// Something is added at the start.
    InsertFirst,
    /// It is replaced.
    Replace,
}

/// Where an added filter stands. Source: `EnvoyFilter.Patch.FilterClass`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FilterClass {
    /// As the operation says.
    #[default]
    Unspecified,
    /// After Istio's authentication.
    Authentication,
    /// After Istio's authorization.
    Authorization,
    /// Before Istio's statistics.
    Statistics,
}
