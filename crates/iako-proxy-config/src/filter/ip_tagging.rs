//! Tags for requests by where they come from.

use iako_types::CidrRange;

use crate::HeaderName;

/// Writes tags into a header, by the address of the client.
/// Source: `envoy.extensions.filters.http.ip_tagging.v3.IPTagging`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpTagging {
    /// Which requests are looked at.
    pub requests: TaggedRequests,
    /// Tags with their addresses; at least one.
    pub tags: Vec<IpTag>,
    /// Where tags are written. Envoy default: they are appended to `x-envoy-ip-tags`.
    pub header: Option<IpTagHeader>,
}

/// Which requests are looked at. Source: `IPTagging.RequestType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TaggedRequests {
    /// All. Envoy default.
    #[default]
    Both,
    /// Those of internal clients.
    Internal,
    /// The others.
    External,
}

/// A tag. Source: `IPTagging.IPTag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpTag {
    /// What is written.
    pub name: String,
    /// The addresses that have it.
    pub ranges: Vec<CidrRange>,
}

/// Where tags are written. Source: `IPTagging.IpTagHeader`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpTagHeader {
    /// The header.
    pub name: HeaderName,
    /// Whether what the client sent goes; else tags come behind it. Envoy default: true.
    pub sanitizes: bool,
}
