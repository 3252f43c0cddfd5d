//! What the stats filters of the listeners change about Istio's metrics.

use iako_proxy_config::{
    Direction, FilterChain, HttpFilterKind, Listener, NetworkFilter, StatsFilter,
    StatsMetricOverride, Terminal,
};
use iako_telemetry::{MetricRule, Reporter};

use super::ConfigTask;

impl ConfigTask {
    /// Tells those who show the metrics. The control plane gives all listeners of a side the same
    /// changes, so each change is taken once.
    pub(super) fn tell_metric_rules(&self) {
        for reporter in [Reporter::Source, Reporter::Destination] {
            let active = self.listeners.values().filter_map(|entry| entry.active());
            let listeners = active
                .map(|settings| &*settings.config)
                .filter(|listener| reporter_of(listener) == reporter);
            let mut rules: Vec<MetricRule> = Vec::new();
            for change in listeners.flat_map(stats_filters).flat_map(|filter| &filter.overrides) {
                let rule = rule(change);
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
            self.shared.metrics.set_rules(reporter, rules);
        }
    }
}

fn reporter_of(listener: &Listener) -> Reporter {
    match listener.direction {
        Direction::Inbound => Reporter::Destination,
        Direction::Outbound | Direction::Unspecified => Reporter::Source,
    }
}

fn stats_filters(listener: &Listener) -> impl Iterator<Item = &StatsFilter> {
    listener.chains.iter().chain(&listener.default_chain).flat_map(stats_filters_of_chain)
}

fn stats_filters_of_chain(chain: &FilterChain) -> impl Iterator<Item = &StatsFilter> {
    let of_connections = chain.filters.iter().filter_map(|filter| match filter {
        NetworkFilter::Stats(stats) => Some(stats),
        NetworkFilter::Rbac(_)
        | NetworkFilter::MetadataExchange { .. }
        | NetworkFilter::Discovered(_)
        | NetworkFilter::ConnectionLimit(_)
        | NetworkFilter::RateLimit(_)
        | NetworkFilter::SniCluster
        | NetworkFilter::SniForward(_)
        | NetworkFilter::SetState(_)
        | NetworkFilter::ExtAuthz(_)
        | NetworkFilter::GlobalRateLimit(_)
        | NetworkFilter::Opaque(_)
        | NetworkFilter::Unsupported(_) => None,
    });
    let manager = match &chain.terminal {
        Terminal::Http(manager) => Some(manager),
        Terminal::Tcp(_) | Terminal::Direct(_) | Terminal::Echo => None,
    };
    let of_requests =
        manager.into_iter().flat_map(|manager| &manager.filters).filter_map(|filter| {
            #[expect(clippy::wildcard_enum_match_arm, reason = "one filter is looked for")]
            match &filter.kind {
                HttpFilterKind::Stats(stats) => Some(stats),
                _ => None,
            }
        });
    of_requests.chain(of_connections)
}

fn rule(change: &StatsMetricOverride) -> MetricRule {
    MetricRule {
        metric: change.metric.clone(),
        drop: change.drop,
        labels_removed: change.tags_to_remove.clone(),
    }
}
