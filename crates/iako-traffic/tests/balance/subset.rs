//! Subsets, and sessions.

use std::collections::BTreeMap;

use iako_proxy_config::{
    HealthStatus, LbPolicy, LocalityBalancing, OverrideStatuses, SelectorFallback, SubsetFallback,
    SubsetSelection, SubsetSelector,
};
use iako_traffic::PickRequest;

use crate::rig::*;

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
