//! People log in at an authorization server.

use std::time::Duration;

use iako_xds_api::envoy::extensions::filters::http::oauth2::v3 as pb;

use super::{callout, jwt, matcher, rbac, transport, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    AfterLogout, LoginClient, LoginCookie, LoginCookies, LoginRequests, LoginSecretShown,
    LoginServer, LoginTokens, OAuth2, SameSite, UnkeptTokens,
};

/// Life of a cookie of a login that is under way. Envoy's.
const LOGIN_LIFETIME: Duration = Duration::from_secs(600);
/// Life of a refresh token that does not tell. Envoy's.
const REFRESH_LIFETIME: Duration = Duration::from_secs(604_800);
/// What is asked for where nothing is written. Envoy's.
const SCOPE: &str = "user";
/// What has the server say who somebody is. Source: OpenID Connect Core 1.0, section 3.1.2.1.
const OPENID: &str = "openid";

/// Settings of a filter or of a route; none where a filter acts by those of routes only.
pub(super) fn filter(
    config: Option<&pb::OAuth2Config>,
    at: &At<'_>,
) -> Result<Option<Box<OAuth2>>, Fault> {
    let at = at.field("config");
    config.map(|config| settings(config, &at).map(Box::new)).transpose()
}

fn settings(config: &pb::OAuth2Config, at: &At<'_>) -> Result<OAuth2, Fault> {
    let at_credentials = at.field("credentials");
    let credentials = config.credentials.as_ref();
    let credentials = credentials
        .ok_or_else(|| at_credentials.missing("write `client_id`, and name the secrets"))?;
    Ok(OAuth2 {
        stat_prefix: config.stat_prefix.clone(),
        server: server(config, at)?,
        client: client(config, credentials, at)?,
        requests: requests(config, at)?,
        tokens: tokens(config, at)?,
        cookies: cookies(config, credentials, at)?,
    })
}

fn server(config: &pb::OAuth2Config, at: &At<'_>) -> Result<LoginServer, Fault> {
    use pb::post_logout_redirect_uri::Config as After;
    let at_authorization = at.field("authorization_endpoint");
    let is_url = ["http://", "https://"].iter().any(|scheme| {
        let rest = config.authorization_endpoint.strip_prefix(scheme);
        rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    });
    if !is_url || config.authorization_endpoint.contains(char::is_whitespace) {
        let help = "write a URL such as `https://login.example.com/authorize`";
        return Err(at_authorization.invalid("is no http or https URL", help));
    }
    if !config.end_session_endpoint.is_empty() && !config.auth_scopes.iter().any(|it| it == OPENID)
    {
        let help = "add `openid` to `auth_scopes`, or leave the endpoint out";
        let problem = "is known to OpenID Connect only";
        return Err(at.field("end_session_endpoint").invalid(problem, help));
    }
    let after = config.post_logout_redirect_uri.as_ref().and_then(|after| after.config.as_ref());
    let retry = config.retry_policy.as_ref();
    let at_retry = at.field("retry_policy");
    Ok(LoginServer {
        token: callout::uri(config.token_endpoint.as_ref(), &at.field("token_endpoint"))?,
        retry: retry.map(|policy| jwt::retry(policy, &at_retry)).transpose()?,
        authorization: config.authorization_endpoint.clone(),
        end_session: config.end_session_endpoint.clone(),
        after_logout: match after {
            Some(After::Disabled(true)) => AfterLogout::Nowhere,
            Some(After::Uri(format)) if !format.is_empty() => AfterLogout::Format(format.clone()),
            Some(After::Disabled(false) | After::Uri(_)) | None => AfterLogout::Home,
        },
        scopes: match config.auth_scopes.as_slice() {
            [] => vec![SCOPE.to_owned()],
            scopes => scopes.to_vec(),
        },
        resources: config.resources.clone(),
    })
}

