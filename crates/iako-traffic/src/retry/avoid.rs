//! Which instances a further try passes over.

use std::sync::Arc;

use iako_proxy_config::RetryPolicy;
use smallvec::SmallVec;

use crate::{BalancedEndpoint, Balancer, EndpointState};

/// What the next try avoids, among the instances of one balancer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Avoid {
    /// Instances, by [`crate::Pick::place`].
    pub places: SmallVec<[u32; 4]>,
    /// Priorities.
    pub priorities: SmallVec<[u32; 2]>,
}

/// The instances that were tried, in order.
#[derive(Debug, Default)]
pub(super) struct Tried {
    endpoints: SmallVec<[Arc<EndpointState>; 2]>,
    /// Tries that count for priorities.
    for_priorities: usize,
    priorities: SmallVec<[u32; 2]>,
}

impl Tried {
    /// Kept only where the policy asks for it.
    pub(super) fn push(&mut self, endpoint: &Arc<EndpointState>, policy: Option<&RetryPolicy>) {
        let is_kept = policy.is_some_and(|policy| {
            policy.avoid_previous_hosts || policy.previous_priorities.is_some()
        });
        if is_kept {
            self.endpoints.push(Arc::clone(endpoint));
            self.for_priorities = self.for_priorities.saturating_add(1);
        }
    }

    pub(super) fn avoid(&mut self, policy: &RetryPolicy, balancer: &Balancer) -> Avoid {
        let is_tried = |endpoint: &BalancedEndpoint| {
            self.endpoints.iter().any(|tried| Arc::ptr_eq(tried, &endpoint.state))
        };
        let passes = |endpoint: &BalancedEndpoint| {
            (policy.avoid_previous_hosts && is_tried(endpoint)) || is_omitted(policy, endpoint)
        };
        let may_pass = policy.avoid_previous_hosts
            || policy.avoid_canary_hosts
            || !policy.avoid_hosts_with.is_empty();
        let all = (0..).zip(balancer.endpoints()).filter(|_| may_pass);
        let places = all.filter(|(_, one)| passes(one)).map(|(place, _)| place).collect();
        self.pass_priorities(policy, balancer);
        Avoid { places, priorities: self.priorities.clone() }
    }

    /// Every so many tries, the priorities that were tried are left out; when none is left, all are
    /// used again. Source: Envoy `previous_priorities`.
    fn pass_priorities(&mut self, policy: &RetryPolicy, balancer: &Balancer) {
        let Some(frequency) = policy.previous_priorities else { return };
        let frequency = usize::try_from(frequency.get()).unwrap_or(usize::MAX);
        if self.for_priorities == 0 || self.for_priorities.checked_rem(frequency) != Some(0) {
            return;
        }
        for endpoint in balancer.endpoints() {
            let is_tried = self.endpoints.iter().any(|tried| Arc::ptr_eq(tried, &endpoint.state));
            if is_tried && !self.priorities.contains(&endpoint.priority) {
                self.priorities.push(endpoint.priority);
            }
        }
        let is_left = |endpoint: &&BalancedEndpoint| {
            !self.priorities.contains(&endpoint.priority) && endpoint.takes_traffic()
        };
        if balancer.endpoints().iter().find(is_left).is_none() {
            self.priorities.clear();
            self.for_priorities = 0;
        }
    }
}

/// Whether the policy passes over such instances, tried or not.
fn is_omitted(policy: &RetryPolicy, endpoint: &BalancedEndpoint) -> bool {
    let facts = &endpoint.endpoint.metadata.lb;
    let is_canary = || facts.get("canary").is_some_and(|value| value == "true");
    (policy.avoid_canary_hosts && is_canary())
        || policy
            .avoid_hosts_with
            .iter()
            .any(|wanted| wanted.iter().all(|(key, value)| facts.get(key) == Some(value)))
}
