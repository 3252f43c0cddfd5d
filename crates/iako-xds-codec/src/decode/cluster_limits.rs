//! Circuit breakers.

use std::time::Duration;

use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::config::core::v3::RoutingPriority;

use super::wire;
use crate::problem::{At, Fault};
use iako_proxy_config::{CircuitBreakers, RetryBudget, Thresholds};

pub(super) fn circuit_breakers(
    breakers: Option<&pb::CircuitBreakers>,
    at: &At<'_>,
) -> Result<CircuitBreakers, Fault> {
    let mut value = CircuitBreakers::default();
    let Some(breakers) = breakers else { return Ok(value) };
    let at = at.field("circuit_breakers");
    let at_hosts = at.field("per_host_thresholds");
    for (index, entry) in breakers.per_host_thresholds.iter().enumerate().rev() {
        let at = at_hosts.index(index);
        only_connections(entry, &at);
        match wire::known::<RoutingPriority>(entry.priority, &at.field("priority"))? {
            RoutingPriority::Default => value.host_connections_max = entry.max_connections,
            RoutingPriority::High => value.high_host_connections_max = entry.max_connections,
        }
    }
    let at = at.field("thresholds");
    // The first entry of a priority counts, as in Envoy.
    for (index, entry) in breakers.thresholds.iter().enumerate().rev() {
        let at = at.index(index);
        match wire::known::<RoutingPriority>(entry.priority, &at.field("priority"))? {
            RoutingPriority::Default => value.default = thresholds(entry, &at)?,
            RoutingPriority::High => value.high = thresholds(entry, &at)?,
        }
    }
    Ok(value)
}

/// Of one instance only connections are limited, as in Envoy.
fn only_connections(entry: &pb::circuit_breakers::Thresholds, at: &At<'_>) {
    let others = [
        (entry.max_pending_requests.is_some(), "max_pending_requests"),
        (entry.max_requests.is_some(), "max_requests"),
        (entry.max_retries.is_some(), "max_retries"),
        (entry.max_connection_pools.is_some(), "max_connection_pools"),
        (entry.retry_budget.is_some(), "retry_budget"),
        (entry.track_remaining, "track_remaining"),
    ];
    for (_, field) in others.into_iter().filter(|(is_set, _)| *is_set) {
        at.field(field).warn("has no effect: of one instance only connections are limited");
    }
}

fn thresholds(entry: &pb::circuit_breakers::Thresholds, at: &At<'_>) -> Result<Thresholds, Fault> {
    let default = Thresholds::default();
    Ok(Thresholds {
        connections_max: entry.max_connections.unwrap_or(default.connections_max),
        pending_requests_max: entry.max_pending_requests.unwrap_or(default.pending_requests_max),
        requests_max: entry.max_requests.unwrap_or(default.requests_max),
        retries_max: entry.max_retries.unwrap_or(default.retries_max),
        retry_budget: entry
            .retry_budget
            .as_ref()
            .map(|budget| retry_budget(budget, at))
            .transpose()?,
        pools_max: entry.max_connection_pools.unwrap_or(default.pools_max),
        track_remaining: entry.track_remaining,
    })
}

fn retry_budget(
    budget: &pb::circuit_breakers::thresholds::RetryBudget,
    at: &At<'_>,
) -> Result<RetryBudget, Fault> {
    let at = at.field("retry_budget");
    let percent = budget.budget_percent.as_ref().map_or(20.0, |percent| percent.value);
    Ok(RetryBudget {
        percent: wire::percent(percent, &at.field("budget_percent"))?,
        retries_min: budget.min_retry_concurrency.unwrap_or(3),
        interval: wire::duration_or(
            budget.budget_interval.as_ref(),
            Duration::ZERO,
            &at.field("budget_interval"),
        )?,
    })
}
