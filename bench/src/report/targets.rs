//! What was promised and what was reached.

use super::number::{plain, ratio, short};
use crate::contender::Contender::{self, Direct, Envoy, Haproxy, Iako};
use crate::results::{Metric, Results};
use crate::scenario::{SCENARIOS, Scenario, Work};

/// One promise.
struct Target {
    what: String,
    /// Iako's value, and what it is compared with.
    values: (Option<f64>, Option<f64>),
    unit: &'static str,
    /// The most that the first may be of the second; of one unit when there is no second.
    most: f64,
    reached: Option<f64>,
}

/// A row for each promise of which something was measured.
pub(super) fn table(results: &Results) -> String {
    let mut text = String::from(
        "| what | Iako | to compare with | reached | at most | |\n|---|---|---|---|---|---|\n",
    );
    let all = SCENARIOS.iter().flat_map(|scenario| costs(scenario, results));
    for target in all.chain(others(results)) {
        let Some(reached) = target.reached else { continue };
        let verdict = if reached <= target.most { "met" } else { "**missed**" };
        let Target { what, values: (ours, theirs), unit, most, .. } = target;
        let theirs = theirs.map(|theirs| format!("{} {unit}", short(theirs))).unwrap_or_default();
        text.push_str(&format!(
            "| {what} | {} {unit} | {theirs} | {reached:.2} | {most:.2} | {verdict} |\n",
            plain(ours)
        ));
    }
    text
}

/// What is compared in a scenario, and its unit.
pub(super) fn metric(scenario: &Scenario) -> (Metric, &'static str) {
    match scenario.work {
        Work::Requests(_) | Work::Timed(_) | Work::Routes => (Metric::Cpu, "µs a request"),
        Work::Bulk { .. } => (Metric::Cpu, "ms a GB"),
        Work::Connects { .. } => (Metric::Cpu, "µs a connection"),
        Work::Idle { .. } => (Metric::Idle { connections: 5_000 }, "KiB a connection"),
        Work::Start => (Metric::Start, "ms"),
    }
}

fn costs(scenario: &'static Scenario, results: &Results) -> Vec<Target> {
    let (metric, unit) = metric(scenario);
    let of = |contender| results.median(scenario.id, contender, metric);
    let against = |other: Contender, most: f64| {
        let values = (of(Iako), of(other));
        let what = format!("{}, to {other}", scenario.title);
        Target { what, values, unit, most, reached: ratio(values.0, values.1) }
    };
    let haproxy = scenario.below_haproxy.then(|| against(Haproxy, 1.0));
    scenario.target.map(|most| against(Envoy, most)).into_iter().chain(haproxy).collect()
}

/// Promises about something else than the processor.
fn others(results: &Results) -> Vec<Target> {
    let added = |contender| {
        let p99 =
            |it| results.median("mesh-pair", it, Metric::Latency { rate: 2000, permille: 990 });
        let (proxied, direct) = p99(contender).zip(p99(Direct))?;
        Some((proxied - direct).max(0.0))
    };
    let pss = |contender| results.median("start", contender, Metric::Pss);
    let mut targets = vec![
        Target {
            what: "p99 that the mTLS pair with telemetry adds at 2,000 requests a second, to Envoy"
                .to_owned(),
            values: (added(Iako), added(Envoy)),
            unit: "µs",
            most: 0.5,
            reached: ratio(added(Iako), added(Envoy)),
        },
        Target {
            what: "PSS of one idle proxy, to Envoy".to_owned(),
            values: (pss(Iako), pss(Envoy)),
            unit: "MB",
            most: 0.12,
            reached: ratio(pss(Iako), pss(Envoy)),
        },
    ];
    let routes = |metric| results.median("routes", Iako, metric);
    let (last, first) = (routes(Metric::Cpu), routes(Metric::CpuFirst));
    targets.push(Target {
        what: "the last of 5,000 routes, to the first".to_owned(),
        values: (last, first),
        unit: "µs a request",
        most: 1.15,
        reached: ratio(last, first),
    });
    for (what, metric, unit, most) in [
        ("one of 5,000 routes changes", Metric::Change, "ms", 5.0),
        ("fail while a route changes, of 2,000 a second", Metric::ChangeFailed, "requests", 0.0),
    ] {
        let value = routes(metric);
        let values = (value, None);
        targets.push(Target { what: what.to_owned(), values, unit, most, reached: value });
    }
    for connections in [1_000, 5_000] {
        let each = results.median("idle", Iako, Metric::Idle { connections });
        targets.push(Target {
            what: format!("each of {connections} idle keep-alive connections"),
            values: (each, None),
            unit: "KiB",
            most: 6.0,
            reached: each,
        });
    }
    targets
}
