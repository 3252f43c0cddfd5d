//! A whole login, with an authorization server that is played by the test.

use std::time::Duration;

use iako_proxy_config::{
    ConfigSource, HttpUri, LoginClient, LoginCookie, LoginCookies, LoginRequests, LoginSecretShown,
    LoginServer, LoginTokens, SourcedName, StringMatch, UnkeptTokens,
};

use super::*;
use crate::HeaderList;

const NOW: u64 = 1_000_000;

fn settings() -> OAuth2 {
    let cookie = |name: &str| LoginCookie {
        name: name.to_owned(),
        path: "/".to_owned(),
        same_site: None,
        partitioned: false,
    };
    let path = |path: &str| StringMatch::exact(path);
    OAuth2 {
        stat_prefix: String::new(),
        server: LoginServer {
            token: HttpUri::default(),
            retry: None,
            authorization: "https://idp.test/authorize?tenant=a".to_owned(),
            end_session: String::new(),
            after_logout: AfterLogout::Home,
            scopes: vec!["openid".to_owned(), "mail".to_owned()],
            resources: vec!["http://r.test".to_owned()],
        },
        client: LoginClient {
            id: "me".to_owned(),
            secret: None,
            hmac_secret: SourcedName::new("hmac", ConfigSource::default()),
            shown: LoginSecretShown::Content,
        },
        requests: LoginRequests {
            redirect_uri: "http://a.test/callback".to_owned(),
            callback: path("/callback"),
            signout: path("/signout"),
            original_uri: String::new(),
            allowed_hosts: Vec::new(),
            pass_through: Vec::new(),
            deny_redirect: Vec::new(),
            allow_failed: Vec::new(),
        },
        tokens: LoginTokens {
            forwards_bearer: true,
            id_header: None,
            keeps_authorization: false,
            refreshes: true,
            lifetime: Duration::ZERO,
            refresh_lifetime: Duration::from_secs(604_800),
            id_lives_as_token: false,
            in_clear: false,
            unkept: UnkeptTokens::default(),
        },
        cookies: LoginCookies {
            domain: String::new(),
            bearer: cookie("BearerToken"),
            hmac: cookie("OauthHMAC"),
            expires: cookie("OauthExpires"),
            id: cookie("IdToken"),
            refresh: cookie("RefreshToken"),
            nonce: cookie("OauthNonce"),
            verifier: cookie("CodeVerifier"),
            nonce_lifetime: Duration::from_secs(600),
            verifier_lifetime: Duration::from_secs(600),
        },
    }
}

/// A browser: it keeps cookies and goes where it is sent.
#[derive(Default)]
struct Browser {
    cookies: Vec<(String, String)>,
    seed: u8,
    now: u64,
}

impl Browser {
    fn new() -> Self {
        Self { now: NOW, ..Self::default() }
    }

