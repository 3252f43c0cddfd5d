//! What a request must be like.

use iako_proxy_config::{
    HeaderCheck, HeaderMatch, MetadataValueMatch, PathMatch, QueryCheck, QueryMatch, RouteMatch,
};
use iako_resources::{
    StringMatch,
    istio::virtual_service::{HeaderKey, HttpMatch},
};

use crate::{
    authz::{claim_match, claim_value},
    text::{header_match, pattern, string_match},
};

/// The conditions of one match of a rule.
pub(super) fn route_match(matcher: &HttpMatch) -> RouteMatch {
    let mut planned = RouteMatch::path(path(matcher.uri.as_ref()));
    planned.case_sensitive = !matcher.ignore_uri_case;
    let pseudo = [
        (":scheme", &matcher.scheme),
        (":method", &matcher.method),
        (":authority", &matcher.authority),
    ];
    for (name, condition) in pseudo {
        planned.headers.extend(condition.iter().filter_map(|text| header_match(name, text)));
    }
    for (key, condition) in &matcher.headers {
        push(&mut planned, key, condition, Sense::Must);
    }
    for (key, condition) in &matcher.without_headers {
        push(&mut planned, key, condition, Sense::MustNot);
    }
    planned.query = matcher
        .query_params
        .iter()
        .map(|(name, condition)| QueryMatch {
            name: name.clone(),
            check: string_match(condition).map_or(QueryCheck::Present(true), QueryCheck::Text),
        })
        .collect();
    planned
}

fn path(condition: Option<&StringMatch>) -> PathMatch {
    match condition {
        None | Some(StringMatch::Present) => PathMatch::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => PathMatch::Exact(path.clone()),
        Some(StringMatch::Prefix(prefix)) => PathMatch::Prefix(prefix.clone()),
        Some(StringMatch::Regex(expression)) => PathMatch::Regex(pattern(expression.source())),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sense {
    Must,
    MustNot,
}

fn push(planned: &mut RouteMatch, key: &HeaderKey, condition: &StringMatch, sense: Sense) {
    match key {
        HeaderKey::Header(name) => {
            let matcher = header_match(name, condition).map(|matcher| turned(matcher, sense));
            planned.headers.extend(matcher);
        }
        HeaderKey::Claim(path) => {
            let value =
                string_match(condition).map_or(MetadataValueMatch::Present(true), claim_value);
            let mut matcher = claim_match(path, value);
            matcher.invert = sense == Sense::MustNot;
            planned.metadata.push(matcher);
        }
    }
}

/// A header that must not match may as well be missing.
fn turned(matcher: HeaderMatch, sense: Sense) -> HeaderMatch {
    match (sense, matcher.check) {
        (Sense::MustNot, HeaderCheck::Present(present)) => {
            HeaderMatch { check: HeaderCheck::Present(!present), ..matcher }
        }
        (Sense::MustNot, check) => {
            HeaderMatch { check, invert: true, missing_as_empty: true, ..matcher }
        }
        (Sense::Must, check) => HeaderMatch { check, ..matcher },
    }
}
