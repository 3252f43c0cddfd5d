//! Where tokens are looked for in a request, and how they are taken away.

use std::borrow::Cow;

use iako_proxy_config::JwtProvider;

use crate::{
    RequestHead,
    matching::header_texts,
    text::{cookie_value, decode_parameter, query_pairs, split_path},
};

/// The parameter that is looked at when nothing is configured. Source: RFC 6750 §2.3.
const DEFAULT_PARAMETER: &str = "access_token";

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place<'p> {
    Header(&'p str),
    Parameter(&'p str),
    Cookie,
}

/// A token and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found<'p> {
    pub(super) token: Cow<'p, str>,
    pub(super) place: Place<'p>,
}

/// All tokens that a provider's places hold.
pub(super) fn find<'p>(provider: &'p JwtProvider, head: &RequestHead<'p>) -> Vec<Found<'p>> {
    let mut found = Vec::new();
    let configured = !(provider.from_headers.is_empty()
        && provider.from_params.is_empty()
        && provider.from_cookies.is_empty());
    let mut from_header = |name: &'p str, prefix: &str| {
        // Every one has to be good: nobody knows which of them the server reads.
        found.extend(header_texts(head, name).filter_map(|text| {
            let token = match text {
                Cow::Borrowed(text) => after_prefix(text, prefix)?.into(),
                Cow::Owned(text) => after_prefix(&text, prefix)?.to_owned().into(),
            };
            Some(Found { token, place: Place::Header(name) })
        }));
    };
    if !configured {
        from_header("authorization", "Bearer ");
    }
    for header in &provider.from_headers {
        from_header(header.name.as_str(), &header.prefix);
    }
    let default = (!configured).then_some(DEFAULT_PARAMETER);
    for name in default.into_iter().chain(provider.from_params.iter().map(String::as_str)) {
        let mut pairs = query_pairs(head.query());
        if let Some((_, value)) = pairs.find(|(own, _)| decode_parameter(own) == name) {
            let place = Place::Parameter(name);
            found.push(Found { token: decode_parameter(value).into(), place });
        }
    }
    for name in &provider.from_cookies {
        let mut headers = header_texts(head, "cookie");
        let token = headers.find_map(|text| cookie_value(&text, name).map(str::to_owned));
        found.extend(token.map(|token| Found { token: token.into(), place: Place::Cookie }));
    }
    found
}

/// What follows a prefix, wherever it stands, from the first character on that a token can have. That
/// is how Envoy finds it: what it would read is what has to be checked.
fn after_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(prefix)?;
    let of_token = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let start = rest.find(of_token).unwrap_or_default();
    rest.get(start..).map(str::trim_end)
}

/// A target without a query parameter; none when it does not have it.
pub(super) fn without_parameter(path_and_query: &str, name: &str) -> Option<String> {
    let (path, query) = split_path(path_and_query);
    let is_it = |pair: &&str| {
        let own = pair.split_once('=').map_or(*pair, |(own, _)| own);
        decode_parameter(own) == name
    };
    if !query.split('&').any(|pair| is_it(&pair)) {
        return None;
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_it(pair)).collect();
    let kept = kept.join("&");
    Some(if kept.is_empty() { path.to_owned() } else { format!("{path}?{kept}") })
}
