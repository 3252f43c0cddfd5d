//! Who may do what.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use iako_cel::Expression;
use iako_types::CidrRange;

use crate::{
    FilterStateMatch, HeaderMatch, MatchTree, RuleOrigin, SanMatch, StringMatch, UriTemplate,
};

/// Lets requests or connections pass or not.
/// Source: `envoy.extensions.filters.http.rbac.v3.RBAC` and its twin for connections.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rbac {
    /// Rules that count; everything passes when absent.
    pub rules: Option<RbacRules>,
    /// Rules that are only counted and logged (dry run).
    pub shadow_rules: Option<RbacRules>,
    /// What counts in place of the rules. Of a connection nothing is looked at that only requests have.
    pub matcher: Option<Box<RbacMatcher>>,
    /// What is only counted and logged in place of those rules.
    pub shadow_matcher: Option<Box<RbacMatcher>>,
    /// Prefix of the shadow rules' statistics.
    pub shadow_prefix: String,
    /// Prefix of its statistics.
    pub stat_prefix: String,
    /// Whether every policy has statistics of its own. Envoy default: false.
    pub counts_policies: bool,
    /// How long a connection that is refused stays open, unread. Source: `delay_deny`. Envoy
    /// default: none.
    pub deny_delay: Option<Duration>,
}

/// A tree of conditions in place of policies; what it chooses nothing for does not pass.
/// Source: `envoy.extensions.filters.http.rbac.v3.RBAC.matcher`.
#[derive(Debug, Clone, PartialEq)]
pub struct RbacMatcher {
    tree: MatchTree<RbacChoice>,
    marks: bool,
}

/// What a tree chooses. Source: `envoy.config.rbac.v3.Action`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RbacChoice {
    /// Its name, for logs and statistics.
    pub name: String,
    /// `Allow` and `Log` let pass, `Deny` does not.
    pub action: RbacAction,
}

impl RbacMatcher {
    /// A matcher by this tree.
    #[must_use]
    pub fn new(tree: MatchTree<RbacChoice>) -> Self {
        let marks = tree.actions().iter().any(|choice| choice.action == RbacAction::Log);
        Self { tree, marks }
    }

    /// The tree.
    #[must_use]
    pub const fn tree(&self) -> &MatchTree<RbacChoice> {
        &self.tree
    }

    /// Whether it marks some for logs, so that all others are told not to be marked.
    #[must_use]
    pub const fn marks(&self) -> bool {
        self.marks
    }
}

/// Policies and what a match means. Source: `envoy.config.rbac.v3.RBAC`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RbacRules {
    /// What a match means.
    pub action: RbacAction,
    /// By name, looked at in the order of names. An `Allow` without policies lets nothing pass.
    pub policies: BTreeMap<String, Policy>,
}

/// What a match means. Source: `envoy.config.rbac.v3.RBAC.Action`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RbacAction {
    /// Only what matches passes.
    #[default]
    Allow,
    /// What matches does not pass.
    Deny,
    /// Everything passes; what matches is marked for logs.
    Log,
}

/// One policy: some permission and some principal must match.
/// Source: `envoy.config.rbac.v3.Policy`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is done; one must match.
    pub permissions: Vec<Permission>,
    /// By whom; one must match.
    pub principals: Vec<Principal>,
    /// What has to be true besides; nothing when absent. Source: `condition`, `checked_condition`.
    pub condition: Option<Expression>,
    /// The object that it was made from.
    pub origin: Option<RuleOrigin>,
}

/// What is done. Source: `envoy.config.rbac.v3.Permission`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Anything.
    Any,
    /// All of these.
    And(Vec<Self>),
    /// One of these.
    Or(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// By a header of the request.
    Header(HeaderMatch),
    /// By the path, without the query.
    Path(StringMatch),
    /// By the path, segment by segment.
    PathTemplate(UriTemplate),
    /// To an address in this range.
    DestinationIp(CidrRange),
    /// To a port in this range.
    DestinationPort(RangeInclusive<u16>),
    /// With this SNI.
    ServerName(StringMatch),
    /// By facts that filters left.
    Metadata(MetadataMatch),
    /// To a server at such an address, where a filter that resolved its name kept it.
    /// Source: `envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher`.
    Upstream(UpstreamAddress),
}

/// An address that a filter resolved. Source:
/// `envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher`; one of both is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// The range that it is in; any without.
    pub range: Option<CidrRange>,
    /// Its port; any without. Source: `upstream_port_range`, whose end is in it.
    pub ports: Option<RangeInclusive<u16>>,
}

/// By whom. Source: `envoy.config.rbac.v3.Principal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Anybody.
    Any,
    /// All of these.
    And(Vec<Self>),
    /// One of these.
    Or(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// Somebody with a checked client certificate whose URI, else DNS name, else subject matches;
    /// any such when absent.
    Authenticated(Option<StringMatch>),
    /// Somebody with a checked client certificate that has this name: DNS and URI names alone, any where
    /// it is of no kind.
    /// Source: `envoy.extensions.rbac.principals.mtls_authenticated.v3.Config.san_matcher`.
    Named(SanMatch),
    /// From an address in this range, as the connection or PROXY protocol says.
    DirectRemoteIp(CidrRange),
    /// From an address in this range, as `x-forwarded-for` says as far as it is trusted.
    RemoteIp(CidrRange),
    /// By a header of the request.
    Header(HeaderMatch),
    /// By the path, without the query.
    Path(StringMatch),
    /// By an object that filters keep.
    State(FilterStateMatch),
    /// By facts that filters left.
    Metadata(MetadataMatch),
}

/// A condition on facts that filters left. Source: `envoy.type.matcher.v3.MetadataMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataMatch {
    /// Who left them, such as `envoy.filters.http.jwt_authn`.
    pub filter: String,
    /// Keys from the outside in; not empty.
    pub path: Vec<String>,
    /// What is asked of the value.
    pub value: MetadataValueMatch,
    /// Whether the answer is turned round.
    pub invert: bool,
}

/// What is asked of a fact. Source: `envoy.type.matcher.v3.ValueMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataValueMatch {
    /// That it is there (`true`).
    Present(bool),
    /// That it is null.
    Null,
    /// That it is this truth value.
    Bool(bool),
    /// That it is a text that meets a condition.
    Text(StringMatch),
    /// That it is this number.
    Number(Double),
    /// That it is a number from the first one to below the second.
    NumberWithin(Double, Double),
    /// That it is a list one of whose elements meets a condition.
    ListContains(Box<Self>),
    /// That it meets one of these.
    Or(Vec<Self>),
}

/// A floating number of a configuration; equal when its bits are.
#[derive(Debug, Clone, Copy)]
pub struct Double(pub f64);

impl PartialEq for Double {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Double {}
