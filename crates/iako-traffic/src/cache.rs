//! What may be kept of responses, and when a kept one answers. Source: RFC 9111.

use std::ops::Range;

use iako_proxy_config::{Cache, CacheKey, QueryCheck, QueryMatch, StringMatch};

use crate::{Headers, RequestHead, text::query_pairs};

mod date;

pub use date::seconds_of_date;

/// Fields by which a client asks for a response only under conditions: they are the server's to judge.
const CONDITIONS: [&str; 5] =
    ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"];

/// Statuses whose responses may be kept; those of parts of content are not.
const STATUSES: [u16; 12] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 451, 501];

/// Directives of `cache-control`. Of those that stand twice the first counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// Kept responses are asked about before they answer: `no-cache`.
    pub validates: bool,
    /// Nothing is kept: `no-store`, and `private` of a response.
    pub no_store: bool,
    /// Never served when stale: `must-revalidate`, `proxy-revalidate`.
    pub no_stale: bool,
    /// Only what is kept answers.
    pub only_if_cached: bool,
    /// Seconds that a response lives.
    pub max_age: Option<u64>,
    /// The same for caches that many share; counts before the other.
    pub shared_max_age: Option<u64>,
    /// Seconds that a response may be stale; [`u64::MAX`] for any.
    pub max_stale: Option<u64>,
    /// Seconds that a response has to live yet.
    pub min_fresh: Option<u64>,
}

impl CacheControl {
    /// Reads a header. What is not known is passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for directive in text.split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = value.trim().trim_matches('"').parse().ok();
            match name.trim().to_ascii_lowercase().as_str() {
                "no-cache" => all.validates = true,
                "no-store" | "private" => all.no_store = true,
                "must-revalidate" | "proxy-revalidate" => all.no_stale = true,
                "only-if-cached" => all.only_if_cached = true,
                "max-age" => all.max_age = all.max_age.or(seconds),
                "s-maxage" => all.shared_max_age = all.shared_max_age.or(seconds),
                "max-stale" => all.max_stale = Some(seconds.unwrap_or(u64::MAX)),
                "min-fresh" => all.min_fresh = seconds,
                _ => {}
            }
        }
        all
    }

    fn lifetime(&self) -> Option<u64> {
        self.shared_max_age.or(self.max_age)
    }
}

/// Why a request is looked for among what is kept, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheLookup {
    /// It is, with these wishes.
    Look(CacheControl),
    /// The request is the server's.
    Pass,
    /// It changes the resource: what is kept of it is let go when the server agrees.
    Changes,
}

/// Decides whether a request may be answered by what is kept.
#[must_use]
pub fn cache_lookup(settings: &Cache, head: &RequestHead<'_>) -> CacheLookup {
    if settings.disabled || head.authority.is_empty() || head.path_and_query.is_empty() {
        return CacheLookup::Pass;
    }
    match head.method {
        "GET" | "HEAD" => {}
        "OPTIONS" | "TRACE" | "CONNECT" => return CacheLookup::Pass,
        _ => return CacheLookup::Changes,
    }
    let has = |name: &str| head.headers.value(name, 0).is_some();
    if has("authorization") || CONDITIONS.iter().any(|name| has(name)) {
        return CacheLookup::Pass;
    }
    if settings.ignores_request_control {
        return CacheLookup::Look(CacheControl::default());
    }
    let mut wishes = match head.text("cache-control") {
        Some(text) => CacheControl::parse(&text),
        None => CacheControl::default(),
    };
    if !has("cache-control") && head.text("pragma").is_some_and(|text| text.contains("no-cache")) {
        wishes.validates = true;
    }
    CacheLookup::Look(wishes)
}

/// What tells the resource of a request from others.
#[must_use]
pub fn cache_key(key: &CacheKey, head: &RequestHead<'_>) -> String {
    let scheme = if key.excludes_scheme { "" } else { head.scheme };
    let host = if key.excludes_host { "" } else { head.authority };
    let mut text = format!("{scheme}://{host}{}", head.path());
    let query = head.query();
    let counts = |name: &str, value: &str| {
        let named = |rule: &QueryMatch| is_met(rule, name, value);
        (key.query_included.is_empty() || key.query_included.iter().any(named))
            && !key.query_excluded.iter().any(named)
    };
    let query = query.strip_prefix('?').unwrap_or(query);
    for (place, (name, value)) in
        query_pairs(query).filter(|(name, value)| counts(name, value)).enumerate()
    {
        text.push(if place == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

fn is_met(rule: &QueryMatch, name: &str, value: &str) -> bool {
    rule.name == name
        && match &rule.check {
            QueryCheck::Present(present) => *present,
            QueryCheck::Text(wanted) => wanted.matches(value),
        }
}

/// A response as a cache looks at it.
#[derive(Clone, Copy)]
pub struct CachedHead<'a> {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub headers: &'a dyn Headers,
}

impl std::fmt::Debug for CachedHead<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachedHead").field("status", &self.status).finish_non_exhaustive()
    }
}

