//! Names of resource types, and the few properties of types that the protocol itself knows.

use std::{borrow::Cow, fmt};

/// Paths of the gRPC methods of a discovery service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Methods {
    pub(crate) delta: &'static str,
    pub(crate) state: Option<&'static str>,
}

macro_rules! methods {
    ($package:literal, $service:literal, $resources:literal) => {
        Methods {
            delta: concat!(
                "/envoy.service.",
                $package,
                ".v3.",
                $service,
                "DiscoveryService/Delta",
                $resources
            ),
            state: Some(concat!(
                "/envoy.service.",
                $package,
                ".v3.",
                $service,
                "DiscoveryService/Stream",
                $resources
            )),
        }
    };
}

/// The name of a resource type, such as `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
///
/// Ordered as types are sent: what is referred to before what refers to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TypeUrl(Cow<'static, str>);

impl TypeUrl {
    /// CDS.
    pub const CLUSTER: Self = Self::of("type.googleapis.com/envoy.config.cluster.v3.Cluster");
    /// EDS.
    pub const ENDPOINTS: Self =
        Self::of("type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment");
    /// LDS.
    pub const LISTENER: Self = Self::of("type.googleapis.com/envoy.config.listener.v3.Listener");
    /// RDS.
    pub const ROUTES: Self =
        Self::of("type.googleapis.com/envoy.config.route.v3.RouteConfiguration");
    /// SRDS.
    pub const SCOPED_ROUTES: Self =
        Self::of("type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration");
    /// VHDS.
    pub const VIRTUAL_HOST: Self =
        Self::of("type.googleapis.com/envoy.config.route.v3.VirtualHost");
    /// SDS.
    pub const SECRET: Self =
        Self::of("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret");
    /// ECDS.
    pub const EXTENSION: Self =
        Self::of("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
    /// RTDS.
    pub const RUNTIME: Self = Self::of("type.googleapis.com/envoy.service.runtime.v3.Runtime");

    const fn of(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as it stands in messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a state-of-the-world response of this type always holds everything, so that what
    /// is absent is gone. Source: xDS protocol, "resource deletion".
    #[must_use]
    pub fn is_full_state(&self) -> bool {
        *self == Self::CLUSTER || *self == Self::LISTENER
    }

    /// Whether a client takes what is absent in a state-of-the-world response for gone. Scoped routes
    /// are taken like that by Envoy, though the protocol does not ask for it.
    #[must_use]
    pub fn is_whole_in_responses(&self) -> bool {
        self.is_full_state() || *self == Self::SCOPED_ROUTES
    }

    /// Whether asking for nothing in particular asks for everything. Source: xDS protocol,
    /// "wildcard subscriptions"; Istio's own types (workloads, policies) do the same.
    #[must_use]
    pub fn is_wildcard_by_default(&self) -> bool {
        self.is_full_state()
            || *self == Self::SCOPED_ROUTES
            || self.0.starts_with("type.googleapis.com/istio.")
    }

    /// Whether the protocol itself defines this type. Requests for such a type are answered even
    /// when there is nothing of it; others only by a control plane that serves them.
    pub(crate) fn is_core(&self) -> bool {
        self.rank() < OTHERS || *self == Self::RUNTIME
    }

    /// The gRPC methods of the service that tells only this type: the delta form and the state of
    /// the world. Source: `envoy/service/*/v3/*ds.proto`.
    pub(crate) fn methods(&self) -> Option<Methods> {
        const SERVICES: [(&TypeUrl, Methods); 8] = [
            (&TypeUrl::CLUSTER, methods!("cluster", "Cluster", "Clusters")),
            (&TypeUrl::ENDPOINTS, methods!("endpoint", "Endpoint", "Endpoints")),
            (&TypeUrl::LISTENER, methods!("listener", "Listener", "Listeners")),
            (&TypeUrl::ROUTES, methods!("route", "Route", "Routes")),
            (&TypeUrl::SCOPED_ROUTES, methods!("route", "ScopedRoutes", "ScopedRoutes")),
            (&TypeUrl::SECRET, methods!("secret", "Secret", "Secrets")),
            (&TypeUrl::EXTENSION, methods!("extension", "ExtensionConfig", "ExtensionConfigs")),
            (&TypeUrl::RUNTIME, methods!("runtime", "Runtime", "Runtime")),
        ];
        if *self == Self::VIRTUAL_HOST {
            // There is no other form.
            let delta = "/envoy.service.route.v3.VirtualHostDiscoveryService/DeltaVirtualHosts";
            return Some(Methods { delta, state: None });
        }
        SERVICES.iter().find(|(known, _)| *known == self).map(|(_, methods)| *methods)
    }

    /// Place in the order of sending: make before break.
    fn rank(&self) -> u8 {
        const ORDER: [&TypeUrl; 8] = [
            &TypeUrl::CLUSTER,
            &TypeUrl::ENDPOINTS,
            &TypeUrl::LISTENER,
            &TypeUrl::SCOPED_ROUTES,
            &TypeUrl::ROUTES,
            &TypeUrl::VIRTUAL_HOST,
            &TypeUrl::SECRET,
            &TypeUrl::EXTENSION,
        ];
        let place = ORDER.iter().position(|known| *known == self);
        place.and_then(|place| u8::try_from(place).ok()).unwrap_or(OTHERS)
    }
}

/// The rank of types without a place of their own.
const OTHERS: u8 = u8::MAX;

impl From<String> for TypeUrl {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl fmt::Display for TypeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for TypeUrl {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.rank(), &self.0).cmp(&(other.rank(), &other.0))
    }
}

impl PartialOrd for TypeUrl {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
