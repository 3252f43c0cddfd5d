//! Which names of a peer are acceptable.

use regex::Regex;

use crate::certificate::CertificateFacts;

/// One acceptable alternative name of a peer.
///
/// Source: `envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SanMatcher {
    /// The kind of name that is looked at.
    pub kind: SanKind,
    /// What the name must look like.
    pub text: TextMatcher,
}

/// A kind of alternative name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SanKind {
    /// A URI, such as a SPIFFE identity.
    Uri,
    /// A DNS name. A wildcard in the certificate covers one label of an exact name.
    Dns,
    /// An address in its usual text form.
    Ip,
    /// A mail address.
    Email,
    /// A name of another kind, by its object identifier.
    Other(String),
    /// Any of these. Source: the deprecated `match_subject_alt_names`.
    Any,
}

/// What a name must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextMatcher {
    /// The whole name, with its case.
    Exact(String),
    /// The beginning of the name.
    Prefix(String),
    /// The end of the name.
    Suffix(String),
    /// Some part of the name.
    Contains(String),
    /// As inside, the case of ASCII letters left aside.
    IgnoringCase(Box<Self>),
    /// An expression for the whole name.
    Expression(NameExpression),
}

/// A regular expression that the whole of a name must match.
#[derive(Debug, Clone)]
pub struct NameExpression(Regex);

impl NameExpression {
    /// Compiles an expression of RE2's syntax; none when it is none.
    #[must_use]
    pub fn parse(source: &str) -> Option<Self> {
        Regex::new(&format!(r"\A(?:{source})\z")).ok().map(Self)
    }
}

impl PartialEq for NameExpression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for NameExpression {}

impl SanMatcher {
    /// Accepts exactly this URI, such as one SPIFFE identity.
    #[must_use]
    pub fn exact_uri(uri: impl Into<String>) -> Self {
        Self { kind: SanKind::Uri, text: TextMatcher::Exact(uri.into()) }
    }

    /// Accepts this DNS name, also by a wildcard in the certificate.
    #[must_use]
    pub fn exact_dns(name: impl Into<String>) -> Self {
        Self { kind: SanKind::Dns, text: TextMatcher::Exact(name.into()) }
    }

    /// Whether one of the certificate's names fits.
    #[must_use]
    pub fn matches(&self, facts: &CertificateFacts) -> bool {
        let uri = || facts.uri_sans.iter().any(|name| self.text.matches(name));
        let dns = || facts.dns_sans.iter().any(|name| self.matches_dns(name));
        let ip = || facts.ip_sans.iter().any(|address| self.text.matches(&address.to_string()));
        let email = || facts.email_sans.iter().any(|name| self.text.matches(name));
        let other = |oid: &str| {
            let names = facts.other_sans.iter().filter(|(kind, _)| kind == oid);
            names.into_iter().any(|(_, name)| self.text.matches(name))
        };
        match &self.kind {
            SanKind::Uri => uri(),
            SanKind::Dns => dns(),
            SanKind::Ip => ip(),
            SanKind::Email => email(),
            SanKind::Other(oid) => other(oid),
            SanKind::Any => uri() || dns() || ip() || email(),
        }
    }

    fn matches_dns(&self, presented: &str) -> bool {
        let TextMatcher::Exact(wanted) = &self.text else { return self.text.matches(presented) };
        dns_covers(presented, wanted)
    }
}

impl TextMatcher {
    /// Whether `name` looks as it must.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => name == text,
            Self::Prefix(text) => name.starts_with(text),
            Self::Suffix(text) => name.ends_with(text),
            Self::Contains(text) => name.contains(text),
            Self::IgnoringCase(inner) => inner.in_lower_case().matches(&name.to_ascii_lowercase()),
            Self::Expression(expression) => expression.0.is_match(name),
        }
    }
}

impl TextMatcher {
    fn in_lower_case(&self) -> Self {
        match self {
            Self::Exact(text) => Self::Exact(text.to_ascii_lowercase()),
            Self::Prefix(text) => Self::Prefix(text.to_ascii_lowercase()),
            Self::Suffix(text) => Self::Suffix(text.to_ascii_lowercase()),
            Self::Contains(text) => Self::Contains(text.to_ascii_lowercase()),
            Self::IgnoringCase(_) | Self::Expression(_) => self.clone(),
        }
    }
}

/// Whether a certificate's DNS name stands for `wanted`. A leading `*.` covers exactly one label.
/// Source: RFC 9525 §6.3.
pub(crate) fn dns_covers(presented: &str, wanted: &str) -> bool {
    if let Some(parent) = presented.strip_prefix("*.") {
        let below = wanted.split_once('.');
        return below
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent));
    }
    presented.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label_and_never_the_name_above() {
        assert!(dns_covers("*.example.com", "a.example.com"));
        assert!(dns_covers("A.example.com", "a.example.com"));
        assert!(!dns_covers("*.example.com", "example.com"));
        assert!(!dns_covers("*.example.com", "b.a.example.com"));
    }
}
