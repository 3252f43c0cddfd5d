//! Credentials and logins with everything set.

use std::time::Duration;

use iako_proxy_config::*;

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).into()
}

pub(crate) fn secret_in_header() -> CredentialInjector {
    CredentialInjector {
        source: CredentialSource::Secret {
            secret: SourcedName::new("key", ConfigSource::default()),
            header: "x-api-key".parse().unwrap(),
            prefix: "Key ".into(),
        },
        overwrites: true,
        passes_without: true,
    }
}

pub(crate) fn token_in_header() -> CredentialInjector {
    let credentials = ClientCredentials {
        endpoint: endpoint(),
        client_id: "me".into(),
        client_secret: SourcedName::new("secret", ConfigSource::default()),
        shown: SecretShown::Content,
        scopes: texts(["a", "b"]),
        parameters: vec![("aud".into(), "x".into())],
        retry_interval: Duration::from_secs(7),
    };
    CredentialInjector {
        source: CredentialSource::Token(Box::new(credentials)),
        overwrites: false,
        passes_without: false,
    }
}

fn endpoint() -> HttpUri {
    HttpUri {
        uri: "http://idp.test/token".into(),
        cluster: "idp".into(),
        timeout: Duration::from_millis(900),
    }
}

fn header(name: &str) -> HeaderMatch {
    HeaderMatch {
        name: name.parse().unwrap(),
        check: HeaderCheck::Present(true),
        invert: false,
        missing_as_empty: false,
    }
}

pub(crate) fn oauth2() -> OAuth2 {
    let cookie = |name: &str, same_site| LoginCookie {
        name: name.into(),
        path: format!("/{name}"),
        same_site,
        partitioned: same_site == Some(SameSite::None),
    };
    OAuth2 {
        stat_prefix: "mine.".into(),
        server: LoginServer {
            token: endpoint(),
            retry: Some(FetchRetry {
                retries_max: 3,
                pause: Duration::from_millis(20),
                pause_max: Duration::from_millis(50),
            }),
            authorization: "https://idp.test/authorize".into(),
            end_session: "https://idp.test/logout".into(),
            after_logout: AfterLogout::Format("https://%REQ(:authority)%/bye".into()),
            scopes: texts(["openid", "mail"]),
            resources: texts(["http://r.test"]),
        },
        client: LoginClient {
            id: "me".into(),
            secret: Some(SourcedName::new("secret", ConfigSource::default())),
            hmac_secret: SourcedName::new("hmac", ConfigSource::default()),
            shown: LoginSecretShown::Basic,
        },
        requests: LoginRequests {
            redirect_uri: "https://%REQ(:authority)%/callback".into(),
            callback: StringMatch::exact("/callback"),
            signout: StringMatch::exact("/signout"),
            original_uri: "https://out.test".into(),
            allowed_hosts: texts(["a.test", "*.b.test"]),
            pass_through: vec![header("x-a")],
            deny_redirect: vec![header("x-b")],
            allow_failed: vec![header("x-c")],
        },
        tokens: LoginTokens {
            forwards_bearer: true,
            id_header: Some("x-id".parse().unwrap()),
            keeps_authorization: true,
            refreshes: false,
            lifetime: Duration::from_secs(5),
            refresh_lifetime: Duration::from_secs(6),
            id_lives_as_token: true,
            in_clear: true,
            unkept: UnkeptTokens { access: true, id: true, refresh: true },
        },
        cookies: LoginCookies {
            domain: "test".into(),
            bearer: cookie("b", None),
            hmac: cookie("h", Some(SameSite::Strict)),
            expires: cookie("e", Some(SameSite::Lax)),
            id: cookie("i", Some(SameSite::None)),
            refresh: cookie("r", None),
            nonce: cookie("n", None),
            verifier: cookie("v", None),
            nonce_lifetime: Duration::from_secs(7),
            verifier_lifetime: Duration::from_secs(8),
        },
    }
}

/// With a certificate nothing else is shown, and little need be written.
pub(crate) fn oauth2_by_certificate() -> OAuth2 {
    let mut value = oauth2();
    value.client.secret = None;
    value.client.shown = LoginSecretShown::Certificate;
    value.server.after_logout = AfterLogout::Nowhere;
    value.server.retry = None;
    value.tokens.id_header = None;
    value
}
