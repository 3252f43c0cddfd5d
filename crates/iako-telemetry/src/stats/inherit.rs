//! Numbers that go from one process of a proxy to the next.

use std::collections::BTreeMap;

use super::{Counter, Entries, Gauge, StatsRegistry, Value};

/// Counters that are kept for statistics that are not there yet. A configuration that makes more names
/// than this in its life is not known.
const INHERITED_MAX: usize = 100_000;

/// What counters and gauges say at one moment, by full name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatisticsNow {
    /// Of counters.
    pub counters: Vec<(String, u64)>,
    /// Of gauges.
    pub gauges: Vec<(String, i64)>,
}

/// What was counted before a statistic was made, by full name.
#[derive(Debug, Default)]
pub(super) struct Inheritance(BTreeMap<String, u64>);

impl Inheritance {
    /// Gives a new statistic what it inherits.
    pub(super) fn give(&mut self, name: &str, value: &Value) {
        if let (Value::Counter(counter), Some(amount)) = (value, self.0.remove(name)) {
            counter.add(amount);
        }
    }
}

impl Entries {
    fn inherit(&mut self, name: &str, amount: u64) {
        if let Some(entry) = self.by_name.get(name) {
            if let Value::Counter(counter) = &entry.value {
                counter.add(amount);
            }
            return;
        }
        let Inheritance(kept) = &mut self.inheritance;
        if let Some(sum) = kept.get_mut(name) {
            *sum = sum.saturating_add(amount);
        } else if kept.len() < INHERITED_MAX {
            kept.insert(name.to_owned(), amount);
        }
    }
}

impl StatsRegistry {
    /// Every counter and gauge.
    #[must_use]
    pub fn now(&self) -> StatisticsNow {
        let mut now = StatisticsNow::default();
        for (name, entry) in self.snapshot() {
            match &entry.value {
                Value::Counter(counter) => now.counters.push((name, counter.value())),
                Value::Gauge(Gauge(number)) => now.gauges.push((name, number.value())),
                Value::Histogram(_) => {}
            }
        }
        now
    }

    /// Adds what another process counted. A counter that is not there yet begins with it when it is
    /// made: names of statuses, for example, are made when the first one is seen.
    pub fn inherit_counter(&self, name: &str, amount: u64) {
        self.entries.lock().inherit(name, amount);
    }

    /// Adds to a gauge, where there is one of this name.
    pub fn add_to_gauge(&self, name: &str, amount: i64) -> bool {
        let entries = self.entries.lock();
        let gauge = entries.by_name.get(name).and_then(|entry| match &entry.value {
            Value::Gauge(gauge) => Some(gauge),
            Value::Counter(Counter(_)) | Value::Histogram(_) => None,
        });
        gauge.inspect(|gauge| gauge.add(amount)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_process_counted_is_added_at_once_or_when_the_statistic_is_made() {
        let registry = StatsRegistry::new(1);
        let cart = registry.cluster("cart");
        let total = cart.counter("upstream_rq_total");
        total.add(2);
        registry.inherit_counter("cluster.cart.upstream_rq_total", 40);
        registry.inherit_counter("cluster.cart.upstream_rq_503", 3);
        registry.inherit_counter("cluster.cart.upstream_rq_503", 4);
        assert_eq!(total.value(), 42);
        assert_eq!(cart.counter("upstream_rq_503").value(), 7);
        assert_eq!(cart.counter("upstream_rq_503").value(), 7, "it is given once");
    }

    #[test]
    fn gauges_add_up_where_there_are_any() {
        let registry = StatsRegistry::new(1);
        let active = registry.http("in").gauge("downstream_cx_active");
        active.inc();
        assert!(registry.add_to_gauge("http.in.downstream_cx_active", 2));
        assert!(!registry.add_to_gauge("http.out.downstream_cx_active", 2));
        let now = registry.now();
        assert_eq!(now.gauges, [("http.in.downstream_cx_active".to_owned(), 3)]);
    }
}
