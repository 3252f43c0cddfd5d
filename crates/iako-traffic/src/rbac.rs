//! Who may do what.

use std::{borrow::Cow, cell::Cell, net::SocketAddr};

use iako_cel::Expression;
use iako_proxy_config::{
    FilterStateMatch, HeaderMatch, MatchInput, Permission, Policy, Principal, Rbac, RbacAction,
    RbacMatcher, RbacRules, SanKind, SanMatch, StringMatch, UpstreamAddress,
};

use crate::expression::Asked;
use crate::{
    ConnectionInfo, MatchFacts, Metadata, RequestFacts, choose_action,
    matching::{any_matches, values_match},
    metadata_matches, state_matches,
};

/// Under this name filters keep the address that they resolved the host of a request to.
pub const UPSTREAM_STATE: &str = "envoy.stream.upstream_address";

/// Who asks: a request, or a connection before anything is known of requests on it.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// A connection. Conditions on requests never hold for it.
    Connection(&'a ConnectionInfo),
    /// A request.
    Request(&'a RequestFacts<'a>),
}

/// What rules say of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'r> {
    /// Whether it passes.
    pub allowed: bool,
    /// The name of the policy or choice that matched.
    pub policy: Option<&'r str>,
    /// The policy, where it is one.
    pub rule: Option<&'r Policy>,
}

impl Verdict<'_> {
    /// Response code details of a refused request.
    #[must_use]
    pub fn details(&self) -> String {
        let name = self.policy.unwrap_or("none");
        format!("rbac_access_denied_matched_policy[{name}]")
    }
}

/// What a filter says of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authorization<'r> {
    /// By the rules that count; refused requests get 403 `RBAC: access denied`, refused
    /// connections are closed.
    pub verdict: Verdict<'r>,
    /// By the rules that are only counted and logged.
    pub shadow: Option<Verdict<'r>>,
    /// For rules that only mark: whether one matched, for `access_log_hint`.
    pub log: Option<bool>,
}

/// Asks a filter's rules.
#[must_use]
pub fn authorize<'r>(rbac: &'r Rbac, subject: &Subject<'_>) -> Authorization<'r> {
    let shadow = match (&rbac.shadow_matcher, &rbac.shadow_rules) {
        (Some(matcher), _) => Some(choose(matcher, subject).0),
        (None, rules) => rules.as_ref().map(|rules| evaluate(rules, subject)),
    };
    if let Some(matcher) = &rbac.matcher {
        let (verdict, log) = choose(matcher, subject);
        return Authorization { verdict, shadow, log };
    }
    let open = Verdict { allowed: true, policy: None, rule: None };
    let verdict = rbac.rules.as_ref().map_or(open, |rules| evaluate(rules, subject));
    let logs = rbac.rules.as_ref().is_some_and(|rules| rules.action == RbacAction::Log);
    Authorization { verdict, shadow, log: logs.then_some(verdict.policy.is_some()) }
}

/// Asks a tree, and whether it marks the subject for logs; who it chooses nothing for does not pass,
/// and is not told whether it is marked.
/// Source: `envoy.extensions.filters.http.rbac.v3.RBAC.matcher`.
fn choose<'r>(matcher: &'r RbacMatcher, subject: &Subject<'_>) -> (Verdict<'r>, Option<bool>) {
    let Some(choice) = choose_action(matcher.tree(), subject) else {
        return (Verdict { allowed: false, policy: None, rule: None }, None);
    };
    let allowed = match choice.action {
        RbacAction::Allow | RbacAction::Log => true,
        RbacAction::Deny => false,
    };
    let verdict = Verdict { allowed, policy: Some(&choice.name), rule: None };
    (verdict, matcher.marks().then_some(choice.action == RbacAction::Log))
}

