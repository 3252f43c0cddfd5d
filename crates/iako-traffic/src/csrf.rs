//! Requests that pages of other origins make.

use iako_proxy_config::CsrfPolicy;

use crate::RequestHead;

/// What a policy finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CsrfFinding {
    /// It does not look: nothing is changed by the request, or the policy is off for it.
    Spared,
    /// The page is of the host's own origin, or of one that may.
    Valid,
    /// It is of another one, or nobody knows of which.
    Invalid {
        /// Whether the request says nothing of the page.
        missing: bool,
        /// Whether it is refused, not only counted.
        refused: bool,
    },
}

/// Looks at where a request comes from: `origin`, or `referer` where that is missing. `draw` gives a
/// number for each share.
#[must_use]
pub fn csrf(
    policy: &CsrfPolicy,
    head: &RequestHead<'_>,
    draw: &mut dyn FnMut() -> u64,
) -> CsrfFinding {
    let refused = policy.enabled.value.takes(draw());
    if !refused && !policy.shadow_enabled.value.takes(draw()) {
        return CsrfFinding::Spared;
    }
    if !matches!(head.method, "POST" | "PUT" | "DELETE" | "PATCH") {
        return CsrfFinding::Spared;
    }
    let origin = head.text("origin").map(|origin| host_and_port(&origin).to_owned());
    let source = origin
        .filter(|origin| !origin.is_empty())
        .or_else(|| head.text("referer").map(|referer| host_and_port(&referer).to_owned()));
    let Some(source) = source.filter(|source| !source.is_empty()) else {
        return CsrfFinding::Invalid { missing: true, refused };
    };
    let own = host_and_port(head.authority) == source;
    if own || policy.additional_origins.iter().any(|rule| rule.matches(&source)) {
        return CsrfFinding::Valid;
    }
    CsrfFinding::Invalid { missing: false, refused }
}

/// Host and port of a URL; what is no URL stands for itself.
fn host_and_port(text: &str) -> &str {
    let Some((scheme, rest)) = text.split_once("://") else { return text };
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return text;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.split_at_checked(end).map_or(rest, |(authority, _)| authority);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::StringMatch;
    use iako_types::Percent;

    use super::*;
    use crate::HeaderList;

    fn find(method: &str, headers: &[(&str, &str)], enabled: Percent) -> CsrfFinding {
        let headers: HeaderList = headers.iter().copied().collect();
        let head = RequestHead {
            method,
            scheme: "http",
            authority: "a.test:80",
            path_and_query: "/",
            headers: &headers,
        };
        let policy = CsrfPolicy {
            enabled: enabled.into(),
            shadow_enabled: Percent::HUNDRED.into(),
            additional_origins: vec![StringMatch::suffix(".friend.test")],
        };
        csrf(&policy, &head, &mut || 0)
    }

    // Cases of group csrf.
    #[test]
    fn only_own_and_befriended_pages_change_something() {
        let on = Percent::HUNDRED;
        let other = CsrfFinding::Invalid { missing: false, refused: true };
        for (headers, expected) in [
            (&[("origin", "http://a.test:80")][..], CsrfFinding::Valid),
            (&[("origin", "https://www.friend.test")], CsrfFinding::Valid),
            (&[("referer", "http://a.test:80/page?x")], CsrfFinding::Valid),
            (&[("origin", "http://b.test")], other),
            (&[("origin", "http://a.test")], other),
            (&[("origin", "null")], other),
            (&[], CsrfFinding::Invalid { missing: true, refused: true }),
        ] {
            assert_eq!(find("POST", headers, on), expected, "{headers:?}");
            assert_eq!(find("GET", headers, on), CsrfFinding::Spared);
        }
        let shadow = CsrfFinding::Invalid { missing: false, refused: false };
        assert_eq!(find("PUT", &[("origin", "http://b.test")], Percent::ZERO), shadow);
    }
}
