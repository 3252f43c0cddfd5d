//! Which failed tries are repeated.

#![expect(
    clippy::unwrap_used,
    clippy::fn_params_excessive_bools,
    reason = "tests may be blunt, also outside of the test functions"
)]

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use iako_proxy_config::{BackOff, RetryBudget, RetryConditions, RetryOn, RetryPolicy, Thresholds};
use iako_traffic::{
    Breakers, ConnectionInfo, HeaderList, Metadata, RequestFacts, RequestHead, RetryDecision,
    RetryState, StopReason, TryEnd, TryTraces,
};
use iako_types::Percent;
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

/// `None` for a retry, else why there is none.
fn stop(state: &mut RetryState<'_>, end: &TryEnd<'_>, traces: TryTraces) -> Option<StopReason> {
    let breakers = Arc::new(Breakers::default());
    match state.decide(end, traces, (&breakers, &Thresholds::default()), 0) {
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
    let budget = RetryBudget { percent: Percent::ZERO, retries_min: 0 };
    for limits in [
        Thresholds { retries_max: 0, ..Thresholds::default() },
        Thresholds { retry_budget: Some(budget), ..Thresholds::default() },
    ] {
        let decision = state.decide(&TryEnd::Reset, WRITTEN, (&breakers, &limits), 0);
        assert!(matches!(decision, RetryDecision::Stop(StopReason::Overflow)));
    }
    let decision = state.decide(&TryEnd::Reset, WRITTEN, (&breakers, &Thresholds::default()), 0);
    assert!(matches!(decision, RetryDecision::Retry { .. }));
    assert_eq!(breakers.open()[3], 1);
    drop(decision);
    assert_eq!(breakers.open()[3], 0);
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
        let decision = state.decide(&TryEnd::Reset, WRITTEN, (&breakers, &limits), draw);
        let RetryDecision::Retry { after, .. } = decision else { panic!("there are retries left") };
        assert_eq!(after, Duration::from_nanos(draw));
    }
}

#[test]
fn tried_instances_are_avoided_when_asked_for() {
    let plain = policy(&[RetryOn::Reset], |_| {});
    let avoiding = policy(&[RetryOn::Reset], |policy| policy.avoid_previous_hosts = true);
    for (policy, expected) in [(&plain, &[][..]), (&avoiding, &[4][..])] {
        let mut state = state(Some(policy), "GET", &[], false).unwrap();
        state.tried(4);
        assert_eq!(state.excluded(), expected);
    }
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