fn client(
    config: &pb::OAuth2Config,
    credentials: &pb::OAuth2Credentials,
    at: &At<'_>,
) -> Result<LoginClient, Fault> {
    use pb::o_auth2_config::AuthType;
    use pb::o_auth2_credentials::TokenFormation;
    let at_auth = at.field("auth_type");
    let shown = match wire::known::<AuthType>(config.auth_type, &at_auth)? {
        AuthType::UrlEncodedBody => LoginSecretShown::Content,
        AuthType::BasicAuth => LoginSecretShown::Basic,
        AuthType::TlsClientAuth => LoginSecretShown::Certificate,
        AuthType::PrivateKeyJwt => {
            let help = "use URL_ENCODED_BODY, BASIC_AUTH or TLS_CLIENT_AUTH";
            return Err(at_auth.invalid("PRIVATE_KEY_JWT is not supported", help));
        }
    };
    let at = at.field("credentials");
    if credentials.client_id.is_empty() {
        return Err(at.field("client_id").missing("write who this proxy is to the server"));
    }
    let at_secret = at.field("token_secret");
    let secret = match (&credentials.token_secret, shown) {
        (_, LoginSecretShown::Certificate) => None,
        (Some(secret), LoginSecretShown::Content | LoginSecretShown::Basic) => {
            Some(transport::secret_name(secret, &at_secret)?)
        }
        (None, LoginSecretShown::Content | LoginSecretShown::Basic) => {
            return Err(at_secret.missing("name the secret that is shown to the server"));
        }
    };
    let at_hmac = at.field("hmac_secret");
    let Some(TokenFormation::HmacSecret(hmac)) = &credentials.token_formation else {
        return Err(at_hmac.missing("name the secret that cookies are signed with"));
    };
    Ok(LoginClient {
        id: credentials.client_id.clone(),
        secret,
        hmac_secret: transport::secret_name(hmac, &at_hmac)?,
        shown,
    })
}

fn requests(config: &pb::OAuth2Config, at: &At<'_>) -> Result<LoginRequests, Fault> {
    if config.redirect_uri.is_empty() {
        let help = "write where the server sends browsers back to";
        return Err(at.field("redirect_uri").missing(help));
    }
    let path = |path: &Option<_>, field: &'static str| {
        let at = at.field(field);
        rbac::path(path.as_ref().ok_or_else(|| at.missing("write what the path must be"))?, &at)
    };
    Ok(LoginRequests {
        redirect_uri: config.redirect_uri.clone(),
        callback: path(&config.redirect_path_matcher, "redirect_path_matcher")?,
        signout: path(&config.signout_path, "signout_path")?,
        original_uri: config.original_request_uri.clone(),
        allowed_hosts: config.allowed_redirect_domains.clone(),
        pass_through: matcher::headers(
            &config.pass_through_matcher,
            &at.field("pass_through_matcher"),
        )?,
        deny_redirect: matcher::headers(
            &config.deny_redirect_matcher,
            &at.field("deny_redirect_matcher"),
        )?,
        allow_failed: matcher::headers(
            &config.allow_failed_matcher,
            &at.field("allow_failed_matcher"),
        )?,
    })
}

fn tokens(config: &pb::OAuth2Config, at: &At<'_>) -> Result<LoginTokens, Fault> {
    let at_id = at.field("forward_id_token");
    let id_header = config
        .forward_id_token
        .as_ref()
        .map(|forwarding| wire::header_name(&forwarding.header, &at_id.field("header")));
    let lifetime = |value: &Option<_>, usual: Duration, field: &'static str| {
        wire::duration_or(value.as_ref(), usual, &at.field(field))
    };
    Ok(LoginTokens {
        forwards_bearer: config.forward_bearer_token,
        id_header: id_header.transpose()?,
        keeps_authorization: config.preserve_authorization_header,
        refreshes: config.use_refresh_token.unwrap_or(true),
        lifetime: lifetime(&config.default_expires_in, Duration::ZERO, "default_expires_in")?,
        refresh_lifetime: lifetime(
            &config.default_refresh_token_expires_in,
            REFRESH_LIFETIME,
            "default_refresh_token_expires_in",
        )?,
        id_lives_as_token: config.use_access_token_expiry_for_id_token_cookie,
        in_clear: config.disable_token_encryption,
        unkept: UnkeptTokens {
            access: config.disable_access_token_set_cookie,
            id: config.disable_id_token_set_cookie,
            refresh: config.disable_refresh_token_set_cookie,
        },
    })
}

