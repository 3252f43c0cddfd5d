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
    /// Priorities that are left out, each with the place of its cluster among those that one stands
    /// for.
    priorities: SmallVec<[(usize, u32); 2]>,
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

    /// What is passed over among the instances of the cluster at this place.
    pub(super) fn avoid(&self, policy: &RetryPolicy, member: usize, balancer: &Balancer) -> Avoid {
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
        Avoid { places, priorities: self.priorities_of(member).collect() }
    }

    /// The priorities that are left out of the cluster at this place.
    pub(super) fn priorities_of(&self, member: usize) -> impl Iterator<Item = u32> {
        let own = self.priorities.iter().filter(move |(place, _)| *place == member);
        own.map(|(_, priority)| *priority)
    }

    /// Every so many tries, the priorities that were tried are left out; when none is left, all are
    /// used again. Several clusters that one stands for count together.
    ///
    /// Source: Envoy `previous_priorities`.
    pub(super) fn pass_priorities(&mut self, policy: &RetryPolicy, members: &[Arc<Balancer>]) {
        let Some(frequency) = policy.previous_priorities else { return };
        let frequency = usize::try_from(frequency.get()).unwrap_or(usize::MAX);
        if self.for_priorities == 0 || self.for_priorities.checked_rem(frequency) != Some(0) {
            return;
        }
        let each = || {
            let numbered = members.iter().enumerate();
            numbered.flat_map(|(member, one)| one.endpoints().iter().map(move |e| (member, e)))
        };
        for (member, endpoint) in each() {
            let is_tried = self.endpoints.iter().any(|tried| Arc::ptr_eq(tried, &endpoint.state));
            let own = (member, endpoint.priority);
            if is_tried && !self.priorities.contains(&own) {
                self.priorities.push(own);
            }
        }
        let is_left = |(member, endpoint): (usize, &BalancedEndpoint)| {
            !self.priorities.contains(&(member, endpoint.priority)) && endpoint.takes_traffic()
        };
        if !each().any(is_left) {
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
