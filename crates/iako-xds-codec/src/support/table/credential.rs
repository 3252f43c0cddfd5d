//! HTTP filters that deal with credentials.

use crate::support::MessageSupport;

pub(super) const MESSAGES: &[MessageSupport] = &[
    MessageSupport {
        name: "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
        honoured: &["overwrite", "allow_request_without_credential", "credential"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.http.injected_credentials.generic.v3.Generic",
        honoured: &["credential", "header", "header_value_prefix"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.http.injected_credentials.oauth2.v3.OAuth2",
        honoured: &[
            "token_endpoint",
            "scopes",
            "client_credentials",
            "token_fetch_retry_interval",
            "endpoint_params",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.http.injected_credentials.oauth2.v3.OAuth2.ClientCredentials",
        honoured: &["client_id", "client_secret", "auth_type"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.http.injected_credentials.oauth2.v3.OAuth2.EndpointParameter",
        honoured: &["name", "value"],
        warned: &[],
        refused: &[],
    },
];
