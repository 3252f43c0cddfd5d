//! A validated object of any kind.

use std::sync::Arc;

use crate::{
    AuthorizationPolicy, ConfigMap, DestinationRule, EndpointSlice, Endpoints, EnvoyFilter,
    Gateway, IstioOperator, Kind, Object, ObjectMeta, Origin, PeerAuthentication, Pod, ProxyConfig,
    RateLimit, RequestAuthentication, ResourceKey, Secret, Service, ServiceEntry, Sidecar,
    Telemetry, TrafficExtension, VirtualService, WorkloadEntry, WorkloadGroup, WorkloadTemplate,
    gateway_api,
};

macro_rules! resources {
    ($($variant:ident($value:ty)),* $(,)?) => {
        /// A validated object of any kind.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "each variant is the kind of its name")]
        pub enum Resource {
            $($variant(Arc<Object<$value>>),)*
            /// A `Deployment`, `StatefulSet`, `DaemonSet`, `ReplicaSet` or `Job`.
            Workload(Arc<Object<WorkloadTemplate>>),
            /// A namespace has nothing but its name and labels.
            Namespace(Arc<Object<()>>),
            /// A service account has nothing but its name.
            ServiceAccount(Arc<Object<()>>),
        }

        impl Resource {
            /// The kind of the object.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$variant(_) => Kind::$variant,)*
                    Self::Workload(object) => object.spec.kind.kind(),
                    Self::Namespace(_) => Kind::Namespace,
                    Self::ServiceAccount(_) => Kind::ServiceAccount,
                }
            }

            /// Name, labels, age.
            #[must_use]
            pub fn meta(&self) -> &ObjectMeta {
                match self {
                    $(Self::$variant(object) => &object.meta,)*
                    Self::Workload(object) => &object.meta,
                    Self::Namespace(object) | Self::ServiceAccount(object) => &object.meta,
                }
            }

            /// Where the object was written.
            #[must_use]
            pub fn origin(&self) -> &Origin {
                match self {
                    $(Self::$variant(object) => &object.origin,)*
                    Self::Workload(object) => &object.origin,
                    Self::Namespace(object) | Self::ServiceAccount(object) => &object.origin,
                }
            }
        }
    };
}

resources! {
    VirtualService(VirtualService),
    DestinationRule(DestinationRule),
    Gateway(Gateway),
    ServiceEntry(ServiceEntry),
    WorkloadEntry(WorkloadEntry),
    Sidecar(Sidecar),
    WorkloadGroup(WorkloadGroup),
    EnvoyFilter(EnvoyFilter),
    ProxyConfig(ProxyConfig),
    WasmPlugin(TrafficExtension),
    TrafficExtension(TrafficExtension),
    GatewayClass(gateway_api::gateway::GatewayClass),
    ApiGateway(gateway_api::gateway::Gateway),
    ListenerSet(gateway_api::gateway::ListenerSet),
    HttpRoute(gateway_api::http_route::HttpRoute),
    GrpcRoute(gateway_api::route::GrpcRoute),
    TlsRoute(gateway_api::route::StreamRoute),
    TcpRoute(gateway_api::route::StreamRoute),
    UdpRoute(gateway_api::route::StreamRoute),
    BackendTlsPolicy(gateway_api::policy::BackendTlsPolicy),
    ReferenceGrant(gateway_api::policy::ReferenceGrant),
    PeerAuthentication(PeerAuthentication),
    RequestAuthentication(RequestAuthentication),
    AuthorizationPolicy(AuthorizationPolicy),
    Telemetry(Telemetry),
    IstioOperator(IstioOperator),
    RateLimit(RateLimit),
    Service(Service),
    Endpoints(Endpoints),
    EndpointSlice(EndpointSlice),
    Pod(Pod),
    Secret(Secret),
    ConfigMap(ConfigMap),
}

impl Resource {
    /// Whether the control plane acts on the object. One that it does not act on was read and
    /// checked, says so in a notice, and is kept for whoever analyses the mesh.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        match self {
            Self::VirtualService(object) => {
                !object.spec.is_delegate() && object.spec.delegates().next().is_none()
            }
            Self::WorkloadGroup(_)
            | Self::EnvoyFilter(_)
            | Self::ProxyConfig(_)
            | Self::WasmPlugin(_)
            | Self::GatewayClass(_)
            | Self::ApiGateway(_)
            | Self::ListenerSet(_)
            | Self::HttpRoute(_)
            | Self::GrpcRoute(_)
            | Self::TlsRoute(_)
            | Self::TcpRoute(_)
            | Self::UdpRoute(_)
            | Self::BackendTlsPolicy(_)
            | Self::ReferenceGrant(_)
            | Self::TrafficExtension(_)
            | Self::RateLimit(_) => false,
            Self::ServiceEntry(object) => object.spec.is_applied(),
            Self::WorkloadEntry(object) => object.spec.is_applied(),
            Self::AuthorizationPolicy(object) => object.spec.is_applied(),
            Self::RequestAuthentication(object) => object.spec.targets.is_empty(),
            Self::Telemetry(object) => object.spec.targets.is_empty(),
            // Limits are read and checked; nothing is planned with them yet.
            Self::IstioOperator(_)
            | Self::DestinationRule(_)
            | Self::Gateway(_)
            | Self::Sidecar(_)
            | Self::PeerAuthentication(_)
            | Self::Service(_)
            | Self::Endpoints(_)
            | Self::EndpointSlice(_)
            | Self::Pod(_)
            | Self::Secret(_)
            | Self::ConfigMap(_)
            | Self::Workload(_)
            | Self::Namespace(_)
            | Self::ServiceAccount(_) => true,
        }
    }

    /// What tells this object from every other.
    #[must_use]
    pub fn key(&self) -> ResourceKey {
        let meta = self.meta();
        ResourceKey {
            kind: self.kind(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
        }
    }
}