impl MatchFacts<MatchInput> for Subject<'_> {
    fn text(&self, input: &MatchInput) -> Option<Cow<'_, str>> {
        match (self, input) {
            (Self::Request(facts), input) => facts.text(input),
            (Self::Connection(info), MatchInput::Connection(input)) => info.text(input),
            (
                Self::Connection(_),
                MatchInput::RequestHeader(_)
                | MatchInput::QueryParameter(_)
                | MatchInput::Attributes,
            ) => None,
        }
    }

    fn metadata(&self) -> &Metadata {
        match self {
            Self::Request(facts) => facts.metadata,
            Self::Connection(info) => &info.metadata,
        }
    }

    fn meets(&self, expression: &Expression) -> bool {
        self.asked().meets(expression)
    }
}

/// Asks one set of rules: the first policy that matches, by name, decides.
/// Source: `envoy.config.rbac.v3.RBAC.action`.
#[must_use]
pub fn evaluate<'r>(rules: &'r RbacRules, subject: &Subject<'_>) -> Verdict<'r> {
    let looked = Looked::new(subject);
    let mut policies = rules.policies.iter();
    let policy = policies
        .find(|(_, policy)| looked.meets(policy))
        .map(|(name, policy)| (name.as_str(), policy));
    let allowed = match rules.action {
        RbacAction::Allow => policy.is_some(),
        RbacAction::Deny => policy.is_none(),
        RbacAction::Log => true,
    };
    Verdict { allowed, policy: policy.map(|(name, _)| name), rule: policy.map(|(_, rule)| rule) }
}

/// Whether some permission and some principal of a policy hold, and its condition with them.
#[must_use]
pub fn policy_matches(policy: &Policy, subject: &Subject<'_>) -> bool {
    Looked::new(subject).meets(policy)
}

impl<'a> Subject<'a> {
    const fn connection(&self) -> &'a ConnectionInfo {
        match self {
            Self::Connection(connection) => connection,
            Self::Request(facts) => facts.connection,
        }
    }

    /// As expressions see it.
    const fn asked(&self) -> Asked<'a> {
        match self {
            Self::Connection(connection) => Asked::of_connection(connection),
            Self::Request(facts) => Asked::of_request(facts),
        }
    }

    const fn request(&self) -> Option<&'a RequestFacts<'a>> {
        match self {
            Self::Connection(_) => None,
            Self::Request(facts) => Some(facts),
        }
    }

    const fn metadata(&self) -> &'a Metadata {
        match self {
            Self::Connection(connection) => &connection.metadata,
            Self::Request(facts) => facts.metadata,
        }
    }

    /// Whether an object meets a condition that filters keep beside the request or its connection.
    fn keeps(&self, rule: &FilterStateMatch) -> bool {
        let of_connection = &self.connection().metadata;
        let own = self.metadata();
        let kept = if own.state(&rule.key).is_some() { own } else { of_connection };
        state_matches(rule, kept)
    }

    fn destination(&self) -> SocketAddr {
        self.connection().original_destination
    }
}

/// Whether a subject does what a permission names.
#[must_use]
pub fn permits(permission: &Permission, subject: &Subject<'_>) -> bool {
    Looked::new(subject).permits(permission)
}

/// How many headers are looked up once for all rules; further ones are looked up by every rule.
const HEADERS_KEPT: usize = 8;

/// The first value of a header, by its name.
type FirstValue<'r, 'a> = (&'r str, Option<&'a [u8]>);

/// A subject with what several rules ask of it, found once. Of one evaluation, and on its stack.
struct Looked<'r, 'a> {
    subject: &'r Subject<'a>,
    path: Cell<Option<&'a str>>,
    headers: [Cell<Option<FirstValue<'r, 'a>>>; HEADERS_KEPT],
}

impl<'r, 'a> Looked<'r, 'a> {
    const fn new(subject: &'r Subject<'a>) -> Self {
        Self { subject, path: Cell::new(None), headers: [const { Cell::new(None) }; HEADERS_KEPT] }
    }

    fn meets(&self, policy: &'r Policy) -> bool {
        policy.permissions.iter().any(|permission| self.permits(permission))
            && policy.principals.iter().any(|principal| self.is(principal))
            && policy.condition.as_ref().is_none_or(|wanted| self.subject.asked().meets(wanted))
    }

