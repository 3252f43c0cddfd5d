//! Normal forms of a request's target and host.

use std::borrow::Cow;

use iako_proxy_config::{EscapedSlashes, HttpConnectionManager, StripPort};

use crate::{
    route::cut_query,
    text::{hex_byte, split_host_port},
};

/// What becomes of a request's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NormalizedTarget {
    /// It stays as it is.
    Keep,
    /// It becomes this.
    Change(String),
    /// The request is refused: 400, `path_normalization_failed`.
    Refuse,
    /// The client is sent there: 307, `path_normalization_failed`.
    Redirect(String),
}

/// Brings a target into its normal form: escaped slashes, then dot segments and percent-encoding,
/// then repeated slashes, each as far as it is switched on. The query stays.
///
/// A fragment is refused always: RFC 9112 has none in targets, and peers disagree about them.
#[must_use]
pub fn normalize_target(settings: &HttpConnectionManager, target: &str) -> NormalizedTarget {
    if target.contains('#') {
        return NormalizedTarget::Refuse;
    }
    let (path, query) = cut_query(target);
    // A decoded NUL ends the path for who reads it in C.
    if settings.normalize_path && path.contains("%00") {
        return NormalizedTarget::Refuse;
    }
    // Neither `*` (OPTIONS) nor an empty target (CONNECT) is a path.
    if !path.starts_with('/') {
        return NormalizedTarget::Keep;
    }
    let mut path = Cow::Borrowed(path);
    let mut redirect = false;
    // Decoding can uncover an escape (`%%32e` is `%2e`), which the upstream would decode in turn
    // and we would not have looked at: go on until nothing changes.
    loop {
        let mut changed = false;
        if settings.escaped_slashes != EscapedSlashes::Keep
            && let Some(unescaped) = unescape_slashes(&path)
        {
            if settings.escaped_slashes == EscapedSlashes::Reject {
                return NormalizedTarget::Refuse;
            }
            redirect |= settings.escaped_slashes == EscapedSlashes::UnescapeAndRedirect;
            path = Cow::Owned(unescaped);
            changed = true;
        }
        if settings.normalize_path && path.bytes().any(needs_care) {
            let resolved = resolve_dots(&canonical_bytes(&path));
            changed |= resolved != *path;
            path = Cow::Owned(resolved);
        }
        if !changed {
            break;
        }
    }
    if settings.merge_slashes && path.contains("//") {
        path = Cow::Owned(merge_slashes(&path));
    }
    match path {
        Cow::Borrowed(_) => NormalizedTarget::Keep,
        Cow::Owned(path) if redirect => NormalizedTarget::Redirect(path + query),
        Cow::Owned(path) => {
            let changed = path + query;
            if changed == target {
                NormalizedTarget::Keep
            } else {
                NormalizedTarget::Change(changed)
            }
        }
    }
}

/// The host without the dot at its end, when it has one; the port stays.
#[must_use]
pub fn host_without_dot(authority: &str) -> Option<String> {
    let (host, port) = split_host_port(authority);
    let bare = host.strip_suffix('.')?;
    Some(port.map_or_else(|| bare.to_owned(), |port| format!("{bare}:{port}")))
}

/// The host without its port, when it is to go. `listener_port` is the one that was connected to.
#[must_use]
pub fn stripped_host(mode: StripPort, authority: &str, listener_port: u16) -> Option<&str> {
    let (host, port) = split_host_port(authority);
    let port = port?;
    let goes = match mode {
        StripPort::Keep => false,
        StripPort::Matching => port.parse() == Ok(listener_port),
        StripPort::Any => true,
    };
    goes.then_some(host)
}

/// Replaces `%2F` and `%5C`; none when there are none.
fn unescape_slashes(path: &str) -> Option<String> {
    let escapes = ["%2F", "%2f", "%5C", "%5c"];
    escapes.iter().any(|escape| path.contains(escape)).then(|| {
        let path = path.replace("%2F", "/").replace("%2f", "/");
        path.replace("%5C", "\\").replace("%5c", "\\")
    })
}

/// Whether a byte can make a path differ from its normal form.
fn needs_care(byte: u8) -> bool {
    matches!(byte, b'%' | b'\\' | b'.') || must_escape(byte)
}

/// Bytes that stand in a path only percent-encoded. Source: RFC 3986 §3.3, WHATWG URL path set.
fn must_escape(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f || b"\"<>`{}".contains(&byte)
}

