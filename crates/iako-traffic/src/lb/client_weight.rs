//! Weights that instances have by what they report of their load.
//!
//! Source: gRFC A58, and Envoy's client-side weighted round robin.

use iako_proxy_config::{ClientWeighted, LoadReport};

use super::{balancer::BalancedEndpoint, measure::Moment};

/// The weight that a report makes: requests a second over utilization. None without either.
pub(super) fn of_report(report: &LoadReport, policy: &ClientWeighted) -> Option<u32> {
    let rate = report.rps_fractional;
    if !rate.is_finite() || rate <= 0.0 {
        return None;
    }
    let busy = utilization(report, &policy.metrics) + policy.error_penalty * report.eps / rate;
    if !busy.is_finite() || busy <= 0.0 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float is bounded by the type"
    )]
    let weight = (rate / busy) as u32;
    Some(weight)
}

/// What the application says of itself, else the greatest of the metrics asked for, else that of the
/// processor.
fn utilization(report: &LoadReport, metrics: &[String]) -> f64 {
    if report.application_utilization > 0.0 {
        return report.application_utilization;
    }
    let most = metrics.iter().map(|name| report.greatest(name)).fold(0.0, f64::max);
    if most > 0.0 { most } else { report.cpu_utilization }
}

/// Gives every instance the weight of its report, and those without a valid one the median of their
/// priority; whether any weight changed. `scratch` has room for a weight of each.
pub(super) fn update(
    endpoints: &[BalancedEndpoint],
    policy: &ClientWeighted,
    now: Moment,
    scratch: &mut Vec<u32>,
) -> bool {
    let levels = endpoints.iter().map(|one| one.priority).max().unwrap_or_default();
    let mut changed = false;
    for level in 0..=levels {
        let own = || endpoints.iter().filter(move |one| one.priority == level);
        scratch.clear();
        let valid = own().filter_map(|one| one.state.measures.valid_report(policy, now));
        scratch.extend(valid);
        let middle = scratch.len() / 2;
        let median = match scratch.is_empty() {
            true => 1,
            false => *scratch.select_nth_unstable(middle).1,
        };
        for one in own() {
            let measures = &one.state.measures;
            let weight = measures.valid_report(policy, now).unwrap_or(median);
            changed |= measures.set_weight(weight);
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rate: f64, application: f64, processor: f64) -> LoadReport {
        LoadReport {
            rps_fractional: rate,
            application_utilization: application,
            cpu_utilization: processor,
            ..LoadReport::default()
        }
    }

    #[test]
    fn a_weight_is_requests_over_utilization() {
        let policy = ClientWeighted::default();
        let weight = |report: &LoadReport| of_report(report, &policy);
        assert_eq!(weight(&report(100.0, 0.5, 0.9)), Some(200));
        assert_eq!(weight(&report(100.0, 0.0, 0.25)), Some(400));
        assert_eq!(weight(&report(0.0, 0.5, 0.5)), None);
        assert_eq!(weight(&report(100.0, 0.0, 0.0)), None);
        assert_eq!(weight(&report(1e20, 0.1, 0.0)), Some(u32::MAX));
    }

    #[test]
    fn errors_and_named_metrics_count_as_asked() {
        let mut report = report(100.0, 0.0, 0.25);
        report.eps = 50.0;
        report.named_metrics.insert("queue".into(), 0.5);
        report.utilization.insert("disk".into(), 0.8);
        let policy = |error_penalty, metrics: &[&str]| ClientWeighted {
            error_penalty,
            metrics: metrics.iter().map(|name| (*name).to_owned()).collect(),
            ..ClientWeighted::default()
        };
        assert_eq!(of_report(&report, &policy(1.5, &[])), Some(100));
        assert_eq!(of_report(&report, &policy(0.0, &["named_metrics.queue"])), Some(200));
        let both = policy(0.0, &["named_metrics.queue", "utilization.*"]);
        assert_eq!(of_report(&report, &both), Some(125));
        assert_eq!(of_report(&report, &policy(0.0, &["named_metrics.none"])), Some(400));
    }
}
