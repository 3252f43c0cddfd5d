//! Instances by priority, health and place, as of one moment.

use std::{num::NonZeroU32, sync::Arc};

use iako_proxy_config::{Cluster, EndpointSet, HealthStatus, LocalityBalancing};
use iako_types::Locality;

use super::{
    balancer::{BalancedEndpoint, hashes},
    group::{Choice, Group},
    priority::{Availability, Counts, Priorities},
};
use crate::share;

/// What choices look at until the health of an instance changes.
#[derive(Debug, Default)]
pub(super) struct View {
    loads: Priorities,
    priorities: Vec<PriorityView>,
}

#[derive(Debug, Default)]
struct PriorityView {
    all: Arc<Group>,
    healthy: Arc<Group>,
    degraded: Group,
    /// With locality-weighted balancing: places with their effective weight.
    healthy_places: Vec<(u64, Group)>,
    degraded_places: Vec<(u64, Group)>,
}

/// What a view is compiled from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) set: &'a EndpointSet,
    pub(super) endpoints: &'a [BalancedEndpoint],
    pub(super) seed: u64,
}

impl View {
    /// Compiles the view of those instances that `belongs` keeps.
    pub(super) fn compile(source: Source<'_>, belongs: &dyn Fn(&BalancedEndpoint) -> bool) -> Self {
        let levels = source.endpoints.iter().map(|endpoint| endpoint.priority).max();
        let levels = levels.map_or(0, |level| level.saturating_add(1));
        let factor = u64::from(source.set.overprovisioning_factor.get());
        let mut counts = Vec::new();
        let mut priorities = Vec::new();
        for level in 0..levels {
            let members: Vec<Member<'_>> = (0..)
                .zip(source.endpoints)
                .filter(|(_, endpoint)| endpoint.priority == level && belongs(endpoint))
                .map(|(place, endpoint)| Member::new(place, endpoint))
                .collect();
            counts.push(Counts {
                all: count(&members, |_| true),
                healthy: count(&members, |member| member.health == Some(Availability::Healthy)),
                degraded: count(&members, |member| member.health == Some(Availability::Degraded)),
            });
            priorities.push(PriorityView::compile(source, &members, factor));
        }
        let loads = Priorities::new(&counts, &counts, factor, source.cluster.panic_threshold);
        Self { loads, priorities }
    }

    /// Whether there is no instance at all.
    pub(super) fn is_empty(&self) -> bool {
        self.priorities.iter().all(|priority| priority.all.is_empty())
    }

    /// An instance, and whether its health did not count.
    pub(super) fn choose(
        &self,
        choice: &Choice<'_>,
        draw: &mut dyn FnMut() -> u64,
    ) -> Option<(u32, bool)> {
        // A client with a hash stays at its priority, too.
        let level = choice.hash.unwrap_or_else(&mut *draw);
        let (level, availability) = self.loads.choose(level, choice.tried_priorities)?;
        let priority = self.priorities.get(level)?;
        let (group, places) = match availability {
            Availability::Healthy => (priority.healthy.as_ref(), &priority.healthy_places),
            Availability::Degraded => (&priority.degraded, &priority.degraded_places),
            Availability::All => {
                return priority.all.choose(choice, draw).map(|place| (place, true));
            }
        };
        let place = match places.as_slice() {
            [] => None,
            places => share::by_weight(places, |(weight, _)| *weight, draw()),
        };
        let group = place.map_or(group, |(_, group)| group);
        group.choose(choice, draw).map(|place| (place, false))
    }
}

fn count(members: &[Member<'_>], keep: impl Fn(&Member<'_>) -> bool) -> u64 {
    u64::try_from(members.iter().filter(|member| keep(member)).count()).unwrap_or(u64::MAX)
}

struct Member<'a> {
    place: u32,
    weight: u64,
    /// None: it takes no traffic.
    health: Option<Availability>,
    locality: &'a Locality,
    locality_weight: Option<NonZeroU32>,
}

