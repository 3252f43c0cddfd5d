//! Health, priorities and places.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use iako_proxy_config::{
    Cluster, Discovery, EndpointSet, HealthStatus, LbPolicy, LocalityBalancing, LocalityEndpoints,
    ZoneAware,
};
use iako_traffic::{Balancer, ClusterState, Neighbourhood, PickNotes, PickRequest, Setting};
use iako_types::{Locality, Percent};

use crate::rig::*;

// Cases up-panic-50, up-nopanic-75, up-priority, up-degraded, up-unhealthy; fact 17.
#[test]
fn health_decides_until_too_little_is_left() {
    use HealthStatus::{Degraded, Healthy, Unhealthy};
    let turns = |endpoints: &[(u16, HealthStatus)]| {
        Rig::new(LbPolicy::RoundRobin(None), vec![sick(endpoints)])
    };
    let mut panic = turns(&[(0, Healthy), (1, Unhealthy), (2, Unhealthy), (3, Unhealthy)]);
    assert_eq!(panic.shares(40), BTreeMap::from([(1, 10), (2, 10), (3, 10), (4, 10)]));
    let panicking = panic.pick(&PickRequest::default(), Duration::ZERO).unwrap();
    assert!(panicking.notes.has(PickNotes::PANIC));
    let mut calm = turns(&[(0, Healthy), (1, Healthy), (2, Healthy), (3, Unhealthy)]);
    assert_eq!(calm.shares(30), BTreeMap::from([(1, 10), (2, 10), (3, 10)]));
    let down = vec![sick(&[(0, Unhealthy)])];
    let mut strict = Rig::with(LbPolicy::RoundRobin(None), down, |cluster, _| {
        cluster.panic_threshold = Percent::ZERO;
    });
    assert_eq!(strict.number(&PickRequest::default()), 0);
    let priorities = vec![sick(&[(0, Healthy), (1, Unhealthy)]), sick(&[(2, Healthy)])];
    let shares = Rig::new(LbPolicy::RoundRobin(None), priorities).shares(10_000);
    assert!((6_700..7_300).contains(&shares[&1]), "{shares:?}");
    assert_eq!(shares[&1] + shares[&3], 10_000);
    let shares = turns(&[(0, Healthy), (1, Degraded)]).shares(10_000);
    assert!((6_700..7_300).contains(&shares[&1]), "{shares:?}");
}

#[test]
fn places_share_by_their_weights() {
    let mut rig = Rig::with(LbPolicy::Random, vec![], |cluster, set| {
        cluster.localities = LocalityBalancing::Weighted;
        set.localities = [(0, 80), (1, 20)]
            .map(|(number, weight)| LocalityEndpoints {
                locality: format!("region/{number}").parse().unwrap(),
                weight: NonZeroU32::new(weight),
                endpoints: vec![endpoint(number)],
                ..Default::default()
            })
            .into();
    });
    let shares = rig.shares(10_000);
    assert!((7_700..8_300).contains(&shares[&1]), "{shares:?}");
}

#[test]
fn places_take_turns_by_their_weights_and_by_what_is_left_of_them() {
    let mut rig = Rig::with(LbPolicy::RoundRobin(None), vec![], |cluster, set| {
        cluster.localities = LocalityBalancing::Weighted;
        set.localities = places(&[("r/a", 3, 2), ("r/b", 1, 2)]);
    });
    assert_eq!(rig.shares(80), BTreeMap::from([(1, 30), (2, 30), (3, 10), (4, 10)]));
    let mut rig = Rig::with(LbPolicy::RoundRobin(None), vec![], |cluster, set| {
        cluster.localities = LocalityBalancing::Weighted;
        set.localities = places(&[("r/a", 1, 2), ("r/b", 1, 2)]);
        set.localities[0].endpoints[0].health = HealthStatus::Unhealthy;
    });
    // Half of the first place is left: 70 against 100.
    let shares = rig.shares(1_700);
    assert_eq!((shares[&2], shares[&3] + shares[&4]), (700, 1_000));
}