    fn take(&mut self, cookies: &[String]) {
        for cookie in cookies {
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.retain(|(own, _)| own != name);
            if value != "deleted" {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn line(&self) -> String {
        let all = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        all.collect::<Vec<_>>().join("; ")
    }

    /// Asks for a page; what the server answers when it is asked for tokens.
    fn visit(
        &mut self,
        settings: &OAuth2,
        target: &str,
        server: LoginAnswer<'_>,
    ) -> (LoginStep, LoginEdits, Vec<LoginCount>, Option<LoginQuestion>) {
        let headers: HeaderList = [("cookie", self.line())].into_iter().collect();
        let head = RequestHead {
            method: "GET",
            scheme: "http",
            authority: "a.test",
            path_and_query: target,
            headers: &headers,
        };
        let seed = &mut self.seed;
        let mut draw = |bytes: &mut [u8]| {
            *seed = seed.wrapping_add(1);
            bytes.fill(*seed);
        };
        let render = |format: &str| format.to_owned();
        let mut tools = LoginTools { now: self.now, draw: &mut draw, render: &render };
        let mut login = Login::begin(settings, (b"client", b"key"), &head);
        let mut step = login.step(&mut tools);
        let mut asked = None;
        if let LoginStep::Ask(question) = &step {
            asked = Some((**question).clone());
            step = login.answered(server, &mut tools);
        }
        match &step {
            LoginStep::Pass(cookies) => self.take(cookies),
            LoginStep::Reply(reply) => self.take(&reply.cookies),
            LoginStep::Ask(_) => panic!("asked twice"),
        }
        (step, login.edits(), login.take_counts(), asked)
    }
}

fn reply(step: LoginStep) -> LoginReply {
    let LoginStep::Reply(reply) = step else { panic!("{step:?} is no reply") };
    *reply
}

fn parameter(location: &str, name: &str) -> String {
    address::parameter(location, name)
        .unwrap_or_else(|| panic!("no {name} in {location}"))
        .to_owned()
}

/// Where the server sends the browser back to, with a code.
fn back(location: &str) -> String {
    format!("/callback?code=c0de&state={}", parameter(location, "state"))
}

const TOKENS: &[u8] =
    br#"{"access_token":"acc","refresh_token":"ref","id_token":"idt","expires_in":60}"#;

fn log_in(browser: &mut Browser, settings: &OAuth2) {
    let (step, ..) = browser.visit(settings, "/page?x=1", Err(LoginSilence::Failed));
    let location = reply(step).location.unwrap();
    let (step, ..) = browser.visit(settings, &back(&location), Ok((200, TOKENS)));
    assert_eq!(reply(step).location.as_deref(), Some("http://a.test/page?x=1"));
}

#[test]
fn a_login_goes_through_the_server_and_back_to_the_page() {
    let settings = settings();
    let mut browser = Browser::new();
    let (step, _, counts, _) = browser.visit(&settings, "/page?x=1", Err(LoginSilence::Failed));
    assert_eq!(counts, [LoginCount::Unauthorized]);
    let sent = reply(step);
    assert_eq!((sent.status, sent.details.as_str()), (302, "oauth.missing_credentials"));
    let location = sent.location.unwrap();
    assert!(location.starts_with("https://idp.test/authorize?client_id=me&"), "{location}");
    assert!(location.ends_with("&tenant=a&resource=http%3A%2F%2Fr.test"), "{location}");
    assert_eq!(parameter(&location, "scope"), "openid%20mail");
    assert_eq!(parameter(&location, "redirect_uri"), "http%3A%2F%2Fa.test%2Fcallback");

    let (step, _, counts, asked) = browser.visit(&settings, &back(&location), Ok((200, TOKENS)));
    let form = asked.unwrap().form;
    assert!(form.starts_with("grant_type=authorization_code&code=c0de&client_id=me"), "{form}");
    let verifier = form.rsplit_once("code_verifier=").unwrap().1;
    assert_eq!(seal::challenge(verifier), parameter(&location, "code_challenge"));
    assert_eq!(counts, [LoginCount::Success]);
    assert_eq!(reply(step).details, "oauth.logged_in");
    let names: Vec<_> = browser.cookies.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["OauthHMAC", "OauthExpires", "BearerToken", "IdToken", "RefreshToken"]);
    assert!(!browser.line().contains("acc"), "tokens are encrypted");

    let (step, edits, counts, _) = browser.visit(&settings, "/page", Err(LoginSilence::Failed));
    assert_eq!((step, counts), (LoginStep::Pass(Vec::new()), vec![LoginCount::Success]));
    assert_eq!(edits.bearer.as_deref(), Some("acc"));
    assert_eq!(edits.cookies.as_deref(), Some("BearerToken=acc; IdToken=idt"));
    assert!(edits.drops_authorization);
}

#[test]
fn a_session_that_is_over_is_renewed_and_one_that_cannot_be_begins_anew() {
    let settings = settings();
    let mut browser = Browser::new();
    log_in(&mut browser, &settings);
    browser.now = NOW + 61;
    let other = br#"{"access_token":"new","expires_in":60}"#;
    let (step, edits, counts, asked) = browser.visit(&settings, "/page", Ok((200, other)));
    assert!(asked.unwrap().form.starts_with("grant_type=refresh_token&refresh_token=ref&"));
    assert!(matches!(step, LoginStep::Pass(cookies) if cookies.len() == 5));
    assert_eq!(counts, [LoginCount::RefreshSuccess, LoginCount::Success]);
    assert_eq!(edits.bearer.as_deref(), Some("new"));
    let (step, ..) = browser.visit(&settings, "/page", Err(LoginSilence::Failed));
    assert_eq!(step, LoginStep::Pass(Vec::new()), "the session goes on with the new token");
    browser.now = NOW + 200;
    let (step, _, counts, _) = browser.visit(&settings, "/page", Ok((400, b"{}")));
    assert_eq!(reply(step).details, "oauth.missing_credentials");
    assert_eq!(counts, [LoginCount::RefreshFailure, LoginCount::Unauthorized]);
}

#[test]
fn a_browser_that_did_not_begin_the_login_is_refused() {
    let settings = settings();
    let (mut victim, mut attacker) = (Browser::new(), Browser::new());
    let (step, ..) = attacker.visit(&settings, "/", Err(LoginSilence::Failed));
    let location = reply(step).location.unwrap();
    let (step, _, counts, asked) = victim.visit(&settings, &back(&location), Ok((200, TOKENS)));
    assert_eq!(asked, None, "nobody is asked for tokens");
    let refused = reply(step);
    assert_eq!((refused.status, refused.details.as_str()), (401, "CSRF token validation failed"));
    assert_eq!(counts, [LoginCount::Failure]);
}

#[test]
fn sessions_that_were_changed_or_are_of_another_host_do_not_count() {
    let settings = settings();
    let mut browser = Browser::new();
    log_in(&mut browser, &settings);
    for (name, value) in [("OauthExpires", "9999999999"), ("BearerToken", "mine")] {
        let mut forger = Browser { cookies: browser.cookies.clone(), ..Browser::new() };
        forger.take(&[format!("{name}={value}"), "RefreshToken=deleted".to_owned()]);
        let (step, ..) = forger.visit(&settings, "/", Err(LoginSilence::Failed));
        assert_eq!(reply(step).details, "oauth.missing_credentials", "{name}");
    }
}

#[test]
fn tokens_are_in_no_details() {
    let settings = settings();
    let answers: [&[u8]; 3] = [
        br#"{"id_token":"secret"}"#,
        br#"{"access_token":"secret"}"#,
        br#"{"access_token":"secret""#,
    ];
    for answer in answers {
        let mut browser = Browser::new();
        let (step, ..) = browser.visit(&settings, "/", Err(LoginSilence::Failed));
        let location = reply(step).location.unwrap();
        let (step, ..) = browser.visit(&settings, &back(&location), Ok((200, answer)));
        let refused = reply(step);
        assert_eq!(refused.status, 401);
        assert!(!refused.details.contains("secret"), "{}", refused.details);
    }
}

#[test]
fn who_leaves_loses_every_cookie() {
    let settings = settings();
    let mut browser = Browser::new();
    log_in(&mut browser, &settings);
    browser.cookies.push(("OauthNonce.ab".to_owned(), "x".to_owned()));
    let (step, ..) = browser.visit(&settings, "/signout", Err(LoginSilence::Failed));
    assert_eq!(reply(step).location.as_deref(), Some("http://a.test/"));
    assert_eq!(browser.cookies, []);
}
