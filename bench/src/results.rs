//! What was measured: one list of values, a value a round, for each scenario, contender and metric.

use std::collections::BTreeMap;

use crate::contender::Contender;

/// What a value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// Requests or connections a second, or GB a second, at saturation.
    Rate,
    /// CPU of the proxies: microseconds a request or connection, or milliseconds a GB.
    Cpu,
    /// The same for requests that match the first of many routes.
    CpuFirst,
    /// CPU of the proxies, in milliseconds, for one of many routes that changed.
    Change,
    /// Requests that failed while it changed back and forth.
    ChangeFailed,
    /// Milliseconds of the slowest answer meanwhile.
    ChangeSlowest,
    /// The same while nothing changed.
    QuietSlowest,
    /// Share of a core that the proxies used while that was measured, in percent.
    ProxyShare,
    /// Share of a core that load and upstream used meanwhile, in percent.
    LoadShare,
    /// Share of both cores that anything else used meanwhile, in percent.
    OthersShare,
    /// System calls of the proxies, a request.
    Syscalls,
    /// Memory of an idle proxy, some seconds after its first answer, in MB.
    Rss,
    Pss,
    /// Memory after saturation, in MB.
    LoadedRss,
    LoadedPss,
    /// Milliseconds from the start of the process to the first answer.
    Start,
    /// Microseconds at a fixed rate of requests; percentile in tenths of a percent.
    Latency {
        rate: u32,
        permille: u32,
    },
    /// CPU of the proxies at a fixed rate, microseconds a request.
    CpuAt {
        rate: u32,
    },
    /// Requests that were not answered with 200, of all scenarios' runs.
    Failed,
    /// KiB of PSS for each of so many idle connections.
    Idle {
        connections: usize,
    },
}

/// The percentiles of latency that are kept.
pub(crate) const PERMILLES: [u32; 4] = [500, 900, 990, 999];

/// Values of all rounds.
#[derive(Debug, Default)]
pub(crate) struct Results {
    values: BTreeMap<(&'static str, Contender, Metric), Vec<f64>>,
    /// What could not be measured and why.
    pub(crate) problems: Vec<String>,
}

/// Median and range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Results {
    pub(crate) fn add(
        &mut self,
        scenario: &'static str,
        contender: Contender,
        metric: Metric,
        value: f64,
    ) {
        self.values.entry((scenario, contender, metric)).or_default().push(value);
    }

    pub(crate) fn of(
        &self,
        scenario: &'static str,
        contender: Contender,
        metric: Metric,
    ) -> Option<Summary> {
        Summary::of(self.values.get(&(scenario, contender, metric))?)
    }

    pub(crate) fn median(
        &self,
        scenario: &'static str,
        contender: Contender,
        metric: Metric,
    ) -> Option<f64> {
        self.of(scenario, contender, metric).map(|summary| summary.median)
    }

    /// Values of one metric, of all scenarios, contenders and rounds.
    pub(crate) fn everywhere(&self, wanted: Metric) -> Option<Summary> {
        let of_metric = self.values.iter().filter(|((.., metric), _)| *metric == wanted);
        let values: Vec<f64> = of_metric.flat_map(|(_, values)| values).copied().collect();
        Summary::of(&values)
    }

    /// The value of the last round.
    pub(crate) fn last(
        &self,
        scenario: &'static str,
        contender: Contender,
        metric: Metric,
    ) -> Option<f64> {
        self.values.get(&(scenario, contender, metric))?.last().copied()
    }

    /// Rates at which latency was measured.
    pub(crate) fn rates(&self, scenario: &str) -> Vec<u32> {
        let mut rates: Vec<u32> = self
            .values
            .keys()
            .filter(|(id, ..)| *id == scenario)
            .filter_map(|(.., metric)| {
                let Metric::CpuAt { rate } = metric else { return None };
                Some(*rate)
            })
            .collect();
        rates.sort_unstable();
        rates.dedup();
        rates
    }

    pub(crate) fn has(&self, scenario: &str) -> bool {
        self.values.keys().any(|(id, ..)| *id == scenario)
    }
}

impl Summary {
    /// `None` of no values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let lower = if sorted.len().is_multiple_of(2) {
            *sorted.get(middle.checked_sub(1)?)?
        } else {
            upper
        };
        Some(Self {
            median: f64::midpoint(lower, upper),
            min: *sorted.first()?,
            max: *sorted.last()?,
        })
    }
}

/// The value below which `permille` of the sorted values are.
pub(crate) fn percentile(sorted: &[u64], permille: u32) -> Option<u64> {
    let rank = (sorted.len() as u64 * u64::from(permille)).div_ceil(1000);
    sorted.get(usize::try_from(rank.saturating_sub(1)).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_ranks() {
        let summary = Summary::of(&[9.0, 1.0, 2.0, 4.0]).unwrap();
        assert_eq!(summary, Summary { median: 3.0, min: 1.0, max: 9.0 });
        assert_eq!(Summary::of(&[]), None);
        let sorted: Vec<u64> = (1..=1000).collect();
        assert_eq!(PERMILLES.map(|p| percentile(&sorted, p).unwrap()), [500, 900, 990, 999]);
        assert_eq!(percentile(&[], 500), None);
    }
}
