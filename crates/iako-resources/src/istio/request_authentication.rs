//! `RequestAuthentication`: which tokens a workload accepts.

mod parse;

use std::time::Duration;

use super::TargetRef;
use crate::Labels;

pub(crate) use parse::parse;

/// Tokens that the workloads it selects check. Source: `istio.security.v1.RequestAuthentication`.
///
/// A bad token is refused; a missing one is not: that is the duty of an AuthorizationPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAuthentication {
    /// Labels of the workloads; `None` is the namespace, or the mesh in the root namespace.
    pub selector: Option<Labels>,
    /// The issuers.
    pub rules: Vec<JwtRule>,
    /// What it is for instead of workloads by label. Objects with targets are not applied yet.
    pub targets: Vec<TargetRef>,
}

/// Tokens of one issuer. Source: `istio.security.v1.JWTRule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRule {
    /// Value of `iss`; `None` accepts any (then keys are given by address).
    pub issuer: Option<String>,
    /// Values of `aud`, any of them; none accepts any.
    pub audiences: Vec<String>,
    /// Where the keys come from.
    pub keys: JwtKeys,
    /// Headers that carry a token.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters that carry a token.
    pub from_params: Vec<String>,
    /// Cookies that carry a token.
    pub from_cookies: Vec<String>,
    /// The token stays in the request. Istio's default: no.
    pub forward_original_token: bool,
    /// Header for the payload, base64url.
    pub output_payload_to_header: Option<String>,
    /// Headers for single claims: header, claim.
    pub output_claim_to_headers: Vec<(String, String)>,
    /// Longest time to fetch keys. Istio's default: 5 s.
    pub timeout: Duration,
    /// Claims that are split at spaces, beside `scope` and `permission`.
    pub space_delimited_claims: Vec<String>,
    /// Line in its file, from 1.
    pub line: u32,
}

impl JwtRule {
    /// Whether the rule names no place of its own, so that `Authorization: Bearer` and the query
    /// parameter `access_token` count.
    #[must_use]
    pub fn uses_default_locations(&self) -> bool {
        self.from_headers.is_empty() && self.from_params.is_empty() && self.from_cookies.is_empty()
    }
}

/// Keys of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtKeys {
    /// Given in the object, as a JSON Web Key Set.
    Inline(String),
    /// Fetched.
    Uri(String),
    /// Found by the issuer's `.well-known/openid-configuration`.
    Discovery,
}

/// A header that carries a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtHeader {
    /// The header.
    pub name: String,
    /// What stands before the token; may be empty.
    pub prefix: String,
}
