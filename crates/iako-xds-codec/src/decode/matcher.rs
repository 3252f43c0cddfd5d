//! Conditions on texts, headers, query parameters and facts that filters left.

use iako_types::CidrRange;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::route::v3 as route;
use iako_xds_api::envoy::r#type::matcher::v3 as pb;

use super::wire;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    CookieMatch, Double, FilterStateCheck, FilterStateMatch, HeaderCheck, HeaderMatch,
    MetadataMatch, MetadataValueMatch, Pattern, QueryCheck, QueryMatch, StringMatch,
};

pub(super) fn pattern(regex: &str, at: &At<'_>) -> Result<Pattern, Fault> {
    if regex.is_empty() {
        return Err(at.field("regex").invalid("must not be empty", "write a regular expression"));
    }
    Pattern::parse(regex).map_err(|error| {
        at.field("regex").invalid(error.to_string(), "write a regular expression in RE2's syntax")
    })
}

/// A pattern and what is written in its place.
pub(super) fn substitution(
    rewrite: &pb::RegexMatchAndSubstitute,
    at: &At<'_>,
) -> Result<(Pattern, String), Fault> {
    let at_pattern = at.field("pattern");
    let regex = rewrite.pattern.as_ref().ok_or_else(|| at_pattern.missing("write a `regex`"))?;
    Ok((pattern(&regex.regex, &at_pattern)?, rewrite.substitution.clone()))
}

pub(super) fn text(matcher: &pb::StringMatcher, at: &At<'_>) -> Result<StringMatch, Fault> {
    use pb::string_matcher::MatchPattern;
    let ignore_case = matcher.ignore_case;
    let filled = |field: &'static str, value: &String| {
        if value.is_empty() {
            return Err(at.field(field).invalid("must not be empty", "write a text"));
        }
        Ok(value.clone())
    };
    Ok(match &matcher.match_pattern {
        Some(MatchPattern::Exact(value)) => {
            StringMatch::Exact { value: value.clone(), ignore_case }
        }
        Some(MatchPattern::Prefix(value)) => {
            StringMatch::Prefix { value: filled("prefix", value)?, ignore_case }
        }
        Some(MatchPattern::Suffix(value)) => {
            StringMatch::Suffix { value: filled("suffix", value)?, ignore_case }
        }
        Some(MatchPattern::Contains(value)) => {
            StringMatch::Contains { value: filled("contains", value)?, ignore_case }
        }
        Some(MatchPattern::SafeRegex(regex)) => {
            StringMatch::Regex(pattern(&regex.regex, &at.field("safe_regex"))?)
        }
        Some(MatchPattern::Custom(_)) => {
            return Err(at
                .field("custom")
                .invalid("is not supported", "use one of the other patterns"));
        }
        None => return Err(at.missing("write exact, prefix, suffix, contains or safe_regex")),
    })
}

pub(super) fn headers(
    matchers: &[route::HeaderMatcher],
    at: &At<'_>,
) -> Result<Vec<HeaderMatch>, Fault> {
    wire::list(matchers, at, header)
}

pub(super) fn header(matcher: &route::HeaderMatcher, at: &At<'_>) -> Result<HeaderMatch, Fault> {
    Ok(HeaderMatch {
        name: wire::header_name(&matcher.name, &at.field("name"))?,
        check: header_check(matcher, at)?,
        invert: matcher.invert_match,
        missing_as_empty: matcher.treat_missing_header_as_empty,
    })
}

fn header_check(matcher: &route::HeaderMatcher, at: &At<'_>) -> Result<HeaderCheck, Fault> {
    use route::header_matcher::HeaderMatchSpecifier as Specifier;
    let plain = |value: &String| value.clone();
    let text = match &matcher.header_match_specifier {
        None => return Ok(HeaderCheck::Present(true)),
        Some(Specifier::PresentMatch(present)) => return Ok(HeaderCheck::Present(*present)),
        Some(Specifier::RangeMatch(range)) => {
            return Ok(HeaderCheck::Range { start: range.start, end: range.end });
        }
        Some(Specifier::StringMatch(matcher)) => text(matcher, &at.field("string_match"))?,
        Some(Specifier::SafeRegexMatch(regex)) => {
            StringMatch::Regex(pattern(&regex.regex, &at.field("safe_regex_match"))?)
        }
        Some(Specifier::ExactMatch(value)) => StringMatch::exact(plain(value)),
        Some(Specifier::PrefixMatch(value)) => StringMatch::prefix(plain(value)),
        Some(Specifier::SuffixMatch(value)) => StringMatch::suffix(plain(value)),
        Some(Specifier::ContainsMatch(value)) => {
            StringMatch::Contains { value: plain(value), ignore_case: false }
        }
    };
    Ok(HeaderCheck::Text(text))
}

