//! What the Telemetry API changes about metrics: some are dropped, some lose labels.
//!
//! The rules are applied when metrics are shown, not when they are recorded: series that differ
//! only by a removed label are summed. So a change takes effect at the next scrape, and nothing is
//! lost when a rule is taken back.

use crate::labels::Reporter;

/// A change to one metric or to all of them. Source: `stats.MetricConfig` of Istio's stats filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricRule {
    /// The metric without its prefix `istio_`, such as `requests_total`; all when empty.
    pub metric: String,
    /// Whether the metric is left out.
    pub drop: bool,
    /// Labels that are left out.
    pub labels_removed: Vec<String>,
}

impl MetricRule {
    fn is_for(&self, metric: &str) -> bool {
        self.metric.is_empty() || metric.strip_prefix("istio_") == Some(self.metric.as_str())
    }
}

/// The rules for both sides; the filters of inbound and outbound listeners each have their own.
#[derive(Clone, Debug, Default)]
pub(super) struct MetricRules {
    source: Vec<MetricRule>,
    destination: Vec<MetricRule>,
}

impl MetricRules {
    pub(super) fn set(&mut self, reporter: Reporter, rules: Vec<MetricRule>) {
        match reporter {
            Reporter::Source => self.source = rules,
            Reporter::Destination => self.destination = rules,
        }
    }

    /// Of several rules for a metric, the last decides.
    pub(super) fn is_dropped(&self, reporter: Reporter, metric: &str) -> bool {
        let last = self.of(reporter, metric).last();
        last.is_some_and(|rule| rule.drop)
    }

    pub(super) fn removed(&self, reporter: Reporter, metric: &str) -> Vec<&str> {
        self.of(reporter, metric)
            .flat_map(|rule| &rule.labels_removed)
            .map(String::as_str)
            .collect()
    }

    fn of(&self, reporter: Reporter, metric: &str) -> impl Iterator<Item = &MetricRule> {
        let rules = match reporter {
            Reporter::Source => &self.source,
            Reporter::Destination => &self.destination,
        };
        rules.iter().filter(move |rule| rule.is_for(metric))
    }
}
