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
    ClientWeighted, Cluster, ConsistentHashing, Discovery, Endpoint, EndpointSet,
    FailurePercentage, HashFunction, HealthStatus, LbPolicy, LeastRequest, LoadReport,
    LocalityBalancing, LocalityEndpoints, MaglevTable, OutlierDetection, OverrideStatuses,
    PeakEwma, PickFirst, RingHash, SelectorFallback, SlowStart, SubsetFallback, SubsetSelection,
    SubsetSelector, SuccessRate, ZoneAware,
};
use iako_traffic::{
    Balancer, ClusterState, Condition, EjectionCause, EjectionEffect, Neighbourhood, Outcome, Pick,
    PickNotes, PickRequest, Setting,
};
use iako_types::{Locality, Percent};
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

/// How an outlier was found, and for how many seconds it is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found(EjectionCause, Result<u64, &'static str>);

impl Found {
    fn of(ejection: iako_traffic::Ejection) -> Self {
        let effect = match ejection.effect {
            EjectionEffect::Enforced { duration, .. } => Ok(duration.as_secs()),
            EjectionEffect::NotEnforced => Err("not enforced"),
            EjectionEffect::Overflow => Err("overflow"),
        };
        Self(ejection.cause, effect)
    }
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
        let mut cluster = Cluster { lb, ..Cluster::new("be", Discovery::Eds("be".into())) };
        change(&mut cluster, &mut set);
        let start = Instant::now();
        let state = ClusterState::new(start);
        let balancer =
            Balancer::new(Arc::new(cluster), Arc::new(set), Arc::clone(&state), setting(start));
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

    /// An answer of an instance; why it is an outlier now, and for how long it is set aside.
    fn answer(&self, place: usize, outcome: Outcome, after: Duration) -> Vec<Found> {
        let state = &self.balancer.endpoints()[place].state;
        let found = self.balancer.record(state, outcome, self.start + after, &mut || 0.5);
        found.into_iter().flatten().map(Found::of).collect()
    }

    fn fail(&self, place: usize, after: Duration) -> Vec<Found> {
        self.answer(place, Outcome::Response(500), after)
    }

    /// What a look at all instances finds: who came back, and who is an outlier.
    fn look(&self, after: Duration) -> (Vec<usize>, Vec<(usize, Found)>) {
        let look = self.balancer.look(self.start + after, &mut || 0.5);
        let found = look.ejections.iter().map(|(place, one, _)| (*place, Found::of(*one)));
        (look.returns.iter().map(|one| one.place).collect(), found.collect())
    }
}

