//! Which failed tries are repeated.

#![expect(
    clippy::unwrap_used,
    clippy::fn_params_excessive_bools,
    reason = "tests may be blunt, also outside of the test functions"
)]

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use iako_proxy_config::{
    BackOff, Cluster, Discovery, Endpoint, EndpointSet, HeaderCheck, HeaderMatch,
    LocalityEndpoints, RateLimitedBackOff, ResetFormat, ResetHeader, RetryBudget, RetryConditions,
    RetryOn, RetryPolicy, StrictHeader, Thresholds,
};
use iako_traffic::{
    Balancer, Breakers, ClusterState, ConnectionInfo, HeaderList, Metadata, Neighbourhood, Pace,
    RequestFacts, RequestHead, RetryDecision, RetryMoment, RetryState, Setting, StopReason, TryEnd,
    TryTraces, strict_problem,
};
use iako_types::{Locality, Percent};
use proptest::prelude::*;

fn policy(conditions: &[RetryOn], change: impl FnOnce(&mut RetryPolicy)) -> RetryPolicy {
    let mut policy = RetryPolicy {
        conditions: conditions.iter().copied().collect::<RetryConditions>(),
        retries_max: 3,
        host_selection_attempts_max: NonZeroU32::MIN,
        ..RetryPolicy::default()
    };
    change(&mut policy);
    policy
}

fn state<'p>(
    policy: Option<&'p RetryPolicy>,
    method: &str,
    headers: &[(&str, &str)],
    internal: bool,
) -> Option<RetryState<'p>> {
    let connection =
        ConnectionInfo::plain("10.0.0.1:80".parse().unwrap(), "10.0.0.9:1".parse().unwrap());
    let headers: HeaderList = headers.iter().copied().collect();
    let head = RequestHead {
        method,
        scheme: "http",
        authority: "a.test",
        path_and_query: "/",
        headers: &headers,
    };
    let metadata = Metadata::default();
    let client = "10.0.0.9".parse().unwrap();
    let facts =
        RequestFacts { head, connection: &connection, metadata: &metadata, client, internal };
    RetryState::new(policy, &facts)
}

const WRITTEN: TryTraces =
    TryTraces { request_written: true, body_lost: false, response_started: false };

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made up; only its distance counts"
)]
fn now() -> Instant {
    Instant::now()
}

fn moment<'a>(breakers: &'a Arc<Breakers>, limits: &'a Thresholds) -> RetryMoment<'a> {
    RetryMoment { breakers, limits, now: now(), unix_seconds: 1_000, draw: 0 }
}

/// `None` for a retry, else why there is none.
fn stop(state: &mut RetryState<'_>, end: &TryEnd<'_>, traces: TryTraces) -> Option<StopReason> {
    let breakers = Arc::new(Breakers::default());
    match state.decide(end, traces, &moment(&breakers, &Thresholds::default())) {
        RetryDecision::Stop(reason) => Some(reason),
        RetryDecision::Retry { .. } => None,
    }
}

fn answer(conditions: &[RetryOn], status: u16, headers: &[(&str, &str)]) -> Option<StopReason> {
    let policy = policy(conditions, |policy| policy.status_codes = vec![409, 503]);
    let headers: HeaderList = headers.iter().copied().collect();
    let mut state = state(Some(&policy), "GET", &[], false).unwrap();
    stop(&mut state, &TryEnd::Response { status, headers: &headers }, WRITTEN)
}

// Case retry-codes; fact 10.
#[test]
fn answers_are_repeated_by_the_conditions_named() {
    let refused = Some(StopReason::NotNamed);
    assert_eq!(answer(&[RetryOn::RetriableStatusCodes], 409, &[]), None);
    assert_eq!(answer(&[RetryOn::RetriableStatusCodes], 500, &[]), refused);
    assert_eq!(answer(&[RetryOn::GatewayError], 500, &[]), refused);
    assert_eq!(answer(&[RetryOn::GatewayError], 502, &[]), None);
    assert_eq!(answer(&[RetryOn::Retriable4xx], 409, &[]), None);
    assert_eq!(answer(&[RetryOn::FiveXx], 500, &[]), None);
    assert_eq!(answer(&[RetryOn::FiveXx], 404, &[]), refused);
    assert_eq!(answer(&[RetryOn::Unavailable], 200, &[("grpc-status", "14")]), None);
    assert_eq!(answer(&[RetryOn::Unavailable], 200, &[("grpc-status", "13")]), refused);
    let limited = [("x-envoy-ratelimited", "true")];
    assert_eq!(answer(&[RetryOn::FiveXx], 503, &limited), refused);
    assert_eq!(answer(&[RetryOn::EnvoyRatelimited], 429, &limited), None);
}

