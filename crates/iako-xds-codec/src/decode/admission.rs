//! Requests that are turned away while too many of them fail.

use std::sync::Arc;
use std::time::Duration;

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::http::admission_control::v3 as pb;
use iako_xds_api::envoy::r#type::v3::Int32Range;

use super::wire;
use crate::problem::{At, Fault};
use iako_proxy_config::{AdmissionControl, Keyed, SuccessCriteria};

/// Envoy's window.
const WINDOW: Duration = Duration::from_secs(30);

pub(super) fn filter(
    config: &pb::AdmissionControl,
    at: &At<'_>,
) -> Result<AdmissionControl, Fault> {
    use pb::admission_control::EvaluationCriteria;
    let at_criteria = at.field("success_criteria");
    let Some(EvaluationCriteria::SuccessCriteria(found)) = &config.evaluation_criteria else {
        return Err(at_criteria.missing("write what is a success, `{}` for what usually is"));
    };
    let at_window = at.field("sampling_window");
    let window = wire::duration_or(config.sampling_window.as_ref(), WINDOW, &at_window)?;
    if window.as_secs() == 0 {
        return Err(at_window.invalid("is less than a second", "write whole seconds"));
    }
    let aggression = config.aggression.as_ref();
    let aggression = aggression.map_or_else(
        || Keyed::fixed(1.0),
        |number| Keyed::new(number.default_value, &number.runtime_key),
    );
    let rate = config.rps_threshold.as_ref();
    let rate_threshold = rate.map_or_else(
        || Keyed::fixed(0),
        |number| Keyed::new(number.default_value, &number.runtime_key),
    );
    let at_share = at.field("sr_threshold");
    let success_threshold = percent(config.sr_threshold.as_ref(), 95, &at_share)?;
    if success_threshold.value.parts_per_million() < 10_000 {
        let help = "write at least 1 percent";
        return Err(at_share.invalid("leaves nothing that could be a success", help));
    }
    let at_max = at.field("max_rejection_probability");
    Ok(AdmissionControl {
        enabled: config.enabled.as_ref().map_or(Keyed::fixed(true), |flag| {
            Keyed::new(flag.default_value.unwrap_or(true), &flag.runtime_key)
        }),
        criteria: Arc::new(criteria(found, &at_criteria)?),
        window: Duration::from_secs(window.as_secs()),
        aggression,
        success_threshold,
        rate_threshold,
        rejected_max: percent(config.max_rejection_probability.as_ref(), 80, &at_max)?,
    })
}

/// A share that the runtime changes in percent.
fn percent(
    config: Option<&core::RuntimePercent>,
    default: u32,
    at: &At<'_>,
) -> Result<Keyed<Percent>, Fault> {
    let Some(config) = config else {
        return Ok(Keyed::fixed(wire::whole_percent(default, at)?));
    };
    let value = config.default_value.as_ref().map_or(0.0, |percent| percent.value);
    Ok(Keyed::new(wire::percent(value, &at.field("default_value"))?, &config.runtime_key))
}

fn criteria(
    config: &pb::admission_control::SuccessCriteria,
    at: &At<'_>,
) -> Result<SuccessCriteria, Fault> {
    let at_http = at.field("http_criteria");
    let http = config.http_criteria.as_ref().map(|http| {
        let at = at_http.field("http_success_status");
        if http.http_success_status.is_empty() {
            return Err(at.missing("write at least one range"));
        }
        wire::list(&http.http_success_status, &at, range)
    });
    let at_grpc = at.field("grpc_criteria");
    let grpc = config.grpc_criteria.as_ref().map(|grpc| {
        let at = at_grpc.field("grpc_success_status");
        if grpc.grpc_success_status.is_empty() {
            return Err(at.missing("write at least one status"));
        }
        wire::list(&grpc.grpc_success_status, &at, |status, at| {
            if *status > 16 {
                let problem = format!("{status} is no status of gRPC");
                return Err(at.invalid(problem, "write 0 to 16"));
            }
            Ok(*status)
        })
    });
    Ok(SuccessCriteria { http: http.transpose()?, grpc: grpc.transpose()? })
}

fn range(config: &Int32Range, at: &At<'_>) -> Result<(u16, u16), Fault> {
    match (u16::try_from(config.start), u16::try_from(config.end)) {
        (Ok(first), Ok(beyond)) if first < beyond && first >= 100 && beyond <= 600 => {
            Ok((first, beyond))
        }
        _ => Err(at.invalid(
            "is no range of statuses",
            "write `start` from 100, below `end`, which is at most 600 and not in it",
        )),
    }
}