#[test]
fn near_instances_come_first_where_the_proxy_knows_its_own_kind() {
    let far = |own: &str, peers: &[(&str, u32, u16)]| {
        let start = Rig::new(LbPolicy::Random, vec![]).start;
        let neighbourhood = Neighbourhood::new(own.parse().unwrap(), 0);
        neighbourhood.set_peers(&EndpointSet::new("local", places(peers)));
        let cluster = Cluster::new("be", Discovery::Eds("be".into()));
        let set = EndpointSet::new("be", places(&[("r/a", 0, 3), ("r/b", 0, 3)]));
        let state = ClusterState::new(start);
        let setting = Setting { neighbourhood, seed: 0, now: start };
        let balancer = Balancer::new(Arc::new(cluster), Arc::new(set), Arc::clone(&state), setting);
        let mut rig = Rig { balancer, state, start, chance: 1 };
        let shares = rig.shares(3_000);
        (4..=6).map(|number| shares.get(&number).copied().unwrap_or_default()).sum::<u32>()
    };
    assert_eq!(far("r/a", &[("r/a", 0, 1), ("r/b", 0, 1)]), 0);
    assert_eq!(far("r/b", &[("r/a", 0, 1), ("r/b", 0, 1)]), 3_000);
    // Three quarters of the proxies are here, but half of the instances.
    let crossing = far("r/a", &[("r/a", 0, 3), ("r/b", 0, 1)]);
    assert!((900..1_100).contains(&crossing), "a third has to go: {crossing}");
    assert_eq!(far("r/c", &[("r/a", 0, 1), ("r/b", 0, 1)]), 1_500, "we are not among them");
}

#[test]
fn a_proxy_keeps_to_some_of_the_instances() {
    let used = |seed: u64, count: u16| {
        let start = Rig::new(LbPolicy::Random, vec![]).start;
        let mut cluster = Cluster::new("be", Discovery::Eds("be".into()));
        cluster.random_subset = NonZeroU32::new(3);
        let set = EndpointSet::new("be", places(&[("r/a", 0, count)]));
        let state = ClusterState::new(start);
        let neighbourhood = Neighbourhood::new(Locality::default(), seed);
        let setting = Setting { neighbourhood, seed: 0, now: start };
        let balancer = Balancer::new(Arc::new(cluster), Arc::new(set), Arc::clone(&state), setting);
        let mut rig = Rig { balancer, state, start, chance: 1 };
        rig.shares(60).into_keys().collect::<Vec<_>>()
    };
    assert_eq!((used(1, 30).len(), used(1, 30)), (3, used(1, 30)));
    assert_ne!(used(1, 30), used(2, 30));
    let kept = used(1, 31).into_iter().filter(|one| used(1, 30).contains(one)).count();
    assert!(kept >= 2, "one more instance changes at most one");
}

#[test]
fn health_may_be_measured_by_weights() {
    let shares = |weighted_health| {
        let mut first = weighted(&[9, 1]);
        first[0].health = HealthStatus::Unhealthy;
        let priorities = vec![first, vec![endpoint(2)]];
        let mut rig = Rig::with(LbPolicy::RoundRobin(None), priorities, |cluster, set| {
            set.weighted_health = weighted_health;
            cluster.panic_threshold = Percent::ZERO;
        });
        rig.shares(1_000).get(&2).copied().unwrap_or_default()
    };
    assert!((630..770).contains(&shares(false)), "70 of a hundred: {}", shares(false));
    assert!((90..190).contains(&shares(true)), "14 of a hundred: {}", shares(true));
}

#[test]
fn traffic_fails_on_panic_when_asked() {
    use HealthStatus::{Healthy, Unhealthy};
    let hosts = vec![sick(&[(0, Healthy), (1, Unhealthy), (2, Unhealthy)])];
    let mut rig = Rig::with(LbPolicy::RoundRobin(None), hosts, |cluster, _| {
        cluster.localities =
            LocalityBalancing::ZoneAware(ZoneAware { fail_on_panic: true, ..ZoneAware::default() });
    });
    assert_eq!(rig.number(&PickRequest::default()), 0);
}
