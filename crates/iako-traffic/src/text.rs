//! Small texts of HTTP: targets, queries, cookies, hosts.

use std::borrow::Cow;

/// Path and query (without its question mark) of a request's target; a fragment is left out.
#[must_use]
pub(crate) fn split_path(target: &str) -> (&str, &str) {
    let mark = target.bytes().position(|byte| matches!(byte, b'?' | b'#'));
    let Some((path, rest)) = mark.and_then(|mark| target.split_at_checked(mark)) else {
        return (target, "");
    };
    match rest.strip_prefix('?') {
        Some(query) => (path, query.split_once('#').map_or(query, |(before, _)| before)),
        None => (path, ""),
    }
}

/// Names and values of a query as they stand, undecoded; a name alone has an empty value.
pub(crate) fn query_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The first value of a query parameter, undecoded.
pub(crate) fn query_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query_pairs(query).find(|(own, _)| *own == name).map(|(_, value)| value)
}

/// The value of a cookie in one `cookie` header, quotes taken off. Blanks before a name are not part of
/// it; all others are part of name or value, as in Envoy.
pub(crate) fn cookie_value<'c>(header: &'c str, name: &str) -> Option<&'c str> {
    header.split(';').find_map(|crumb| {
        let (own, value) = crumb.trim_start_matches(' ').split_once('=')?;
        let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        (own == name).then_some(bare.unwrap_or(value))
    })
}

/// Host and port (digits, without the colon) of an authority; brackets of IPv6 stay on the host.
#[must_use]
pub(crate) fn split_host_port(authority: &str) -> (&str, Option<&str>) {
    let Some((host, port)) = authority.rsplit_once(':') else { return (authority, None) };
    let whole_host = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if whole_host && digits { (host, Some(port)) } else { (authority, None) }
}

/// The text in lower case; copied only when it is not yet.
#[must_use]
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// The value of two hexadecimal digits.
#[must_use]
pub(crate) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// Resolves `%xx` and `+`, as in a query parameter.
#[must_use]
pub(crate) fn decode_parameter(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => hex_byte(*high, *low).map(|byte| (byte, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((if first == b'+' { b' ' } else { first }, tail));
        out.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A value as text, what is none replaced. Nearly all are: to look at the whole of one is many times
/// faster than to read it letter by letter.
pub(crate) fn lossy(value: &[u8]) -> Cow<'_, str> {
    str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_address() {
        assert_eq!(split_host_port("a.test:80"), ("a.test", Some("80")));
        assert_eq!(split_host_port("[::1]:80"), ("[::1]", Some("80")));
        assert_eq!(split_host_port("[::1]"), ("[::1]", None));
        assert_eq!(split_host_port("::1"), ("::1", None));
        assert_eq!(split_host_port("a:b"), ("a:b", None));
    }

    #[test]
    fn a_cookie_is_found_among_crumbs() {
        assert_eq!(cookie_value("a=1; sess=\"x\"; b=2", "sess"), Some("x"));
        assert_eq!(cookie_value("asess=1", "sess"), None);
        assert_eq!(cookie_value("sess =1;  sess= 2 ", "sess"), Some(" 2 "));
    }

    #[test]
    fn a_query_is_read_as_it_stands() {
        assert_eq!(query_value("a=1&b&a=2", "a"), Some("1"));
        assert_eq!(query_value("a=1&b&a=2", "b"), Some(""));
        assert_eq!(decode_parameter("a%20b+c%zz"), "a b c%zz");
    }
}
