//! Whether a request meets the conditions of routes, rules and policies.

mod tree;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use iako_proxy_config::{
    CookieMatch, FilterStateCheck, FilterStateMatch, HeaderCheck, HeaderMatch, MetadataMatch,
    MetadataValueMatch, PathMatch, QueryCheck, QueryMatch, RouteMatch, StringMatch,
    TlsContextMatch,
};
use serde_json::Value;

use crate::{
    Headers, Metadata, RequestFacts, RequestHead,
    text::{cookie_value, lossy, query_pairs, query_value},
};

pub use tree::{MatchFacts, ResponseFacts, choose_action};

/// The first condition of a [`RouteMatch`] that a request does not meet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mismatch<'t> {
    /// The path.
    Path(&'t PathMatch),
    /// It is no gRPC request.
    NotGrpc,
    /// A header, or a pseudo-header such as `:method`.
    Header(&'t HeaderMatch),
    /// A query parameter.
    Query(&'t QueryMatch),
    /// A cookie.
    Cookie(&'t CookieMatch),
    /// What the client showed in its handshake.
    Tls,
    /// A fact that a filter left, such as a claim of a token.
    Metadata(&'t MetadataMatch),
    /// An object that filters keep.
    FilterState(&'t FilterStateMatch),
    /// The random share.
    Share(iako_types::Percent),
}

/// The first condition that `facts` does not meet; none when all are met. `draw` decides on a
/// random share.
#[must_use]
pub fn mismatch<'t>(
    rule: &'t RouteMatch,
    facts: &RequestFacts<'_>,
    draw: u64,
) -> Option<Mismatch<'t>> {
    mismatch_at(rule, facts.head.path(), facts, draw)
}

/// [`mismatch`] where the path is looked at as `path`.
pub(crate) fn mismatch_at<'t>(
    rule: &'t RouteMatch,
    path: &str,
    facts: &RequestFacts<'_>,
    draw: u64,
) -> Option<Mismatch<'t>> {
    let head = &facts.head;
    if !path_matches(rule, path, head) {
        return Some(Mismatch::Path(&rule.path));
    }
    if let Some(share) =
        rule.share.as_ref().map(|share| share.value).filter(|share| !share.takes(draw))
    {
        return Some(Mismatch::Share(share));
    }
    if rule.grpc_only && !head.is_grpc() {
        return Some(Mismatch::NotGrpc);
    }
    if let Some(failed) = rule.headers.iter().find(|condition| !header_matches(condition, head)) {
        return Some(Mismatch::Header(failed));
    }
    if !rule.query.is_empty() {
        let query = head.query();
        let failed = rule.query.iter().find(|condition| !query_matches(condition, query));
        if let Some(failed) = failed {
            return Some(Mismatch::Query(failed));
        }
    }
    if let Some(failed) = rule.cookies.iter().find(|condition| !cookie_matches(condition, head)) {
        return Some(Mismatch::Cookie(failed));
    }
    if rule.tls.is_some_and(|wanted| !tls_matches(wanted, facts)) {
        return Some(Mismatch::Tls);
    }
    let claims = |condition: &&MetadataMatch| !metadata_matches(condition, facts.metadata);
    if let Some(failed) = rule.metadata.iter().find(claims) {
        return Some(Mismatch::Metadata(failed));
    }
    let kept =
        |condition: &&FilterStateMatch| !state_matches(condition, facts.states(&condition.key));
    rule.filter_state.iter().find(kept).map(Mismatch::FilterState)
}

/// The first cookie of a name counts, over all `cookie` headers.
fn cookie_matches(rule: &CookieMatch, head: &RequestHead<'_>) -> bool {
    let met = header_texts(head, "cookie")
        .find_map(|text| cookie_value(&text, &rule.name).map(|value| rule.value.matches(value)));
    met.unwrap_or(false) != rule.invert
}

fn tls_matches(wanted: TlsContextMatch, facts: &RequestFacts<'_>) -> bool {
    let peer = facts.connection.peer();
    let holds = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
    holds(wanted.presented, peer.is_some())
        && holds(wanted.validated, peer.is_some_and(|peer| !peer.untrusted))
}

/// Whether an object that filters keep meets a condition. A missing one never does.
#[must_use]
pub fn state_matches(rule: &FilterStateMatch, metadata: &Metadata) -> bool {
    let Some(kept) = metadata.object(&rule.key) else { return false };
    match &rule.check {
        FilterStateCheck::Text(matcher) => matcher.matches(&kept.text),
        FilterStateCheck::Address { ranges, invert } => {
            let socket = kept.text.parse::<SocketAddr>().map(|address| address.ip());
            let address = socket.or_else(|_none| kept.text.parse::<IpAddr>());
            kept.is_address
                && address.is_ok_and(|address| {
                    ranges.iter().any(|range| range.contains(&address)) != *invert
                })
        }
    }
}

/// Whether the path of a request meets a rule's condition.
fn path_matches(rule: &RouteMatch, path: &str, head: &RequestHead<'_>) -> bool {
    // CONNECT has no path: only a rule made for it takes it.
    if head.path_and_query.is_empty() {
        return rule.path == PathMatch::Connect && head.method == "CONNECT";
    }
    let same = |own: &[u8], text: &str| {
        own == text.as_bytes()
            || (!rule.case_sensitive && own.eq_ignore_ascii_case(text.as_bytes()))
    };
    let starts = |text: &str| path.as_bytes().get(..text.len()).is_some_and(|own| same(own, text));
    match &rule.path {
        PathMatch::Prefix(prefix) => starts(prefix),
        PathMatch::SegmentPrefix(prefix) => {
            starts(prefix) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
        }
        PathMatch::Exact(exact) => same(path.as_bytes(), exact),
        PathMatch::Regex(pattern) => pattern.is_match(path),
        // Envoy the same: parameters of paths count for templates always.
        PathMatch::Template(template) => template.matches(head.path()),
        PathMatch::Connect => head.method == "CONNECT",
    }
}

/// Whether a request meets a condition on a header; each value is looked at by itself.
#[must_use]
pub fn header_matches(rule: &HeaderMatch, head: &RequestHead<'_>) -> bool {
    let name = rule.name.as_str();
    values_match(rule, head.value(name, 0), |nth| head.value(name, nth))
}

/// Whether the headers of a response meet a condition; `:status` is none of them.
#[must_use]
pub fn response_header_matches(rule: &HeaderMatch, headers: &dyn Headers) -> bool {
    let name = rule.name.as_str();
    values_match(rule, headers.value(name, 0), |nth| headers.value(name, nth))
}

/// The same, of the first value of the header and those behind it.
pub(crate) fn values_match<'h>(
    rule: &HeaderMatch,
    first: Option<&'h [u8]>,
    further: impl Fn(usize) -> Option<&'h [u8]>,
) -> bool {
    let met = match (&rule.check, first) {
        (HeaderCheck::Present(wanted), first) => {
            (first.is_some() || rule.missing_as_empty) == *wanted
        }
        (HeaderCheck::Text(_) | HeaderCheck::Range { .. }, Some(first)) => {
            value_meets(&rule.check, first)
                || (1..).map_while(further).any(|value| value_meets(&rule.check, value))
        }
        (HeaderCheck::Text(_) | HeaderCheck::Range { .. }, None) if rule.missing_as_empty => {
            value_meets(&rule.check, b"")
        }
        (HeaderCheck::Text(_) | HeaderCheck::Range { .. }, None) => return false,
    };
    met != rule.invert
}

