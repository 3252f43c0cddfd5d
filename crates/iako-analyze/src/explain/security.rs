//! Tokens and access rules.

use std::sync::Arc;

use iako_proxy_config::{
    HttpConnectionManager, HttpFilterKind, JwtAuthn, Policy, Rbac, RbacAction, RuleOrigin,
};
use iako_traffic::{
    JwtDecision, JwtMemory, JwtRejection, JwtVerifier,
    rbac::{self, Subject},
};

use super::{ExplainError, Outcome, Walk, hop::Hop, http::refusing_filters};

/// Policies that did not match are told up to this number.
const POLICIES_MAX: usize = 4;

/// Whether the request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    Stop,
}

impl Walk<'_> {
    /// Tokens and access rules of one proxy, in the order of its filters. `place` names it.
    pub(super) fn security(
        &mut self,
        settings: &Arc<HttpConnectionManager>,
        hop: &mut Hop,
        place: &str,
    ) -> Verdict {
        for kind in refusing_filters(settings) {
            let verdict = match kind {
                HttpFilterKind::JwtAuthn(jwt) => self.token(settings, jwt, hop, place),
                HttpFilterKind::Rbac(rules) => self.access(settings, rules, hop, place),
                HttpFilterKind::Router(_)
                | HttpFilterKind::Fault(_)
                | HttpFilterKind::Cors
                | HttpFilterKind::PeerMetadata(_)
                | HttpFilterKind::Alpn
                | HttpFilterKind::Stats(_)
                | HttpFilterKind::GrpcWeb
                | HttpFilterKind::StatefulSession(_)
                | HttpFilterKind::ExtAuthz(_)
                | HttpFilterKind::GlobalRateLimit(_)
                | HttpFilterKind::LocalRateLimit(_)
                | HttpFilterKind::Composite(_)
                | HttpFilterKind::Matched(_)
                | HttpFilterKind::AdmissionControl(_)
                | HttpFilterKind::AdaptiveConcurrency(_)
                | HttpFilterKind::ExtProc(_)
                | HttpFilterKind::GrpcStats(_)
                | HttpFilterKind::DynamicForward(_)
                | HttpFilterKind::Buffer(_)
                | HttpFilterKind::Compressor(_)
                | HttpFilterKind::Decompressor(_)
                | HttpFilterKind::BandwidthLimit(_)
                | HttpFilterKind::Csrf(_)
                | HttpFilterKind::HeaderMutation(_)
                | HttpFilterKind::HeaderToMetadata(_)
                | HttpFilterKind::SetMetadata(_)
                | HttpFilterKind::OnDemand(_)
                | HttpFilterKind::Discovered(_)
                | HttpFilterKind::CustomResponse(_)
                | HttpFilterKind::Cache(_)
                | HttpFilterKind::JsonToMetadata(_)
                | HttpFilterKind::SetState(_)
                | HttpFilterKind::HealthCheck(_)
                | HttpFilterKind::CredentialInjector(_)
                | HttpFilterKind::OAuth2(_)
                | HttpFilterKind::IpTagging(_)
                | HttpFilterKind::Unsupported(_) => Verdict::GoOn,
            };
            if verdict == Verdict::Stop {
                return verdict;
            }
        }
        Verdict::GoOn
    }

    fn token(
        &mut self,
        settings: &HttpConnectionManager,
        jwt: &JwtAuthn,
        hop: &mut Hop,
        place: &str,
    ) -> Verdict {
        let verifier = JwtVerifier::compile(Arc::new(jwt.clone()));
        let (now, mut memory) = (self.request.now, JwtMemory::default());
        match hop.ask(settings, |facts| verifier.decide(facts, None, now, &mut memory)) {
            JwtDecision::Pass(mut changes) => {
                let why = if changes.accepted == 0 {
                    format!("the {place} finds no token; a missing one passes here")
                } else {
                    format!("the {place} has verified the token")
                };
                self.step("token", Outcome::Passed, None, why);
                changes.keep(&mut hop.metadata);
                for name in &changes.remove_headers {
                    hop.remove(name);
                }
                for (name, value) in &changes.set_headers {
                    hop.set(name, value);
                }
                hop.path_and_query = changes
                    .path_and_query
                    .unwrap_or_else(|| std::mem::take(&mut hop.path_and_query));
                Verdict::GoOn
            }
            JwtDecision::Refuse(refusal) => {
                if refusal.rejection == JwtRejection::NoKeys {
                    self.unknown = Some(ExplainError::RemoteKeys { place: place.to_owned() });
                    return Verdict::Stop;
                }
                let why = format!("the {place} refuses the token: {}", refusal.rejection);
                self.step("token", Outcome::Answered, None, why);
                self.respond(refusal.status);
                Verdict::Stop
            }
            JwtDecision::Misnamed(misnamed) => {
                let why = format!("the {place} refuses the request: {misnamed}");
                self.step("token", Outcome::Answered, None, why);
                self.respond(403);
                Verdict::Stop
            }
        }
    }

    fn access(
        &mut self,
        settings: &HttpConnectionManager,
        rules: &Rbac,
        hop: &Hop,
        place: &str,
    ) -> Verdict {
        hop.ask(settings, |facts| {
            let verdict = self.ask_rules(rules, &Subject::Request(facts), place);
            if verdict == Verdict::Stop {
                self.respond(403);
            }
            verdict
        })
    }

    /// Asks a tree in place of rules.
    fn ask_tree(&mut self, filter: &Rbac, subject: &Subject<'_>, place: &str) -> Verdict {
        let verdict = rbac::authorize(filter, subject).verdict;
        let by = verdict.policy.map_or_else(
            || "its matcher chooses nothing".to_owned(),
            |name| format!("its matcher chooses `{name}`"),
        );
        if verdict.allowed {
            let why = format!("the {place} lets it pass, because {by}");
            self.step("access", Outcome::Passed, None, why);
            return Verdict::GoOn;
        }
        let why = format!("the {place} refuses it, because {by}");
        self.step("access", Outcome::Refused, None, why);
        Verdict::Stop
    }

    /// Asks the rules about a request or a connection, and tells what they say.
    pub(super) fn ask_rules(
        &mut self,
        filter: &Rbac,
        subject: &Subject<'_>,
        place: &str,
    ) -> Verdict {
        if filter.matcher.is_some() {
            return self.ask_tree(filter, subject, place);
        }
        let Some(rules) = &filter.rules else { return Verdict::GoOn };
        let authorization = rbac::authorize(filter, subject);
        let matched = authorization.verdict.rule;
        let origin = matched.and_then(|policy| policy.origin.as_ref());
        if authorization.verdict.allowed {
            let why = match (rules.action, matched) {
                (RbacAction::Allow, Some(policy)) => {
                    format!("the {place} lets it pass, because {} allows it", named(policy))
                }
                (RbacAction::Log, Some(policy)) => format!("{} marks it for audit", named(policy)),
                (RbacAction::Deny, _) => format!("no DENY policy of the {place} matches"),
                (RbacAction::Allow | RbacAction::Log, None) => return Verdict::GoOn,
            };
            self.step("access", Outcome::Passed, origin, why);
            return Verdict::GoOn;
        }
        let policies: Vec<&Policy> = rules.policies.values().collect();
        let (origin, why) = match matched {
            Some(policy) => {
                (origin, format!("the {place} refuses it, because {} denies it", named(policy)))
            }
            None => {
                let reasons = reasons(&policies, subject);
                let why =
                    format!("the {place} refuses it, because no ALLOW policy matches: {reasons}");
                (policies.first().and_then(|policy| policy.origin.as_ref()), why)
            }
        };
        self.step("access", Outcome::Refused, origin, why);
        Verdict::Stop
    }
}

