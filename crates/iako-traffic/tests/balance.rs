//! Choices of instances, as Envoy was seen to make them and by their shares.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may be blunt, also outside of the test functions"
)]

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::{Duration, Instant},
};

use iako_proxy_config::{
    Cluster, ConsistentHashing, Discovery, Endpoint, EndpointSet, HashFunction, HealthStatus,
    LbPolicy, LeastRequest, LocalityBalancing, LocalityEndpoints, MaglevTable, OutlierDetection,
    RingHash, SubsetFallback, SubsetSelection, SubsetSelector,
};
use iako_traffic::{Balancer, ClusterState, EjectionCause, Outcome, Pick, PickRequest};
use iako_types::Percent;
use proptest::prelude::*;
use xxhash_rust::xxh64::xxh64;

const FIRST_PORT: u16 = 22001;

fn endpoint(number: u16) -> Endpoint {
    Endpoint::at(([127, 0, 0, 1], FIRST_PORT + number).into())
}

fn weighted(weights: &[u32]) -> Vec<Endpoint> {
    let weight = |(number, weight): (u16, &u32)| Endpoint {
        weight: NonZeroU32::new(*weight).unwrap(),
        ..endpoint(number)
    };
    (0..).zip(weights).map(weight).collect()
}

fn sick(numbers: &[(u16, HealthStatus)]) -> Vec<Endpoint> {
    let health =
        |(number, health): &(u16, HealthStatus)| Endpoint { health: *health, ..endpoint(*number) };
    numbers.iter().map(health).collect()
}

/// A balancer with the endpoints of each priority.
struct Rig {
    balancer: Balancer,
    state: Arc<ClusterState>,
    start: Instant,
    chance: u64,
}

