use std::num::NonZeroU32;

use iako_proxy_config::{CheckIntervals, HealthCheckKind, HealthEvents, HttpCheck};

use super::*;

fn check(healthy: u32, unhealthy: u32) -> HealthCheck {
    HealthCheck {
        timeout: Duration::from_secs(1),
        intervals: CheckIntervals {
            no_traffic: Duration::from_secs(60),
            no_traffic_healthy: Some(Duration::from_secs(61)),
            unhealthy: Some(Duration::from_secs(2)),
            unhealthy_edge: Some(Duration::from_secs(3)),
            healthy_edge: Some(Duration::from_secs(4)),
            ..CheckIntervals::every(Duration::from_secs(1))
        },
        unhealthy_threshold: NonZeroU32::new(unhealthy).unwrap(),
        healthy_threshold: NonZeroU32::new(healthy).unwrap(),
        reuse_connection: true,
        events: HealthEvents::default(),
        alpn: Vec::new(),
        transport_criteria: None,
        kind: HealthCheckKind::Http(Box::new(HttpCheck::of("/"))),
    }
}

const GOOD: CheckResult = CheckResult::Passed { degraded: false };
const LOST: CheckResult = CheckResult::Failed { cause: CheckFailure::Network, retriable: false };
const SICK: CheckResult = CheckResult::Failed { cause: CheckFailure::Active, retriable: false };
const BUSY: CheckResult = CheckResult::Failed { cause: CheckFailure::Active, retriable: true };

/// An instance that is checked: `+` in traffic, `-` out of it, with the seconds until the next check.
fn walk(check: &HealthCheck, results: &[CheckResult], traffic: Traffic) -> String {
    let cell = FlagCell::default();
    cell.change(HealthFlags::FAILED_CHECK, HealthFlags::default());
    let mut history = CheckHistory::default();
    let shown = results.iter().map(|result| {
        let verdict = history.record(check, cell.load(), *result);
        cell.change(verdict.set, verdict.clear);
        let sign = if cell.load().has(HealthFlags::FAILED_CHECK) { '-' } else { '+' };
        let wait = next_check(check, &verdict, traffic, &mut || 0.0).as_secs();
        format!("{sign}{wait}")
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_check_decides_alone_and_later_ones_by_the_thresholds() {
    let check = check(2, 3);
    assert_eq!(walk(&check, &[GOOD, LOST, LOST, LOST], Traffic::Some), "+1 +3 +3 -2");
    assert_eq!(walk(&check, &[LOST, GOOD, GOOD, GOOD], Traffic::Some), "-2 -4 +1 +1");
    assert_eq!(walk(&check, &[GOOD, LOST, LOST, GOOD, LOST], Traffic::Some), "+1 +3 +3 +1 +3");
}

#[test]
fn an_answer_that_says_so_counts_at_once_unless_it_may_be_repeated() {
    let check = check(1, 2);
    assert_eq!(walk(&check, &[GOOD, SICK], Traffic::Some), "+1 -2");
    assert_eq!(walk(&check, &[GOOD, BUSY, BUSY], Traffic::Some), "+1 +3 -2");
}

#[test]
fn a_cluster_without_traffic_is_checked_rarely() {
    let check = check(2, 2);
    assert_eq!(
        walk(&check, &[GOOD, LOST, LOST, GOOD, GOOD], Traffic::Never),
        "+61 +60 -60 -60 +61"
    );
}

#[test]
fn events_tell_what_changed_and_the_first_failure() {
    let mut check = check(2, 1);
    let mut history = CheckHistory::default();
    let failed = HealthFlags::FAILED_CHECK;
    let first = history.record(&check, failed, LOST);
    let cause = CheckFailure::Network;
    assert_eq!(first.events, [CheckEvent::Failed { cause, first: true }]);
    assert_eq!(history.record(&check, failed, LOST).events, []);
    assert_eq!(history.record(&check, failed, GOOD).events, []);
    let added = history.record(&check, failed, CheckResult::Passed { degraded: true });
    assert_eq!(added.events, [CheckEvent::Added { first: false }, CheckEvent::Degraded]);
    let degraded = HealthFlags::DEGRADED_CHECK;
    let better = history.record(&check, degraded, GOOD);
    assert_eq!(better.events, [CheckEvent::NoLongerDegraded]);
    assert_eq!(better.transition, Transition::Changed);
    check.events = HealthEvents { files: Vec::new(), all_failures: true, all_successes: true };
    assert_eq!(history.record(&check, HealthFlags::default(), GOOD).events, [CheckEvent::Passed]);
    let ejected = history.record(&check, HealthFlags::default(), SICK);
    let cause = CheckFailure::Active;
    assert_eq!(
        ejected.events,
        [CheckEvent::Ejected(cause), CheckEvent::Failed { cause, first: false }]
    );
}

#[test]
fn an_unchecked_instance_counts_from_its_first_result_on_whatever_it_is() {
    let check = check(1, 2);
    let flags = HealthFlags::FAILED_CHECK.with(HealthFlags::PENDING_CHECK);
    let verdict = CheckHistory::default().record(&check, flags, LOST);
    assert!(verdict.clear.has(HealthFlags::PENDING_CHECK));
    assert_eq!(verdict.transition, Transition::Changed);
}

#[test]
fn jitter_lengthens_intervals() {
    let mut check = check(1, 1);
    check.intervals.jitter = Duration::from_secs(2);
    check.intervals.jitter_percent = iako_types::Percent::from_whole(50).unwrap();
    let verdict = CheckHistory::default().record(&check, HealthFlags::default(), GOOD);
    let wait = next_check(&check, &verdict, Traffic::Some, &mut || 0.5);
    assert_eq!(wait, Duration::from_millis(1000 + 250 + 1000));
    check.intervals.initial_jitter = Duration::from_secs(4);
    assert_eq!(first_check(&check, &mut || 0.25), Duration::from_secs(1));
}

#[test]
fn segments_are_found_in_their_order() {
    let segments = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let found = |bytes: &str, texts: &[&str]| {
        let segments: Vec<Vec<u8>> = segments(texts);
        contains_in_order(bytes.as_bytes(), &segments)
    };
    assert!(found("xpoyng", &["po", "ng"]));
    assert!(!found("ngpo", &["po", "ng"]));
    assert!(!found("pong", &["po", "on"]));
    assert!(found("", &[]));
}
