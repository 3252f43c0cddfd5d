//! URLs that browsers are sent to and come back with.

use iako_proxy_config::OAuth2;

use crate::percent_encoded;
use crate::text::split_host_port;

/// An absolute URL, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address<'a> {
    /// Scheme and authority.
    origin: &'a str,
    authority: &'a str,
    /// Path with query, without a fragment; `/` when the URL has none.
    pub(super) target: &'a str,
}

impl<'a> Address<'a> {
    /// None for anything else than an `http` or `https` URL with a host.
    pub(super) fn read(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return None;
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host_alone, port) = split_host_port(host);
        // A colon outside of brackets stands before a port, and nothing but a number is one.
        let is_bracketed = host_alone.starts_with('[') && host_alone.ends_with(']');
        let is_host = !host_alone.is_empty() && (is_bracketed || !host_alone.contains(':'));
        let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
        let target = target.split_once('#').map_or(target, |(target, _)| target);
        let origin = url.split_at_checked(url.len().checked_sub(rest.len())?.checked_add(end)?)?.0;
        let target = if target.is_empty() { "/" } else { target };
        (is_host && is_port).then_some(Self { origin, authority: host, target })
    }

    fn host(&self) -> &'a str {
        let (host, _) = split_host_port(self.authority);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// Whether a page of this host may be gone back to.
pub(super) fn is_allowed(url: &str, hosts: &[String]) -> bool {
    if hosts.is_empty() {
        return true;
    }
    let Some(host) = Address::read(url).map(|address| address.host().to_ascii_lowercase()) else {
        return false;
    };
    hosts.iter().any(|allowed| match allowed.strip_prefix('*') {
        Some(below) if below.starts_with('.') => {
            let below = below.to_ascii_lowercase();
            host.len() > below.len() && host.ends_with(&below)
        }
        Some(_) | None => host.eq_ignore_ascii_case(allowed),
    })
}

/// The first value of a query parameter, as it is written.
pub(super) fn parameter<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    parameters(target).into_iter().find(|(own, _)| *own == name).map(|(_, value)| value)
}

/// The parameters of a target as they are written.
pub(super) fn parameters(target: &str) -> Vec<(&str, &str)> {
    let Some((_, query)) = target.split_once('?') else { return Vec::new() };
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect()
}

/// Parameters as details of responses have them.
pub(super) fn shown(parameters: &[(&str, &str)]) -> String {
    let mut parameters = parameters.to_vec();
    // A stable order by name, as Envoy's map has.
    parameters.sort_by_key(|(name, _)| *name);
    let parts: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

/// Where a browser is sent to log in.
pub(super) fn authorization(
    settings: &OAuth2,
    state: &str,
    redirect_uri: &str,
    challenge: &str,
) -> String {
    let endpoint = &settings.server.authorization;
    let scopes = settings.server.scopes.join(" ");
    let own = [
        ("client_id", settings.client.id.clone()),
        ("response_type", "code".to_owned()),
        ("scope", percent_encoded(&scopes)),
        ("state", state.to_owned()),
        ("redirect_uri", percent_encoded(redirect_uri)),
        ("code_challenge", challenge.to_owned()),
        ("code_challenge_method", "S256".to_owned()),
    ];
    let target = Address::read(endpoint).map_or("/", |address| address.target);
    let origin = Address::read(endpoint).map_or("", |address| address.origin);
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let written = parameters(target).into_iter();
    let written = written.filter(|(name, _)| !own.iter().any(|(of_own, _)| of_own == name));
    let mut all: Vec<(&str, &str)> = written.collect();
    all.extend(own.iter().map(|(name, value)| (*name, value.as_str())));
    let resources = settings.server.resources.iter();
    let resources: String =
        resources.map(|resource| format!("&resource={}", percent_encoded(resource))).collect();
    format!("{origin}{path}{}{resources}", shown(&all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_urls_of_http_are_addresses() {
        let target = |url| Address::read(url).map(|address| address.target);
        assert_eq!(target("http://a.test"), Some("/"));
        assert_eq!(target("https://a.test:8080/b?c#d"), Some("/b?c"));
        for other in ["a.test", "/a", "ftp://a.test/", "http:///a", "http://a b/", "http://a:x/"] {
            assert_eq!(target(other), None, "{other}");
        }
    }

    #[test]
    fn pages_of_other_hosts_are_not_gone_back_to() {
        let hosts = ["a.test".to_owned(), "*.b.test".to_owned(), "::1".to_owned()];
        let allowed = |url| is_allowed(url, &hosts);
        assert!(allowed("http://A.test:8080/x") && allowed("https://x.b.test/"));
        assert!(allowed("http://[::1]:80/"));
        assert!(!allowed("http://b.test/") && !allowed("http://xb.test/"));
        assert!(!allowed("http://a.test@evil.test/") && !allowed("nourl"));
        assert!(is_allowed("nourl", &[]), "without a list every page may");
    }

    #[test]
    fn parameters_are_told_in_the_order_of_their_names() {
        assert_eq!(shown(&parameters("/a?b=1&a=2&b=3#x")), "?a=2&b=1&b=3");
        assert_eq!(parameter("/a?b=1&b=2", "b"), Some("1"));
        assert_eq!(shown(&parameters("/a")), "");
    }
}