fn cookies(
    config: &pb::OAuth2Config,
    credentials: &pb::OAuth2Credentials,
    at: &At<'_>,
) -> Result<LoginCookies, Fault> {
    let names = credentials.cookie_names.clone().unwrap_or_default();
    let kinds = config.cookie_configs.clone().unwrap_or_default();
    let at_kinds = at.field("cookie_configs");
    let cookie = |name: &str, usual: &str, kind: &Option<_>, field: &'static str| {
        let name = if name.is_empty() { usual } else { name };
        read_cookie(name, kind.as_ref(), &at_kinds.field(field))
    };
    let lifetime = |value: &Option<_>, field: &'static str| {
        wire::duration_or(value.as_ref(), LOGIN_LIFETIME, &at.field(field))
    };
    let (bearer, hmac) = (&kinds.bearer_token_cookie_config, &kinds.oauth_hmac_cookie_config);
    let (expires, id) = (&kinds.oauth_expires_cookie_config, &kinds.id_token_cookie_config);
    let (refresh, nonce) = (&kinds.refresh_token_cookie_config, &kinds.oauth_nonce_cookie_config);
    let verifier = &kinds.code_verifier_cookie_config;
    Ok(LoginCookies {
        domain: credentials.cookie_domain.clone(),
        bearer: cookie(&names.bearer_token, "BearerToken", bearer, "bearer_token_cookie_config")?,
        hmac: cookie(&names.oauth_hmac, "OauthHMAC", hmac, "oauth_hmac_cookie_config")?,
        expires: cookie(
            &names.oauth_expires,
            "OauthExpires",
            expires,
            "oauth_expires_cookie_config",
        )?,
        id: cookie(&names.id_token, "IdToken", id, "id_token_cookie_config")?,
        refresh: cookie(
            &names.refresh_token,
            "RefreshToken",
            refresh,
            "refresh_token_cookie_config",
        )?,
        nonce: cookie(&names.oauth_nonce, "OauthNonce", nonce, "oauth_nonce_cookie_config")?,
        verifier: cookie(
            &names.code_verifier,
            "CodeVerifier",
            verifier,
            "code_verifier_cookie_config",
        )?,
        nonce_lifetime: lifetime(&config.csrf_token_expires_in, "csrf_token_expires_in")?,
        verifier_lifetime: lifetime(
            &config.code_verifier_token_expires_in,
            "code_verifier_token_expires_in",
        )?,
    })
}

fn read_cookie(
    name: &str,
    config: Option<&pb::CookieConfig>,
    at: &At<'_>,
) -> Result<LoginCookie, Fault> {
    use pb::cookie_config::SameSite as Site;
    let same_site = config.map_or(0, |config| config.same_site);
    let path = config.map(|config| config.path.as_str()).filter(|path| !path.is_empty());
    let path = path.unwrap_or("/");
    if !path.starts_with('/') || path.contains([';', '\r', '\n', '\0']) {
        return Err(at.field("path").invalid("is no path", "write one that begins with `/`"));
    }
    Ok(LoginCookie {
        name: name.to_owned(),
        path: path.to_owned(),
        same_site: match wire::known::<Site>(same_site, &at.field("same_site"))? {
            Site::Disabled => None,
            Site::Strict => Some(SameSite::Strict),
            Site::Lax => Some(SameSite::Lax),
            Site::None => Some(SameSite::None),
        },
        partitioned: config.is_some_and(|config| config.partitioned),
    })
}
