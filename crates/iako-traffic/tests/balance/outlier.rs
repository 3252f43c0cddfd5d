//! Instances that are set aside.

use std::{collections::BTreeMap, sync::Arc};

use iako_proxy_config::{
    EndpointSet, FailurePercentage, LocalityEndpoints, OutlierDetection, SuccessRate,
};
use iako_traffic::{Balancer, Condition, EjectionCause, Outcome};
use iako_types::Percent;

use crate::rig::*;

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
    assert_eq!(
        twice,
        Some(Found(cause, Ok(60))),
        "the look with which it came back forgave nothing"
    );
    assert_eq!(rig.balancer.take_back(0, rig.start + seconds(43)).unwrap().times, 2);
    let longer = (0..3).flat_map(|_| rig.fail(0, seconds(44))).next();
    assert_eq!(longer, Some(Found(cause, Ok(90))), "nobody looked in between");
    assert_eq!(rig.balancer.take_back(0, rig.start + seconds(45)).unwrap().times, 3);
    assert_eq!(rig.look(seconds(46)), (vec![], vec![]));
    let forgiven = (0..3).flat_map(|_| rig.fail(0, seconds(47))).next();
    assert_eq!(forgiven, Some(Found(cause, Ok(90))), "a look at which it was well forgave one");
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
