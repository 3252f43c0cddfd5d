//! What every object has: a kind, a name, labels, and a place where it was written.

use std::{collections::BTreeMap, fmt, sync::Arc};

use iako_types::Namespace;

use crate::Origin;

/// Labels, annotations and selectors: keys to values, in a fixed order.
pub type Labels = BTreeMap<String, String>;

/// Every kind that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the kinds' own")]
pub enum Kind {
    VirtualService,
    DestinationRule,
    Gateway,
    ServiceEntry,
    WorkloadEntry,
    Sidecar,
    WorkloadGroup,
    EnvoyFilter,
    ProxyConfig,
    WasmPlugin,
    TrafficExtension,
    GatewayClass,
    ApiGateway,
    ListenerSet,
    HttpRoute,
    GrpcRoute,
    TlsRoute,
    TcpRoute,
    UdpRoute,
    BackendTlsPolicy,
    ReferenceGrant,
    PeerAuthentication,
    RequestAuthentication,
    AuthorizationPolicy,
    Telemetry,
    IstioOperator,
    RateLimit,
    Namespace,
    Service,
    Endpoints,
    EndpointSlice,
    Pod,
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    Job,
    ServiceAccount,
    Secret,
    ConfigMap,
}

impl Kind {
    /// Every kind, in the order of the support page.
    pub const ALL: [Self; 40] = [
        Self::VirtualService,
        Self::DestinationRule,
        Self::Gateway,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::Sidecar,
        Self::WorkloadGroup,
        Self::EnvoyFilter,
        Self::ProxyConfig,
        Self::WasmPlugin,
        Self::TrafficExtension,
        Self::GatewayClass,
        Self::ApiGateway,
        Self::ListenerSet,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::TlsRoute,
        Self::TcpRoute,
        Self::UdpRoute,
        Self::BackendTlsPolicy,
        Self::ReferenceGrant,
        Self::PeerAuthentication,
        Self::RequestAuthentication,
        Self::AuthorizationPolicy,
        Self::Telemetry,
        Self::IstioOperator,
        Self::RateLimit,
        Self::Namespace,
        Self::Service,
        Self::Endpoints,
        Self::EndpointSlice,
        Self::Pod,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::Job,
        Self::ServiceAccount,
        Self::Secret,
        Self::ConfigMap,
    ];

    /// The kind as documents write it, such as `VirtualService`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::VirtualService => "VirtualService",
            Self::DestinationRule => "DestinationRule",
            Self::Gateway | Self::ApiGateway => "Gateway",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::Sidecar => "Sidecar",
            Self::WorkloadGroup => "WorkloadGroup",
            Self::EnvoyFilter => "EnvoyFilter",
            Self::ProxyConfig => "ProxyConfig",
            Self::WasmPlugin => "WasmPlugin",
            Self::TrafficExtension => "TrafficExtension",
            Self::GatewayClass => "GatewayClass",
            Self::ListenerSet => "ListenerSet",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::RequestAuthentication => "RequestAuthentication",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::Telemetry => "Telemetry",
            Self::IstioOperator => "IstioOperator",
            Self::RateLimit => "RateLimit",
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::Endpoints => "Endpoints",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
            Self::ServiceAccount => "ServiceAccount",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What tells one object from every other.
///
/// Shown as `Kind namespace/name`; an object outside namespaces as `Kind name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace; that of a `Namespace` object is the object's own name.
    pub namespace: Namespace,
    /// The name.
    pub name: String,
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == Kind::Namespace {
            return write!(f, "{} {}", self.kind, self.name);
        }
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A moment, in seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub unix_seconds: i64,
}

/// The `metadata` of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The namespace; `default` when the document names none.
    pub namespace: Namespace,
    /// The name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// When the API server created the object. Files rarely say.
    pub creation_timestamp: Option<Timestamp>,
    /// How often the specification changed. Files rarely say.
    pub generation: u64,
}

/// One object: what it is called, where it was written, what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Object<T> {
    /// Name, labels, age.
    pub meta: ObjectMeta,
    /// Where the object starts.
    pub origin: Origin,
    /// What it says, validated.
    pub spec: T,
}

impl<T> Object<T> {
    /// The place of a part of this object, such as a route, by its line.
    #[must_use]
    pub fn origin_at(&self, line: u32) -> Origin {
        Origin { file: Arc::clone(&self.origin.file), line, column: 1 }
    }
}

/// Whether `labels` carry every pair of `selector`. An empty selector takes everything.
#[must_use]
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