/// Decodes unreserved characters, encodes those that must be, turns backslashes round. A percent
/// sign without two digits stays.
fn canonical_bytes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => match hex_byte(*high, *low) {
                Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                    out.push(char::from(byte));
                    rest = after;
                }
                Some(_) | None => out.push('%'),
            },
            (b'\\', _) => out.push('/'),
            (byte, _) if must_escape(byte) => out.push_str(&format!("%{byte:02X}")),
            (byte, _) => out.push(char::from(byte)),
        }
    }
    out
}

/// Resolves `.` and `..`. Source: RFC 3986 §5.2.4; `..` at the top stays at the top.
fn resolve_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match without_parameters(segment) {
            dots @ ("." | "..") => {
                if dots == ".." {
                    kept.pop();
                }
                // What ends in a dot segment is a directory.
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// What of a segment counts when it is a dot segment: servers of servlets take `;parameters` off before
/// they look, so that `..;` climbs there. Envoy the same.
fn without_parameters(segment: &str) -> &str {
    segment.split_once(';').map_or(segment, |(name, _)| name)
}

fn merge_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !out.ends_with('/') {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::RouteSource;

    use super::*;

    fn normal(escaped: EscapedSlashes, target: &str) -> NormalizedTarget {
        let mut settings = HttpConnectionManager::new("s", RouteSource::Rds("r".into()));
        settings.normalize_path = true;
        settings.merge_slashes = true;
        settings.escaped_slashes = escaped;
        normalize_target(&settings, target)
    }

    // Cases rt-normalize-on and rt-normalize-reject; fact 8.
    #[test]
    fn targets_become_what_envoy_makes_of_them() {
        let redirect = EscapedSlashes::UnescapeAndRedirect;
        for (target, expected) in [
            ("/a/../b", "/b"),
            ("/a//b", "/a/b"),
            ("/a/%2e%2e/b", "/b"),
            ("/%61", "/a"),
            ("/a/./b", "/a/b"),
            ("/a/..", "/"),
            ("/../../a", "/a"),
            ("/a\\b", "/a/b"),
            ("/%61?x=%61", "/a?x=%61"),
            ("/a/..;/b", "/b"),
            ("/a/b/..;x=y;z/..;/c", "/c"),
            ("/a/.;x/b", "/a/b"),
            ("/a/..;", "/"),
            ("/a/%2e%2e;/b", "/b"),
        ] {
            assert_eq!(normal(redirect, target), NormalizedTarget::Change(expected.to_owned()));
        }
        for target in ["/a?x=/..;/b", "/%zz", "/a.b", "/...;/b", "/.b;/c", "/;/b", "*", ""] {
            assert_eq!(normal(redirect, target), NormalizedTarget::Keep, "{target}");
        }
        assert_eq!(normal(redirect, "/a%2Fb?x"), NormalizedTarget::Redirect("/a/b?x".to_owned()));
        assert_eq!(normal(EscapedSlashes::Reject, "/a%2Fb"), NormalizedTarget::Refuse);
        assert_eq!(normal(EscapedSlashes::Reject, "/a%5cb"), NormalizedTarget::Refuse);
        assert_eq!(normal(EscapedSlashes::Keep, "/a#b"), NormalizedTarget::Refuse);
    }

    // A path that changes when it is looked at twice hides from rules what the upstream sees.
    #[test]
    fn a_normal_form_is_its_own_normal_form() {
        proptest::proptest!(|(path in "/[ab./%2eE5cF;\\\\ ]{0,14}")| {
            let settings = EscapedSlashes::UnescapeAndForward;
            if let NormalizedTarget::Change(once) = normal(settings, &path) {
                proptest::prop_assert!(!once.split('/').any(|segment| without_parameters(segment) == ".."));
                proptest::prop_assert_eq!(normal(settings, &once), NormalizedTarget::Keep);
            }
        });
        let hidden = NormalizedTarget::Change("/x".to_owned());
        assert_eq!(normal(EscapedSlashes::Keep, "/a/%%32e%%32e/x"), hidden);
    }

    #[test]
    fn ports_go_as_told() {
        assert_eq!(stripped_host(StripPort::Any, "a.test:1234", 80), Some("a.test"));
        assert_eq!(stripped_host(StripPort::Matching, "a.test:1234", 80), None);
        assert_eq!(stripped_host(StripPort::Matching, "[::1]:80", 80), Some("[::1]"));
        assert_eq!(stripped_host(StripPort::Keep, "a.test:80", 80), None);
        assert_eq!(stripped_host(StripPort::Any, "a.test", 80), None);
    }
}
