//! Names of services and patterns over them.

use std::{fmt, str::FromStr};

/// Why a text is no host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The name is empty.
    #[error("the host name is empty")]
    Empty,
    /// The name is longer than DNS allows.
    #[error("a host name has at most 253 characters and a label at most 63")]
    TooLong,
    /// A character that DNS names do not have.
    #[error("the character {0:?} is not allowed in a host name")]
    Character(char),
    /// A label is empty, or starts or ends with `-`.
    #[error("the label {0:?} is empty or starts or ends with a hyphen")]
    Label(String),
    /// `*` stands elsewhere than as the whole first label.
    #[error("a wildcard is allowed only as the whole first label, as in *.example.com")]
    Wildcard,
}

/// The name of one host, lower-cased: a DNS name or an IP address, such as
/// `cart-service.shop.svc.cluster.local`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(String);

impl Hostname {
    /// The name, lower-cased, without a trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.parse::<std::net::IpAddr>().is_err() {
            check_labels(text)?;
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

fn check_labels(text: &str) -> Result<(), HostError> {
    if text.len() > 253 {
        return Err(HostError::TooLong);
    }
    for label in text.split('.') {
        if label.contains('*') {
            return Err(HostError::Wildcard);
        }
        if let Some(wrong) =
            label.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'))
        {
            return Err(HostError::Character(wrong));
        }
        if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
            return Err(HostError::Label(label.to_owned()));
        }
        if label.len() > 63 {
            return Err(HostError::TooLong);
        }
    }
    Ok(())
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Hosts that a user names together: one host, every host below a domain, or every host.
///
/// Source: Istio host patterns (`*`, `*.example.com`, `a.example.com`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `*`: every host.
    Any,
    /// `*.example.com`: every host below `example.com`, not the domain itself.
    Below(Hostname),
    /// One host.
    Exact(Hostname),
}

impl HostPattern {
    /// Whether this pattern covers `host`.
    #[must_use]
    pub fn matches(&self, host: &Hostname) -> bool {
        match self {
            Self::Any => true,
            Self::Below(domain) => is_below(&host.0, &domain.0),
            Self::Exact(exact) => exact == host,
        }
    }

    /// Whether every host of `other` is a host of this pattern.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Exact(host)) => self.matches(host),
            (Self::Below(wide), Self::Below(narrow)) => {
                wide == narrow || is_below(&narrow.0, &wide.0)
            }
            (_, Self::Any) | (Self::Exact(_), Self::Below(_)) => false,
        }
    }

    /// How specific the pattern is; the larger wins. An exact host beats every wildcard, a longer
    /// wildcard a shorter one.
    #[must_use]
    pub const fn specificity(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Below(domain) => (1, domain.0.len()),
            Self::Exact(host) => (2, host.0.len()),
        }
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_prefix("*.") {
            Some(domain) => Ok(Self::Below(domain.parse()?)),
            None => Ok(Self::Exact(text.parse()?)),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(domain) => write!(f, "*.{domain}"),
            Self::Exact(host) => host.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_wildcard_covers_what_is_below_it_only() {
        let host = |text: &str| text.parse::<Hostname>().unwrap();
        assert!(pattern("*.example.com").matches(&host("a.b.example.com")));
        assert!(!pattern("*.example.com").matches(&host("example.com")));
        assert!(!pattern("*.example.com").matches(&host("badexample.com")));
        assert!(pattern("*").matches(&host("example.com")));
        assert!(pattern("A.Example.com").matches(&host("a.example.COM")));
    }

    #[test]
    fn one_pattern_covers_another() {
        assert!(pattern("*.com").covers(&pattern("*.example.com")));
        assert!(!pattern("*.example.com").covers(&pattern("*.com")));
        assert!(pattern("*.example.com").covers(&pattern("a.example.com")));
        assert!(!pattern("a.example.com").covers(&pattern("*.example.com")));
    }

    #[test]
    fn names_that_are_no_hosts_are_refused() {
        for text in ["", "a b", "-a.com", "a..b", "a.*.com", "*a.com", "a/b"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text:?} was accepted");
        }
    }
}
