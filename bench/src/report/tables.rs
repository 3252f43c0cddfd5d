//! Tables of one scenario, and of all.

use super::number::{plain, ranged, ratio, short};
use super::targets;
use crate::contender::Contender::{self, Direct, Envoy, Haproxy, Iako, Nginx};
use crate::results::{Metric, PERMILLES, Results};
use crate::scenario::{Scenario, Work};

const PROXIES: [Contender; 4] = [Iako, Envoy, Haproxy, Nginx];

/// One row a scenario: everybody's cost, and Iako's share of it.
pub(super) fn costs(scenarios: &[&'static Scenario], results: &Results) -> String {
    let mut text = String::from(
        "Medians; in brackets, what Iako's value is of that one.\n\n\
         | scenario | unit | Iako | Envoy | HAProxy | nginx |\n|---|---|---|---|---|---|\n",
    );
    for scenario in scenarios.iter().filter(|it| results.has(it.id)) {
        let (metric, unit) = targets::metric(scenario);
        let of = |contender| results.median(scenario.id, contender, metric);
        let peers = [Envoy, Haproxy, Nginx].map(|peer| {
            let share = ratio(of(Iako), of(peer)).map(|share| format!(" ({share:.2})"));
            plain(of(peer)) + &share.unwrap_or_default()
        });
        let [envoy, haproxy, nginx] = peers;
        text.push_str(&format!(
            "| {} | {unit} | {} | {envoy} | {haproxy} | {nginx} |\n",
            scenario.title,
            plain(of(Iako))
        ));
    }
    text
}

/// Everything about one scenario.
pub(super) fn details(scenario: &'static Scenario, results: &Results) -> String {
    let heading = format!("\n## {}\n\n", capitalized(scenario.title));
    let table = match scenario.work {
        Work::Requests(_) | Work::Timed(_) => requests(scenario, results),
        Work::Bulk { .. } => bulk(scenario, results),
        Work::Connects { .. } => connects(scenario, results),
        Work::Idle { counts } => idle(scenario, counts, results),
        Work::Routes => routes(scenario, results),
        Work::Start => start(scenario, results),
    };
    let rates = results.rates(scenario.id);
    let latencies =
        if rates.is_empty() { String::new() } else { latency(scenario, &rates, results) };
    heading + &table + &latencies + &failures(scenario, results)
}

/// With a capital, unless it begins with a name such as mTLS.
fn capitalized(title: &str) -> String {
    let mut letters = title.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_uppercase().chain(letters).collect()
        }
        _ => title.to_owned(),
    }
}

/// A table with one row a contender of which the first column's metric is there.
fn table(
    scenario: &'static Scenario,
    results: &Results,
    columns: &[(&str, Metric)],
    contenders: &[Contender],
) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut text = format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for contender in contenders {
        let cells: Vec<String> = columns
            .iter()
            .map(|(_, metric)| ranged(results.of(scenario.id, *contender, *metric)))
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            text.push_str(&format!("| {contender} | {} |\n", cells.join(" | ")));
        }
    }
    text
}

fn requests(scenario: &'static Scenario, results: &Results) -> String {
    let columns = [
        ("requests/s", Metric::Rate),
        ("CPU µs/request", Metric::Cpu),
        ("system calls/request", Metric::Syscalls),
        ("RSS loaded, MB", Metric::LoadedRss),
        ("PSS loaded, MB", Metric::LoadedPss),
        ("proxy core, %", Metric::ProxyShare),
        ("load core, %", Metric::LoadShare),
    ];
    let contenders = [PROXIES.as_slice(), &[Direct]].concat();
    table(scenario, results, &columns, &contenders)
}

fn bulk(scenario: &'static Scenario, results: &Results) -> String {
    let columns = [
        ("GB/s", Metric::Rate),
        ("CPU ms/GB", Metric::Cpu),
        ("PSS loaded, MB", Metric::LoadedPss),
        ("proxy core, %", Metric::ProxyShare),
        ("load core, %", Metric::LoadShare),
    ];
    table(scenario, results, &columns, &PROXIES)
}

