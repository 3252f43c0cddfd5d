//! What comes of the answer of an authorization server.

use super::session::Session;
use super::{
    Asked, Login, LoginAnswer, LoginCount, LoginSilence, LoginStep, LoginTools, cookies, redirect,
};
use crate::client_token::{TokenAnswer, TokenProblem};

impl Login<'_> {
    /// What comes of the server's answer.
    pub fn answered(&mut self, answer: LoginAnswer<'_>, tools: &mut LoginTools<'_>) -> LoginStep {
        let asked = std::mem::replace(&mut self.asked, Asked::Nothing);
        let content = match (answer, &asked) {
            (Ok((200, content)), _) => content,
            (Err(LoginSilence::NoCluster), _) => {
                return self.fail("Token endpoint cluster not found");
            }
            (Ok(_) | Err(LoginSilence::Failed), Asked::Refresh) => return self.not_renewed(tools),
            (Err(LoginSilence::Failed), _) => {
                return self.fail("Failed to get access token due to HTTP request failure");
            }
            (Ok((status, content)), _) => {
                let content = String::from_utf8_lossy(content);
                let told = format!("response code: {status}, response body: {content}");
                return self.fail_with("Failed to get access token", &told);
            }
        };
        // What is in these answers may be a token, which no log may see: Envoy tells it.
        let tokens = match TokenAnswer::read(content) {
            Ok(tokens) => tokens,
            Err(TokenProblem::Unreadable) => {
                return self.fail("Failed to parse oauth response body");
            }
            Err(TokenProblem::NoToken) => {
                return self.fail("No access token found in the token exchange response");
            }
        };
        let usual = self.settings.tokens.lifetime.as_secs();
        let lifetime = tokens.expires_in.unwrap_or(usual);
        if lifetime == 0 {
            return self.fail(
                "No default or explicit access token expiration found in the token exchange response",
            );
        }
        let session = Session::given(&self.settings.tokens, tokens, lifetime, tools.now);
        match asked {
            Asked::Code(url) => self.logged_in_now(&session, url, tools),
            Asked::Refresh | Asked::Nothing => self.renewed(session, tools),
        }
    }

    fn logged_in_now(
        &mut self,
        session: &Session,
        url: String,
        tools: &mut LoginTools<'_>,
    ) -> LoginStep {
        let mut cookies = self.session_cookies(session, tools);
        cookies.extend(cookies::forget_flow(&self.settings.cookies, &self.flow));
        self.counts.push(LoginCount::Success);
        redirect("oauth.logged_in", url, cookies)
    }

    fn renewed(&mut self, mut session: Session, tools: &mut LoginTools<'_>) -> LoginStep {
        let own = &self.settings.cookies;
        let told = [
            (&own.expires, session.expires.clone()),
            (&own.bearer, session.access.clone()),
            (&own.id, session.id.clone()),
        ];
        for (cookie, value) in told {
            if !value.is_empty() {
                self.jar.set(&cookie.name, value);
            }
        }
        if session.refresh.is_empty() {
            self.jar.text(&own.refresh.name).clone_into(&mut session.refresh);
        }
        self.counts.extend([LoginCount::RefreshSuccess, LoginCount::Success]);
        let tokens = &self.settings.tokens;
        if tokens.forwards_bearer && !session.access.is_empty() {
            self.edits.bearer = Some(session.access.clone());
        }
        if tokens.id_header.is_some() && !session.id.is_empty() {
            self.edits.identity = Some(session.id.clone());
        }
        self.jar.remove_flow(own);
        LoginStep::Pass(self.session_cookies(&session, tools))
    }

    fn not_renewed(&mut self, tools: &mut LoginTools<'_>) -> LoginStep {
        self.counts.push(LoginCount::RefreshFailure);
        if self.allows {
            let reason = "Failed to refresh the access token, and forwarding as unauthorized";
            return self.pass_without(format!("{reason} because OAuth failure is allowed"));
        }
        if self.denies {
            let reason = "Failed to refresh the access token, and redirecting to OAuth server is";
            return self.refuse(format!("{reason} not allowed"));
        }
        self.send_away(tools)
    }

    /// The cookies of a session.
    fn session_cookies(&self, session: &Session, tools: &mut LoginTools<'_>) -> Vec<String> {
        let own = &self.settings.cookies;
        let signature = self.keys.sign(&session.signed(self.domain()));
        let lifetime = session.lifetime;
        let mut cookies = vec![
            cookies::set(own, &own.hmac, (&own.hmac.name, &signature), lifetime),
            cookies::set(own, &own.expires, (&own.expires.name, &session.expires), lifetime),
        ];
        for (cookie, token, lifetime) in [
            (&own.bearer, &session.access, lifetime),
            (&own.id, &session.id, session.id_lifetime),
            (&own.refresh, &session.refresh, session.refresh_lifetime),
        ] {
            if !token.is_empty() {
                let sealed = self.seal(token, tools);
                cookies.push(cookies::set(own, cookie, (&cookie.name, &sealed), lifetime));
            } else if self.jar.get(&cookie.name).is_some() {
                cookies.push(cookies::forget_plainly(own, cookie, &cookie.name));
            }
        }
        cookies
    }
}