fn setting(now: Instant) -> Setting {
    Setting { neighbourhood: Neighbourhood::new(Locality::default(), 0), seed: 0, now }
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
    let panicking = panic.pick(&PickRequest::default(), Duration::ZERO).unwrap();
    assert!(panicking.notes.has(PickNotes::PANIC));
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

#[test]
fn weights_do_not_count_by_chance() {
    let shares = Rig::new(LbPolicy::Random, vec![weighted(&[9, 1])]).shares(2_000);
    assert!((850..1_150).contains(&shares[&1]), "{shares:?}");
}

#[test]
fn open_requests_lower_a_weight() {
    let policy = |bias| {
        let policy = LeastRequest { active_request_bias: bias, ..LeastRequest::default() };
        Rig::new(LbPolicy::LeastRequest(policy), vec![weighted(&[2, 1])])
    };
    let shares = |bias| {
        let mut rig = policy(bias);
        let busy = Arc::clone(&rig.balancer.endpoints()[0].state);
        let _open: Vec<_> = (0..3).map(|_| busy.begin()).collect();
        rig.shares(300)
    };
    // 2 / (3 + 1) against 1: every third; without a bias the weights alone.
    let near = |found: u32, wanted: u32| found.abs_diff(wanted) <= 2;
    assert!(near(shares(1.0)[&1], 100) && near(shares(0.0)[&1], 200));
    assert!(near(shares(0.5)[&1], 150), "2 / 2 against 1");
}

#[test]
fn a_full_scan_finds_the_least_busy_of_all() {
    let policy = LeastRequest { full_scan: true, ..LeastRequest::default() };
    let mut rig = Rig::new(LbPolicy::LeastRequest(policy), vec![weighted(&[1; 9])]);
    let busy: Vec<_> = rig.balancer.endpoints().iter().map(|one| Arc::clone(&one.state)).collect();
    let _open: Vec<_> = busy.iter().skip(2).map(|state| state.begin()).collect();
    let shares = rig.shares(2_000);
    assert_eq!(shares.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert!((850..1_150).contains(&shares[&1]), "equals share: {shares:?}");
}

#[test]
fn a_new_instance_begins_slowly_beside_an_old_one() {
    for lb in [
        LbPolicy::RoundRobin(Some(SlowStart::new(seconds(100)))),
        LbPolicy::LeastRequest(LeastRequest {
            slow_start: Some(SlowStart::new(seconds(100))),
            ..LeastRequest::default()
        }),
    ] {
        let mut rig = Rig::new(lb, vec![weighted(&[1])]);
        let later = rig.start + seconds(1_000);
        let set = EndpointSet::new(
            "be",
            vec![LocalityEndpoints { endpoints: weighted(&[1, 1]), ..Default::default() }],
        );
        let cluster = Arc::clone(rig.balancer.cluster());
        rig.balancer =
            Balancer::new(cluster, Arc::new(set), Arc::clone(&rig.state), setting(later));
        let new = |rig: &mut Rig, after: u64| {
            let places = (0..1_000)
                .map(|_| rig.pick(&PickRequest::default(), seconds(1_000 + after)).unwrap().place);
            places.filter(|place| *place == 1).count()
        };
        // A part of the weight against a whole one.
        assert!((85..=95).contains(&new(&mut rig, 1)), "a tenth at the beginning");
        assert!((320..=345).contains(&new(&mut rig, 50)), "half of its weight");
        assert!((450..=550).contains(&new(&mut rig, 200)), "all of it in the end");
    }
}

fn places(counts: &[(&str, u32, u16)]) -> Vec<LocalityEndpoints> {
    let mut number = 0;
    let place = |(name, weight, count): &(&str, u32, u16)| {
        let own = number..number + count;
        number += count;
        LocalityEndpoints {
            locality: name.parse().unwrap(),
            weight: NonZeroU32::new(*weight),
            endpoints: own.map(endpoint).collect(),
            ..Default::default()
        }
    };
    counts.iter().map(place).collect()
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
fn reports_make_weights() {
    let policy = ClientWeighted { blackout: Duration::ZERO, ..ClientWeighted::default() };
    let lb = LbPolicy::ClientWeighted(Box::new(policy));
    let mut rig = Rig::new(lb, vec![weighted(&[1, 1, 1])]);
    assert_eq!(rig.shares(30), BTreeMap::from([(1, 10), (2, 10), (3, 10)]));
    for (place, utilization) in [(0, 0.1), (1, 0.3)] {
        let report = LoadReport {
            rps_fractional: 30.0,
            application_utilization: utilization,
            ..LoadReport::default()
        };
        let state = &rig.balancer.endpoints()[place].state;
        rig.balancer.reported(state, &report, rig.start + seconds(1));
    }
    let mut shares = BTreeMap::<u32, u32>::new();
    for _ in 0..700 {
        let place = rig.pick(&PickRequest::default(), seconds(2)).unwrap().place;
        *shares.entry(place).or_default() += 1;
    }
    // 300, 100, and for the silent one the greater of the two in the middle.
    assert_eq!(shares, BTreeMap::from([(0, 300), (1, 100), (2, 300)]));
}

#[test]
fn the_faster_instance_is_taken() {
    let mut rig = Rig::new(LbPolicy::PeakEwma(PeakEwma::default()), vec![weighted(&[1, 1, 1])]);
    for (one, millis) in rig.balancer.endpoints().iter().zip([5, 50, 60]) {
        rig.balancer.answered(&one.state, Duration::from_millis(millis), rig.start);
    }
    let shares = rig.shares(3_000);
    // Two of three pairs have the first; the third is never the faster one.
    assert!((1_850..2_150).contains(&shares[&1]) && !shares.contains_key(&3), "{shares:?}");
}

#[test]
fn the_first_that_serves_is_taken() {
    use HealthStatus::{Healthy, Unhealthy};
    let first = |shuffle| LbPolicy::PickFirst(PickFirst { shuffle });
    let hosts = || vec![sick(&[(0, Unhealthy), (1, Healthy), (2, Healthy)])];
    let mut rig = Rig::new(first(false), hosts());
    assert_eq!(rig.shares(9), BTreeMap::from([(2, 9)]));
    let request = PickRequest { excluded: &[1], ..Default::default() };
    assert_eq!(rig.number(&request), 3);
    assert_eq!(Rig::new(first(true), hosts()).shares(9).len(), 1, "an order of one's own");
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
fn an_overloaded_owner_passes_requests_on() {
    let bounded = LbPolicy::Maglev(MaglevTable {
        table_size: NonZeroU64::new(65_537).unwrap(),
        hashing: ConsistentHashing {
            balance_factor: NonZeroU32::new(150),
            ..ConsistentHashing::default()
        },
    });
    let mut rig = Rig::new(bounded, vec![weighted(&[1, 1, 1, 1])]);
    let request = PickRequest { hash: Some(7), ..Default::default() };
    let owner = rig.number(&request);
    let state = Arc::clone(&rig.balancer.endpoints()[owner as usize - 1].state);
    let open: Vec<_> = (0..8).map(|_| state.begin()).collect();
    let other = rig.number(&request);
    assert_ne!(other, owner);
    assert_eq!(rig.number(&request), other, "always the same other one");
    drop(open);
    assert_eq!(rig.number(&request), owner);
}

#[test]
fn hashes_use_what_is_configured_as_the_key_of_an_instance() {
    let keyed = |key: fn(&mut Endpoint, u16), use_hostname| {
        let endpoints = (0..4).map(|number| {
            let mut endpoint = endpoint(number + 100);
            key(&mut endpoint, number);
            endpoint
        });
        let hashing = ConsistentHashing { use_hostname, ..ConsistentHashing::default() };
        let table_size = NonZeroU64::new(65_537).unwrap();
        let lb = LbPolicy::Maglev(MaglevTable { table_size, hashing });
        Rig::new(lb, vec![endpoints.collect()]).hashed(users(40))
    };
    let name = |number: u16| format!("127.0.0.1:{}", FIRST_PORT + number);
    let same = "4233341223133331443332112342114143444244";
    assert_eq!(keyed(|one, number| one.hostname = name_of(number), true), same);
    assert_ne!(keyed(|one, number| one.hostname = name_of(number), false), same);
    let by_metadata = keyed(
        |one, number| {
            one.metadata.lb.insert("hash_key".to_owned(), name_of(number));
        },
        false,
    );
    assert_eq!((by_metadata.as_str(), name(0)), (same, name_of(0)));
}

fn name_of(number: u16) -> String {
    format!("127.0.0.1:{}", FIRST_PORT + number)
}

fn labelled(labels: &[&[(&str, &str)]]) -> Vec<Endpoint> {
    let one = |(number, labels): (u16, &&[(&str, &str)])| {
        let mut endpoint = endpoint(number);
        let pairs = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        endpoint.metadata.lb = pairs.collect();
        endpoint
    };
    (0..).zip(labels).map(one).collect()
}

fn subset_rig(endpoints: Vec<Endpoint>, selection: SubsetSelection) -> Rig {
    Rig::with(LbPolicy::RoundRobin(None), vec![endpoints], |cluster, _| {
        cluster.subsets = Some(selection);
        cluster.panic_threshold = Percent::ZERO;
    })
}

/// The numbers of the instances that a request for these labels goes to.
fn asked(rig: &mut Rig, labels: &[(&str, &str)]) -> Vec<u32> {
    let subset: Vec<(String, String)> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let request = PickRequest { subset: &subset, ..Default::default() };
    let mut numbers: Vec<u32> = (0..12).map(|_| rig.number(&request)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[test]
fn each_selector_has_its_own_fallback() {
    let endpoints = || {
        labelled(&[
            &[("v", "1"), ("stage", "prod")],
            &[("v", "2"), ("stage", "prod")],
            &[("v", "1"), ("stage", "test")],
        ])
    };
    let falling = |keys: &[&str], fallback| SubsetSelector {
        fallback: Some(fallback),
        ..SubsetSelector::new(keys.iter().copied())
    };
    let selection = SubsetSelection {
        selectors: vec![
            falling(&["v", "stage"], SelectorFallback::Keys(vec!["v".to_owned()])),
            falling(&["v"], SelectorFallback::Default),
            falling(&["stage"], SelectorFallback::Any),
            falling(&["none"], SelectorFallback::None),
        ],
        fallback: SubsetFallback::None,
        default_subset: BTreeMap::from([("stage".to_owned(), "test".to_owned())]),
        ..SubsetSelection::default()
    };
    let mut rig = subset_rig(endpoints(), selection);
    assert_eq!(asked(&mut rig, &[("v", "1"), ("stage", "test")]), [3]);
    assert_eq!(asked(&mut rig, &[("v", "1"), ("stage", "none")]), [1, 3], "by the version alone");
    assert_eq!(asked(&mut rig, &[("v", "9"), ("stage", "none")]), [3], "and then the default");
    assert_eq!(asked(&mut rig, &[("stage", "none")]), [1, 2, 3]);
    assert_eq!(asked(&mut rig, &[("none", "x")]), [0]);
    assert_eq!(asked(&mut rig, &[("other", "x")]), [0], "no selector: the general fallback");
    assert_eq!(asked(&mut rig, &[]), [0]);
}

#[test]
fn subsets_may_be_one_instance_or_have_lists_or_know_fewer_keys() {
    let mut endpoints = labelled(&[&[("v", "1")], &[("v", "1")], &[]]);
    endpoints[0].health = HealthStatus::Unhealthy;
    endpoints[2].metadata.lb_lists.insert("v".to_owned(), vec!["2".to_owned(), "3".to_owned()]);
    let select = |change: fn(&mut SubsetSelection)| {
        let mut selection = SubsetSelection {
            selectors: vec![SubsetSelector::new(["v"])],
            ..SubsetSelection::default()
        };
        change(&mut selection);
        subset_rig(endpoints.clone(), selection)
    };
    let mut rig = select(|selection| selection.selectors[0].single_host = true);
    assert_eq!(asked(&mut rig, &[("v", "1")]), [1], "whatever its health");
    assert_eq!(asked(&mut rig, &[("v", "2")]), [0]);
    let mut rig = select(|selection| selection.list_as_any = true);
    assert_eq!(
        (asked(&mut rig, &[("v", "2")]), asked(&mut rig, &[("v", "3")])),
        (vec![3], vec![3])
    );
    assert_eq!(asked(&mut rig, &[("v", "1"), ("w", "1")]), [0]);
    let mut rig = select(|selection| selection.allow_redundant_keys = true);
    assert_eq!(asked(&mut rig, &[("v", "1"), ("w", "1")]), [2]);
}

#[test]
fn a_fallback_without_health_may_still_use_any() {
    let mut endpoints = labelled(&[&[("v", "1")], &[("v", "2")]]);
    endpoints[0].health = HealthStatus::Unhealthy;
    let selection = |panic_mode_any| SubsetSelection {
        selectors: vec![SubsetSelector::new(["v"])],
        fallback: SubsetFallback::Default,
        default_subset: BTreeMap::from([("v".to_owned(), "1".to_owned())]),
        panic_mode_any,
        ..SubsetSelection::default()
    };
    assert_eq!(asked(&mut subset_rig(endpoints.clone(), selection(false)), &[("v", "9")]), [0]);
    assert_eq!(asked(&mut subset_rig(endpoints, selection(true)), &[("v", "9")]), [2]);
}

#[test]
fn a_route_may_list_subsets() {
    let selection = |metadata_fallback| SubsetSelection {
        selectors: vec![SubsetSelector::new(["v"])],
        metadata_fallback,
        ..SubsetSelection::default()
    };
    let pair = |value: &str| vec![("v".to_owned(), value.to_owned())];
    let wanted = [pair("8"), pair("2"), pair("1")];
    let request = PickRequest { subset_fallbacks: &wanted, ..Default::default() };
    let endpoints = labelled(&[&[("v", "1")], &[("v", "2")]]);
    assert_eq!(subset_rig(endpoints.clone(), selection(true)).number(&request), 2);
    assert_eq!(subset_rig(endpoints, selection(false)).number(&request), 0);
}

#[test]
fn subsets_have_the_weights_of_places_only_when_asked() {
    let shares = |aware, scaled| {
        let mut rig = Rig::with(LbPolicy::RoundRobin(None), vec![], |cluster, set| {
            cluster.localities = LocalityBalancing::Weighted;
            set.localities = places(&[("r/a", 2, 2), ("r/b", 4, 4)]);
            // The subset has all of the first place, and one of four of the second.
            for one in [(0, 0), (0, 1), (1, 0)] {
                let endpoint = &mut set.localities[one.0].endpoints[one.1];
                endpoint.metadata.lb.insert("v".to_owned(), "1".to_owned());
            }
            cluster.subsets = Some(SubsetSelection {
                selectors: vec![SubsetSelector::new(["v"])],
                locality_weight_aware: aware,
                scale_locality_weight: scaled,
                ..SubsetSelection::default()
            });
        });
        let subset = [("v".to_owned(), "1".to_owned())];
        let request = PickRequest { subset: &subset, ..Default::default() };
        (0..300).filter(|_| rig.number(&request) == 3).count()
    };
    assert_eq!(shares(false, false), 100, "one of three");
    assert_eq!(shares(true, false), 200, "4 of 6");
    assert_eq!(shares(true, true), 100, "1 of 3");
}

#[test]
fn a_session_goes_to_its_instance_while_its_health_allows() {
    use HealthStatus::{Draining, Healthy, Unhealthy};
    let hosts = vec![sick(&[(0, Healthy), (1, Draining), (2, Unhealthy)])];
    let found =
        |rig: &Rig, number| rig.balancer.of_session(&name_of(number)).map(|pick| pick.place);
    let rig = Rig::new(LbPolicy::Random, hosts.clone());
    assert_eq!((found(&rig, 0), found(&rig, 1), found(&rig, 7)), (Some(0), None, None));
    assert_eq!(rig.balancer.named(&name_of(2)).map(|pick| pick.place), Some(2));
    let rig = Rig::with(LbPolicy::Random, hosts, |cluster, _| {
        cluster.override_statuses = OverrideStatuses::of([Draining]);
    });
    assert_eq!((found(&rig, 0), found(&rig, 1)), (None, Some(1)));
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

fn outliers(change: impl FnOnce(&mut OutlierDetection)) -> Rig {
    let mut policy = OutlierDetection {
        consecutive_5xx: NonZeroU32::new(3),
        ejection_max: Percent::from_whole(40).unwrap(),
        ..Default::default()
    };
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
    assert_eq!((rig.fail(0, seconds(0)), rig.fail(0, seconds(0))), (vec![], vec![]));
    let cause = EjectionCause::Consecutive5xx;
    assert_eq!(rig.fail(0, seconds(0)), [Found(cause, Ok(30))]);
    assert_eq!(rig.shares(30).get(&1), None);
    assert_eq!(rig.balancer.count(Condition::Healthy), 2);
    // A second one is more than forty percent.
    let found: Vec<_> = (0..3).flat_map(|_| rig.fail(1, seconds(1))).collect();
    assert_eq!(found, [Found(cause, Err("overflow"))]);
    assert_eq!(rig.look(seconds(29)), (vec![], vec![]));
    assert_eq!(rig.shares(30).get(&1), None);
    assert_eq!(rig.look(seconds(41)), (vec![0], vec![]));
    assert_eq!(rig.shares(30)[&1], 10);
    let twice = (0..3).flat_map(|_| rig.fail(0, seconds(42))).next();
    assert_eq!(twice, Some(Found(cause, Ok(30))), "the look forgave one");
    assert_eq!(rig.balancer.take_back(0, rig.start + seconds(43)).unwrap().times, 2);
    let longer = (0..3).flat_map(|_| rig.fail(0, seconds(44))).next();
    assert_eq!(longer, Some(Found(cause, Ok(60))), "nobody looked in between");
}

#[test]
fn the_limit_of_ejections_holds_for_the_first_one_too_unless_one_is_always_allowed() {
    let thirds = |policy: &mut OutlierDetection| {
        policy.ejection_max = Percent::from_whole(10).unwrap();
    };
    let found = |rig: &Rig| (0..3).flat_map(|_| rig.fail(0, seconds(0))).next().unwrap().1;
    assert_eq!(found(&outliers(thirds)), Err("overflow"));
    let always = outliers(|policy| {
        thirds(policy);
        policy.always_eject_one = true;
    });
    assert_eq!(found(&always), Ok(30));
}

#[test]
fn what_is_not_enforced_is_only_told() {
    let mut rig = outliers(|policy| policy.enforcing.consecutive_5xx = Percent::ZERO);
    let found: Vec<_> = (0..6).flat_map(|_| rig.fail(0, seconds(0))).collect();
    let told = Found(EjectionCause::Consecutive5xx, Err("not enforced"));
    assert_eq!(found, [told, told]);
    assert_eq!(rig.shares(30)[&1], 10);
}

#[test]
fn an_ejection_lasts_up_to_its_limit_and_longer_by_chance() {
    let rig = outliers(|policy| {
        policy.ejection_time_max = seconds(40);
        policy.ejection_time_jitter = seconds(10);
    });
    let durations: Vec<_> = (0..4)
        .map(|_| {
            let found = (0..3).flat_map(|_| rig.fail(0, seconds(0))).next().unwrap();
            rig.balancer.take_back(0, rig.start);
            found.1.unwrap()
        })
        .collect();
    assert_eq!(durations, [35, 45, 45, 45]);
}

#[test]
fn a_good_answer_begins_the_count_anew() {
    let rig = outliers(|_| {});
    for _ in 0..5 {
        assert_eq!((rig.fail(0, seconds(0)), rig.fail(0, seconds(0))), (vec![], vec![]));
        assert_eq!(rig.answer(0, Outcome::Response(404), seconds(0)), []);
    }
}

#[test]
fn failures_to_reach_an_instance_count_as_its_own_unless_split() {
    let record = |rig: &Rig, outcome| rig.answer(0, outcome, seconds(0));
    let rig = outliers(|_| {});
    assert_eq!(record(&rig, Outcome::LocalFailure), []);
    assert_eq!(record(&rig, Outcome::Timeout), []);
    let cause = EjectionCause::Consecutive5xx;
    assert_eq!(record(&rig, Outcome::LocalFailure), [Found(cause, Ok(30))]);
    let rig = outliers(|policy| policy.split_local_origin = true);
    assert!((0..4).all(|_| record(&rig, Outcome::LocalFailure).is_empty()));
    let cause = EjectionCause::ConsecutiveLocalOriginFailure;
    assert_eq!(record(&rig, Outcome::LocalFailure), [Found(cause, Ok(30))]);
}

/// Answers of three instances in one interval: how many of ten are good.
fn answers(rig: &Rig, good: [u32; 3]) {
    for (place, good) in good.into_iter().enumerate() {
        for number in 0..10 {
            let status = if number < good { 200 } else { 500 };
            rig.answer(place, Outcome::Response(status), seconds(1));
        }
    }
}

#[test]
fn an_instance_far_below_the_others_is_an_outlier() {
    let rate = |policy: &mut OutlierDetection| {
        policy.consecutive_5xx = None;
        policy.success_rate =
            SuccessRate { hosts_min: 3, requests_min: 10, deviations_thousandths: 1000 };
    };
    let rig = outliers(rate);
    answers(&rig, [10, 10, 4]);
    let cause = EjectionCause::SuccessRate;
    assert_eq!(rig.look(seconds(10)).1, [(2, Found(cause, Ok(30)))]);
    assert_eq!(rig.balancer.endpoints()[2].state.success_rate(), Some(40.0));
    assert_eq!(rig.look(seconds(20)).1, [], "the interval is over");

    let rig = outliers(|policy| {
        rate(policy);
        policy.success_rate.hosts_min = 4;
    });
    answers(&rig, [10, 10, 4]);
    assert_eq!(rig.look(seconds(10)).1, [], "too few instances");
}

#[test]
fn too_many_bad_answers_make_an_outlier() {
    let rig = outliers(|policy| {
        policy.consecutive_5xx = None;
        policy.enforcing.failure_percentage = Percent::HUNDRED;
        let threshold = Percent::from_whole(60).unwrap();
        policy.failure_percentage = FailurePercentage { threshold, hosts_min: 1, requests_min: 10 };
    });
    answers(&rig, [10, 5, 4]);
    let cause = EjectionCause::FailurePercentage;
    assert_eq!(rig.look(seconds(10)).1, [(2, Found(cause, Ok(30)))]);
}

#[test]
fn failures_to_reach_an_instance_have_a_share_of_their_own() {
    let rig = outliers(|policy| {
        policy.split_local_origin = true;
        policy.consecutive_5xx = None;
        policy.consecutive_local_origin_failure = None;
        policy.enforcing.failure_percentage_local_origin = Percent::HUNDRED;
        policy.failure_percentage.requests_min = 10;
        policy.failure_percentage.hosts_min = 1;
    });
    for _ in 0..10 {
        rig.answer(1, Outcome::LocalFailure, seconds(1));
        rig.answer(2, Outcome::Response(500), seconds(1));
    }
    let cause = EjectionCause::FailurePercentageLocalOrigin;
    let bad_answers = Found(EjectionCause::FailurePercentage, Err("not enforced"));
    assert_eq!(rig.look(seconds(10)).1, [(2, bad_answers), (1, Found(cause, Ok(30)))]);
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
    rig.balancer = Balancer::new(cluster, set, Arc::clone(&rig.state), setting(rig.start));
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
        // With nothing open the weights decide alone, as in Envoy; equal ones leave it to chance.
        let least = LbPolicy::LeastRequest(LeastRequest::default());
        turns = Rig::new(least, vec![weighted(&weights)]).shares(sum * 20);
        for (number, weight) in &exact {
            let found = turns.get(number).copied().unwrap_or_default();
            let is_even = weights.iter().all(|other| other == weight);
            let slack = if is_even { sum * 20 } else { 1 };
            prop_assert!(found.abs_diff(*weight * 20) <= slack, "{number}: {found} for {weight}");
        }
    }
}
