//! Hosts of virtual hosts.

use std::str::FromStr;

/// Why a text is no domain of a virtual host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a host, *, *.suffix or prefix.*; {0:?} is none of these")]
pub struct DomainError(String);

/// Hosts of a virtual host, lower-cased. Longest exact, then longest suffix, then longest prefix,
/// then any. Source: `envoy.config.route.v3.VirtualHost.domains`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// `*`.
    Any,
    /// One host, with its port if it names one.
    Exact(String),
    /// `*.example.com` or `*-bar.example.com`: hosts that end so. Kept without the star.
    Suffix(String),
    /// `foo.*`: hosts that start so. Kept without the star.
    Prefix(String),
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || DomainError(text.to_owned());
        let lower = text.to_ascii_lowercase();
        if lower.is_empty() || lower.contains(|c: char| c.is_ascii_whitespace()) {
            return Err(wrong());
        }
        if lower == "*" {
            return Ok(Self::Any);
        }
        let (suffix, prefix) = (lower.strip_prefix('*'), lower.strip_suffix('*'));
        let domain = match (suffix, prefix) {
            (Some(suffix), _) => Self::Suffix(suffix.to_owned()),
            (None, Some(prefix)) => Self::Prefix(prefix.to_owned()),
            (None, None) => Self::Exact(lower.clone()),
        };
        match &domain {
            Self::Suffix(text) | Self::Prefix(text) | Self::Exact(text) if text.contains('*') => {
                Err(wrong())
            }
            Self::Any | Self::Suffix(_) | Self::Prefix(_) | Self::Exact(_) => Ok(domain),
        }
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(host) => f.write_str(host),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_told_apart() {
        let domain = |text: &str| text.parse::<Domain>();
        assert_eq!(domain("*"), Ok(Domain::Any));
        assert_eq!(domain("*.Example.com"), Ok(Domain::Suffix(".example.com".into())));
        assert_eq!(domain("*-bar.com"), Ok(Domain::Suffix("-bar.com".into())));
        assert_eq!(domain("foo.*"), Ok(Domain::Prefix("foo.".into())));
        assert_eq!(domain("[::1]:80"), Ok(Domain::Exact("[::1]:80".into())));
        assert!(domain("a.*.b").is_err() && domain("").is_err() && domain("*.a.*").is_err());
    }
}
