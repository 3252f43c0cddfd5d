//! From the user's conditions on texts to the proxy's.

use iako_proxy_config::{HeaderCheck, HeaderMatch, HeaderName, Pattern, StringMatch};
use iako_resources::istio::authorization_policy::ValueMatch;

/// Whether the case of letters counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// It does.
    Counts,
    /// It does not.
    Ignored,
}

/// An expression that was checked when the document was read. A failure here would be a
/// difference between the two checks; the rule then matches nothing instead of everything.
pub(crate) fn pattern(source: &str) -> Pattern {
    Pattern::parse(source).unwrap_or_else(|_differs| never())
}

#[expect(clippy::expect_used, reason = "a constant expression that compiles")]
fn never() -> Pattern {
    Pattern::parse("[^\\s\\S]").expect("an empty class")
}

/// An expression made of literal text with `*` for anything.
pub(crate) fn wildcard(text: &str) -> String {
    text.split('*').map(regex::escape).collect::<Vec<_>>().join(".*")
}

/// A value of an `AuthorizationPolicy` as the proxy compares it.
pub(crate) fn value_match(value: &ValueMatch, case: Case) -> StringMatch {
    let ignore_case = case == Case::Ignored;
    match value {
        ValueMatch::Present => StringMatch::Regex(pattern(".+")),
        ValueMatch::Exact(text) => StringMatch::Exact { value: text.clone(), ignore_case },
        ValueMatch::Prefix(text) => StringMatch::Prefix { value: text.clone(), ignore_case },
        ValueMatch::Suffix(text) => StringMatch::Suffix { value: text.clone(), ignore_case },
    }
}

/// A condition of a rule as the proxy compares it; `None` asks only for presence.
pub(crate) fn string_match(matcher: &iako_resources::StringMatch) -> Option<StringMatch> {
    use iako_resources::StringMatch as Source;
    Some(match matcher {
        Source::Exact(text) => StringMatch::exact(text.clone()),
        Source::Prefix(text) => StringMatch::prefix(text.clone()),
        Source::Regex(expression) => StringMatch::Regex(pattern(expression.source())),
        Source::Present => return None,
    })
}

/// A condition on a header; names were checked when the document was read.
pub(crate) fn header_match(
    name: &str,
    matcher: &iako_resources::StringMatch,
) -> Option<HeaderMatch> {
    let name: HeaderName = name.parse().ok()?;
    let check = string_match(matcher).map_or(HeaderCheck::Present(true), HeaderCheck::Text);
    Some(HeaderMatch { name, check, invert: false, missing_as_empty: false })
}

/// A condition on the text of a header.
pub(crate) fn header_text(name: &str, check: StringMatch) -> Option<HeaderMatch> {
    let name: HeaderName = name.parse().ok()?;
    let check = HeaderCheck::Text(check);
    Some(HeaderMatch { name, check, invert: false, missing_as_empty: false })
}
