//! Credentials that are written into requests.

use std::time::Duration;

use iako_xds_api::envoy::extensions::filters::http::credential_injector::v3::CredentialInjector as Message;
use iako_xds_api::envoy::extensions::http::injected_credentials::{
    generic::v3::Generic, oauth2::v3 as oauth_pb,
};
use prost::Name as _;

use super::{callout, transport, typed_struct, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{ClientCredentials, CredentialInjector, CredentialSource, SecretShown};

/// The header of a credential. Envoy's.
const AUTHORIZATION: &str = "authorization";
/// Pause after a try that failed. Envoy's.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

pub(super) fn filter(config: &Message, at: &At<'_>) -> Result<CredentialInjector, Fault> {
    let at_credential = at.field("credential");
    let credential = config.credential.as_ref();
    let credential = credential.ok_or_else(|| at_credential.missing("name the credential"))?;
    let at_config = at_credential.field("typed_config");
    let any = credential.typed_config.as_ref();
    let any = any.ok_or_else(|| at_config.missing("write its settings with `@type`"))?;
    let extension = typed_struct::unwrap(any, &at_config)?;
    let typed_struct::Extension::Message(any) = &extension else {
        return Err(unknown(extension.type_name(), &at_config));
    };
    let name = pool::full_name(&any.type_url);
    let source = if name == Generic::full_name() {
        generic(&wire::unpack(any, &at_config)?, &at_config)?
    } else if name == oauth_pb::OAuth2::full_name() {
        let token = client_credentials(&wire::unpack(any, &at_config)?, &at_config)?;
        CredentialSource::Token(Box::new(token))
    } else {
        return Err(unknown(name, &at_config));
    };
    Ok(CredentialInjector {
        source,
        overwrites: config.overwrite,
        passes_without: config.allow_request_without_credential,
    })
}

fn unknown(name: &str, at: &At<'_>) -> Fault {
    let problem = format!("credentials of type `{name}` are not supported");
    at.invalid(problem, "use a generic secret, or client credentials of OAuth 2")
}

fn generic(config: &Generic, at: &At<'_>) -> Result<CredentialSource, Fault> {
    let at_secret = at.field("credential");
    let secret = config.credential.as_ref();
    let secret = secret.ok_or_else(|| at_secret.missing("name the secret"))?;
    let header = match config.header.as_str() {
        "" => AUTHORIZATION,
        name => name,
    };
    Ok(CredentialSource::Secret {
        secret: transport::secret_name(secret, &at_secret)?,
        header: wire::header_name(header, &at.field("header"))?,
        prefix: config.header_value_prefix.clone(),
    })
}

fn client_credentials(config: &oauth_pb::OAuth2, at: &At<'_>) -> Result<ClientCredentials, Fault> {
    use oauth_pb::o_auth2::{AuthType, FlowType};
    let at_flow = at.field("client_credentials");
    let Some(FlowType::ClientCredentials(flow)) = &config.flow_type else {
        return Err(at_flow.missing("write `client_id` and `client_secret`"));
    };
    if flow.client_id.is_empty() {
        return Err(at_flow.field("client_id").missing("write who this proxy is to the server"));
    }
    let at_secret = at_flow.field("client_secret");
    let secret = flow.client_secret.as_ref();
    let secret = secret.ok_or_else(|| at_secret.missing("name the secret"))?;
    let at_retry = at.field("token_fetch_retry_interval");
    let retry_interval =
        wire::duration_or(config.token_fetch_retry_interval.as_ref(), RETRY_INTERVAL, &at_retry)?;
    if retry_interval < Duration::from_secs(1) {
        return Err(at_retry.invalid("is below one second", "write at least 1s"));
    }
    let shown = match wire::known::<AuthType>(flow.auth_type, &at_flow.field("auth_type"))? {
        AuthType::BasicAuth => SecretShown::Basic,
        AuthType::UrlEncodedBody => SecretShown::Content,
    };
    let at_parameters = at.field("endpoint_params");
    let parameters = wire::list(&config.endpoint_params, &at_parameters, |parameter, at| {
        if parameter.name.is_empty() {
            return Err(at.field("name").missing("name the parameter"));
        }
        Ok((parameter.name.clone(), parameter.value.clone()))
    })?;
    Ok(ClientCredentials {
        endpoint: callout::uri(config.token_endpoint.as_ref(), &at.field("token_endpoint"))?,
        client_id: flow.client_id.clone(),
        client_secret: transport::secret_name(secret, &at_secret)?,
        shown,
        scopes: config.scopes.clone(),
        parameters,
        retry_interval,
    })
}