impl<'a> Member<'a> {
    fn new(place: u32, endpoint: &'a BalancedEndpoint) -> Self {
        let health = match endpoint.endpoint.health {
            _ if endpoint.state.is_ejected() => None,
            HealthStatus::Unknown | HealthStatus::Healthy => Some(Availability::Healthy),
            HealthStatus::Degraded => Some(Availability::Degraded),
            HealthStatus::Unhealthy | HealthStatus::Draining => None,
        };
        Self {
            place,
            weight: u64::from(endpoint.endpoint.weight.get()),
            health,
            locality: &endpoint.locality,
            locality_weight: endpoint.locality_weight,
        }
    }
}

impl PriorityView {
    fn compile(source: Source<'_>, members: &[Member<'_>], factor: u64) -> Self {
        let pool = Pool { source, members, factor };
        let healthy = pool.healthy(Availability::Healthy);
        let degraded = pool.healthy(Availability::Degraded);
        let able = |member: &Member<'_>| member.health == Some(Availability::Healthy);
        let whole = Arc::new(pool.group(&able));
        // Usually all are healthy; tables for consistent balancing are large.
        let all_able = members.iter().all(able);
        let all = if all_able { Arc::clone(&whole) } else { Arc::new(pool.group(&|_| true)) };
        Self {
            all,
            healthy: whole,
            degraded: pool.group(&|member| member.health == Some(Availability::Degraded)),
            healthy_places: healthy,
            degraded_places: degraded,
        }
    }
}

/// The instances of one priority.
struct Pool<'a> {
    source: Source<'a>,
    members: &'a [Member<'a>],
    factor: u64,
}

impl Pool<'_> {
    fn group(&self, keep: &dyn Fn(&Member<'_>) -> bool) -> Group {
        let cluster = self.source.cluster;
        // On a ring or in a table, places share by the weights of their members.
        let by_place = cluster.localities == LocalityBalancing::Weighted && hashes(&cluster.lb);
        let kept: Vec<&Member<'_>> = self.members.iter().filter(|member| keep(member)).collect();
        let weight = |member: &Member<'_>| {
            if !by_place {
                return member.weight;
            }
            let here = kept.iter().filter(|other| other.locality == member.locality);
            let sum: u64 = here.map(|other| other.weight).sum();
            let place = member.locality_weight.map_or(0, |weight| u64::from(weight.get()));
            let share = place.saturating_mul(1 << 16).saturating_mul(member.weight);
            share.checked_div(sum).unwrap_or_default()
        };
        let weighted: Vec<(u32, u64)> =
            kept.iter().map(|member| (member.place, weight(member))).collect();
        Group::compile(&weighted, self.source.endpoints, &cluster.lb, self.source.seed)
    }

    /// Places with their effective weight, and their instances of this health.
    fn healthy(&self, health: Availability) -> Vec<(u64, Group)> {
        let cluster = self.source.cluster;
        if cluster.localities != LocalityBalancing::Weighted || hashes(&cluster.lb) {
            return Vec::new();
        }
        let mut firsts: Vec<&Member<'_>> = Vec::new();
        for member in self.members {
            if !firsts.iter().any(|other| other.locality == member.locality) {
                firsts.push(member);
            }
        }
        let compile = |first: &&Member<'_>| {
            let here = |member: &Member<'_>| member.locality == first.locality;
            let able = |member: &Member<'_>| here(member) && member.health == Some(health);
            let available = self
                .factor
                .saturating_mul(count(self.members, able))
                .checked_div(count(self.members, here))
                .unwrap_or_default()
                .min(100);
            let weight = first.locality_weight.map_or(0, |weight| u64::from(weight.get()));
            (weight.saturating_mul(available), self.group(&able))
        };
        firsts.iter().map(compile).filter(|(weight, _)| *weight > 0).collect()
    }
}
