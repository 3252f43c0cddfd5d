//! What cookies say of somebody who is logged in.

use iako_proxy_config::{LoginCookies, LoginTokens};

use super::cookies::Jar;
use super::question::own_lifetime;
use super::seal::Keys;
use crate::client_token::TokenAnswer;

/// Somebody who is logged in. Never printed.
pub(super) struct Session {
    /// Seconds since 1970, in digits.
    pub(super) expires: String,
    pub(super) access: String,
    pub(super) id: String,
    pub(super) refresh: String,
    /// The signature over the others.
    hmac: String,
    /// Seconds that cookies live.
    pub(super) lifetime: u64,
    pub(super) id_lifetime: u64,
    pub(super) refresh_lifetime: u64,
}

impl Session {
    /// What a request shows.
    pub(super) fn of(cookies: &LoginCookies, jar: &Jar) -> Self {
        let text = |name: &str| jar.text(name).to_owned();
        Self {
            expires: text(&cookies.expires.name),
            access: text(&cookies.bearer.name),
            id: text(&cookies.id.name),
            refresh: text(&cookies.refresh.name),
            hmac: text(&cookies.hmac.name),
            lifetime: 0,
            id_lifetime: 0,
            refresh_lifetime: 0,
        }
    }

    /// What a server gave, as far as it is kept.
    pub(super) fn given(
        settings: &LoginTokens,
        tokens: TokenAnswer,
        lifetime: u64,
        now: u64,
    ) -> Self {
        let TokenAnswer { access_token, id_token, refresh_token, .. } = tokens;
        let id_lifetime = if settings.id_lives_as_token || id_token.is_empty() {
            lifetime
        } else {
            own_lifetime(&id_token, now).unwrap_or(lifetime)
        };
        let refresh_lifetime = if settings.refreshes {
            let usual = settings.refresh_lifetime.as_secs();
            own_lifetime(&refresh_token, now).unwrap_or(usual)
        } else {
            lifetime
        };
        let kept = |token: String, unkept: bool| if unkept { String::new() } else { token };
        let unkept = settings.unkept;
        Self {
            expires: now.saturating_add(lifetime).to_string(),
            access: kept(access_token, unkept.access),
            id: kept(id_token, unkept.id),
            refresh: kept(refresh_token, unkept.refresh || !settings.refreshes),
            hmac: String::new(),
            lifetime,
            id_lifetime,
            refresh_lifetime,
        }
    }

    /// What is signed.
    pub(super) fn signed(&self, domain: &str) -> String {
        [domain, &self.expires, &self.access, &self.id, &self.refresh].join("\n")
    }

    /// Whether this proxy, or one with the same key, gave it out, and it is not over.
    pub(super) fn is_valid(&self, domain: &str, keys: &Keys, now: u64) -> bool {
        let is_signed = keys.is_signature(&self.signed(domain), &self.hmac);
        is_signed && self.expires.parse::<u64>().is_ok_and(|expires| expires > now)
    }
}