impl Rig {
    fn new(lb: LbPolicy, priorities: Vec<Vec<Endpoint>>) -> Self {
        Self::with(lb, priorities, |_, _| {})
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made up; only its distance counts"
    )]
    fn with(
        lb: LbPolicy,
        priorities: Vec<Vec<Endpoint>>,
        change: impl FnOnce(&mut Cluster, &mut EndpointSet),
    ) -> Self {
        let places = (0..).zip(priorities);
        let place =
            |(priority, endpoints)| LocalityEndpoints { priority, endpoints, ..Default::default() };
        let mut set = EndpointSet::new("be", places.map(place).collect());
        let mut cluster = Cluster { lb, ..Cluster::new("be", Discovery::Eds("be".to_owned())) };
        change(&mut cluster, &mut set);
        let start = Instant::now();
        let state = ClusterState::new(start);
        let balancer = Balancer::new(Arc::new(cluster), Arc::new(set), Arc::clone(&state), 0);
        Self { balancer, state, start, chance: 1 }
    }

    fn pick(&mut self, request: &PickRequest<'_>, after: Duration) -> Option<Pick<'_>> {
        let chance = &mut self.chance;
        let mut draw = || {
            // SplitMix64: well spread, and the same in every run.
            *chance = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (*chance ^ (*chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        self.balancer.pick(request, self.start + after, &mut draw)
    }

    /// The number of the chosen instance, from 1; 0 for none.
    fn number(&mut self, request: &PickRequest<'_>) -> u32 {
        self.pick(request, Duration::ZERO).map_or(0, |pick| pick.place + 1)
    }

    fn numbers(&mut self, count: usize) -> String {
        (0..count).map(|_| self.number(&PickRequest::default()).to_string()).collect()
    }

    fn shares(&mut self, count: u32) -> BTreeMap<u32, u32> {
        let mut shares = BTreeMap::new();
        for _ in 0..count {
            *shares.entry(self.number(&PickRequest::default())).or_default() += 1;
        }
        shares
    }

    fn hashed(&mut self, keys: impl Iterator<Item = String>) -> String {
        let hash = |key: String| Some(xxh64(key.as_bytes(), 0));
        let requests = keys.map(|key| PickRequest { hash: hash(key), ..Default::default() });
        requests.map(|request| self.number(&request).to_string()).collect()
    }

    fn fail(&self, place: usize, after: Duration) -> Option<iako_traffic::Ejection> {
        let endpoint = &self.balancer.endpoints()[place];
        self.balancer.record(&endpoint.state, Outcome::Response(500), self.start + after)
    }
}

fn maglev() -> LbPolicy {
    LbPolicy::Maglev(MaglevTable {
        table_size: NonZeroU64::new(65_537).unwrap(),
        hashing: ConsistentHashing::default(),
    })
}

fn ring() -> LbPolicy {
    LbPolicy::RingHash(RingHash {
        ring_size_min: NonZeroU64::new(1024).unwrap(),
        ring_size_max: NonZeroU64::new(8_388_608).unwrap(),
        function: HashFunction::XxHash,
        hashing: ConsistentHashing::default(),
    })
}

fn users(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("user-{number}"))
}

// Cases up-ringhash, up-maglev, lb-maglev-weighted, up-maglev-query: key for key.
#[test]
fn consistent_choices_are_those_of_envoy() {
    let equal = || vec![weighted(&[1, 1, 1, 1])];
    assert_eq!(
        Rig::new(ring(), equal()).hashed(users(40)),
        "4122142121223233444242121434113324111334"
    );
    assert_eq!(
        Rig::new(maglev(), equal()).hashed(users(40)),
        "4233341223133331443332112342114143444244"
    );
    assert_eq!(
        Rig::new(maglev(), vec![weighted(&[3, 1, 1, 1])]).hashed(users(60)),
        "421331111313333144111111114211411111421114111111111114412321"
    );
    let numbers = (0..6_u32).map(|number| number.to_string());
    assert_eq!(Rig::new(maglev(), equal()).hashed(numbers), "422212");
    assert_eq!(Rig::new(maglev(), equal()).hashed(["127.0.0.1".to_owned()].into_iter()), "1");
}

// Case up-rr: A A B C for ever, from some turn on.
#[test]
fn weighted_turns_are_those_of_envoy() {
    let mut rig = Rig::new(LbPolicy::RoundRobin(None), vec![weighted(&[2, 1, 1])]);
    assert_eq!(rig.numbers(12), "123112311231");
}

// Cases up-panic-50, up-nopanic-75, up-priority, up-degraded, up-unhealthy; fact 17.
#[test]
fn health_decides_until_too_little_is_left() {
    use HealthStatus::{Degraded, Healthy, Unhealthy};
    let turns = |endpoints: &[(u16, HealthStatus)]| {
        Rig::new(LbPolicy::RoundRobin(None), vec![sick(endpoints)])
    };
    let mut panic = turns(&[(0, Healthy), (1, Unhealthy), (2, Unhealthy), (3, Unhealthy)]);
    assert_eq!(panic.shares(40), BTreeMap::from([(1, 10), (2, 10), (3, 10), (4, 10)]));
    assert!(panic.pick(&PickRequest::default(), Duration::ZERO).unwrap().panic);
    let mut calm = turns(&[(0, Healthy), (1, Healthy), (2, Healthy), (3, Unhealthy)]);
    assert_eq!(calm.shares(30), BTreeMap::from([(1, 10), (2, 10), (3, 10)]));
    let down = vec![sick(&[(0, Unhealthy)])];
    let mut strict = Rig::with(LbPolicy::RoundRobin(None), down, |cluster, _| {
        cluster.panic_threshold = Percent::ZERO
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

// Case up-subset; fact 18.
#[test]
fn a_subset_without_instances_has_no_healthy_upstream() {
    let versions = |fallback| {
        let endpoints = ["v1", "v2"].into_iter().zip(0..).map(|(version, number)| {
            let mut endpoint = endpoint(number);
            endpoint.metadata.lb.insert("version".to_owned(), version.to_owned());
            endpoint
        });
        Rig::with(LbPolicy::RoundRobin(None), vec![endpoints.collect()], |cluster, _| {
            cluster.subsets = Some(SubsetSelection {
                selectors: vec![SubsetSelector::new(["version"])],
                fallback,
                default_subset: BTreeMap::from([("version".to_owned(), "v1".to_owned())]),
                ..SubsetSelection::default()
            });
        })
    };
    let asked = |version: &str| [("version".to_owned(), version.to_owned())];
    let (v2, v9) = (asked("v2"), asked("v9"));
    let (v2, v9) = (
        PickRequest { subset: &v2, ..Default::default() },
        PickRequest { subset: &v9, ..Default::default() },
    );
    let mut strict = versions(SubsetFallback::None);
    assert_eq!((strict.number(&v2), strict.number(&v2), strict.number(&v9)), (2, 2, 0));
    assert_ne!(versions(SubsetFallback::AnyEndpoint).number(&v9), 0);
    assert_eq!(versions(SubsetFallback::Default).number(&v9), 1);
}

#[test]
fn the_less_busy_instance_is_taken() {
    let least = LbPolicy::LeastRequest(LeastRequest::default());
    let mut rig = Rig::new(least, vec![weighted(&[1, 1])]);
    let busy = Arc::clone(&rig.balancer.endpoints()[0].state);
    let guards: Vec<_> = (0..5).map(|_| busy.begin()).collect();
    let shares = rig.shares(1_000);
    // Both draws fall on the busy one in a quarter of the choices.
    assert!(shares[&2] > 700, "{shares:?}");
    drop(guards);
    assert_eq!(busy.active_requests(), 0);
}

#[test]
fn a_retry_takes_another_instance_while_there_is_one() {
    for lb in [
        LbPolicy::RoundRobin(None),
        LbPolicy::Random,
        ring(),
        maglev(),
        LbPolicy::LeastRequest(LeastRequest::default()),
    ] {
        let mut rig = Rig::new(lb, vec![weighted(&[1, 1, 1])]);
        for hash in 0..50_u64 {
            let request =
                PickRequest { hash: Some(hash << 58), excluded: &[0, 2], ..Default::default() };
            assert_eq!(rig.number(&request), 2);
        }
        let all = PickRequest { excluded: &[0, 1, 2], ..Default::default() };
        assert_ne!(rig.number(&all), 0);
    }
}

fn outliers(change: impl FnOnce(&mut OutlierDetection)) -> Rig {
    let mut policy = OutlierDetection { consecutive_5xx: NonZeroU32::new(3), ..Default::default() };
    change(&mut policy);
    Rig::with(LbPolicy::RoundRobin(None), vec![weighted(&[1, 1, 1])], |cluster, _| {
        cluster.outlier_detection = Some(policy);
        cluster.panic_threshold = Percent::ZERO;
    })
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

// Case outlier-5xx; fact 18.
#[test]
fn an_instance_that_fails_is_set_aside_and_comes_back() {
    let mut rig = outliers(|_| {});
    assert_eq!((rig.fail(0, seconds(0)), rig.fail(0, seconds(0))), (None, None));
    let ejection = rig.fail(0, seconds(0)).unwrap();
    assert_eq!((ejection.cause, ejection.duration), (EjectionCause::Consecutive5xx, seconds(30)));
    assert_eq!(rig.shares(30).get(&1), None);
    assert_eq!(rig.balancer.available(), 2);
    // One of three is more than ten percent, but one is always allowed; a second is not.
    assert_eq!((0..5).filter_map(|_| rig.fail(1, seconds(1))).count(), 0);
    let comes = |rig: &mut Rig, after| {
        let mut picks = (0..6).map(|_| rig.pick(&PickRequest::default(), after).unwrap().place);
        picks.any(|place| place == 0)
    };
    assert!(!comes(&mut rig, seconds(29)));
    assert!(comes(&mut rig, seconds(41)));
    for _ in 0..2 {
        assert_eq!(rig.fail(0, seconds(42)), None);
    }
    assert_eq!(rig.fail(0, seconds(42)).unwrap().duration, seconds(60), "twice as long");
}

#[test]
fn a_good_answer_begins_the_count_anew() {
    let rig = outliers(|_| {});
    for _ in 0..5 {
        assert_eq!((rig.fail(0, seconds(0)), rig.fail(0, seconds(0))), (None, None));
        let state = &rig.balancer.endpoints()[0].state;
        assert_eq!(rig.balancer.record(state, Outcome::Response(404), rig.start), None);
    }
}

#[test]
fn failures_to_reach_an_instance_count_as_its_own_unless_split() {
    let record = |rig: &Rig, outcome| {
        rig.balancer.record(&rig.balancer.endpoints()[0].state, outcome, rig.start)
    };
    let rig = outliers(|_| {});
    assert_eq!(record(&rig, Outcome::LocalFailure), None);
    assert_eq!(record(&rig, Outcome::Timeout), None);
    assert!(record(&rig, Outcome::LocalFailure).is_some());
    let rig = outliers(|policy| policy.split_local_origin = true);
    assert!((0..4).all(|_| record(&rig, Outcome::LocalFailure).is_none()));
    let ejection = record(&rig, Outcome::LocalFailure).unwrap();
    assert_eq!(ejection.cause, EjectionCause::ConsecutiveLocalOriginFailure);
}

#[test]
fn live_numbers_survive_a_change_of_configuration() {
    let mut rig = outliers(|_| {});
    let guard = rig.balancer.endpoints()[0].state.begin();
    for _ in 0..3 {
        let _ejection = rig.fail(0, seconds(0));
    }
    let cluster = Arc::clone(rig.balancer.cluster());
    let places = vec![LocalityEndpoints { endpoints: weighted(&[1, 5]), ..Default::default() }];
    let set = Arc::new(EndpointSet::new("be", places));
    rig.balancer = Balancer::new(cluster, set, Arc::clone(&rig.state), 7);
    let state = &rig.balancer.endpoints()[0].state;
    assert!(state.is_ejected() && state.active_requests() == 1);
    assert_eq!(rig.shares(10), BTreeMap::from([(2, 10)]));
    drop(guard);
}

proptest! {
    #[test]
    fn shares_match_weights(weights in proptest::collection::vec(1_u32..20, 1..6)) {
        let sum: u32 = weights.iter().sum();
        let mut turns = Rig::new(LbPolicy::RoundRobin(None), vec![weighted(&weights)]).shares(sum);
        let exact: BTreeMap<u32, u32> = (1..).zip(weights.iter().copied()).collect();
        prop_assert_eq!(&turns, &exact);
        for lb in [LbPolicy::Random, LbPolicy::LeastRequest(LeastRequest::default())] {
            turns = Rig::new(lb, vec![weighted(&weights)]).shares(4_000);
            for (number, weight) in &exact {
                let expected = f64::from(*weight) / f64::from(sum) * 4_000.0;
                let found = f64::from(turns.get(number).copied().unwrap_or_default());
                prop_assert!((found - expected).abs() < 200.0, "{number}: {found} for {expected}");
            }
        }
    }
}
