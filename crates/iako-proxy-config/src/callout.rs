//! Services that this proxy asks about requests, and what passes between them.

pub(crate) mod check;
pub(crate) mod limit;
pub(crate) mod load;
pub(crate) mod processing;
pub(crate) mod span;

use std::{num::NonZeroU32, time::Duration};

use crate::{HeaderName, Pattern};

/// A gRPC service that this proxy asks. Source: `envoy.config.core.v3.GrpcService` with `envoy_grpc`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrpcService {
    /// Its cluster.
    pub cluster: String,
    /// The host of calls; the cluster's name when empty.
    pub authority: String,
    /// Longest time of one call; none when absent. Filters have defaults of their own.
    pub timeout: Option<Duration>,
    /// Headers of every call, in order. Source: `initial_metadata`.
    pub metadata: Vec<(HeaderName, String)>,
    /// Longest message that is taken, in bytes; 4 MiB when absent.
    /// Source: `max_receive_message_length`.
    pub answer_bytes_max: Option<NonZeroU32>,
    /// Whether `x-envoy-internal` and `x-forwarded-for` are left out. Envoy default: false.
    pub skips_envoy_headers: bool,
}

/// Where HTTP requests of this proxy go. Source: `envoy.config.core.v3.HttpUri`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpUri {
    /// Scheme, host and path.
    pub uri: String,
    /// The cluster that reaches it.
    pub cluster: String,
    /// Longest time of one request.
    pub timeout: Duration,
}

/// Which headers a service may change. Source:
/// `envoy.config.common.mutation_rules.v3.HeaderMutationRules`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeaderMutationRules {
    /// Whether headers that decide where requests go (`:authority`, `:scheme`, `:method`, `host`) may
    /// be changed. Envoy default: false.
    pub allow_all_routing: bool,
    /// Whether headers that begin with `x-envoy-` may be changed. Envoy default: false.
    pub allow_envoy: bool,
    /// Whether no header that begins with a colon may be changed. Envoy default: false.
    pub disallow_system: bool,
    /// Whether nothing may be changed but what `allow` names. Envoy default: false.
    pub disallow_all: bool,
    /// Names that may be changed whatever else is said, but for those that `disallow` names.
    pub allow: Option<Pattern>,
    /// Names that may not be changed whatever else is said.
    pub disallow: Option<Pattern>,
    /// Whether a change that may not be made fails the request. Envoy default: false, it is left out.
    pub disallowed_is_error: bool,
}

/// A change of a header that a service asks for. Source: `envoy.config.core.v3.HeaderValueOption`,
/// with values as they are: services write no operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceHeader {
    /// The name as it was sent; may be none.
    pub name: String,
    /// The value as it was sent; may be none.
    pub value: Vec<u8>,
    /// What happens when the header is there already.
    pub action: crate::AppendAction,
    /// Whether the action was named, or Envoy's default of the place counts.
    pub named: bool,
    /// Whether it is added when it is empty.
    pub keep_empty: bool,
}

/// What stands for a header in a question: name and value.
pub type AskedHeader<'a> = (&'a str, &'a [u8]);