fn connects(scenario: &'static Scenario, results: &Results) -> String {
    let columns = [
        ("connections/s", Metric::Rate),
        ("CPU µs/connection", Metric::Cpu),
        ("proxy core, %", Metric::ProxyShare),
        ("load core, %", Metric::LoadShare),
    ];
    table(scenario, results, &columns, &PROXIES)
}

fn idle(scenario: &'static Scenario, counts: &[usize], results: &Results) -> String {
    let names: Vec<(String, Metric)> = counts
        .iter()
        .map(|connections| {
            let name = format!("KiB each of {connections}");
            (name, Metric::Idle { connections: *connections })
        })
        .collect();
    let columns: Vec<(&str, Metric)> =
        names.iter().map(|(name, metric)| (name.as_str(), *metric)).collect();
    table(scenario, results, &columns, &PROXIES)
}

fn routes(scenario: &'static Scenario, results: &Results) -> String {
    let columns = [
        ("ready, ms", Metric::Start),
        ("RSS, MB", Metric::Rss),
        ("PSS, MB", Metric::Pss),
        ("CPU µs/request, first route", Metric::CpuFirst),
        ("CPU µs/request, last route", Metric::Cpu),
        ("CPU ms for one changed route", Metric::Change),
    ];
    let changing = [
        ("requests that failed", Metric::ChangeFailed),
        ("slowest answer, ms", Metric::ChangeSlowest),
        ("slowest without a change, ms", Metric::QuietSlowest),
    ];
    let mut text = table(scenario, results, &columns, &PROXIES);
    text.push_str("\n2,000 requests a second while one route changes ten times:\n\n");
    text.push_str(&table(scenario, results, &changing, &[Iako, Envoy]));
    text
}

fn start(scenario: &'static Scenario, results: &Results) -> String {
    let columns = [
        ("first answer after, ms", Metric::Start),
        ("RSS, MB", Metric::Rss),
        ("PSS, MB", Metric::Pss),
    ];
    table(scenario, results, &columns, &PROXIES)
}

/// Percentiles at fixed rates, and what the proxies add to them.
fn latency(scenario: &'static Scenario, rates: &[u32], results: &Results) -> String {
    let mut text = String::from(
        "\nAt fixed rates, in µs; \"added\" is over no proxy at the same rate.\n\n\
         | requests/s | | p50 | p90 | p99 | p99.9 | added p50 | added p99 | CPU µs/request |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for rate in rates {
        for contender in PROXIES.iter().chain(&[Direct]) {
            let of = |contender, permille| {
                let metric = Metric::Latency { rate: *rate, permille };
                results.median(scenario.id, contender, metric)
            };
            if of(*contender, 500).is_none() {
                continue;
            }
            let values = PERMILLES.map(|permille| plain(of(*contender, permille))).join(" | ");
            let added = [500, 990].map(|permille| {
                let pair = of(*contender, permille).zip(of(Direct, permille));
                let pair = pair.filter(|_| *contender != Direct);
                plain(pair.map(|(with, without)| with - without))
            });
            let cpu = results.median(scenario.id, *contender, Metric::CpuAt { rate: *rate });
            let cpu = plain(cpu.filter(|_| *contender != Direct));
            let added = added.join(" | ");
            let rate = short(f64::from(*rate));
            text.push_str(&format!("| {rate} | {contender} | {values} | {added} | {cpu} |\n"));
        }
    }
    text
}

/// Requests that went wrong; there should be none.
fn failures(scenario: &'static Scenario, results: &Results) -> String {
    let told = PROXIES.iter().chain(&[Direct]).filter_map(|contender| {
        let failed = results.of(scenario.id, *contender, Metric::Failed)?;
        Some(format!("\n{contender} failed up to {} requests of a run.\n", short(failed.max)))
    });
    told.collect()
}
