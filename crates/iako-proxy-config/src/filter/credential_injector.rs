//! Credentials that are written into requests.

use std::time::Duration;

use crate::{HeaderName, HttpUri, SourcedName};

/// Writes a credential into requests.
/// Source: `envoy.extensions.filters.http.credential_injector.v3.CredentialInjector`.
#[derive(Debug, Clone, PartialEq)]
pub struct CredentialInjector {
    /// Where it comes from.
    pub source: CredentialSource,
    /// Whether what the client sent is replaced. Envoy default: false.
    pub overwrites: bool,
    /// Whether requests pass without it while it is not there; they are refused with 401 if not.
    /// Envoy default: false.
    pub passes_without: bool,
}

/// Where a credential comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum CredentialSource {
    /// A secret, as it is.
    /// Source: `envoy.extensions.http.injected_credentials.generic.v3.Generic`.
    Secret {
        /// Its name.
        secret: SourcedName,
        /// The header that it is written into. Envoy default: `authorization`.
        header: HeaderName,
        /// What stands before it. Envoy default: nothing.
        prefix: String,
    },
    /// A token that an authorization server gives this proxy.
    Token(Box<ClientCredentials>),
}

impl CredentialSource {
    /// The secret that it needs.
    #[must_use]
    pub const fn secret(&self) -> &SourcedName {
        match self {
            Self::Secret { secret, .. } => secret,
            Self::Token(credentials) => &credentials.client_secret,
        }
    }
}

/// How tokens are asked for, by the grant of client credentials (RFC 6749 §4.4).
/// Source: `envoy.extensions.http.injected_credentials.oauth2.v3.OAuth2`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientCredentials {
    /// Who gives them.
    pub endpoint: HttpUri,
    /// Who this proxy is to the server.
    pub client_id: String,
    /// The name of the secret that it shares with the server.
    pub client_secret: SourcedName,
    /// How it shows the secret. Envoy writes it into the content either way, and so do we.
    pub shown: SecretShown,
    /// What tokens are for.
    pub scopes: Vec<String>,
    /// Further parameters, in order.
    pub parameters: Vec<(String, String)>,
    /// Pause after a try that failed. Envoy default: 2 s.
    pub retry_interval: Duration,
}

/// How a client shows its secret. Source: `OAuth2.AuthType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SecretShown {
    /// By the scheme `Basic`. Envoy default.
    #[default]
    Basic,
    /// In the content.
    Content,
}