fn value_meets(check: &HeaderCheck, value: &[u8]) -> bool {
    if let HeaderCheck::Text(StringMatch::Exact { value: wanted, ignore_case: false }) = check {
        // Most rules ask this; what is equal needs no look at whether it is text.
        let same = value == wanted.as_bytes();
        return same || (!value.is_ascii() && lossy(value) == wanted.as_str());
    }
    let text = lossy(value);
    match check {
        HeaderCheck::Present(wanted) => *wanted,
        HeaderCheck::Text(matcher) => matcher.matches(&text),
        HeaderCheck::Range { start, end } => {
            text.parse::<i64>().is_ok_and(|number| (*start..*end).contains(&number))
        }
    }
}

pub(crate) fn query_matches(rule: &QueryMatch, query: &str) -> bool {
    match &rule.check {
        QueryCheck::Present(wanted) => {
            query_pairs(query).any(|(name, _)| name == rule.name) == *wanted
        }
        QueryCheck::Text(matcher) => {
            query_value(query, &rule.name).is_some_and(|value| matcher.matches(value))
        }
    }
}

/// Whether facts that filters left meet a condition. A missing fact is turned round, too.
#[must_use]
pub fn metadata_matches(rule: &MetadataMatch, metadata: &Metadata) -> bool {
    let value = metadata.find(&rule.filter, &rule.path);
    value_matches(&rule.value, value) != rule.invert
}

