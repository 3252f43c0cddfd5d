//! Which of a rule's settings count for one port of one subset.

use super::{
    ClientTlsSettings, ConnectionPool, DestinationRule, LoadBalancer, OutlierDetection, PortPolicy,
    RetryBudget, Subset, TrafficPolicy,
};

/// The settings that count for one port of one subset.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EffectivePolicy<'a> {
    /// Which endpoint takes the next request.
    pub load_balancer: Option<&'a LoadBalancer>,
    /// Limits.
    pub connection_pool: Option<&'a ConnectionPool>,
    /// When an endpoint is left alone for a while.
    pub outlier_detection: Option<&'a OutlierDetection>,
    /// TLS towards the service.
    pub tls: Option<&'a ClientTlsSettings>,
    /// Retries at once.
    pub retry_budget: Option<&'a RetryBudget>,
}

impl DestinationRule {
    /// The subset of this name.
    #[must_use]
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| subset.name == name)
    }

    /// The settings for a port of the service, of one subset or of all endpoints.
    ///
    /// A subset's port settings come first, then the subset's, then the rule's port settings, then
    /// the rule's. A subset replaces block by block; port settings replace everything, what they
    /// leave out is default. Source: Istio `MergeTrafficPolicy`, "port level settings".
    #[must_use]
    pub fn effective(&self, subset: Option<&str>, port: u16) -> EffectivePolicy<'_> {
        let base = of_port(&self.traffic_policy, port);
        let Some(subset) = subset.and_then(|name| self.subset(name)) else { return base };
        let own = &subset.traffic_policy;
        if own.port_level.iter().any(|(number, _)| *number == port) {
            let mut policy = of_port(own, port);
            policy.retry_budget = own.retry_budget.as_ref().or(base.retry_budget);
            return policy;
        }
        EffectivePolicy {
            load_balancer: own.policy.load_balancer.as_ref().or(base.load_balancer),
            connection_pool: own.policy.connection_pool.as_ref().or(base.connection_pool),
            outlier_detection: own.policy.outlier_detection.as_ref().or(base.outlier_detection),
            tls: own.policy.tls.as_ref().or(base.tls),
            retry_budget: own.retry_budget.as_ref().or(base.retry_budget),
        }
    }
}

fn of_port(policy: &TrafficPolicy, port: u16) -> EffectivePolicy<'_> {
    let of_number = policy.port_level.iter().find(|(number, _)| *number == port);
    let PortPolicy { load_balancer, connection_pool, outlier_detection, tls } =
        of_number.map_or(&policy.policy, |(_, policy)| policy);
    EffectivePolicy {
        load_balancer: load_balancer.as_ref(),
        connection_pool: connection_pool.as_ref(),
        outlier_detection: outlier_detection.as_ref(),
        tls: tls.as_ref(),
        retry_budget: policy.retry_budget.as_ref(),
    }
}