impl CachedHead<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let values = (0..).map_while(|nth| self.headers.value(name, nth));
        let values: Vec<_> = values.map(String::from_utf8_lossy).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    fn date(&self, name: &str) -> Option<u64> {
        seconds_of_date(&self.text(name)?)
    }

    fn control(&self) -> CacheControl {
        self.text("cache-control")
            .map_or_else(CacheControl::default, |text| CacheControl::parse(&text))
    }

    /// Names of the fields of requests by which it varies; none when it varies by what is not allowed
    /// to count.
    #[must_use]
    pub fn vary(&self, allowed: &[StringMatch]) -> Option<Vec<String>> {
        let vary = self.text("vary").unwrap_or_default().to_ascii_lowercase();
        let names = vary.split(',').map(str::trim).filter(|name| !name.is_empty());
        let names: Vec<String> = names.map(str::to_owned).collect();
        let known = |name: &String| allowed.iter().any(|rule| rule.matches(name));
        (names.iter().all(known) && !names.iter().any(|name| name == "*")).then_some(names)
    }

    /// Whether it may be kept. It has to say how long it lives, or be asked about each time.
    #[must_use]
    pub fn may_be_kept(&self) -> bool {
        let control = self.control();
        let lives = control.validates
            || control.lifetime().is_some()
            || (self.headers.value("date", 0).is_some()
                && self.headers.value("expires", 0).is_some());
        STATUSES.contains(&self.status) && !control.no_store && lives
    }

    /// Its age in seconds (RFC 9111 §4.2.3): `received` is when it came, both in seconds of Unix time.
    #[must_use]
    pub fn age(&self, received: u64, now: u64) -> u64 {
        let apparent = self.date("date").map_or(0, |date| received.saturating_sub(date));
        let said = self.text("age").and_then(|age| age.trim().parse().ok()).unwrap_or(0);
        apparent.max(said).saturating_add(now.saturating_sub(received))
    }

    /// Whether the server has to be asked before it answers a request with these wishes.
    #[must_use]
    pub fn needs_validation(&self, wishes: &CacheControl, age: u64) -> bool {
        let control = self.control();
        // Without a date nobody knows how old it was when it came.
        let Some(date) = self.date("date") else { return true };
        if control.validates
            || wishes.validates
            || wishes.max_age.is_some_and(|max_age| max_age < age)
        {
            return true;
        }
        let expires = || self.date("expires").map(|expires| expires.saturating_sub(date));
        let lifetime = control.lifetime().or_else(expires).unwrap_or(0);
        if age > lifetime {
            let stale = age.saturating_sub(lifetime);
            control.no_stale || wishes.max_stale.is_none_or(|allowed| allowed <= stale)
        } else {
            let left = lifetime.saturating_sub(age);
            wishes.min_fresh.is_some_and(|wanted| wanted > left)
        }
    }
}

/// Which part of content a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachedPart {
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// What is not there: 416.
    Nothing,
}

