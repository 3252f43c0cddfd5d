//! People log in at an authorization server.

use std::time::Duration;

use super::jwt::FetchRetry;
use crate::{HeaderMatch, HeaderName, HttpUri, SourcedName, StringMatch};

/// Sends who is not logged in to an authorization server, and keeps what that gives in cookies.
/// Source: `envoy.extensions.filters.http.oauth2.v3.OAuth2Config`.
#[derive(Debug, Clone, PartialEq)]
pub struct OAuth2 {
    /// Between `http.<prefix>.` and the names of its statistics; as it is. Envoy default: nothing.
    pub stat_prefix: String,
    /// Where the server is.
    pub server: LoginServer,
    /// Who this proxy is to it.
    pub client: LoginClient,
    /// Which requests are which.
    pub requests: LoginRequests,
    /// What becomes of tokens.
    pub tokens: LoginTokens,
    /// How cookies are called and kept.
    pub cookies: LoginCookies,
}

/// Where an authorization server is.
#[derive(Debug, Clone, PartialEq)]
pub struct LoginServer {
    /// Who gives tokens.
    pub token: HttpUri,
    /// How a question for tokens is tried again; not at all when absent.
    pub retry: Option<FetchRetry>,
    /// Where browsers are sent to log in; an absolute URL.
    pub authorization: String,
    /// Where browsers are sent to log out; the page of `after_logout` when empty.
    pub end_session: String,
    /// Where the server sends them then.
    pub after_logout: AfterLogout,
    /// What is asked for. Envoy default: `user`.
    pub scopes: Vec<String>,
    /// For which resources (RFC 8707).
    pub resources: Vec<String>,
}

/// Where who logged out goes. Source: `PostLogoutRedirectUri`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AfterLogout {
    /// The page `/` of the host.
    #[default]
    Home,
    /// The server is told of no page.
    Nowhere,
    /// A text with operators.
    Format(String),
}

/// Who this proxy is to an authorization server. Source: `OAuth2Credentials`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginClient {
    /// Its name.
    pub id: String,
    /// What it shows; none with a certificate.
    pub secret: Option<SourcedName>,
    /// What cookies are signed and encrypted with.
    pub hmac_secret: SourcedName,
    /// How it shows its secret.
    pub shown: LoginSecretShown,
}

/// How a client shows its secret. Source: `OAuth2Config.AuthType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LoginSecretShown {
    /// In the content. Envoy default.
    #[default]
    Content,
    /// By the scheme `Basic`.
    Basic,
    /// Not at all: the cluster shows a certificate.
    Certificate,
}

/// Which requests are which.
#[derive(Debug, Clone, PartialEq)]
pub struct LoginRequests {
    /// Where the server sends browsers back to, a text with operators.
    pub redirect_uri: String,
    /// The path of that page.
    pub callback: StringMatch,
    /// The path that logs out.
    pub signout: StringMatch,
    /// Scheme and host of the page that is gone back to, a text with operators; those of the request
    /// when empty.
    pub original_uri: String,
    /// Hosts of pages that may be gone back to, `*.` for those below one; every host when empty.
    pub allowed_hosts: Vec<String>,
    /// Requests that are passed by.
    pub pass_through: Vec<HeaderMatch>,
    /// Requests that are refused in place of sent away.
    pub deny_redirect: Vec<HeaderMatch>,
    /// Requests that pass without a session, and say so.
    pub allow_failed: Vec<HeaderMatch>,
}

/// What becomes of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct LoginTokens {
    /// Whether upstreams get the token as `authorization`. Envoy default: false.
    pub forwards_bearer: bool,
    /// The header in which upstreams get the identity; none when absent.
    pub id_header: Option<HeaderName>,
    /// Whether the client's `authorization` stays. Envoy default: false.
    pub keeps_authorization: bool,
    /// Whether a session is renewed by a refresh token. Envoy default: true.
    pub refreshes: bool,
    /// Life of a token of which the server does not tell; zero where that is refused. Envoy default: 0.
    pub lifetime: Duration,
    /// Life of a refresh token that does not tell. Envoy default: 604,800 s.
    pub refresh_lifetime: Duration,
    /// Whether the identity lives as long as the token, whatever it says. Envoy default: false.
    pub id_lives_as_token: bool,
    /// Whether cookies hold tokens as they are. Envoy default: false, encrypted.
    pub in_clear: bool,
    /// Tokens of which there is no cookie.
    pub unkept: UnkeptTokens,
}

/// Tokens that are not kept in cookies. Envoy default: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnkeptTokens {
    /// Source: `disable_access_token_set_cookie`.
    pub access: bool,
    /// Source: `disable_id_token_set_cookie`.
    pub id: bool,
    /// Source: `disable_refresh_token_set_cookie`.
    pub refresh: bool,
}

/// How cookies are called and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginCookies {
    /// The domain that they are for; the host alone when empty.
    pub domain: String,
    /// The token. Envoy default: `BearerToken`.
    pub bearer: LoginCookie,
    /// The signature over the others. Envoy default: `OauthHMAC`.
    pub hmac: LoginCookie,
    /// When the session ends. Envoy default: `OauthExpires`.
    pub expires: LoginCookie,
    /// The identity. Envoy default: `IdToken`.
    pub id: LoginCookie,
    /// What another token can be had for. Envoy default: `RefreshToken`.
    pub refresh: LoginCookie,
    /// Which browser began a login. Envoy default: `OauthNonce`.
    pub nonce: LoginCookie,
    /// Its secret (RFC 7636). Envoy default: `CodeVerifier`.
    pub verifier: LoginCookie,
    /// Life of `nonce`. Envoy default: 600 s.
    pub nonce_lifetime: Duration,
    /// Life of `verifier`. Envoy default: 600 s.
    pub verifier_lifetime: Duration,
}

/// One cookie. Source: `CookieConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginCookie {
    /// Its name.
    pub name: String,
    /// Below which path it is sent. Envoy default: `/`.
    pub path: String,
    /// When browsers send it from pages of other sites; nothing is said when absent.
    pub same_site: Option<SameSite>,
    /// Whether pages that embed this one have cookies of their own. Envoy default: false.
    pub partitioned: bool,
}

/// When browsers send a cookie from pages of other sites. Source: `CookieConfig.SameSite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When the page is left for this one.
    Lax,
    /// Always.
    None,
}

impl OAuth2 {
    /// The secrets that it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &SourcedName> {
        self.client.secret.iter().chain([&self.client.hmac_secret])
    }
}
