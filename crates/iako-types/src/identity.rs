//! Who a workload is.

use std::{fmt, str::FromStr};

/// Longest SPIFFE ID in bytes. Source: SPIFFE-ID §2.3.
const SPIFFE_ID_BYTES_MAX: usize = 2048;
/// Longest trust domain name in bytes. Source: SPIFFE-ID §2.1.
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// Why a name is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The name is empty.
    #[error("the name is empty")]
    Empty,
    /// The name is longer than its specification allows.
    #[error("the name is longer than {bytes_max} bytes")]
    TooLong {
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// A character that the specification does not allow.
    #[error("the character {character:?} is not allowed in {part}")]
    Character {
        /// The character.
        character: char,
        /// The part of the name that it stands in.
        part: &'static str,
    },
    /// The scheme is not `spiffe`.
    #[error("a SPIFFE ID starts with spiffe://")]
    Scheme,
    /// A path segment is empty, `.` or `..`, or the path ends in a slash.
    #[error("a path segment is empty or a dot segment")]
    Segment,
}

/// The realm whose root certificates vouch for a workload, such as `cluster.local`.
///
/// Lower-case letters, digits, `.`, `-` and `_`; at most 255 bytes. Source: SPIFFE-ID §2.1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Istio's default trust domain, `cluster.local`.
    #[must_use]
    pub fn cluster_local() -> Self {
        Self("cluster.local".to_owned())
    }

    /// The name, without a scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(IdentityError::Empty);
        }
        if text.len() > TRUST_DOMAIN_BYTES_MAX {
            return Err(IdentityError::TooLong { bytes_max: TRUST_DOMAIN_BYTES_MAX });
        }
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
        match text.chars().find(|&c| !allowed(c)) {
            Some(character) => Err(IdentityError::Character { character, part: "a trust domain" }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name that a workload proves with its certificate:
/// `spiffe://<trust domain>/<segment>/<segment>…`.
///
/// Compared exactly, the path with its case. At most 2048 bytes. Source: SPIFFE-ID §2.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: String,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// The identity of a service account in Istio's form,
    /// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    #[must_use]
    pub fn of_service_account(
        trust_domain: &TrustDomain,
        namespace: &Namespace,
        service_account: &ServiceAccount,
    ) -> Self {
        let text = format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}");
        Self { text, trust_domain: trust_domain.clone() }
    }

    /// The realm that vouches for this identity.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The whole identity, with its scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path with its leading slash; empty for the identity of a trust domain itself.
    #[must_use]
    pub fn path(&self) -> &str {
        let start = SPIFFE_SCHEME.len().saturating_add(self.trust_domain.0.len());
        self.text.get(start..).unwrap_or_default()
    }

    /// The namespace and service account, when the path has Istio's form `/ns/<ns>/sa/<sa>`.
    #[must_use]
    pub fn workload(&self) -> Option<WorkloadIdentity> {
        let mut segments = self.path().split('/').skip(1);
        let found = match (segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some("ns"), Some(namespace), Some("sa"), Some(account)) => WorkloadIdentity {
                namespace: Namespace(namespace.to_owned()),
                service_account: ServiceAccount(account.to_owned()),
            },
            _ => return None,
        };
        segments.next().is_none().then_some(found)
    }
}

const SPIFFE_SCHEME: &str = "spiffe://";

impl FromStr for SpiffeId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > SPIFFE_ID_BYTES_MAX {
            return Err(IdentityError::TooLong { bytes_max: SPIFFE_ID_BYTES_MAX });
        }
        let rest = text.strip_prefix(SPIFFE_SCHEME).ok_or(IdentityError::Scheme)?;
        let (trust_domain, path) = match rest.split_once('/') {
            Some((trust_domain, path)) => (trust_domain, Some(path)),
            None => (rest, None),
        };
        let trust_domain = trust_domain.parse()?;
        for segment in path.into_iter().flat_map(|path| path.split('/')) {
            check_segment(segment)?;
        }
        Ok(Self { text: text.to_owned(), trust_domain })
    }
}

fn check_segment(segment: &str) -> Result<(), IdentityError> {
    if matches!(segment, "" | "." | "..") {
        return Err(IdentityError::Segment);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match segment.chars().find(|&c| !allowed(c)) {
        Some(character) => Err(IdentityError::Character { character, part: "a path segment" }),
        None => Ok(()),
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The two names that a mesh identity is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkloadIdentity {
    /// The namespace of the service account.
    pub namespace: Namespace,
    /// The service account.
    pub service_account: ServiceAccount,
}

macro_rules! kubernetes_name {
    ($(#[$doc:meta])* $name:ident, $default:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default.to_owned())
            }
        }

        impl FromStr for $name {
            type Err = IdentityError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check_kubernetes_name(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

kubernetes_name!(
    /// A Kubernetes namespace; `default` when none is named.
    ///
    /// Lower-case letters, digits, `-` and `.`, at most 253 bytes. Source: RFC 1123.
    Namespace,
    "default"
);
kubernetes_name!(
    /// The account that a workload runs as; `default` when none is named.
    ///
    /// Lower-case letters, digits, `-` and `.`, at most 253 bytes. Source: RFC 1123.
    ServiceAccount,
    "default"
);

fn check_kubernetes_name(text: &str) -> Result<(), IdentityError> {
    if text.is_empty() {
        return Err(IdentityError::Empty);
    }
    if text.len() > 253 {
        return Err(IdentityError::TooLong { bytes_max: 253 });
    }
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let wrong = text.chars().find(|&c| !edge(c) && !matches!(c, '-' | '.'));
    let wrong_edge =
        [text.chars().next(), text.chars().next_back()].into_iter().flatten().find(|&c| !edge(c));
    match wrong.or(wrong_edge) {
        Some(character) => Err(IdentityError::Character { character, part: "a Kubernetes name" }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_istio_identity_names_namespace_and_service_account() {
        let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/cart-service".parse().unwrap();
        let workload = id.workload().unwrap();
        assert_eq!(workload.namespace.as_str(), "shop");
        assert_eq!(workload.service_account.as_str(), "cart-service");
        assert_eq!(id.trust_domain().as_str(), "cluster.local");
    }

    #[test]
    fn what_spiffe_forbids_is_refused() {
        for text in [
            "https://cluster.local/ns/a/sa/b",
            "spiffe://Cluster.local/ns/a/sa/b",
            "spiffe://cluster.local/ns//sa/b",
            "spiffe://cluster.local/ns/a/",
            "spiffe://cluster.local/../b",
            "spiffe://cluster.local:80/ns",
            "spiffe://cluster.local/ns?x=1",
            "spiffe://cluster.local/n%73",
            "spiffe://",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_longer_path_is_no_service_account() {
        let id: SpiffeId = "spiffe://td/ns/a/sa/b/c".parse().unwrap();
        assert!(id.workload().is_none());
    }
}