#[test]
fn retries_end() {
    let policy = policy(&[RetryOn::Reset], |_| {});
    let mut state = state(Some(&policy), "GET", &[], false).unwrap();
    for _ in 0..3 {
        assert_eq!(stop(&mut state, &TryEnd::Reset, WRITTEN), None);
    }
    assert_eq!(stop(&mut state, &TryEnd::Reset, WRITTEN), Some(StopReason::LimitReached));
    assert_eq!(state.retries(), 3);
}

#[test]
fn what_may_have_had_its_effect_is_not_repeated() {
    let policy = policy(&RetryOn::ALL, |_| {});
    let post = |end: &TryEnd<'_>, traces| {
        stop(&mut state(Some(&policy), "POST", &[], false).unwrap(), end, traces)
    };
    let empty = HeaderList::default();
    let answer = TryEnd::Response { status: 503, headers: &empty };
    assert_eq!(post(&answer, WRITTEN), Some(StopReason::Unsafe));
    assert_eq!(post(&TryEnd::Reset, WRITTEN), Some(StopReason::Unsafe));
    assert_eq!(post(&TryEnd::TryTimeout, WRITTEN), Some(StopReason::Unsafe));
    assert_eq!(post(&TryEnd::Reset, TryTraces::default()), None);
    assert_eq!(post(&TryEnd::ConnectFailed, TryTraces::default()), None);
    assert_eq!(post(&TryEnd::Refused, WRITTEN), None);
    let overloaded: HeaderList = [("x-envoy-overloaded", "true")].into_iter().collect();
    let overloaded = TryEnd::Response { status: 503, headers: &overloaded };
    assert_eq!(post(&overloaded, WRITTEN), None);
    let late = TryTraces { body_lost: true, ..TryTraces::default() };
    assert_eq!(post(&TryEnd::ConnectFailed, late), Some(StopReason::TooLate));
}

// Case retry-header; fact 5.
#[test]
fn only_internal_clients_may_ask_for_retries() {
    let asked = [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "2")];
    assert!(state(None, "GET", &asked, false).is_none());
    let mut internal = state(None, "GET", &asked, true).unwrap();
    let empty = HeaderList::default();
    let answer = TryEnd::Response { status: 500, headers: &empty };
    assert_eq!(stop(&mut internal, &answer, WRITTEN), None);
    assert_eq!(stop(&mut internal, &answer, WRITTEN), None);
    assert_eq!(stop(&mut internal, &answer, WRITTEN), Some(StopReason::LimitReached));
}

// Case retry-budget; fact 10.
#[test]
fn too_many_retries_to_a_cluster_are_an_overflow() {
    let policy = policy(&[RetryOn::Reset], |_| {});
    let mut state = state(Some(&policy), "GET", &[], false).unwrap();
    let breakers = Arc::new(Breakers::default());
    let budget = RetryBudget { percent: Percent::ZERO, retries_min: 0, interval: Duration::ZERO };
    for limits in [
        Thresholds { retries_max: 0, ..Thresholds::default() },
        Thresholds { retry_budget: Some(budget), ..Thresholds::default() },
    ] {
        let decision = state.decide(&TryEnd::Reset, WRITTEN, &moment(&breakers, &limits));
        assert!(matches!(decision, RetryDecision::Stop(StopReason::Overflow)));
    }
    let limits = Thresholds::default();
    let decision = state.decide(&TryEnd::Reset, WRITTEN, &moment(&breakers, &limits));
    assert!(matches!(decision, RetryDecision::Retry { .. }));
    assert_eq!(breakers.open().retries, 1);
    drop(decision);
    assert_eq!(breakers.open().retries, 0);
}

#[test]
fn pauses_grow_up_to_a_bound() {
    let back_off = BackOff { base: Duration::from_millis(25), max: Duration::from_millis(60) };
    let policy = policy(&[RetryOn::Reset], |policy| policy.back_off = back_off);
    let mut state = state(Some(&policy), "GET", &[], false).unwrap();
    let breakers = Arc::new(Breakers::default());
    for bound in [25_u64, 50, 60] {
        let draw = bound * 1_000_000 - 1;
        let limits = Thresholds::default();
        let moment = RetryMoment { draw, ..moment(&breakers, &limits) };
        let decision = state.decide(&TryEnd::Reset, WRITTEN, &moment);
        let RetryDecision::Retry { after, .. } = decision else { panic!("there are retries left") };
        assert_eq!(after, Duration::from_nanos(draw));
    }
}

/// A priority, and metadata.
type Place<'a> = (u32, &'a [(&'a str, &'a str)]);

