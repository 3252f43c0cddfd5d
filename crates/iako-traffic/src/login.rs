//! People log in at an authorization server, and what that gives is kept in cookies.
//!
//! [`Login::begin`] looks at a request, [`Login::step`] says what is done with it, and where that is to
//! ask the server, [`Login::answered`] says what comes of the answer. Cookies are those of Envoy's
//! filter, so that sessions live on when one proxy takes the place of the other.
//!
//! Source: `envoy.extensions.filters.http.oauth2.v3`, RFC 6749 (section 4.1), RFC 7636.

mod address;
mod cookies;
mod given;
mod question;
mod seal;
mod session;
mod state;

use iako_proxy_config::OAuth2;

pub use question::LoginQuestion;

use crate::jwt::base64url;
use crate::{RequestHead, header_matches, percent_encoded};
use address::Address;
use cookies::Jar;
use iako_proxy_config::AfterLogout;
use seal::{IV_BYTES, Keys};
use session::Session;

/// Bytes of chance in a verifier. Source: RFC 7636, section 7.1.
const VERIFIER_BYTES: usize = 32;
/// What who is refused reads.
const REFUSED: &str = "OAuth flow failed.";

/// Where chance and texts come from, and what time it is.
pub struct LoginTools<'t> {
    /// Seconds since 1970.
    pub now: u64,
    /// Fills bytes with chance that nobody can guess.
    pub draw: &'t mut dyn FnMut(&mut [u8]),
    /// Replaces operators of a text by facts of the request.
    pub render: &'t dyn Fn(&str) -> String,
}

impl std::fmt::Debug for LoginTools<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginTools").field("now", &self.now).finish_non_exhaustive()
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginCount {
    /// `oauth_unauthorized_rq`: somebody was sent to log in.
    Unauthorized,
    /// `oauth_failure`: somebody was refused.
    Failure,
    /// `oauth_success`: somebody has a session.
    Success,
    /// `oauth_allow_failed_passthrough`: a request passed without one.
    AllowedFailure,
    /// `oauth_refreshtoken_success`: a session was renewed.
    RefreshSuccess,
    /// `oauth_refreshtoken_failure`: it was not.
    RefreshFailure,
}

/// What is done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginStep {
    /// It goes on; its response sets these cookies.
    Pass(Vec<String>),
    /// It is answered.
    Reply(Box<LoginReply>),
    /// The authorization server is asked, and [`Login::answered`] goes on.
    Ask(Box<LoginQuestion>),
}

/// An answer in place of the upstream's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginReply {
    /// Its status.
    pub status: u16,
    /// Its content.
    pub body: &'static str,
    /// What logs say of it.
    pub details: String,
    /// Where the browser goes.
    pub location: Option<String>,
    /// Cookies that it sets.
    pub cookies: Vec<String>,
}

/// How a request is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginEdits {
    /// Its cookies, when they are others.
    pub cookies: Option<String>,
    /// Whether the client's `authorization` is taken off.
    pub drops_authorization: bool,
    /// The token that is shown to upstreams.
    pub bearer: Option<String>,
    /// The identity that is shown to upstreams.
    pub identity: Option<String>,
    /// Why it passes without a session.
    pub failure: Option<String>,
}

/// What an authorization server answered: its status and content, or why it did not.
pub type LoginAnswer<'a> = Result<(u16, &'a [u8]), LoginSilence>;

/// Why an authorization server did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginSilence {
    /// There is no such cluster.
    NoCluster,
    /// The request failed.
    Failed,
}

/// What was asked.
enum Asked {
    Nothing,
    /// Tokens for a code, to go back to this page with.
    Code(String),
    /// Other tokens.
    Refresh,
}

/// A request at a filter that has people log in.
pub struct Login<'a> {
    settings: &'a OAuth2,
    keys: Keys,
    client_secret: &'a [u8],
    jar: Jar,
    scheme: String,
    host: String,
    target: String,
    denies: bool,
    allows: bool,
    /// Which login it belongs to; empty while that is not certain.
    flow: String,
    asked: Asked,
    edits: LoginEdits,
    counts: Vec<LoginCount>,
}

