//! People log in at an authorization server.

use iako_xds_api::envoy::extensions::filters::http::oauth2::v3 as pb;

use super::{callout, jwt, matcher, rbac, transport, wire};
use iako_proxy_config::{
    AfterLogout, LoginCookie, LoginCookies, LoginSecretShown, OAuth2, SameSite,
};

pub(super) fn filter(value: Option<&OAuth2>) -> pb::OAuth2 {
    pb::OAuth2 { config: value.map(settings) }
}

pub(super) fn for_route(value: &OAuth2) -> pb::OAuth2PerRoute {
    pb::OAuth2PerRoute { config: Some(settings(value)) }
}

fn settings(value: &OAuth2) -> pb::OAuth2Config {
    use pb::o_auth2_config::AuthType;
    let OAuth2 { stat_prefix, server, client, requests, tokens, cookies } = value;
    pb::OAuth2Config {
        token_endpoint: Some(callout::uri(&server.token)),
        retry_policy: server.retry.as_ref().map(jwt::fetch_retry),
        authorization_endpoint: server.authorization.clone(),
        end_session_endpoint: server.end_session.clone(),
        post_logout_redirect_uri: after_logout(&server.after_logout),
        credentials: Some(credentials(value)),
        redirect_uri: requests.redirect_uri.clone(),
        redirect_path_matcher: Some(rbac::path(&requests.callback)),
        signout_path: Some(rbac::path(&requests.signout)),
        forward_bearer_token: tokens.forwards_bearer,
        forward_id_token: tokens
            .id_header
            .as_ref()
            .map(|header| pb::OAuth2TokenForwarding { header: header.as_str().to_owned() }),
        preserve_authorization_header: tokens.keeps_authorization,
        pass_through_matcher: matcher::headers(&requests.pass_through),
        auth_scopes: server.scopes.clone(),
        resources: server.resources.clone(),
        auth_type: match client.shown {
            LoginSecretShown::Content => AuthType::UrlEncodedBody,
            LoginSecretShown::Basic => AuthType::BasicAuth,
            LoginSecretShown::Certificate => AuthType::TlsClientAuth,
        }
        .into(),
        use_refresh_token: Some(tokens.refreshes),
        default_expires_in: Some(wire::duration(tokens.lifetime)),
        deny_redirect_matcher: matcher::headers(&requests.deny_redirect),
        default_refresh_token_expires_in: Some(wire::duration(tokens.refresh_lifetime)),
        disable_id_token_set_cookie: tokens.unkept.id,
        disable_access_token_set_cookie: tokens.unkept.access,
        disable_refresh_token_set_cookie: tokens.unkept.refresh,
        cookie_configs: Some(cookie_configs(cookies)),
        stat_prefix: stat_prefix.clone(),
        csrf_token_expires_in: Some(wire::duration(cookies.nonce_lifetime)),
        code_verifier_token_expires_in: Some(wire::duration(cookies.verifier_lifetime)),
        disable_token_encryption: tokens.in_clear,
        allow_failed_matcher: matcher::headers(&requests.allow_failed),
        original_request_uri: requests.original_uri.clone(),
        allowed_redirect_domains: requests.allowed_hosts.clone(),
        use_access_token_expiry_for_id_token_cookie: tokens.id_lives_as_token,
        private_key_jwt_config: None,
    }
}

fn after_logout(value: &AfterLogout) -> Option<pb::PostLogoutRedirectUri> {
    use pb::post_logout_redirect_uri::Config;
    let config = match value {
        AfterLogout::Home => return None,
        AfterLogout::Nowhere => Config::Disabled(true),
        AfterLogout::Format(format) => Config::Uri(format.clone()),
    };
    Some(pb::PostLogoutRedirectUri { config: Some(config) })
}

fn credentials(value: &OAuth2) -> pb::OAuth2Credentials {
    use pb::o_auth2_credentials::{CookieNames, TokenFormation};
    let (client, cookies) = (&value.client, &value.cookies);
    pb::OAuth2Credentials {
        client_id: client.id.clone(),
        token_secret: client.secret.as_ref().map(transport::secret),
        cookie_names: Some(CookieNames {
            bearer_token: cookies.bearer.name.clone(),
            oauth_hmac: cookies.hmac.name.clone(),
            oauth_expires: cookies.expires.name.clone(),
            id_token: cookies.id.name.clone(),
            refresh_token: cookies.refresh.name.clone(),
            oauth_nonce: cookies.nonce.name.clone(),
            code_verifier: cookies.verifier.name.clone(),
        }),
        cookie_domain: cookies.domain.clone(),
        token_formation: Some(TokenFormation::HmacSecret(transport::secret(&client.hmac_secret))),
    }
}

fn cookie_configs(value: &LoginCookies) -> pb::CookieConfigs {
    pb::CookieConfigs {
        bearer_token_cookie_config: Some(cookie(&value.bearer)),
        oauth_hmac_cookie_config: Some(cookie(&value.hmac)),
        oauth_expires_cookie_config: Some(cookie(&value.expires)),
        id_token_cookie_config: Some(cookie(&value.id)),
        refresh_token_cookie_config: Some(cookie(&value.refresh)),
        oauth_nonce_cookie_config: Some(cookie(&value.nonce)),
        code_verifier_cookie_config: Some(cookie(&value.verifier)),
    }
}

fn cookie(value: &LoginCookie) -> pb::CookieConfig {
    use pb::cookie_config::SameSite as Site;
    let same_site = match value.same_site {
        None => Site::Disabled,
        Some(SameSite::Strict) => Site::Strict,
        Some(SameSite::Lax) => Site::Lax,
        Some(SameSite::None) => Site::None,
    };
    pb::CookieConfig {
        same_site: same_site.into(),
        path: value.path.clone(),
        partitioned: value.partitioned,
    }
}