/// Whether a fact, which may be missing, meets a condition.
#[must_use]
pub fn value_matches(rule: &MetadataValueMatch, value: Option<&Value>) -> bool {
    match (rule, value) {
        (MetadataValueMatch::Present(wanted), value) => value.is_some() == *wanted,
        (MetadataValueMatch::Or(rules), value) => {
            rules.iter().any(|rule| value_matches(rule, value))
        }
        (_, None) => false,
        (MetadataValueMatch::Null, Some(value)) => value.is_null(),
        (MetadataValueMatch::Bool(wanted), Some(value)) => value.as_bool() == Some(*wanted),
        (MetadataValueMatch::Text(matcher), Some(value)) => {
            value.as_str().is_some_and(|text| matcher.matches(text))
        }
        (MetadataValueMatch::Number(wanted), Some(value)) => {
            value.as_f64().is_some_and(|number| number.total_cmp(&wanted.0).is_eq())
        }
        (MetadataValueMatch::NumberWithin(start, end), Some(value)) => {
            value.as_f64().is_some_and(|number| (start.0..end.0).contains(&number))
        }
        (MetadataValueMatch::ListContains(rule), Some(value)) => value
            .as_array()
            .is_some_and(|items| items.iter().any(|item| value_matches(rule, Some(item)))),
    }
}

/// Whether any of `texts` meets a condition.
pub(crate) fn any_matches(matcher: &StringMatch, texts: &[String]) -> bool {
    texts.iter().any(|text| matcher.matches(text))
}

/// All values of a header as texts, bad bytes replaced.
pub(crate) fn header_texts<'h>(
    head: &RequestHead<'h>,
    name: &str,
) -> impl Iterator<Item = Cow<'h, str>> {
    (0..).map_while(|nth| head.value(name, nth)).map(lossy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConnectionInfo, HeaderList};

    fn text(name: &str, matcher: StringMatch) -> HeaderMatch {
        HeaderMatch {
            name: name.parse().unwrap(),
            check: HeaderCheck::Text(matcher),
            invert: false,
            missing_as_empty: false,
        }
    }

    fn holds(rule: &HeaderMatch, values: &[&str]) -> bool {
        let headers: HeaderList = values.iter().map(|value| ("x-v", *value)).collect();
        let head = RequestHead {
            method: "GET",
            scheme: "http",
            authority: "a.test",
            path_and_query: "/",
            headers: &headers,
        };
        header_matches(rule, &head)
    }

    // envoy-behaviour fact 1, cases rt-hdr-multi and rt-hdr-multi2.
    #[test]
    fn each_value_of_a_header_is_matched_by_itself() {
        let exact = |value: &str| text("x-v", StringMatch::exact(value));
        assert!(holds(&exact("a"), &["a", "b"]));
        assert!(holds(&exact("b"), &["a", "b"]));
        assert!(!holds(&exact("a,b"), &["a", "b"]));
        assert!(holds(&exact("a,b"), &["a,b"]));
        let contains = StringMatch::Contains { value: "a,b".into(), ignore_case: false };
        assert!(!holds(&text("x-v", contains), &["a", "b"]));
        let inverted = HeaderMatch { invert: true, ..exact("a") };
        assert!(!holds(&inverted, &["a", "b"]));
        assert!(holds(&inverted, &["c"]));
        assert!(!holds(&inverted, &[]), "a missing header fails an inverted value check");
        assert!(holds(&HeaderMatch { missing_as_empty: true, ..inverted }, &[]));
    }

    #[test]
    fn a_range_leaves_its_end_out() {
        let range = HeaderMatch {
            check: HeaderCheck::Range { start: 10, end: 20 },
            ..text("x-v", StringMatch::exact(""))
        };
        assert!(holds(&range, &["15"]) && !holds(&range, &["20"]) && !holds(&range, &["x"]));
    }

    #[test]
    fn the_first_condition_that_fails_is_named() {
        let mut rule = RouteMatch::path(PathMatch::SegmentPrefix("/sep".to_owned()));
        rule.headers.push(text(":method", StringMatch::exact("POST")));
        let connection =
            ConnectionInfo::plain("127.0.0.1:80".parse().unwrap(), "127.0.0.2:9".parse().unwrap());
        let (headers, metadata) = (HeaderList::default(), Metadata::default());
        let facts = |method, target| RequestFacts {
            head: RequestHead {
                method,
                scheme: "http",
                authority: "a",
                path_and_query: target,
                headers: &headers,
            },
            connection: &connection,
            metadata: &metadata,
            client: "127.0.0.2".parse().unwrap(),
            internal: false,
        };
        assert_eq!(mismatch(&rule, &facts("POST", "/sep/x?y"), 0), None);
        assert_eq!(
            mismatch(&rule, &facts("GET", "/sep"), 0),
            Some(Mismatch::Header(&rule.headers[0]))
        );
        let separate = facts("POST", "/separate");
        assert_eq!(mismatch(&rule, &separate, 0), Some(Mismatch::Path(&rule.path)));
        assert!(matches!(mismatch(&rule, &facts("CONNECT", ""), 0), Some(Mismatch::Path(_))));
    }
}
