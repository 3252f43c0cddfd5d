//! Finds rules that can never match.

use super::{HttpMatch, HttpRoute};
use crate::{Code, StringMatch, reader::Cursor};

/// Warns about rules that an earlier rule of the same object shadows.
pub(super) fn report_unreachable(routes: &[(Cursor<'_>, HttpRoute)]) {
    let mut catch_all: Option<u32> = None;
    for (index, (place, route)) in routes.iter().enumerate() {
        if let Some(line) = catch_all {
            let message = format!("the rule of line {line} takes every request before this one");
            place.report(Code::UnreachableRule, message);
            continue;
        }
        if route.matches.is_empty() || route.matches.iter().any(is_catch_all) {
            catch_all = Some(route.line);
        }
        let earlier = routes.get(..index).unwrap_or_default();
        let shadowed_by = |one: &HttpMatch| {
            let others = earlier.iter().flat_map(|(_, route)| &route.matches);
            others.filter(|other| takes_all_of(other, one)).map(|other| other.line).next()
        };
        let shadows: Vec<Option<u32>> = route.matches.iter().map(shadowed_by).collect();
        if let (false, Some(Some(line))) = (shadows.iter().any(Option::is_none), shadows.first()) {
            let message = format!("the match of line {line} takes every request before this one");
            place.report(Code::UnreachableRule, message);
        }
    }
}

fn is_catch_all(one: &HttpMatch) -> bool {
    let HttpMatch {
        uri, scheme, method, authority, headers, without_headers, query_params, ..
    } = one;
    let any_path = match uri {
        None => true,
        Some(StringMatch::Prefix(prefix)) => matches!(prefix.as_str(), "" | "/"),
        Some(StringMatch::Regex(pattern)) => matches!(pattern.source(), ".*" | "/.*"),
        Some(StringMatch::Exact(_) | StringMatch::Present) => false,
    };
    any_path
        && scheme.is_none()
        && method.is_none()
        && authority.is_none()
        && headers.is_empty()
        && without_headers.is_empty()
        && query_params.is_empty()
        && one.port.is_none()
        && one.source_labels.is_empty()
        && one.source_namespace.is_none()
        && one.gateways.is_empty()
}

/// Whether `other` takes every request that `one` would: the same conditions, and a path at least
/// as wide.
fn takes_all_of(other: &HttpMatch, one: &HttpMatch) -> bool {
    let mut wide = HttpMatch { uri: None, name: None, line: 0, ..other.clone() };
    let narrow = HttpMatch { uri: None, name: None, line: 0, ..one.clone() };
    wide.stat_prefix.clone_from(&narrow.stat_prefix);
    if wide != narrow {
        return false;
    }
    match (&other.uri, &one.uri) {
        (None, _) => true,
        (
            Some(StringMatch::Prefix(wide)),
            Some(StringMatch::Prefix(text) | StringMatch::Exact(text)),
        ) => text.starts_with(wide.as_str()),
        (wide, narrow) => wide == narrow,
    }
}
