//! Where a redirect of an upstream leads that is followed here.

use iako_proxy_config::RedirectPredicate;

use crate::text::split_path;

/// The parts of a redirect's location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedirectTarget<'l> {
    /// Whether its scheme is `https`; otherwise it is `http`.
    pub is_https: bool,
    /// The host, with its port if one was written.
    pub authority: &'l str,
    /// Path and query without fragment; empty when only the host was written.
    pub path_and_query: &'l str,
}

impl<'l> RedirectTarget<'l> {
    /// Reads an absolute URL; none when it is none, as a path alone is.
    #[must_use]
    pub fn parse(location: &'l str) -> Option<Self> {
        let (scheme, rest) = location.split_once("://")?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(cut)?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(fits) {
            return None;
        }
        if rest.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
            return None;
        }
        let end = rest.find('#').unwrap_or(rest.len());
        let path_and_query = rest.get(..end).unwrap_or_default();
        Some(Self { is_https, authority, path_and_query })
    }

    /// What is asked for: a location that names no path means the root.
    #[must_use]
    pub fn path(&self) -> String {
        let (path, _query) = split_path(self.path_and_query);
        if path.is_empty() {
            format!("/{}", self.path_and_query)
        } else {
            self.path_and_query.to_owned()
        }
    }
}

/// The internal redirects of one request.
#[derive(Debug, Clone, Default)]
pub struct RedirectHistory {
    count: u32,
    /// From which route to which.
    taken: Vec<(String, String)>,
}

impl RedirectHistory {
    /// How many were followed.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether a predicate lets a redirect pass, from one route to another. `was_https` is about the
    /// request before it.
    #[must_use]
    #[expect(clippy::fn_params_excessive_bools, reason = "a scheme, as that of the target")]
    pub fn accepts(
        &self,
        predicate: &RedirectPredicate,
        (from, to): (&str, &str),
        was_https: bool,
        target: &RedirectTarget<'_>,
    ) -> bool {
        match predicate {
            RedirectPredicate::AllowListedRoutes(names) => names.iter().any(|name| name == to),
            RedirectPredicate::PreviousRoutes => {
                !self.taken.iter().any(|(source, target)| source == from && target == to)
            }
            RedirectPredicate::SafeCrossScheme => was_https || !target.is_https,
        }
    }

    /// One more was followed.
    pub fn follow(&mut self, from: &str, to: &str) {
        self.count = self.count.saturating_add(1);
        self.taken.push((from.to_owned(), to.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_taken_apart() {
        let parts = |location: &'static str| {
            let target = RedirectTarget::parse(location)?;
            Some((target.is_https, target.authority, target.path()))
        };
        let plain = |authority, path: &str| Some((false, authority, path.to_owned()));
        assert_eq!(parts("http://b.test:8080/new?y=2#part"), plain("b.test:8080", "/new?y=2"));
        assert_eq!(parts("HTTP://b.test"), plain("b.test", "/"));
        assert_eq!(parts("http://b.test?q"), plain("b.test", "/?q"));
        assert_eq!(parts("https://[::1]:1/"), Some((true, "[::1]:1", "/".to_owned())));
        for none in
            ["/relative", "", "ftp://a/", "http://", "http://u@a/", "http://a/\r\nx", "//a/b"]
        {
            assert_eq!(parts(none), None, "{none}");
        }
    }

    // Cases internal-redirect/previous-routes, allow-listed-routes and scheme.
    #[test]
    fn predicates_look_at_routes_and_schemes() {
        let mut history = RedirectHistory::default();
        let plain = RedirectTarget::parse("http://a/").unwrap();
        let secure = RedirectTarget::parse("https://a/").unwrap();
        let previous = RedirectPredicate::PreviousRoutes;
        history.follow("a", "b");
        assert!(!history.accepts(&previous, ("a", "b"), false, &plain));
        assert!(
            history.accepts(&previous, ("b", "b"), false, &plain),
            "each route remembers its own"
        );
        assert_eq!(history.count(), 1);
        let listed = RedirectPredicate::AllowListedRoutes(vec!["good".to_owned()]);
        assert!(history.accepts(&listed, ("a", "good"), false, &plain));
        assert!(!history.accepts(&listed, ("good", "bad"), false, &plain));
        let safe = RedirectPredicate::SafeCrossScheme;
        assert!(!history.accepts(&safe, ("a", "b"), false, &secure));
        assert!(history.accepts(&safe, ("a", "b"), true, &plain));
    }
}
