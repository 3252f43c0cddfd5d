//! Which requests are traced, what is told of them, and to whom.

pub(crate) mod provider;

use std::sync::Arc;

use iako_types::{Fraction, FractionDenominator};

use crate::MetadataPlace;
use provider::TracingProvider;

/// Tracing of the requests of one HTTP listener. Source: `HttpConnectionManager.Tracing`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Which requests.
    pub sampling: TraceSampling,
    /// Who gets the spans; the bootstrap's provider when absent, and nobody where there is none.
    pub provider: Option<Arc<TracingProvider>>,
    /// Whether spans tell when each step of a request was. Envoy default: false.
    pub verbose: bool,
    /// Longest path that is told, in bytes; cut off beyond. Envoy default: 256.
    pub path_bytes_max: u32,
    /// Further tags of every span.
    pub tags: Vec<CustomTag>,
    /// Whether each try of a request is a span of its own. Envoy default: false.
    pub spawns_upstream: bool,
    /// The name of spans, a text with operators; the direction's when empty.
    pub operation: String,
    /// The same for spans of tries.
    pub upstream_operation: String,
    /// Whether upstreams are told of the trace. Source: `no_context_propagation`, the other way round.
    /// Envoy default: true.
    pub propagates: bool,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            sampling: TraceSampling::default(),
            provider: None,
            verbose: false,
            path_bytes_max: 256,
            tags: Vec::new(),
            spawns_upstream: false,
            operation: String::new(),
            upstream_operation: String::new(),
            propagates: true,
        }
    }
}

/// Shares of requests. A point that is the same for all proxies on the way decides, so that parts
/// of different size take different requests: shares keep the size that they were written with.
/// Source: `client_sampling`, `random_sampling`, `overall_sampling`. Envoy default: all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSampling {
    /// Of the requests whose client asks by `x-client-trace-id`.
    pub client: Fraction,
    /// Of those that nobody asks for.
    pub random: Fraction,
    /// Of all that would be traced.
    pub overall: Fraction,
}

impl Default for TraceSampling {
    fn default() -> Self {
        let all = Fraction { numerator: 100, denominator: FractionDenominator::Hundred };
        Self { client: all, random: all, overall: all }
    }
}

/// What a route changes of the tracing of its requests. Source: `envoy.config.route.v3.Tracing`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouteTracing {
    /// In place of the manager's shares.
    pub sampling: TraceSampling,
    /// Besides the manager's tags, and in place of those of the same name.
    pub tags: Vec<CustomTag>,
    /// The name of spans in place of the manager's; empty for that.
    pub operation: String,
    /// The same for spans of tries.
    pub upstream_operation: String,
}

/// The name of a route's operation. Source: `envoy.config.route.v3.Decorator`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decorator {
    /// The name of spans.
    pub operation: String,
    /// Whether the other side is told of it in `x-envoy-decorator-operation`. Envoy default: true.
    pub propagates: bool,
}

/// A tag of spans. Source: `envoy.type.tracing.v3.CustomTag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomTag {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: TagValue,
}

/// Where the value of a tag comes from. A tag without a value is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagValue {
    /// This.
    Literal(String),
    /// A variable of the environment in which the proxy was started.
    Environment {
        /// Its name.
        name: String,
        /// The value when there is none.
        default: String,
    },
    /// A header of the request.
    Header {
        /// Its name.
        name: crate::HeaderName,
        /// The value when there is none.
        default: String,
    },
    /// A fact in metadata.
    Metadata {
        /// Whose.
        source: TagMetadata,
        /// Where in it.
        place: MetadataPlace,
        /// The value when there is none.
        default: String,
    },
    /// A text with operators of logs.
    Format(String),
}

/// Whose metadata a tag looks at. Source: `envoy.type.metadata.v3.MetadataKind`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TagMetadata {
    /// What filters left of the request.
    #[default]
    Request,
    /// That of its route.
    Route,
    /// That of the cluster that it went to.
    Cluster,
    /// That of the endpoint that it went to.
    Host,
}

/// What `x-request-id` has to do with traces.
/// Source: `envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestIdTraces {
    /// Whether the id says why a request is traced. Envoy default: true.
    pub packs_reason: bool,
    /// Whether the id decides which requests are traced; all are when it does not. Envoy default:
    /// true.
    pub decides: bool,
}

impl Default for RequestIdTraces {
    fn default() -> Self {
        Self { packs_reason: true, decides: true }
    }
}
