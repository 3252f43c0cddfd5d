//! Checking of JSON web tokens.

use std::{collections::BTreeMap, time::Duration};

use crate::{HeaderName, RouteMatch, StringMatch};

/// Which tokens are asked for and by whom they are issued.
/// Source: `envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JwtAuthn {
    /// Issuers by a name that requirements refer to.
    pub providers: BTreeMap<String, JwtProvider>,
    /// The first that matches a request counts; a request that none matches passes.
    pub rules: Vec<JwtRule>,
    /// Whether cross-origin preflights pass without a token. Envoy default: false.
    pub bypass_cors_preflight: bool,
    /// Requirements that routes may name in place of the rules; what asks for nothing is none.
    pub requirements: BTreeMap<String, Option<JwtRequirement>>,
    /// What is asked of requests that no rule matches, by an object that filters keep.
    pub state_rules: Option<JwtStateRules>,
    /// Whether who is refused is told nothing but the status. Envoy default: false.
    pub strip_failure_response: bool,
    /// Stands between `jwt_authn.` and the names of statistics; may be empty.
    pub stat_prefix: String,
}

/// What is asked of some requests.
#[derive(Debug, Clone, PartialEq)]
pub struct JwtRule {
    /// Which requests.
    pub matcher: RouteMatch,
    /// What is asked; nothing when absent.
    pub requirement: Option<JwtRequirement>,
}

/// What is asked by the text of an object that filters keep; nothing for a text that is not there.
/// Source: `envoy.extensions.filters.http.jwt_authn.v3.FilterStateRule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtStateRules {
    /// The object's name.
    pub name: String,
    /// What is asked, by its text; what asks for nothing is none.
    pub requirements: BTreeMap<String, Option<JwtRequirement>>,
}

/// What is asked of a request. Providers are named in [`JwtAuthn::providers`].
/// Source: `envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtRequirement {
    /// A valid token of this provider.
    Provider {
        /// Its name.
        name: String,
        /// Audiences in place of the provider's; the provider's when empty.
        audiences: Vec<String>,
    },
    /// One of these.
    Any(Vec<Self>),
    /// All of these.
    All(Vec<Self>),
    /// A missing token passes, a bad one does not.
    AllowMissing,
    /// Everything passes; a good token leaves its facts.
    AllowMissingOrFailed,
    /// Everything passes; a good token leaves its facts, and a bad one the word `false` in a header.
    ExtractOnly {
        /// The header. Envoy default: `x-jwt-signature-verified`.
        header: HeaderName,
    },
}

/// An issuer of tokens. Source: `envoy.extensions.filters.http.jwt_authn.v3.JwtProvider`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtProvider {
    /// What the claim `iss` must be; anything when empty.
    pub issuer: String,
    /// Of which the claim `aud` must hold one; anything when empty.
    pub audiences: Vec<String>,
    /// What the claim `sub` must be; anything when absent.
    pub subjects: Option<StringMatch>,
    /// Whether a token must have an end. Envoy default: false.
    pub require_expiration: bool,
    /// Longest time that a token may still be valid; without an end it is refused then. Unlimited
    /// when absent.
    pub lifetime_max: Option<Duration>,
    /// Where the keys come from.
    pub jwks: Jwks,
    /// Whether the token is passed on. Envoy default: false.
    pub forward: bool,
    /// Headers to look in. With `from_params` and `from_cookies` empty too:
    /// `Authorization: Bearer …`, then the query parameter `access_token`.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters to look in.
    pub from_params: Vec<String>,
    /// Cookies to look in.
    pub from_cookies: Vec<String>,
    /// Header that gets the payload, base64url; none when absent.
    pub payload_header: Option<HeaderName>,
    /// Whether the payload in that header is padded with `=`. Envoy default: false.
    pub pad_payload_header: bool,
    /// Headers that get single claims.
    pub claim_to_headers: Vec<ClaimToHeader>,
    /// Name under which the payload is kept for other filters; not kept when empty.
    pub payload_in_metadata: String,
    /// Name under which the token's header is kept for other filters; not kept when empty.
    pub header_in_metadata: String,
    /// Name under which is kept why a token was not accepted; not kept when empty.
    pub failed_status_in_metadata: String,
    /// Claims that are lists written with spaces between. Istio: `scope` and `permission`.
    pub space_delimited_claims: Vec<String>,
    /// How far clocks may differ. Envoy default: 60 s.
    pub clock_skew: Duration,
    /// Whether the route is chosen again after the token is known. Envoy default: false.
    pub clear_route_cache: bool,
}

impl JwtProvider {
    /// A provider with Envoy's defaults.
    #[must_use]
    pub fn new(issuer: impl Into<String>, jwks: Jwks) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: Vec::new(),
            subjects: None,
            require_expiration: false,
            lifetime_max: None,
            jwks,
            forward: false,
            from_headers: Vec::new(),
            from_params: Vec::new(),
            from_cookies: Vec::new(),
            payload_header: None,
            pad_payload_header: false,
            claim_to_headers: Vec::new(),
            payload_in_metadata: String::new(),
            header_in_metadata: String::new(),
            failed_status_in_metadata: String::new(),
            space_delimited_claims: Vec::new(),
            clock_skew: Duration::from_secs(60),
            clear_route_cache: false,
        }
    }
}

/// A header that holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtHeader {
    /// The header.
    pub name: HeaderName,
    /// What stands before the token; may be empty.
    pub prefix: String,
}

/// A header that gets a claim; what the client sent in it is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimToHeader {
    /// The header.
    pub header: HeaderName,
    /// The names of the claim and of those that it stands in, outermost first.
    pub claim: Vec<String>,
}

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// A JSON Web Key Set in the configuration.
    Inline(String),
    /// Fetched over HTTP.
    Remote {
        /// `http://` or `https://`.
        uri: String,
        /// The cluster that reaches it.
        cluster: String,
        /// Longest time of a fetch.
        timeout: Duration,
        /// Time between fetches. Envoy default: 10 min; Istio: 5 min.
        cache: Duration,
        /// How a failed fetch is tried again; not when absent.
        retry: Option<FetchRetry>,
    },
}

/// How a fetch is tried again. Source: `envoy.config.core.v3.RetryPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchRetry {
    /// How often. Envoy default: 1.
    pub retries_max: u32,
    /// The pause before the first one; each further one may be twice as long. Envoy default: 1 s.
    pub pause: Duration,
    /// Longest pause. Envoy default: ten times the first.
    pub pause_max: Duration,
}
