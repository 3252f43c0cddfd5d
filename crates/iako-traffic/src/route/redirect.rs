//! Where a redirect sends the client.

use std::borrow::Cow;

use iako_proxy_config::{PathMatch, Redirect, RedirectPath, RedirectScheme};

use super::{result::cut_query, table::taken_length};
use crate::{RequestHead, text::split_host_port};

/// The `location` of a redirect.
pub(super) fn location(
    redirect: &Redirect,
    rule: &PathMatch,
    head: &RequestHead<'_>,
    formatted: Option<&str>,
) -> String {
    let scheme = match &redirect.scheme {
        Some(RedirectScheme::Https) => "https",
        Some(RedirectScheme::Scheme(scheme)) => scheme,
        None => head.scheme,
    };
    let host = redirect.host.as_deref().unwrap_or_else(|| request_host(redirect, scheme, head));
    let port = redirect.port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = target(redirect, rule, head.path_and_query, formatted);
    format!("{scheme}://{host}{port}{path}")
}

/// The address of a request with the parts changed that a redirect names, whatever its route.
#[must_use]
pub fn changed_location(redirect: &Redirect, head: &RequestHead<'_>) -> String {
    location(redirect, &PathMatch::Prefix(String::new()), head, None)
}

/// The location that sends a plain request to HTTPS, as `require_tls` does.
#[must_use]
pub fn https_location(head: &RequestHead<'_>) -> String {
    to_scheme(Some(RedirectScheme::Https), head)
}

/// The location of the request itself.
pub(super) fn own_location(head: &RequestHead<'_>) -> String {
    to_scheme(None, head)
}

fn to_scheme(scheme: Option<RedirectScheme>, head: &RequestHead<'_>) -> String {
    let redirect =
        Redirect { scheme, host: None, port: None, path: None, status: 301, strip_query: false };
    location(&redirect, &PathMatch::Prefix(String::new()), head, None)
}

/// The request's own host. Its port goes when another one is given, or when the scheme changes and
/// it was the default of the old scheme.
fn request_host<'h>(redirect: &Redirect, scheme: &str, head: &RequestHead<'h>) -> &'h str {
    let (host, port) = split_host_port(head.authority);
    let default_port = match head.scheme {
        "https" => Some("443"),
        "http" => Some("80"),
        _ => None,
    };
    let old_default = scheme != head.scheme && port == default_port;
    if redirect.port.is_some() || old_default { host } else { head.authority }
}

fn target<'a>(
    redirect: &'a Redirect,
    rule: &PathMatch,
    path_and_query: &'a str,
    formatted: Option<&'a str>,
) -> Cow<'a, str> {
    let (path, query) = cut_query(path_and_query);
    let query = if redirect.strip_query { "" } else { query };
    let path = match &redirect.path {
        Some(RedirectPath::Format(_)) => match formatted.unwrap_or_default() {
            "" => Cow::Borrowed(path),
            // A query of its own wins over the request's, and is not stripped.
            full if full.contains('?') => return absolute(full.into()),
            full => Cow::Borrowed(full),
        },
        Some(RedirectPath::Full(full)) if full.contains('?') => {
            return absolute(full.as_str().into());
        }
        Some(RedirectPath::Full(full)) => Cow::Borrowed(full.as_str()),
        // Nothing to put in its place: nothing is replaced.
        Some(RedirectPath::Prefix(prefix)) if prefix.is_empty() => Cow::Borrowed(path),
        Some(RedirectPath::Prefix(prefix)) => {
            let taken = taken_length(rule, path);
            Cow::Owned(format!("{prefix}{}", path.get(taken..).unwrap_or_default()))
        }
        Some(RedirectPath::Regex { pattern, substitution }) => {
            let replaced = pattern.replace_all(path, substitution);
            if replaced.is_empty() { Cow::Borrowed(path) } else { Cow::Owned(replaced) }
        }
        None => Cow::Borrowed(path),
    };
    let path = absolute(path);
    if query.is_empty() { path } else { Cow::Owned(format!("{path}{query}")) }
}

/// A path that begins with a slash.
fn absolute(path: Cow<'_, str>) -> Cow<'_, str> {
    if path.starts_with('/') { path } else { Cow::Owned(format!("/{path}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeaderList;

    fn redirect() -> Redirect {
        Redirect {
            scheme: None,
            host: None,
            port: None,
            path: None,
            status: 301,
            strip_query: false,
        }
    }

    fn sent(redirect: &Redirect, rule: &str, authority: &str, target: &str) -> String {
        let headers = HeaderList::default();
        let head = RequestHead {
            method: "GET",
            scheme: "http",
            authority,
            path_and_query: target,
            headers: &headers,
        };
        location(redirect, &PathMatch::Prefix(rule.to_owned()), &head, None)
    }

    // Cases `redirects` and `https-redirect-port`; fact 9.
    #[test]
    fn locations_are_those_of_envoy() {
        let host = Redirect { host: Some("b.test".into()), ..redirect() };
        assert_eq!(sent(&host, "/", "a.test", "/host?x=1"), "http://b.test/host?x=1");
        let path = Redirect { path: Some(RedirectPath::Full("/new".into())), ..redirect() };
        assert_eq!(sent(&path, "/path", "a.test", "/path?x=1"), "http://a.test/new?x=1");
        let own = Redirect { path: Some(RedirectPath::Full("/new?y=2".into())), ..redirect() };
        assert_eq!(sent(&own, "/path", "a.test", "/path?x=1"), "http://a.test/new?y=2");
        let prefix = Redirect { path: Some(RedirectPath::Prefix("/p2".into())), ..redirect() };
        assert_eq!(sent(&prefix, "/prefix", "a.test", "/prefix/a?x=1"), "http://a.test/p2/a?x=1");
        let strip = Redirect { strip_query: true, ..host };
        assert_eq!(sent(&strip, "/", "a.test", "/strip?x=1"), "http://b.test/strip");
        let https = Redirect { scheme: Some(RedirectScheme::Https), ..redirect() };
        assert_eq!(sent(&https, "/", "a.test:80", "/"), "https://a.test/");
        assert_eq!(sent(&https, "/", "a.test:8080", "/"), "https://a.test:8080/");
        let port = Redirect { port: Some(8443), ..https };
        assert_eq!(sent(&port, "/", "a.test:80", "/port"), "https://a.test:8443/port");
        assert_eq!(sent(&port, "/", "[::1]:80", "/"), "https://[::1]:8443/");
    }
}
