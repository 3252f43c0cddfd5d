//! Who may connect.

use std::time::Duration;

use iako_proxy_config::Rbac;
use iako_telemetry::{Counter, StatsRegistry};
use iako_traffic::{
    ConnectionInfo,
    rbac::{Authorization, Subject, authorize},
};
use serde_json::Value;

use super::Ending;

/// Whose facts these are.
const FILTER: &str = "envoy.filters.network.rbac";
/// Under which name loggers look for a hint.
const COMMON: &str = "envoy.common";

/// Rules for connections, compiled.
#[derive(Debug)]
pub(crate) struct Access {
    rbac: Rbac,
    allowed: Counter,
    denied: Counter,
    shadow_allowed: Counter,
    shadow_denied: Counter,
}

impl Access {
    pub(super) fn new(rbac: &Rbac, stats: &StatsRegistry) -> Self {
        let prefix = rbac.stat_prefix.trim_end_matches('.');
        let dot = if prefix.is_empty() { "" } else { "." };
        let scope = stats.scope(&format!("{prefix}{dot}rbac"));
        let shadow = rbac.shadow_prefix.trim_end_matches('.');
        let shadow_dot = if shadow.is_empty() { "" } else { "." };
        let shadow = |leaf: &str| scope.counter(&format!("{shadow}{shadow_dot}{leaf}"));
        Self {
            allowed: scope.counter("allowed"),
            denied: scope.counter("denied"),
            shadow_allowed: shadow("shadow_allowed"),
            shadow_denied: shadow("shadow_denied"),
            rbac: rbac.clone(),
        }
    }

    /// How long a connection that is refused stays open.
    pub(super) const fn delay(&self) -> Option<Duration> {
        self.rbac.deny_delay
    }

    /// Whether a connection may go on; keeps beside it what the rules that only watch say.
    pub(super) fn ask(&self, info: &mut ConnectionInfo) -> Result<(), Ending> {
        let answer = authorize(&self.rbac, &Subject::Connection(info));
        let facts = self.facts(&answer);
        let hint = answer.log;
        let refused = (!answer.verdict.allowed).then(|| answer.verdict.details());
        for (key, value) in facts {
            info.metadata.set(FILTER, &key, Value::String(value));
        }
        if let Some(hint) = hint {
            info.metadata.set(COMMON, "access_log_hint", Value::Bool(hint));
        }
        match refused {
            Some(details) => {
                self.denied.inc();
                Err(Ending { details: Some(details), ..Ending::because("rbac_deny_close") })
            }
            None => {
                // Rules that there are not allow nothing, as Envoy counts.
                if self.rbac.rules.is_some() || self.rbac.matcher.is_some() {
                    self.allowed.inc();
                }
                Ok(())
            }
        }
    }

    /// Counts what the rules that only watch say, and tells it.
    fn facts(&self, answer: &Authorization<'_>) -> Vec<(String, String)> {
        let Some(shadow) = &answer.shadow else { return Vec::new() };
        let (counter, word) = if shadow.allowed {
            (&self.shadow_allowed, "allowed")
        } else {
            (&self.shadow_denied, "denied")
        };
        counter.inc();
        let key = |name: &str| format!("{}{name}", self.rbac.shadow_prefix);
        let policy = shadow.policy.map(|name| (key("shadow_effective_policy_id"), name.to_owned()));
        let result = Some((key("shadow_engine_result"), word.to_owned()));
        policy.into_iter().chain(result).collect()
    }
}
