//! The cookies of a request, and those that a response sets.

use iako_proxy_config::{LoginCookie, LoginCookies, SameSite};

use crate::Headers;

/// What has browsers forget a cookie.
const PAST: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

/// The cookies of a request, in their order; of several with a name the first one.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Jar {
    crumbs: Vec<(String, String)>,
    /// Whether they are others than the client sent.
    pub(super) is_changed: bool,
}

impl Jar {
    pub(super) fn of(headers: &dyn Headers) -> Self {
        let mut jar = Self::default();
        headers.each(&mut |name, value| {
            let Ok(value) = std::str::from_utf8(value) else { return };
            if name != "cookie" {
                return;
            }
            let crumbs = value.split(';').filter_map(|crumb| crumb.trim().split_once('='));
            for (name, value) in crumbs {
                let value = value.trim();
                let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                if jar.get(name.trim_end()).is_none() {
                    let value = bare.unwrap_or(value).to_owned();
                    jar.crumbs.push((name.trim_end().to_owned(), value));
                }
            }
        });
        jar
    }

    /// The value of a cookie.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.crumbs.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The value of a cookie; empty when there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// The value of a cookie of one login, or of one that an older version set.
    pub(super) fn of_flow(&self, cookie: &LoginCookie, flow: &str) -> Option<&str> {
        let own = self.get(&of_flow(&cookie.name, flow)).filter(|value| !value.is_empty());
        own.or_else(|| self.get(&cookie.name).filter(|value| !value.is_empty()))
    }

    pub(super) fn set(&mut self, name: &str, value: String) {
        self.is_changed = true;
        match self.crumbs.iter_mut().find(|(own, _)| own == name) {
            Some((_, old)) => *old = value,
            None => self.crumbs.push((name.to_owned(), value)),
        }
    }

    /// Takes away what upstreams do not need: all but tokens that are theirs to see.
    pub(super) fn remove_flow(&mut self, cookies: &LoginCookies) {
        if self.crumbs.is_empty() {
            return;
        }
        self.is_changed = true;
        let plain = [&cookies.hmac, &cookies.expires, &cookies.refresh];
        self.crumbs.retain(|(name, _)| {
            let is_plain = plain.iter().any(|cookie| cookie.name == *name);
            let is_flow = [&cookies.nonce, &cookies.verifier].iter().any(|it| is_flow(name, it));
            !is_plain && !is_flow
        });
    }

    /// Takes away everything that says who somebody is.
    pub(super) fn remove_tokens(&mut self, cookies: &LoginCookies) {
        if self.crumbs.is_empty() {
            return;
        }
        self.is_changed = true;
        let LoginCookies { bearer, id, hmac, expires, refresh, .. } = cookies;
        let all = [bearer, id, hmac, expires, refresh];
        self.crumbs.retain(|(name, _)| !all.iter().any(|cookie| cookie.name == *name));
    }

    /// Cookies of logins that are under way, with what each is.
    pub(super) fn flows<'j>(
        &'j self,
        cookies: &'j LoginCookies,
    ) -> impl Iterator<Item = (&'j str, &'j LoginCookie)> {
        self.crumbs.iter().filter_map(|(name, _)| {
            let mut both = [&cookies.nonce, &cookies.verifier].into_iter();
            both.find(|cookie| is_flow(name, cookie)).map(|cookie| (name.as_str(), cookie))
        })
    }

    /// As the header has them.
    pub(super) fn line(&self) -> String {
        let crumbs = self.crumbs.iter().map(|(name, value)| format!("{name}={value}"));
        crumbs.collect::<Vec<_>>().join("; ")
    }
}

/// The name of a cookie for one login: several may be under way at once.
pub(super) fn of_flow(name: &str, flow: &str) -> String {
    format!("{name}.{flow}")
}

fn is_flow(name: &str, cookie: &LoginCookie) -> bool {
    let rest = name.strip_prefix(cookie.name.as_str());
    rest.is_some_and(|rest| rest.is_empty() || (rest.len() > 1 && rest.starts_with('.')))
}

/// A cookie that is set for so many seconds.
pub(super) fn set(
    cookies: &LoginCookies,
    cookie: &LoginCookie,
    (name, value): (&str, &str),
    seconds: u64,
) -> String {
    let domain = match cookies.domain.as_str() {
        "" => String::new(),
        domain => format!(";domain={domain}"),
    };
    let same_site = match cookie.same_site {
        None => "",
        Some(SameSite::Strict) => ";SameSite=Strict",
        Some(SameSite::Lax) => ";SameSite=Lax",
        Some(SameSite::None) => ";SameSite=None",
    };
    let partitioned = if cookie.partitioned { ";Partitioned" } else { "" };
    let path = &cookie.path;
    format!(
        "{name}={value}{domain};path={path};Max-Age={seconds};secure;HttpOnly{same_site}{partitioned}"
    )
}

/// Has browsers forget a cookie.
pub(super) fn forget(cookies: &LoginCookies, cookie: &LoginCookie, name: &str) -> String {
    let secure =
        if name.starts_with("__Secure-") || name.starts_with("__Host-") { "; Secure" } else { "" };
    format!("{}{secure}", forget_plainly(cookies, cookie, name))
}

/// The same without a word on names that are special.
pub(super) fn forget_plainly(cookies: &LoginCookies, cookie: &LoginCookie, name: &str) -> String {
    let domain = match cookies.domain.as_str() {
        "" => String::new(),
        domain => format!(";domain={domain}"),
    };
    format!("{name}=deleted; path={}; expires={PAST}{domain}", cookie.path)
}

/// Has browsers forget the cookies of one login, and those of older versions.
pub(super) fn forget_flow(cookies: &LoginCookies, flow: &str) -> Vec<String> {
    let both = [&cookies.nonce, &cookies.verifier].into_iter();
    let names = both.flat_map(|cookie| {
        let own = (!flow.is_empty()).then(|| of_flow(&cookie.name, flow));
        own.into_iter().chain([cookie.name.clone()]).map(move |name| (cookie, name))
    });
    names.map(|(cookie, name)| forget(cookies, cookie, &name)).collect()
}