impl std::fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Whether a filter does not look at a request.
#[must_use]
pub fn login_passes_by(settings: &OAuth2, head: &RequestHead<'_>) -> bool {
    settings.requests.pass_through.iter().any(|rule| header_matches(rule, head))
}

impl<'a> Login<'a> {
    /// Looks at a request. `secrets` are the client's and the one of signatures.
    #[must_use]
    pub fn begin(settings: &'a OAuth2, secrets: (&'a [u8], &[u8]), head: &RequestHead<'_>) -> Self {
        let meets = |rules: &[_]| rules.iter().any(|rule| header_matches(rule, head));
        let requests = &settings.requests;
        let is_callback = requests.callback.matches(head.path());
        Self {
            settings,
            keys: Keys::of(secrets.1),
            client_secret: secrets.0,
            jar: Jar::of(head.headers),
            scheme: head.scheme.to_owned(),
            host: head.authority.to_owned(),
            target: head.path_and_query.to_owned(),
            denies: meets(&requests.deny_redirect),
            // Who comes to the callback is answered here: no upstream knows the page.
            allows: !is_callback && meets(&requests.allow_failed),
            flow: String::new(),
            asked: Asked::Nothing,
            edits: LoginEdits {
                drops_authorization: !settings.tokens.keeps_authorization,
                ..LoginEdits::default()
            },
            counts: Vec::new(),
        }
    }

    /// How the request is changed.
    #[must_use]
    pub fn edits(&self) -> LoginEdits {
        let cookies = self.jar.is_changed.then(|| self.jar.line());
        LoginEdits { cookies, ..self.edits.clone() }
    }

    /// What happened since this was asked last.
    pub fn take_counts(&mut self) -> Vec<LoginCount> {
        std::mem::take(&mut self.counts)
    }

    /// What is done with the request.
    pub fn step(&mut self, tools: &mut LoginTools<'_>) -> LoginStep {
        self.open_tokens();
        let path = self.target.split(['?', '#']).next().unwrap_or_default();
        let requests = &self.settings.requests;
        let is_callback = requests.callback.matches(path);
        if requests.signout.matches(path) {
            return self.sign_out(tools);
        }
        let session = Session::of(&self.settings.cookies, &self.jar);
        if session.is_valid(self.domain(), &self.keys, tools.now) {
            self.counts.push(LoginCount::Success);
            self.show_tokens();
            return if is_callback { self.called_back_late() } else { self.pass() };
        }
        if is_callback {
            return self.called_back(tools);
        }
        let refresh = self.jar.text(&self.settings.cookies.refresh.name);
        if self.settings.tokens.refreshes && !refresh.is_empty() {
            let question = question::for_refresh(self.settings, self.client_secret, refresh);
            self.asked = Asked::Refresh;
            return LoginStep::Ask(Box::new(question));
        }
        let target = &self.target;
        if self.allows {
            let reason = "Unauthorized, and forwarding as unauthorized because OAuth failure is";
            return self.pass_without(format!("{reason} allowed: {target}"));
        }
        if self.denies {
            let reason = "Unauthorized, and redirecting to OAuth server is not allowed";
            return self.refuse(format!("{reason}: {target}"));
        }
        self.send_away(tools)
    }

    /// What cookies are signed for.
    fn domain(&self) -> &str {
        match self.settings.cookies.domain.as_str() {
            "" => &self.host,
            domain => domain,
        }
    }

    /// Reads tokens that are encrypted. What cannot be read stays as it is: it was never encrypted, or
    /// with another key, and then its signature is not good either.
    fn open_tokens(&mut self) {
        if self.settings.tokens.in_clear {
            return;
        }
        let cookies = &self.settings.cookies;
        for cookie in [&cookies.bearer, &cookies.id, &cookies.refresh] {
            let sealed = self.jar.text(&cookie.name);
            if sealed.is_empty() {
                continue;
            }
            let plain = self.keys.open(sealed).filter(|text| is_field_value(text));
            let plain = plain.unwrap_or_else(|| sealed.to_owned());
            self.jar.set(&cookie.name, plain);
        }
    }

    fn seal(&self, token: &str, tools: &mut LoginTools<'_>) -> String {
        if self.settings.tokens.in_clear {
            return token.to_owned();
        }
        let mut iv = [0; IV_BYTES];
        (tools.draw)(&mut iv);
        self.keys.seal(token, iv).unwrap_or_default()
    }

    fn pass(&mut self) -> LoginStep {
        self.jar.remove_flow(&self.settings.cookies);
        LoginStep::Pass(Vec::new())
    }

    /// Takes who comes back with a session: several pages began a login at once, and another one was
    /// faster.
    fn called_back_late(&mut self) -> LoginStep {
        let callback = state::callback(self.settings, &self.keys, &self.jar, &self.target);
        let callback = match callback {
            Ok(callback) => callback,
            Err(unfit) => {
                self.flow = unfit.flow;
                return self.refuse(unfit.details);
            }
        };
        self.flow = callback.flow;
        let target = Address::read(&callback.url).map_or("/", |address| address.target);
        let path = target.split('?').next().unwrap_or_default();
        if self.settings.requests.callback.matches(path) {
            let reason = "State url query params matches the redirect path matcher";
            return self.refuse(format!("{reason}: {target}"));
        }
        let cookies = cookies::forget_flow(&self.settings.cookies, &self.flow);
        redirect("oauth.race_redirect", callback.url, cookies)
    }

    fn show_tokens(&mut self) {
        let (tokens, cookies) = (&self.settings.tokens, &self.settings.cookies);
        let text = |name: &str| Some(self.jar.text(name).to_owned()).filter(|it| !it.is_empty());
        if tokens.forwards_bearer {
            self.edits.bearer = text(&cookies.bearer.name);
        }
        if tokens.id_header.is_some() {
            self.edits.identity = text(&cookies.id.name);
        }
    }

    fn called_back(&mut self, tools: &LoginTools<'_>) -> LoginStep {
        let callback = state::callback(self.settings, &self.keys, &self.jar, &self.target);
        let callback = match callback {
            Ok(callback) => callback,
            Err(unfit) => {
                self.flow = unfit.flow;
                return self.refuse(unfit.details);
            }
        };
        self.flow.clone_from(&callback.flow);
        let cookie = &self.settings.cookies.verifier;
        let Some(sealed) = self.jar.of_flow(cookie, &callback.flow) else {
            return self.refuse("Code verifier cookie is missing in the request".to_owned());
        };
        let Some(verifier) = self.keys.open(sealed) else {
            let problem = "Failed to decrypt code verifier";
            let told = format!("{problem}: {sealed}, error: Invalid encrypted data");
            return self.refuse(told);
        };
        let redirect_uri = (tools.render)(&self.settings.requests.redirect_uri);
        let facts = question::CodeFacts {
            code: &callback.code,
            redirect_uri: &redirect_uri,
            verifier: &verifier,
        };
        let question = question::for_code(self.settings, self.client_secret, &facts);
        self.asked = Asked::Code(callback.url);
        LoginStep::Ask(Box::new(question))
    }

    /// Sends a browser to the authorization server.
    fn send_away(&mut self, tools: &mut LoginTools<'_>) -> LoginStep {
        let requests = &self.settings.requests;
        let base = match requests.original_uri.as_str() {
            "" => format!("{}://{}", self.scheme, self.host),
            format => (tools.render)(format),
        };
        if !address::is_allowed(&base, &requests.allowed_hosts) {
            let reason = "authority or original_request_uri failed domain allow-list validation";
            return self.refuse(format!("{reason}: {base}"));
        }
        let redirect_uri = (tools.render)(&requests.redirect_uri);
        if !address::is_allowed(&redirect_uri, &requests.allowed_hosts) {
            let reason = "redirect_uri failed domain allow-list validation";
            return self.refuse(format!("{reason}: {redirect_uri}"));
        }
        let (mut chance, mut verifier, mut iv) = ([0; 8], [0; VERIFIER_BYTES], [0; IV_BYTES]);
        (tools.draw)(&mut chance);
        (tools.draw)(&mut verifier);
        (tools.draw)(&mut iv);
        let flow = format!("{:016x}", u64::from_be_bytes(chance));
        let token = state::csrf_token(&self.keys, &flow);
        let verifier = base64url::encode(&verifier);
        let sealed = self.keys.seal(&verifier, iv).unwrap_or_default();
        let own = &self.settings.cookies;
        let mut cookies = Vec::with_capacity(4);
        for (cookie, value, lifetime) in [
            (&own.nonce, &token, own.nonce_lifetime),
            (&own.verifier, &sealed, own.verifier_lifetime),
        ] {
            // The second is for proxies of versions that do not tell logins apart.
            for name in [cookies::of_flow(&cookie.name, &flow), cookie.name.clone()] {
                cookies.push(cookies::set(own, cookie, (&name, value), lifetime.as_secs()));
            }
        }
        let state = state::encode(&format!("{base}{}", self.target), &token, &flow);
        let challenge = seal::challenge(&verifier);
        let location = address::authorization(self.settings, &state, &redirect_uri, &challenge);
        self.counts.push(LoginCount::Unauthorized);
        redirect("oauth.missing_credentials", location, cookies)
    }

    fn sign_out(&self, tools: &LoginTools<'_>) -> LoginStep {
        let own = &self.settings.cookies;
        let all = [&own.hmac, &own.bearer, &own.id, &own.refresh, &own.expires];
        let all = all.into_iter().map(|cookie| (cookie.name.as_str(), cookie));
        let all = all.chain(self.jar.flows(own));
        let cookies = all.map(|(name, cookie)| cookies::forget(own, cookie, name)).collect();
        let server = &self.settings.server;
        let home = format!("{}://{}/", self.scheme, self.host);
        if server.end_session.is_empty() {
            return redirect("oauth.sign_out", home, cookies);
        }
        let mut location = format!(
            "{}?id_token_hint={}&client_id={}",
            server.end_session,
            question::in_query(self.jar.text(&own.id.name)),
            question::in_query(&self.settings.client.id)
        );
        let after = match &server.after_logout {
            AfterLogout::Home => Some(home),
            AfterLogout::Nowhere => None,
            AfterLogout::Format(format) => Some((tools.render)(format)),
        };
        if let Some(after) = after {
            let after = percent_encoded(&after);
            location = format!("{location}&post_logout_redirect_uri={after}");
        }
        redirect("oauth.sign_out", location, cookies)
    }

    fn pass_without(&mut self, reason: String) -> LoginStep {
        self.jar.remove_tokens(&self.settings.cookies);
        self.jar.remove_flow(&self.settings.cookies);
        self.edits.failure = Some(reason);
        self.counts.push(LoginCount::AllowedFailure);
        LoginStep::Pass(Vec::new())
    }

    fn fail(&mut self, reason: &str) -> LoginStep {
        self.fail_with(reason, "")
    }

    fn fail_with(&mut self, reason: &str, more: &str) -> LoginStep {
        if self.allows {
            return self.pass_without(reason.to_owned());
        }
        self.refuse(if more.is_empty() { reason.to_owned() } else { format!("{reason}: {more}") })
    }

    fn refuse(&mut self, details: String) -> LoginStep {
        self.counts.push(LoginCount::Failure);
        let cookies = match self.flow.as_str() {
            "" => Vec::new(),
            flow => cookies::forget_flow(&self.settings.cookies, flow),
        };
        let body = REFUSED;
        let reply = LoginReply { status: 401, body, details, location: None, cookies };
        LoginStep::Reply(Box::new(reply))
    }
}

fn redirect(details: &str, location: String, cookies: Vec<String>) -> LoginStep {
    let (location, details) = (Some(location), details.to_owned());
    LoginStep::Reply(Box::new(LoginReply { status: 302, body: "", details, location, cookies }))
}

/// Whether a text can stand in a header.
fn is_field_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

#[cfg(test)]
mod tests;