fn named(policy: &Policy) -> String {
    policy.origin.as_ref().map_or_else(|| "a policy".to_owned(), place_of)
}

/// A rule by name and place.
pub(super) fn place_of(origin: &RuleOrigin) -> String {
    let RuleOrigin { kind, namespace, name, file, line } = origin;
    format!("{kind} {namespace}/{name} at {file}:{line}")
}

/// Why none of these policies matches.
fn reasons(policies: &[&Policy], subject: &Subject<'_>) -> String {
    let reason = |policy: &&Policy| {
        let done = policy.permissions.iter().any(|part| rbac::permits(part, subject));
        let by = policy.principals.iter().any(|part| rbac::is(part, subject));
        let what = match (done, by) {
            (true, false) => "takes the operation, but not from this client or with these claims",
            (false, true) => "takes the client, but not this operation",
            _ => "takes neither the client nor the operation",
        };
        format!("{} {what}", named(policy))
    };
    let more = policies.len().saturating_sub(POLICIES_MAX);
    let told: Vec<String> = policies.iter().take(POLICIES_MAX).map(reason).collect();
    let mut told =
        if told.is_empty() { "there is none that could".to_owned() } else { told.join("; ") };
    if more > 0 {
        told.push_str(&format!("; and {more} more"));
    }
    told
}
