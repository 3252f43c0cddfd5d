//! Credentials that are written into requests.

use iako_xds_api::envoy::extensions::filters::http::credential_injector::v3::CredentialInjector as Message;
use iako_xds_api::envoy::extensions::http::injected_credentials::{
    generic::v3::Generic, oauth2::v3 as oauth_pb,
};

use super::{callout, transport, wire};
use iako_proxy_config::{ClientCredentials, CredentialInjector, CredentialSource, SecretShown};

pub(super) fn filter(value: &CredentialInjector) -> Message {
    let credential = match &value.source {
        CredentialSource::Secret { secret, header, prefix } => wire::extension(
            "envoy.http.injected_credentials.generic",
            &Generic {
                credential: Some(transport::secret(secret)),
                header: header.as_str().to_owned(),
                header_value_prefix: prefix.clone(),
            },
        ),
        CredentialSource::Token(value) => {
            wire::extension("envoy.http.injected_credentials.oauth2", &client_credentials(value))
        }
    };
    Message {
        overwrite: value.overwrites,
        allow_request_without_credential: value.passes_without,
        credential: Some(credential),
    }
}

fn client_credentials(value: &ClientCredentials) -> oauth_pb::OAuth2 {
    use oauth_pb::o_auth2::{AuthType, ClientCredentials as Flow, EndpointParameter, FlowType};
    let auth_type = match value.shown {
        SecretShown::Basic => AuthType::BasicAuth,
        SecretShown::Content => AuthType::UrlEncodedBody,
    };
    let parameter = |(name, value): &(String, String)| EndpointParameter {
        name: name.clone(),
        value: value.clone(),
    };
    oauth_pb::OAuth2 {
        token_endpoint: Some(callout::uri(&value.endpoint)),
        scopes: value.scopes.clone(),
        token_fetch_retry_interval: Some(wire::duration(value.retry_interval)),
        endpoint_params: value.parameters.iter().map(parameter).collect(),
        flow_type: Some(FlowType::ClientCredentials(Flow {
            client_id: value.client_id.clone(),
            client_secret: Some(transport::secret(&value.client_secret)),
            auth_type: auth_type.into(),
        })),
    }
}
