//! Who a client is, where that is said in other ways than by the connection.

use iako_types::CidrRange;

use super::{ClientCertDetails, ForwardClientCert};
use crate::HeaderName;

/// A way to find out who the client is; the first that knows counts.
/// Source: `HttpConnectionManager.original_ip_detection_extensions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IpDetection {
    /// By `x-forwarded-for`.
    /// Source: `envoy.extensions.http.original_ip_detection.xff.v3.XffConfig`.
    ForwardedFor {
        /// How many entries, from the right, are trusted proxies. Envoy default: 0.
        trusted_hops: u32,
        /// Networks of trusted proxies, in place of a count: the client is the first entry from the
        /// right that is in none of them, and is asked for only when the connection is.
        trusted: Vec<CidrRange>,
        /// Whether the header is left as it is. Envoy default: true.
        skip_append: bool,
    },
    /// By a header that holds an address and nothing else.
    /// Source: `envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig`.
    Header {
        /// Which one.
        name: HeaderName,
        /// Whether a client found so may count as internal. Envoy default: false.
        trusted: bool,
        /// The status for requests without a usable address, which otherwise go on; 400 to 599.
        reject_with: Option<u16>,
    },
}

/// What becomes of `x-forwarded-client-cert` for some requests.
/// Source: `HttpConnectionManager.ForwardClientCertConfig`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardClientCertRule {
    /// What becomes of the header.
    pub forward: ForwardClientCert,
    /// Which facts are written into it.
    pub details: ClientCertDetails,
}

/// What the scheme of requests becomes.
/// Source: `envoy.config.core.v3.SchemeHeaderTransformation`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SchemeChange {
    /// What it is.
    #[default]
    Keep,
    /// This, `http` or `https`.
    Overwrite(String),
    /// That of the connection to the upstream. Source: `match_upstream`.
    MatchUpstream,
}
