//! `AuthorizationPolicy`: who may do what.

mod checks;
mod parse;

use iako_types::{CidrRange, Namespace, ServiceAccount};

use super::TargetRef;
use crate::Labels;

pub(crate) use parse::parse;

/// Who may do what with the workloads it selects.
/// Source: `istio.security.v1.AuthorizationPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationPolicy {
    /// Labels of the workloads; `None` is the namespace, or the mesh in the root namespace.
    pub selector: Option<Labels>,
    /// What a match means.
    pub action: AuthorizationAction,
    /// Any of these matches. `ALLOW` without rules refuses everything.
    pub rules: Vec<AuthorizationRule>,
    /// Only reported, not enforced (annotation `istio.io/dry-run`).
    pub dry_run: bool,
    /// What it is for instead of workloads by label.
    pub targets: Vec<TargetRef>,
    /// The extension provider that decides; always there with [`AuthorizationAction::Custom`].
    pub provider: Option<String>,
}

impl AuthorizationPolicy {
    /// Whether the control plane acts on it. Policies with targets and those that read metadata of
    /// filters are read and checked, not yet applied. What a policy would ask an external authorizer
    /// about is refused: nobody is asked yet, and a policy that is there to refuse must not let pass.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        let reads_metadata = |rule: &AuthorizationRule| {
            rule.conditions.iter().any(|one| matches!(one, Condition::FilterMetadata { .. }))
        };
        self.targets.is_empty() && !self.rules.iter().any(reads_metadata)
    }
}

/// Source: `istio.security.v1.AuthorizationPolicy.Action`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuthorizationAction {
    /// What matches is allowed, once any policy of this kind exists. Istio's default.
    #[default]
    Allow,
    /// What matches is refused.
    Deny,
    /// What matches is marked for an audit log.
    Audit,
    /// An external authorizer decides about what matches. Nobody is asked yet: it is refused.
    Custom,
}

/// Source: `istio.security.v1.Rule`. All three parts must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorizationRule {
    /// Any of these; none is anybody.
    pub sources: Vec<Source>,
    /// Any of these; none is anything.
    pub operations: Vec<Operation>,
    /// All of these.
    pub conditions: Vec<Condition>,
    /// Line in its file, from 1.
    pub line: u32,
}

/// Values of which one must match, and values of which none may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values<T> {
    /// One of these; none is any.
    pub any_of: Vec<T>,
    /// None of these.
    pub none_of: Vec<T>,
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self { any_of: Vec::new(), none_of: Vec::new() }
    }
}

impl<T> Values<T> {
    /// Whether nothing is asked.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.any_of.is_empty() && self.none_of.is_empty()
    }
}

/// How an authorization value is compared. Source: Istio's security policy value matching.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueMatch {
    /// `*`: present and not empty.
    Present,
    /// The same text.
    Exact(String),
    /// `x*`.
    Prefix(String),
    /// `*x`.
    Suffix(String),
}

impl ValueMatch {
    /// Reads a value with its star.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text == "*" {
            Self::Present
        } else if let Some(prefix) = text.strip_suffix('*') {
            Self::Prefix(prefix.to_owned())
        } else if let Some(suffix) = text.strip_prefix('*') {
            Self::Suffix(suffix.to_owned())
        } else {
            Self::Exact(text.to_owned())
        }
    }

    /// Whether `text` matches, with its case.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Present => !text.is_empty(),
            Self::Exact(exact) => exact == text,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
        }
    }
}

/// How a path is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathMatch {
    /// As any value.
    Value(ValueMatch),
    /// A template: `{*}` stands for one segment, `{**}` for any number.
    Template(String),
}

/// Who asks; every part given must hold. Source: `istio.security.v1.Source`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Identity without `spiffe://`, such as `cluster.local/ns/shop/sa/web`.
    pub principals: Values<ValueMatch>,
    /// Identity of the token, `<iss>/<sub>`.
    pub request_principals: Values<ValueMatch>,
    /// Namespace of the identity.
    pub namespaces: Values<ValueMatch>,
    /// Namespace and service account of the identity.
    pub service_accounts: Values<(Namespace, ServiceAccount)>,
    /// Trust domain of the identity.
    pub trust_domains: Values<ValueMatch>,
    /// Address of the peer.
    pub ip_blocks: Values<CidrRange>,
    /// Address of the client, as trusted proxies say.
    pub remote_ip_blocks: Values<CidrRange>,
}

/// What is asked; every part given must hold. Source: `istio.security.v1.Operation`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operation {
    /// `:authority`, in any case.
    pub hosts: Values<ValueMatch>,
    /// Port of the workload.
    pub ports: Values<u16>,
    /// `:method`.
    pub methods: Values<ValueMatch>,
    /// The path, without the query.
    pub paths: Values<PathMatch>,
}

impl Operation {
    /// Whether it asks about a request, not only about a connection.
    #[must_use]
    pub const fn needs_http(&self) -> bool {
        !(self.hosts.is_empty() && self.methods.is_empty() && self.paths.is_empty())
    }
}

/// A further property. Source: `istio.security.v1.Condition`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `request.headers[name]`.
    Header(String, Values<ValueMatch>),
    /// `source.ip`.
    SourceIp(Values<CidrRange>),
    /// `remote.ip`.
    RemoteIp(Values<CidrRange>),
    /// `source.namespace`.
    SourceNamespace(Values<ValueMatch>),
    /// `source.principal`.
    SourcePrincipal(Values<ValueMatch>),
    /// `source.serviceAccount`.
    SourceServiceAccount(Values<(Namespace, ServiceAccount)>),
    /// `source.trustDomain`.
    SourceTrustDomain(Values<ValueMatch>),
    /// `request.auth.principal`.
    RequestPrincipal(Values<ValueMatch>),
    /// `request.auth.audiences`.
    RequestAudiences(Values<ValueMatch>),
    /// `request.auth.presenter`.
    RequestPresenter(Values<ValueMatch>),
    /// `request.auth.claims[a][b]`: the path of the claim.
    RequestClaim(Vec<String>, Values<ValueMatch>),
    /// `destination.ip`.
    DestinationIp(Values<CidrRange>),
    /// `destination.port`.
    DestinationPort(Values<u16>),
    /// `connection.sni`.
    ServerName(Values<ValueMatch>),
    /// `experimental.envoy.filters.name[key]`: metadata that a filter left. Not applied yet.
    FilterMetadata {
        /// The filter, such as `envoy.filters.network.mysql_proxy`.
        filter: String,
        /// The key.
        key: String,
        /// What it must be.
        values: Values<ValueMatch>,
    },
}

impl Condition {
    /// Whether it asks about a request, not only about a connection.
    #[must_use]
    pub const fn needs_http(&self) -> bool {
        matches!(
            self,
            Self::Header(..)
                | Self::RequestPrincipal(_)
                | Self::RequestAudiences(_)
                | Self::RequestPresenter(_)
                | Self::RequestClaim(..)
        )
    }
}