    fn has_path(&self, matches: impl Fn(&str) -> bool) -> bool {
        let Some(facts) = self.subject.request() else { return false };
        let path = self.path.get().unwrap_or_else(|| {
            let path = facts.head.path();
            self.path.set(Some(path));
            path
        });
        matches(path)
    }

    fn has_header(&self, rule: &'r HeaderMatch) -> bool {
        let Some(facts) = self.subject.request() else { return false };
        let name = rule.name.as_str();
        values_match(rule, self.first_value(name, facts), |nth| facts.head.value(name, nth))
    }

    fn first_value(&self, name: &'r str, facts: &'a RequestFacts<'a>) -> Option<&'a [u8]> {
        for kept in &self.headers {
            match kept.get() {
                Some((own, value)) if own == name => return value,
                Some(_) => {}
                None => {
                    let value = facts.head.value(name, 0);
                    kept.set(Some((name, value)));
                    return value;
                }
            }
        }
        facts.head.value(name, 0)
    }

    fn permits(&self, permission: &'r Permission) -> bool {
        let subject = self.subject;
        match permission {
            Permission::Any => true,
            Permission::And(all) => all.iter().all(|part| self.permits(part)),
            Permission::Or(any) => any.iter().any(|part| self.permits(part)),
            Permission::Not(inner) => !self.permits(inner),
            Permission::Header(rule) => self.has_header(rule),
            Permission::Path(matcher) => self.has_path(|path| matcher.matches(path)),
            Permission::PathTemplate(template) => self.has_path(|path| template.matches(path)),
            Permission::DestinationIp(range) => range.contains(&subject.destination().ip()),
            Permission::DestinationPort(ports) => ports.contains(&subject.destination().port()),
            Permission::ServerName(matcher) => matcher.matches(&subject.connection().server_name),
            Permission::Metadata(rule) => metadata_matches(rule, subject.metadata()),
            Permission::Upstream(rule) => reaches(rule, subject),
        }
    }

    fn is(&self, principal: &'r Principal) -> bool {
        let subject = self.subject;
        let connection = subject.connection();
        match principal {
            Principal::Any => true,
            Principal::And(all) => all.iter().all(|part| self.is(part)),
            Principal::Or(any) => any.iter().any(|part| self.is(part)),
            Principal::Not(inner) => !self.is(inner),
            Principal::Authenticated(matcher) => authenticated(matcher.as_ref(), connection),
            Principal::Named(name) => named(name, connection),
            Principal::DirectRemoteIp(range) => range.contains(&connection.remote.ip()),
            Principal::RemoteIp(range) => {
                let own = connection.remote.ip();
                range.contains(&subject.request().map_or(own, |facts| facts.client))
            }
            Principal::Header(rule) => self.has_header(rule),
            Principal::Path(matcher) => self.has_path(|path| matcher.matches(path)),
            Principal::State(rule) => subject.keeps(rule),
            Principal::Metadata(rule) => metadata_matches(rule, subject.metadata()),
        }
    }
}

/// Whether the server that a filter resolved is one that a rule names.
fn reaches(rule: &UpstreamAddress, subject: &Subject<'_>) -> bool {
    let kept = subject.metadata().state(UPSTREAM_STATE);
    let kept = kept.or_else(|| subject.connection().metadata.state(UPSTREAM_STATE));
    let Some(server) = kept.and_then(|text| text.parse::<SocketAddr>().ok()) else { return false };
    rule.range.as_ref().is_none_or(|range| range.contains(&server.ip()))
        && rule.ports.as_ref().is_none_or(|ports| ports.contains(&server.port()))
}

/// Whether a subject is who a principal names.
#[must_use]
pub fn is(principal: &Principal, subject: &Subject<'_>) -> bool {
    Looked::new(subject).is(principal)
}

fn authenticated(matcher: Option<&StringMatch>, connection: &ConnectionInfo) -> bool {
    let Some(peer) = connection.peer() else { return false };
    matcher.is_none_or(|matcher| {
        any_matches(matcher, &peer.uris)
            || any_matches(matcher, &peer.dns)
            || matcher.matches(&peer.subject)
    })
}

/// Whether a certificate that was verified has a name; any name where no kind is asked.
fn named(name: &SanMatch, connection: &ConnectionInfo) -> bool {
    let peer = connection.peer().filter(|peer| !peer.untrusted);
    let Some(peer) = peer else { return false };
    match name.kind {
        Some(SanKind::Uri) => any_matches(&name.matcher, &peer.uris),
        Some(SanKind::Dns) => any_matches(&name.matcher, &peer.dns),
        Some(SanKind::Ip | SanKind::Email | SanKind::Other(_)) => false,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::{HeaderCheck, MetadataMatch, MetadataValueMatch};
    use serde_json::json;

    use super::*;
    use crate::{HeaderList, PeerCertificate, RequestHead, TlsFacts};

    fn policy(permission: Permission, principal: Principal) -> Policy {
        let (permissions, principals) = (vec![permission], vec![principal]);
        Policy { permissions, principals, ..Policy::default() }
    }

    fn rules(action: RbacAction, policies: &[(&str, Policy)]) -> RbacRules {
        let policies = policies.iter().map(|(name, policy)| ((*name).to_owned(), policy.clone()));
        RbacRules { action, policies: policies.collect() }
    }

    fn role(value: &str) -> Permission {
        Permission::Header(HeaderMatch {
            name: "x-role".parse().unwrap(),
            check: HeaderCheck::Text(StringMatch::exact(value)),
            invert: false,
            missing_as_empty: false,
        })
    }

    fn connection() -> ConnectionInfo {
        ConnectionInfo::plain("10.0.0.1:80".parse().unwrap(), "10.0.0.9:1".parse().unwrap())
    }

    fn ask(
        rules: &RbacRules,
        connection: &ConnectionInfo,
        metadata: &Metadata,
        sent: &str,
    ) -> (bool, String) {
        let headers: HeaderList = [("x-role", sent)].into_iter().collect();
        let head = RequestHead {
            method: "GET",
            scheme: "http",
            authority: "a.test",
            path_and_query: "/secure?x=1",
            headers: &headers,
        };
        let client = "1.2.3.4".parse().unwrap();
        let facts = RequestFacts { head, connection, metadata, client, internal: false };
        let verdict = evaluate(rules, &Subject::Request(&facts));
        (verdict.allowed, verdict.details())
    }

    // Cases rbac-allow and rbac-empty-allow; fact 14.
    #[test]
    fn an_allow_without_a_match_lets_nothing_pass() {
        let (plain, none) = (connection(), Metadata::default());
        let allow = rules(RbacAction::Allow, &[("p1", policy(role("a"), Principal::Any))]);
        assert!(ask(&allow, &plain, &none, "a").0);
        let refused = (false, "rbac_access_denied_matched_policy[none]".to_owned());
        assert_eq!(ask(&allow, &plain, &none, "b"), refused);
        assert_eq!(ask(&rules(RbacAction::Allow, &[]), &plain, &none, "a"), refused);
        let deny = rules(RbacAction::Deny, &[("p1", policy(role("a"), Principal::Any))]);
        let (allowed, details) = ask(&deny, &plain, &none, "a");
        assert!(!allowed);
        assert_eq!(details, "rbac_access_denied_matched_policy[p1]");
        assert!(ask(&deny, &plain, &none, "b").0);
        let open = Rbac::default();
        assert!(authorize(&open, &Subject::Connection(&plain)).verdict.allowed);
    }

    #[test]
    fn conditions_on_requests_never_hold_for_connections() {
        let plain = connection();
        let allow = rules(RbacAction::Allow, &[("p", policy(role("a"), Principal::Any))]);
        assert!(!evaluate(&allow, &Subject::Connection(&plain)).allowed);
        let port = policy(Permission::DestinationPort(80..=80), Principal::Any);
        let allow = rules(RbacAction::Allow, &[("p", port)]);
        assert!(evaluate(&allow, &Subject::Connection(&plain)).allowed);
    }

    #[test]
    fn a_principal_needs_a_checked_certificate() {
        let id = "spiffe://cluster.local/ns/shop/sa/web";
        let named = Principal::Authenticated(Some(StringMatch::exact(id)));
        let allow = rules(RbacAction::Allow, &[("p", policy(Permission::Any, named))]);
        let mut connection = connection();
        assert!(!evaluate(&allow, &Subject::Connection(&connection)).allowed);
        let peer = PeerCertificate { uris: vec![id.to_owned()], ..PeerCertificate::default() };
        connection.tls = Some(TlsFacts { peer: Some(peer), ..TlsFacts::default() });
        assert!(evaluate(&allow, &Subject::Connection(&connection)).allowed);
    }

    #[test]
    fn claims_and_trusted_addresses_count() {
        let issuer = MetadataMatch {
            filter: "envoy.filters.http.jwt_authn".to_owned(),
            path: vec!["payload".to_owned(), "iss".to_owned()],
            value: MetadataValueMatch::Text(StringMatch::exact("https://issuer.test")),
            invert: false,
        };
        let path = Permission::And(vec![
            Permission::Path(StringMatch::exact("/secure")),
            Permission::Metadata(issuer),
        ]);
        let client = Principal::RemoteIp("1.2.3.0/24".parse().unwrap());
        let allow = rules(RbacAction::Allow, &[("p", policy(path, client))]);
        let mut metadata = Metadata::default();
        assert!(!ask(&allow, &connection(), &metadata, "").0);
        let payload = json!({"iss": "https://issuer.test"});
        metadata.set("envoy.filters.http.jwt_authn", "payload", payload);
        assert!(ask(&allow, &connection(), &metadata, "").0);
    }

    #[test]
    fn a_condition_has_to_be_true_besides() {
        let text = "request.headers['x-role'] == 'a' && request.method == 'GET' \
                    && source.address.startsWith('1.2.3.4') && !connection.mtls";
        let condition = Expression::parse(text, iako_cel::Options::default()).unwrap();
        let everybody = policy(Permission::Any, Principal::Any);
        let asked = Policy { condition: Some(condition), ..everybody };
        let allow = rules(RbacAction::Allow, &[("p", asked)]);
        let (plain, none) = (connection(), Metadata::default());
        assert!(ask(&allow, &plain, &none, "a").0);
        assert!(!ask(&allow, &plain, &none, "b").0);
        // Nothing that it names of a request is there.
        assert!(!evaluate(&allow, &Subject::Connection(&plain)).allowed);
    }

    #[test]
    fn dry_rules_do_not_refuse() {
        let deny = rules(RbacAction::Deny, &[("p", policy(Permission::Any, Principal::Any))]);
        let rbac = Rbac { shadow_rules: Some(deny), ..Rbac::default() };
        let plain = connection();
        let answer = authorize(&rbac, &Subject::Connection(&plain));
        assert!(answer.verdict.allowed);
        assert!(!answer.shadow.unwrap().allowed);
    }

    #[test]
    fn headers_beyond_those_that_are_kept_are_found_too() {
        let names: Vec<String> = (0..HEADERS_KEPT + 4).map(|place| format!("x-h{place}")).collect();
        let wants = |name: &String, value: &str| {
            Permission::Header(HeaderMatch {
                name: name.parse().unwrap(),
                check: HeaderCheck::Text(StringMatch::exact(value)),
                invert: false,
                missing_as_empty: false,
            })
        };
        let headers: HeaderList =
            names.iter().flat_map(|name| [(name.as_str(), "a"), (name.as_str(), "b")]).collect();
        let head = RequestHead {
            method: "GET",
            scheme: "http",
            authority: "a.test",
            path_and_query: "/",
            headers: &headers,
        };
        let (connection, metadata) = (connection(), Metadata::default());
        let client = "1.2.3.4".parse().unwrap();
        let facts = RequestFacts {
            head,
            connection: &connection,
            metadata: &metadata,
            client,
            internal: false,
        };
        let subject = Subject::Request(&facts);
        // The second of all values, the first of all again, and one that is nowhere.
        let all = |value| Permission::And(names.iter().map(|name| wants(name, value)).collect());
        assert!(permits(&Permission::And(vec![all("b"), all("a")]), &subject));
        assert!(names.iter().all(|name| !permits(&wants(name, "c"), &subject)));
    }
}
