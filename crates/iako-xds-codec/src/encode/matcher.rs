//! Conditions on texts, headers, query parameters and facts that filters left.

use iako_types::CidrRange;
use iako_xds_api::envoy::config::route::v3 as route;
use iako_xds_api::envoy::r#type::matcher::v3 as pb;
use iako_xds_api::envoy::r#type::v3::Int64Range;

use super::wire;
use iako_proxy_config::{
    CookieMatch, FilterStateCheck, FilterStateMatch, HeaderCheck, HeaderMatch, MetadataMatch,
    MetadataValueMatch, Pattern, QueryCheck, QueryMatch, StringMatch,
};
use iako_xds_api::envoy::r#type::v3::DoubleRange;

pub(super) fn regex(pattern: &Pattern) -> pb::RegexMatcher {
    pb::RegexMatcher { regex: pattern.source().to_owned(), ..Default::default() }
}

pub(super) fn substitution(pattern: &Pattern, substitution: &str) -> pb::RegexMatchAndSubstitute {
    pb::RegexMatchAndSubstitute {
        pattern: Some(regex(pattern)),
        substitution: substitution.to_owned(),
    }
}

pub(super) fn text(value: &StringMatch) -> pb::StringMatcher {
    use pb::string_matcher::MatchPattern;
    let (pattern, ignore_case) = match value {
        StringMatch::Exact { value, ignore_case } => {
            (MatchPattern::Exact(value.clone()), *ignore_case)
        }
        StringMatch::Prefix { value, ignore_case } => {
            (MatchPattern::Prefix(value.clone()), *ignore_case)
        }
        StringMatch::Suffix { value, ignore_case } => {
            (MatchPattern::Suffix(value.clone()), *ignore_case)
        }
        StringMatch::Contains { value, ignore_case } => {
            (MatchPattern::Contains(value.clone()), *ignore_case)
        }
        StringMatch::Regex(pattern) => (MatchPattern::SafeRegex(regex(pattern)), false),
    };
    pb::StringMatcher { match_pattern: Some(pattern), ignore_case }
}

pub(super) fn headers(values: &[HeaderMatch]) -> Vec<route::HeaderMatcher> {
    values.iter().map(header).collect()
}

pub(super) fn header(value: &HeaderMatch) -> route::HeaderMatcher {
    use route::header_matcher::HeaderMatchSpecifier as Specifier;
    let specifier = match &value.check {
        HeaderCheck::Present(present) => Specifier::PresentMatch(*present),
        HeaderCheck::Text(matcher) => Specifier::StringMatch(text(matcher)),
        HeaderCheck::Range { start, end } => {
            Specifier::RangeMatch(Int64Range { start: *start, end: *end })
        }
    };
    route::HeaderMatcher {
        name: value.name.as_str().to_owned(),
        invert_match: value.invert,
        treat_missing_header_as_empty: value.missing_as_empty,
        header_match_specifier: Some(specifier),
    }
}

pub(super) fn query(value: &QueryMatch) -> route::QueryParameterMatcher {
    use route::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let specifier = match &value.check {
        QueryCheck::Present(present) => Specifier::PresentMatch(*present),
        QueryCheck::Text(matcher) => Specifier::StringMatch(text(matcher)),
    };
    route::QueryParameterMatcher {
        name: value.name.clone(),
        query_parameter_match_specifier: Some(specifier),
    }
}

pub(super) fn cookie(value: &CookieMatch) -> route::CookieMatcher {
    route::CookieMatcher {
        name: value.name.clone(),
        string_match: Some(text(&value.value)),
        invert_match: value.invert,
    }
}

pub(super) fn filter_state(value: &FilterStateMatch) -> pb::FilterStateMatcher {
    use pb::filter_state_matcher::Matcher;
    let matcher = match &value.check {
        FilterStateCheck::Text(wanted) => Matcher::StringMatch(text(wanted)),
        FilterStateCheck::Address { ranges, invert } => Matcher::AddressMatch(pb::AddressMatcher {
            ranges: networks(ranges),
            invert_match: *invert,
        }),
    };
    pb::FilterStateMatcher { key: value.key.clone(), matcher: Some(matcher) }
}

/// Networks in xDS's own spelling, which is the same as Envoy's.
pub(super) fn networks(values: &[CidrRange]) -> Vec<iako_xds_api::xds::core::v3::CidrRange> {
    let ranges = wire::cidrs(values).into_iter();
    let ranges = ranges.map(|range| iako_xds_api::xds::core::v3::CidrRange {
        address_prefix: range.address_prefix,
        prefix_len: range.prefix_len,
    });
    ranges.collect()
}

pub(super) fn metadata(value: &MetadataMatch) -> pb::MetadataMatcher {
    use pb::metadata_matcher::{PathSegment, path_segment::Segment};
    let segment = |key: &String| PathSegment { segment: Some(Segment::Key(key.clone())) };
    pb::MetadataMatcher {
        filter: value.filter.clone(),
        path: value.path.iter().map(segment).collect(),
        value: Some(metadata_value(&value.value)),
        invert: value.invert,
    }
}

fn double_match(pattern: pb::double_matcher::MatchPattern) -> pb::value_matcher::MatchPattern {
    let matcher = pb::DoubleMatcher { match_pattern: Some(pattern) };
    pb::value_matcher::MatchPattern::DoubleMatch(matcher)
}

pub(super) fn metadata_value(value: &MetadataValueMatch) -> pb::ValueMatcher {
    use pb::value_matcher::MatchPattern;
    let pattern = match value {
        MetadataValueMatch::Present(present) => MatchPattern::PresentMatch(*present),
        MetadataValueMatch::Null => MatchPattern::NullMatch(Default::default()),
        MetadataValueMatch::Bool(wanted) => MatchPattern::BoolMatch(*wanted),
        MetadataValueMatch::Text(matcher) => MatchPattern::StringMatch(text(matcher)),
        MetadataValueMatch::Number(exact) => {
            double_match(pb::double_matcher::MatchPattern::Exact(exact.0))
        }
        MetadataValueMatch::NumberWithin(start, end) => {
            let range = DoubleRange { start: start.0, end: end.0 };
            double_match(pb::double_matcher::MatchPattern::Range(range))
        }
        MetadataValueMatch::ListContains(one) => {
            let one = pb::list_matcher::MatchPattern::OneOf(Box::new(metadata_value(one)));
            MatchPattern::ListMatch(Box::new(pb::ListMatcher { match_pattern: Some(one) }))
        }
        MetadataValueMatch::Or(any) => MatchPattern::OrMatch(pb::OrMatcher {
            value_matchers: any.iter().map(metadata_value).collect(),
        }),
    };
    pb::ValueMatcher { match_pattern: Some(pattern) }
}