/// Reads `range` for content of a length; several ranges, and what cannot be read, mean the whole
/// (RFC 9110 §14.2).
#[must_use]
pub fn cached_part(range: Option<&str>, length: u64) -> CachedPart {
    let part = range.and_then(|range| range.trim().strip_prefix("bytes="));
    let Some((first, last)) = part.and_then(|part| part.split_once('-')) else {
        return CachedPart::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last && first < length => {
            CachedPart::Part(first..last.saturating_add(1).min(length))
        }
        (Ok(first), Err(_)) if last.is_empty() && first < length => CachedPart::Part(first..length),
        (Err(_), Ok(suffix)) if first.is_empty() && suffix > 0 && length > 0 => {
            CachedPart::Part(length.saturating_sub(suffix)..length)
        }
        (Ok(first), Ok(last)) if first > last => CachedPart::Whole,
        (Ok(_), Ok(_)) => CachedPart::Nothing,
        (Ok(_), Err(_)) if last.is_empty() => CachedPart::Nothing,
        (Err(_), Ok(_)) if first.is_empty() => CachedPart::Nothing,
        (Ok(_) | Err(_), _) => CachedPart::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeaderList;

    fn with_head<T>(headers: &[(&str, &str)], ask: impl FnOnce(CachedHead<'_>) -> T) -> T {
        let headers: HeaderList = headers.iter().copied().collect();
        ask(CachedHead { status: 200, headers: &headers })
    }

    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    const NOW: u64 = 784_111_777;

    // RFC 9111 §3.
    #[test]
    fn only_what_says_how_long_it_lives_is_kept() {
        for (headers, kept) in [
            (&[DATE, ("cache-control", "max-age=60")][..], true),
            (&[DATE, ("cache-control", "public, s-maxage=\"60\"")], true),
            (&[DATE, ("expires", "Sun, 06 Nov 1994 09:49:37 GMT")], true),
            (&[DATE, ("cache-control", "no-cache")], true),
            (&[DATE], false),
            (&[("expires", "Sun, 06 Nov 1994 09:49:37 GMT")], false),
            (&[DATE, ("cache-control", "no-store, max-age=60")], false),
            (&[DATE, ("cache-control", "private, max-age=60")], false),
        ] {
            assert_eq!(with_head(headers, |head| head.may_be_kept()), kept, "{headers:?}");
        }
    }

    // RFC 9111 §4.2, §5.2.1.
    #[test]
    fn a_response_answers_while_it_is_fresh_enough_for_the_client() {
        let asks = |headers: &[(&str, &str)], wishes: &str, age: u64| {
            let wishes = CacheControl::parse(wishes);
            with_head(headers, |head| head.needs_validation(&wishes, age))
        };
        let minute = [DATE, ("cache-control", "max-age=60")];
        assert!(!asks(&minute, "", 60));
        assert!(asks(&minute, "", 61));
        assert!(!asks(&minute, "max-stale=10", 65));
        assert!(asks(&minute, "max-stale=10", 70));
        assert!(!asks(&minute, "max-stale", 7000));
        assert!(asks(&minute, "min-fresh=10", 55));
        assert!(asks(&minute, "max-age=5", 6));
        assert!(asks(&minute, "no-cache", 0));
        assert!(asks(&[DATE, ("cache-control", "max-age=60, must-revalidate")], "max-stale", 61));
        assert!(!asks(&[DATE, ("cache-control", "max-age=1, s-maxage=60")], "", 30));
        assert!(asks(&[("cache-control", "max-age=60")], "", 0), "it has no date");
        let expires = [DATE, ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")];
        assert!(!asks(&expires, "", 60));
        assert!(asks(&expires, "", 61));
    }

    #[test]
    fn ages_count_from_where_the_response_was_made() {
        let age = |headers: &[(&str, &str)]| with_head(headers, |head| head.age(NOW + 5, NOW + 8));
        assert_eq!(age(&[DATE]), 8);
        assert_eq!(age(&[DATE, ("age", "100")]), 103);
        assert_eq!(age(&[]), 3);
    }

    #[test]
    fn what_it_varies_by_has_to_be_allowed() {
        let allowed = [StringMatch::exact("x-v")];
        let vary = |value: &str| with_head(&[("vary", value)], |head| head.vary(&allowed));
        assert_eq!(vary("X-V"), Some(vec!["x-v".to_owned()]));
        assert_eq!(vary("x-v, accept"), None);
        assert_eq!(vary("*"), None);
        assert_eq!(vary(""), Some(Vec::new()));
    }

    #[test]
    fn ranges_are_parts_of_what_is_there() {
        use CachedPart::{Nothing, Part, Whole};
        for (range, expected) in [
            ("bytes=0-4", Part(0..5)),
            ("bytes=6-", Part(6..11)),
            ("bytes=-5", Part(6..11)),
            ("bytes=-50", Part(0..11)),
            ("bytes=5-500", Part(5..11)),
            ("bytes=50-", Nothing),
            ("bytes=50-60", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=0-1,3-4", Whole),
            ("bytes=4-2", Whole),
            ("bytes=x-y", Whole),
            ("lines=1-2", Whole),
        ] {
            assert_eq!(cached_part(Some(range), 11), expected, "{range}");
        }
        assert_eq!(cached_part(None, 11), Whole);
    }

    #[test]
    fn keys_hold_what_counts() {
        let headers = HeaderList::default();
        let head = RequestHead {
            method: "GET",
            scheme: "http",
            authority: "a.test",
            path_and_query: "/p?b=2&a=1",
            headers: &headers,
        };
        let rule =
            |name: &str| QueryMatch { name: name.to_owned(), check: QueryCheck::Present(true) };
        assert_eq!(cache_key(&CacheKey::default(), &head), "http://a.test/p?b=2&a=1");
        let only = CacheKey { query_included: vec![rule("a")], ..CacheKey::default() };
        assert_eq!(cache_key(&only, &head), "http://a.test/p?a=1");
        let without = CacheKey {
            query_excluded: vec![rule("a")],
            excludes_host: true,
            excludes_scheme: true,
            ..CacheKey::default()
        };
        assert_eq!(cache_key(&without, &head), ":///p?b=2");
    }
}
