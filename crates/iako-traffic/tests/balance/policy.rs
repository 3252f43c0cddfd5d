//! Each policy: its order and its shares.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

use iako_proxy_config::{
    ClientWeighted, ConsistentHashing, Endpoint, EndpointSet, HealthStatus, LbPolicy, LeastRequest,
    LoadReport, LocalityEndpoints, MaglevTable, PeakEwma, PickFirst, SlowStart,
};
use iako_traffic::{Balancer, PickRequest};
use proptest::prelude::*;

use crate::rig::*;

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
    let policy = |bias: f64| {
        let policy = LeastRequest { active_request_bias: bias.into(), ..LeastRequest::default() };
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
