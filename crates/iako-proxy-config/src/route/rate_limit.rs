//! What a request counts as, for limits of rates.

use iako_types::CidrRange;

use crate::{HeaderMatch, HeaderName, QueryMatch};

/// One descriptor that is made of a request. Source: `envoy.config.route.v3.RateLimit`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Which filter looks at it, 0 to 10. Envoy default: 0.
    pub stage: u32,
    /// Names it where it can be switched off.
    pub disable_key: String,
    /// Its entries, in order; when one that has to be there has no value, there is no descriptor.
    pub actions: Vec<RateLimitAction>,
    /// A limit that counts in place of the service's own.
    pub limit: Option<RateLimitOverride>,
    /// How much one request counts; 1 when absent.
    pub hits: Option<RateLimitHits>,
    /// Whether it is counted when the request ends, and never refuses. Envoy default: false.
    pub on_stream_done: bool,
    /// Whether `x-ratelimit` headers of it are written; as the filter says when absent.
    pub headers: Option<bool>,
}

/// One entry of a descriptor: a key and a value. Source:
/// `envoy.config.route.v3.RateLimit.Action`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateLimitAction {
    /// `source_cluster`: the service cluster of this proxy.
    SourceCluster,
    /// `destination_cluster`: the cluster of the route.
    DestinationCluster,
    /// `remote_address`: the client, as far as it is trusted.
    RemoteAddress,
    /// `masked_remote_address`: the client's network.
    MaskedRemoteAddress {
        /// Leading bits of IPv4 that count, at most 32. Envoy default: 32.
        v4_bits: u8,
        /// Leading bits of IPv6 that count, at most 128. Envoy default: 128.
        v6_bits: u8,
    },
    /// A header under a key of its own.
    RequestHeader {
        /// Which header.
        name: HeaderName,
        /// Under which key.
        key: String,
        /// Whether the entry alone is left out when the header is missing; else the descriptor is.
        skip_if_absent: bool,
    },
    /// A query parameter under a key of its own.
    QueryParameter {
        /// Which parameter.
        name: String,
        /// Under which key.
        key: String,
        /// Whether the entry alone is left out when it is missing; else the descriptor is.
        skip_if_absent: bool,
    },
    /// Always the same.
    GenericKey(RateLimitEntry),
    /// Where headers meet conditions, or do not.
    HeaderValueMatch {
        /// The entry.
        entry: RateLimitEntry,
        /// Whether all conditions have to be met, or not all. Envoy default: true.
        expect: bool,
        /// The conditions.
        headers: Vec<HeaderMatch>,
    },
    /// Where query parameters meet conditions, or do not.
    QueryParameterValueMatch {
        /// The entry.
        entry: RateLimitEntry,
        /// Whether all conditions have to be met, or not all. Envoy default: true.
        expect: bool,
        /// The conditions.
        query: Vec<QueryMatch>,
    },
    /// Where the client's address is in some networks.
    RemoteAddressMatch {
        /// The entry.
        entry: RateLimitEntry,
        /// The networks.
        ranges: Vec<CidrRange>,
        /// Whether it has to be in none of them.
        invert: bool,
    },
    /// What a filter, the route or the cluster holds.
    Metadata {
        /// Under which key.
        key: String,
        /// Whose metadata.
        source: RateLimitMetadataSource,
        /// Where in it.
        path: MetadataPlace,
        /// The value when there is none.
        default_value: String,
        /// Whether the entry alone is left out when there is none; else the descriptor is.
        skip_if_absent: bool,
    },
}

/// Key and value of an entry that is not made of the request's own text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitEntry {
    /// The key. Envoy default: by the action, such as `generic_key` or `header_match`.
    pub key: String,
    /// The value, with `%OPERATOR%`s.
    pub value: String,
    /// The value when the operators give none.
    pub default_value: String,
}

/// Whose metadata is looked at. Source: `envoy.config.route.v3.RateLimit.Action.MetaData.Source`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RateLimitMetadataSource {
    /// What filters left.
    #[default]
    Dynamic,
    /// The route's.
    Route,
    /// The cluster's.
    Cluster,
    /// The locality's of the chosen instance.
    Locality,
}

/// A place in metadata. Source: `envoy.type.metadata.v3.MetadataKey`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataPlace {
    /// The name of the filter or namespace.
    pub key: String,
    /// Keys from the outside in.
    pub path: Vec<String>,
}

/// A limit that counts in place of the service's own. Source:
/// `envoy.config.route.v3.RateLimit.Override`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateLimitOverride {
    /// What filters left under this place.
    Metadata(MetadataPlace),
    /// This.
    Fixed {
        /// How many requests.
        requests: u32,
        /// In how long.
        unit: RateLimitUnit,
    },
}

/// A span of time that requests are counted in. Source: `envoy.type.v3.RateLimitUnit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitUnit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// How much one request counts. Source: `envoy.config.route.v3.RateLimit.HitsAddend`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateLimitHits {
    /// So much.
    Number(u64),
    /// A text with one `%OPERATOR%` that gives a number.
    Format(String),
}