pub(super) fn query(
    matcher: &route::QueryParameterMatcher,
    at: &At<'_>,
) -> Result<QueryMatch, Fault> {
    use route::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let check = match &matcher.query_parameter_match_specifier {
        None => QueryCheck::Present(true),
        Some(Specifier::PresentMatch(present)) => QueryCheck::Present(*present),
        Some(Specifier::StringMatch(matcher)) => {
            QueryCheck::Text(text(matcher, &at.field("string_match"))?)
        }
    };
    Ok(QueryMatch { name: matcher.name.clone(), check })
}

pub(super) fn cookie(matcher: &route::CookieMatcher, at: &At<'_>) -> Result<CookieMatch, Fault> {
    let at_text = at.field("string_match");
    let wanted =
        matcher.string_match.as_ref().ok_or_else(|| at_text.missing("write what it must be"))?;
    if matcher.name.is_empty() {
        return Err(at.field("name").missing("name the cookie"));
    }
    Ok(CookieMatch {
        name: matcher.name.clone(),
        value: text(wanted, &at_text)?,
        invert: matcher.invert_match,
    })
}

pub(super) fn filter_state(
    matcher: &pb::FilterStateMatcher,
    at: &At<'_>,
) -> Result<FilterStateMatch, Fault> {
    use pb::filter_state_matcher::Matcher;
    let check = match &matcher.matcher {
        Some(Matcher::StringMatch(wanted)) => {
            FilterStateCheck::Text(text(wanted, &at.field("string_match"))?)
        }
        Some(Matcher::AddressMatch(wanted)) => {
            let at = at.field("address_match");
            FilterStateCheck::Address {
                ranges: networks(&wanted.ranges, &at.field("ranges"))?,
                invert: wanted.invert_match,
            }
        }
        None => return Err(at.missing("write string_match or address_match")),
    };
    if matcher.key.is_empty() {
        return Err(at.field("key").missing("name the object"));
    }
    Ok(FilterStateMatch { key: matcher.key.clone(), check })
}

/// Networks in xDS's own spelling, which is the same as Envoy's.
pub(super) fn networks(
    ranges: &[iako_xds_api::xds::core::v3::CidrRange],
    at: &At<'_>,
) -> Result<Vec<CidrRange>, Fault> {
    wire::list(ranges, at, |range, at| {
        let range = core::CidrRange {
            address_prefix: range.address_prefix.clone(),
            prefix_len: range.prefix_len,
        };
        wire::cidr(&range, at)
    })
}

pub(super) fn metadata(matcher: &pb::MetadataMatcher, at: &At<'_>) -> Result<MetadataMatch, Fault> {
    use pb::metadata_matcher::path_segment::Segment;
    let keys =
        wire::list(&matcher.path, &at.field("path"), |segment, at| match &segment.segment {
            Some(Segment::Key(key)) => Ok(key.clone()),
            None => Err(at.missing("write a `key`")),
        })?;
    if keys.is_empty() {
        return Err(at.field("path").missing("name at least one key"));
    }
    let at_value = at.field("value");
    let wanted =
        matcher.value.as_ref().ok_or_else(|| at_value.missing("write what the value must be"))?;
    Ok(MetadataMatch {
        filter: matcher.filter.clone(),
        path: keys,
        value: value(wanted, &at_value)?,
        invert: matcher.invert,
    })
}

pub(super) fn value(matcher: &pb::ValueMatcher, at: &At<'_>) -> Result<MetadataValueMatch, Fault> {
    use pb::value_matcher::MatchPattern;
    Ok(match &matcher.match_pattern {
        Some(MatchPattern::PresentMatch(present)) => MetadataValueMatch::Present(*present),
        Some(MatchPattern::NullMatch(_)) => MetadataValueMatch::Null,
        Some(MatchPattern::BoolMatch(wanted)) => MetadataValueMatch::Bool(*wanted),
        Some(MatchPattern::StringMatch(matcher)) => {
            MetadataValueMatch::Text(text(matcher, &at.field("string_match"))?)
        }
        Some(MatchPattern::ListMatch(list)) => {
            let at = at.field("list_match");
            let at = at.field("one_of");
            match &list.match_pattern {
                Some(pb::list_matcher::MatchPattern::OneOf(one)) => {
                    MetadataValueMatch::ListContains(Box::new(value(one, &at)?))
                }
                None => return Err(at.missing("write what one of the elements must be")),
            }
        }
        Some(MatchPattern::OrMatch(any)) => {
            let at = at.field("or_match");
            MetadataValueMatch::Or(wire::list(
                &any.value_matchers,
                &at.field("value_matchers"),
                value,
            )?)
        }
        Some(MatchPattern::DoubleMatch(number)) => {
            use pb::double_matcher::MatchPattern;
            let at = at.field("double_match");
            match &number.match_pattern {
                Some(MatchPattern::Exact(exact)) => MetadataValueMatch::Number(Double(*exact)),
                Some(MatchPattern::Range(range)) => {
                    MetadataValueMatch::NumberWithin(Double(range.start), Double(range.end))
                }
                None => return Err(at.missing("write `exact` or `range`")),
            }
        }
        None => return Err(at.missing("write what the value must be")),
    })
}