fn balancer(endpoints: &[Place<'_>]) -> Arc<Balancer> {
    let place = |(index, (priority, metadata)): (usize, &Place<'_>)| {
        let mut endpoint =
            Endpoint::at(([127, 0, 0, 1], 80 + u16::try_from(index).unwrap()).into());
        let facts = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        endpoint.metadata.lb = facts.collect();
        LocalityEndpoints {
            priority: *priority,
            endpoints: vec![endpoint],
            ..LocalityEndpoints::default()
        }
    };
    let set = EndpointSet::new("c", endpoints.iter().enumerate().map(place).collect());
    let cluster = Cluster::new("c", Discovery::Static(set.clone()));
    let setting =
        Setting { neighbourhood: Neighbourhood::new(Locality::default(), 0), seed: 0, now: now() };
    let state = ClusterState::new(now());
    Arc::new(Balancer::new(Arc::new(cluster), Arc::new(set), state, setting))
}

#[test]
fn instances_are_avoided_by_what_the_policy_names() {
    let balancer =
        balancer(&[(0, &[]), (0, &[("canary", "true")]), (0, &[("v", "2"), ("x", "1")])]);
    let avoided = |change: fn(&mut RetryPolicy)| {
        let policy = policy(&[RetryOn::Reset], change);
        let mut state = state(Some(&policy), "GET", &[], false).unwrap();
        state.tried(&balancer.endpoints()[0].state);
        state.avoid(&balancer).places.to_vec()
    };
    assert_eq!(avoided(|_| {}), [0_u32; 0]);
    assert_eq!(avoided(|policy| policy.avoid_previous_hosts = true), [0]);
    assert_eq!(avoided(|policy| policy.avoid_canary_hosts = true), [1]);
    let with = |policy: &mut RetryPolicy| {
        policy.avoid_previous_hosts = true;
        policy.avoid_hosts_with = vec![BTreeMap::from([("v".to_owned(), "2".to_owned())])];
    };
    assert_eq!(avoided(with), [0, 2]);
}

// Source: Envoy, `previous_priorities`, `update_frequency`.
#[test]
fn priorities_that_were_tried_are_left_out_until_none_is_left() {
    let balancer = balancer(&[(0, &[]), (1, &[]), (1, &[])]);
    let policy = policy(&[RetryOn::Reset], |policy| {
        policy.previous_priorities = NonZeroU32::new(2);
    });
    let mut state = state(Some(&policy), "GET", &[], false).unwrap();
    let mut passed = Vec::new();
    for place in [0, 0, 1, 2] {
        state.tried(&balancer.endpoints()[place].state);
        passed.push(state.avoid(&balancer).priorities.to_vec());
    }
    assert_eq!(passed, [vec![], vec![0], vec![0], vec![]]);
}

#[test]
fn a_response_may_say_when_to_come_back() {
    let header = |name: &str, format| ResetHeader { name: name.parse().unwrap(), format };
    let policy = policy(&[RetryOn::FiveXx], |policy| {
        policy.rate_limited = Some(RateLimitedBackOff {
            headers: vec![
                header("retry-after", ResetFormat::Seconds),
                header("x-ratelimit-reset", ResetFormat::UnixTimestamp),
            ],
            max: Duration::from_secs(10),
        });
    });
    let pause = |headers: &[(&str, &str)], draw: u64| {
        let mut state = state(Some(&policy), "GET", &[], false).unwrap();
        let headers: HeaderList = headers.iter().copied().collect();
        let end = TryEnd::Response { status: 503, headers: &headers };
        let (breakers, limits) = (Arc::new(Breakers::default()), Thresholds::default());
        let moment = RetryMoment { draw, ..moment(&breakers, &limits) };
        match state.decide(&end, WRITTEN, &moment) {
            RetryDecision::Retry { after, pace, .. } => (after.as_millis(), pace),
            RetryDecision::Stop(reason) => panic!("{reason:?}"),
        }
    };
    assert_eq!(pause(&[("retry-after", "2")], 0), (2_000, Pace::RateLimited));
    assert_eq!(pause(&[("retry-after", "2")], 999), (2_999, Pace::RateLimited));
    assert_eq!(pause(&[("x-ratelimit-reset", "1003")], 0), (3_000, Pace::RateLimited));
    // More than the maximum, in the past, or nothing that can be read: the next one counts.
    let next = [("retry-after", "11"), ("x-ratelimit-reset", "1004")];
    assert_eq!(pause(&next, 0), (4_000, Pace::RateLimited));
    for none in ["999", "junk"] {
        assert_eq!(pause(&[("x-ratelimit-reset", none)], 0).1, Pace::BackOff);
    }
}

#[test]
fn only_requests_that_the_policy_names_are_repeated() {
    let policy = policy(&[RetryOn::FiveXx], |policy| {
        policy.request_headers = vec![HeaderMatch {
            name: "x-retry".parse().unwrap(),
            check: HeaderCheck::Present(true),
            invert: false,
            missing_as_empty: false,
        }];
    });
    assert!(state(Some(&policy), "GET", &[], false).is_none());
    assert!(state(Some(&policy), "GET", &[("x-retry", "1")], false).is_some());
}

#[test]
fn conditions_of_http_and_grpc_have_their_own_headers() {
    let ask = |name: &str, words: &str| state(None, "GET", &[(name, words)], true).is_some();
    assert!(ask("x-envoy-retry-on", "nonsense,5xx") && ask("x-envoy-retry-grpc-on", "internal"));
    assert!(!ask("x-envoy-retry-on", "internal") && !ask("x-envoy-retry-grpc-on", "5xx"));
}

#[test]
fn a_slow_try_is_hedged_whatever_the_conditions_but_only_where_that_is_safe() {
    let policy = policy(&[RetryOn::Retriable4xx], |_| {});
    let hedge = |method: &str| {
        stop(&mut state(Some(&policy), method, &[], false).unwrap(), &TryEnd::TryHedged, WRITTEN)
    };
    assert_eq!(hedge("GET"), None);
    assert_eq!(hedge("POST"), Some(StopReason::Unsafe));
}

#[test]
fn headers_that_must_be_well_formed_are_told_apart() {
    let problem = |name: &str, value: &str| {
        let headers: HeaderList = [(name, value)].into_iter().collect();
        let head = RequestHead {
            method: "GET",
            scheme: "http",
            authority: "a.test",
            path_and_query: "/",
            headers: &headers,
        };
        strict_problem(&StrictHeader::ALL, &head).map(|problem| (problem.name, problem.value))
    };
    assert_eq!(problem("x-envoy-max-retries", "3"), None);
    let bad = Some(("x-envoy-max-retries", "three".to_owned()));
    assert_eq!(problem("x-envoy-max-retries", "three"), bad);
    assert_eq!(problem("x-envoy-retry-on", "5xx,reset"), None);
    assert!(problem("x-envoy-retry-on", "5xx,cancelled").is_some());
    assert_eq!(problem("x-envoy-retry-grpc-on", "cancelled"), None);
    assert_eq!(problem("x-other", "three"), None);
}

proptest! {
    #[test]
    fn nothing_unsafe_is_ever_repeated(
        method in prop_oneof![Just("GET"), Just("PUT"), Just("POST"), Just("PATCH"), Just("CONNECT")],
        bits in proptest::collection::vec(any::<bool>(), 3),
        end in 0_usize..5,
        status in 200_u16..600,
    ) {
        let policy = policy(&RetryOn::ALL, |policy| policy.status_codes = (200..600).collect());
        let empty = HeaderList::default();
        let end = [
            TryEnd::Response { status, headers: &empty },
            TryEnd::ConnectFailed,
            TryEnd::Refused,
            TryEnd::Reset,
            TryEnd::TryTimeout,
        ][end];
        let traces = TryTraces {
            request_written: bits[0],
            body_lost: bits[1],
            response_started: bits[2],
        };
        let mut state = state(Some(&policy), method, &[], false).unwrap();
        if stop(&mut state, &end, traces).is_none() {
            prop_assert!(!traces.response_started && !traces.body_lost);
            let idempotent = matches!(method, "GET" | "PUT");
            let untouched = matches!(end, TryEnd::Refused | TryEnd::ConnectFailed);
            prop_assert!(idempotent || untouched || !traces.request_written);
        }
    }
}

// Source: Envoy, aggregate clusters with `previous_priorities`: the priorities of all members are
// counted one after the other.
#[test]
fn priorities_of_several_clusters_are_left_out_together() {
    let members = [balancer(&[(0, &[])]), balancer(&[(0, &[]), (1, &[])])];
    let policy = policy(&[RetryOn::Reset], |policy| {
        policy.previous_priorities = NonZeroU32::new(1);
    });
    let mut state = state(Some(&policy), "GET", &[], false).unwrap();
    let mut passed = Vec::new();
    for (member, place) in [(0, 0), (1, 0), (1, 1)] {
        state.tried(&members[member].endpoints()[place].state);
        state.pass_members(&members);
        let of = |member| state.passed_priorities(member).collect::<Vec<_>>();
        passed.push([of(0), of(1)]);
    }
    assert_eq!(passed, [[vec![0], vec![]], [vec![0], vec![0]], [vec![], vec![]]]);
    assert_eq!(members[1].capacity(now(), &[0]).healthy, 100);
    assert_eq!(members[1].capacity(now(), &[0, 1]).healthy, 0);
}
