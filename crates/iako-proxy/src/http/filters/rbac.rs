//! Who may do what.

use std::collections::HashMap;

use iako_proxy_config::{FilterSettings, Rbac, RbacMatcher, RbacRules};
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::Metadata;
use iako_traffic::rbac::{Authorization, Subject, Verdict, authorize};

use crate::http::failure::Failure;

/// Where rules leave what they found, for logs and for filters after them.
const METADATA: &str = "envoy.filters.http.rbac";
/// Where rules that only mark say whether a request is marked.
const LOG_METADATA: &str = "envoy.common";

/// Rules, with what they count.
#[derive(Debug)]
pub(crate) struct RbacStep {
    own: Box<Rbac>,
    rules: RuleStats,
    shadow: RuleStats,
}

/// `http.<prefix>.rbac.<prefix of the rules>…`; the names are documented in `iako-telemetry`'s table.
#[derive(Debug)]
struct RuleStats {
    allowed: Counter,
    denied: Counter,
    /// Of each policy by its name, where that is asked for.
    policies: HashMap<String, (Counter, Counter)>,
}

impl RuleStats {
    fn new(
        scope: &StatsScope,
        pair: fn(&StatsScope) -> (Counter, Counter),
        names: Vec<&str>,
    ) -> Self {
        let of_policies = scope.part("policy");
        let policies =
            names.into_iter().map(|name| (name.to_owned(), pair(&of_policies.part(name))));
        let (allowed, denied) = pair(scope);
        Self { allowed, denied, policies: policies.collect() }
    }

    fn count(&self, verdict: &Verdict<'_>) {
        let policy = verdict.policy.and_then(|name| self.policies.get(name));
        if verdict.allowed {
            self.allowed.inc();
            policy.inspect(|(allowed, _)| allowed.inc());
        } else {
            self.denied.inc();
            policy.inspect(|(_, denied)| denied.inc());
        }
    }
}

/// The names of everything that can match.
fn names<'n>(rules: &'n Option<RbacRules>, matcher: &'n Option<Box<RbacMatcher>>) -> Vec<&'n str> {
    match (matcher, rules) {
        (Some(matcher), _) => {
            matcher.tree().actions().into_iter().map(|choice| choice.name.as_str()).collect()
        }
        (None, Some(rules)) => rules.policies.keys().map(String::as_str).collect(),
        (None, None) => Vec::new(),
    }
}

impl RbacStep {
    pub(super) fn new(own: Box<Rbac>, manager: &StatsScope) -> Self {
        let scope = manager.part("rbac");
        let under = |prefix: &str| match prefix.trim_end_matches('.') {
            "" => scope.clone(),
            part => scope.part(part),
        };
        let counted = |rules, matcher| {
            if own.counts_policies { names(rules, matcher) } else { Vec::new() }
        };
        let enforced = |scope: &StatsScope| (scope.counter("allowed"), scope.counter("denied"));
        let dry =
            |scope: &StatsScope| (scope.counter("shadow_allowed"), scope.counter("shadow_denied"));
        let counted_rules = counted(&own.rules, &own.matcher);
        let rules = RuleStats::new(&under(&own.stat_prefix), enforced, counted_rules);
        let counted_shadow = counted(&own.shadow_rules, &own.shadow_matcher);
        let shadow = RuleStats::new(&under(&own.shadow_prefix), dry, counted_shadow);
        Self { rules, shadow, own }
    }

    /// Whether rules let a request pass; those of the route stand in place of the filter's. What they
    /// found is left in `metadata`, by the call that follows.
    pub(crate) fn ask<'r>(
        &'r self,
        of_route: Option<&'r FilterSettings>,
        subject: &Subject<'_>,
    ) -> Option<(&'r Rbac, Authorization<'r>)> {
        let rbac = match of_route {
            Some(FilterSettings::Rbac(None)) => return None,
            Some(FilterSettings::Rbac(Some(rbac))) => rbac,
            Some(_) | None => &self.own,
        };
        let answer = authorize(rbac, subject);
        if rbac.rules.is_some() || rbac.matcher.is_some() {
            self.rules.count(&answer.verdict);
        }
        if let Some(shadow) = &answer.shadow {
            self.shadow.count(shadow);
        }
        Some((rbac, answer))
    }
}

/// Leaves what rules found where logs and other filters look for it.
pub(crate) fn leave(rbac: &Rbac, answer: &Authorization<'_>, metadata: &mut Metadata) {
    if let Some(shadow) = &answer.shadow {
        let prefix = &rbac.shadow_prefix;
        if let Some(name) = shadow.policy {
            metadata.set(METADATA, &format!("{prefix}shadow_effective_policy_id"), name.into());
        }
        let result = if shadow.allowed { "allowed" } else { "denied" };
        metadata.set(METADATA, &format!("{prefix}shadow_engine_result"), result.into());
    }
    if let Some(is_marked) = answer.log {
        metadata.set(LOG_METADATA, "access_log_hint", is_marked.into());
    }
}

/// How a request is refused.
pub(crate) fn refusal(verdict: &Verdict<'_>) -> Result<(), Failure> {
    if verdict.allowed {
        return Ok(());
    }
    let policy = verdict.policy.unwrap_or("none");
    Err(Failure::Denied { policy: policy.replace(char::is_whitespace, "_") })
}
