//! Circuit breakers and outlier detection.

use iako_types::Percent;
use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::config::core::v3::RoutingPriority;

use super::wire;
use crate::xds::problem::{At, Fault};
use crate::{CircuitBreakers, OutlierDetection, RetryBudget, Thresholds};

pub(super) fn circuit_breakers(
    breakers: Option<&pb::CircuitBreakers>,
    at: &At<'_>,
) -> Result<CircuitBreakers, Fault> {
    let mut value = CircuitBreakers::default();
    let Some(breakers) = breakers else { return Ok(value) };
    let at = at.field("circuit_breakers");
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
    })
}

pub(super) fn outlier_detection(
    detection: Option<&pb::OutlierDetection>,
    at: &At<'_>,
) -> Result<Option<OutlierDetection>, Fault> {
    let Some(detection) = detection else { return Ok(None) };
    let at = at.field("outlier_detection");
    let default = OutlierDetection::default();
    let positive = |value: Option<&prost_types::Duration>, default, field: &'static str| {
        let at = at.field(field);
        wire::positive(wire::duration_or(value, default, &at)?, &at)
    };
    let base = positive(
        detection.base_ejection_time.as_ref(),
        default.base_ejection_time,
        "base_ejection_time",
    )?;
    let longest = wire::duration_or(
        detection.max_ejection_time.as_ref(),
        default.ejection_time_max,
        &at.field("max_ejection_time"),
    )?;
    unsupported_ejections(detection, &at);
    Ok(Some(OutlierDetection {
        consecutive_5xx: counter(
            detection.consecutive_5xx,
            detection.enforcing_consecutive_5xx.unwrap_or(100),
            &at.field("consecutive_5xx"),
        )?,
        consecutive_gateway_failure: counter(
            detection.consecutive_gateway_failure,
            detection.enforcing_consecutive_gateway_failure.unwrap_or(0),
            &at.field("consecutive_gateway_failure"),
        )?,
        consecutive_local_origin_failure: counter(
            detection.consecutive_local_origin_failure,
            detection.enforcing_consecutive_local_origin_failure.unwrap_or(100),
            &at.field("consecutive_local_origin_failure"),
        )?,
        split_local_origin: detection.split_external_local_origin_errors,
        interval: positive(detection.interval.as_ref(), default.interval, "interval")?,
        base_ejection_time: base,
        // Envoy takes the longer of the two when the maximum is below the base.
        ejection_time_max: longest.max(base),
        ejection_max: match detection.max_ejection_percent {
            // More than the whole is the whole.
            Some(percent) => {
                wire::whole_percent(percent.min(100), &at.field("max_ejection_percent"))?
            }
            None => Percent::from_whole(10).unwrap_or(Percent::ZERO),
        },
    }))
}

/// A count of failures in a row, off when it is zero or enforced never.
fn counter(
    count: Option<u32>,
    enforcing: u32,
    at: &At<'_>,
) -> Result<Option<std::num::NonZeroU32>, Fault> {
    match (count, enforcing) {
        (_, 0) => Ok(None),
        (None, 100) => Ok(std::num::NonZeroU32::new(5)),
        (Some(count), 100) => Ok(std::num::NonZeroU32::new(count)),
        (_, share) => {
            let problem = format!("is enforced for {share} % of cases");
            Err(at.invalid(problem, "write 0 or 100 as the enforcing share"))
        }
    }
}

/// Kinds of ejection that need statistics over all instances: said when they are asked for.
fn unsupported_ejections(detection: &pb::OutlierDetection, at: &At<'_>) {
    let asked = [
        (detection.enforcing_success_rate, "enforcing_success_rate"),
        (detection.enforcing_local_origin_success_rate, "enforcing_local_origin_success_rate"),
        (detection.enforcing_failure_percentage, "enforcing_failure_percentage"),
        (
            detection.enforcing_failure_percentage_local_origin,
            "enforcing_failure_percentage_local_origin",
        ),
    ];
    for (share, field) in asked {
        if share.is_some_and(|share| share > 0) {
            at.field(field).warn("has no effect: only failures in a row eject instances");
        }
    }
}
