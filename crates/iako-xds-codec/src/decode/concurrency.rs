//! How many requests may be under way, found out from how long they take.

use std::num::NonZeroU32;
use std::time::Duration;

use iako_types::Percent;
use iako_xds_api::envoy::extensions::filters::http::adaptive_concurrency::v3 as pb;
use iako_xds_api::envoy::r#type::v3 as kind;
use pb::gradient_controller_config::MinimumRttCalculationParams as Measuring;

use super::wire;
use crate::problem::{At, Fault};
use iako_proxy_config::{AdaptiveConcurrency, ConcurrencyGradient, Keyed, LeastTime};

/// The shortest time between two bounds or measurements.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

pub(super) fn filter(
    config: &pb::AdaptiveConcurrency,
    at: &At<'_>,
) -> Result<AdaptiveConcurrency, Fault> {
    use pb::adaptive_concurrency::ConcurrencyControllerConfig as Controller;
    let at_gradient = at.field("gradient_controller_config");
    let Some(Controller::GradientControllerConfig(found)) = &config.concurrency_controller_config
    else {
        return Err(at_gradient.missing("write how the bound is found"));
    };
    let at_status = at.field("concurrency_limit_exceeded_status");
    let status = config.concurrency_limit_exceeded_status.as_ref().map_or(Ok(503), |status| {
        wire::status(u32::try_from(status.code).unwrap_or(0), 100, &at_status.field("code"))
    })?;
    Ok(AdaptiveConcurrency {
        enabled: config.enabled.as_ref().map_or(Keyed::fixed(true), |flag| {
            Keyed::new(flag.default_value.unwrap_or(true), &flag.runtime_key)
        }),
        status: if status < 400 { 503 } else { status },
        gradient: gradient(found, &at_gradient)?,
    })
}

fn percent(config: Option<&kind::Percent>, default: u32, at: &At<'_>) -> Result<Percent, Fault> {
    config.map_or_else(
        || wire::whole_percent(default, at),
        |percent| wire::percent(percent.value, at),
    )
}

fn count(config: Option<u32>, default: u32, at: &At<'_>) -> Result<NonZeroU32, Fault> {
    wire::non_zero(config.unwrap_or(default), at)
}

fn interval(config: Option<&prost_types::Duration>, at: &At<'_>) -> Result<Duration, Fault> {
    let found = wire::optional(config, at)?;
    let found = found.ok_or_else(|| at.missing("write a duration, such as `0.1s`"))?;
    if found < INTERVAL_MIN {
        return Err(at.invalid("is shorter than a millisecond", "write at least `0.001s`"));
    }
    Ok(found)
}

fn gradient(
    config: &pb::GradientControllerConfig,
    at: &At<'_>,
) -> Result<ConcurrencyGradient, Fault> {
    let (at_limit, at_least) =
        (at.field("concurrency_limit_params"), at.field("min_rtt_calc_params"));
    let limit = config.concurrency_limit_params.as_ref();
    let limit = limit.ok_or_else(|| at_limit.missing("write `concurrency_update_interval`"))?;
    let least = config.min_rtt_calc_params.as_ref();
    let least = least.ok_or_else(|| at_least.missing("write `interval` or `fixed_value`"))?;
    // A given time has the least bound beside the largest one.
    let limit_min = if least.fixed_value.is_some() {
        count(limit.min_concurrency_limit, 3, &at_limit.field("min_concurrency_limit"))?
    } else {
        count(least.min_concurrency, 3, &at_least.field("min_concurrency"))?
    };
    Ok(ConcurrencyGradient {
        percentile: percent(
            config.sample_aggregate_percentile.as_ref(),
            50,
            &at.field("sample_aggregate_percentile"),
        )?,
        limit_max: count(
            limit.max_concurrency_limit,
            1000,
            &at_limit.field("max_concurrency_limit"),
        )?,
        limit_min,
        update_interval: interval(
            limit.concurrency_update_interval.as_ref(),
            &at_limit.field("concurrency_update_interval"),
        )?,
        least: least_time(least, &at_least)?,
        buffer: percent(least.buffer.as_ref(), 25, &at_least.field("buffer"))?,
    })
}

fn least_time(config: &Measuring, at: &At<'_>) -> Result<LeastTime, Fault> {
    match (&config.interval, &config.fixed_value) {
        (None, Some(fixed)) => {
            Ok(LeastTime::Fixed(interval(Some(fixed), &at.field("fixed_value"))?))
        }
        (Some(every), None) => Ok(LeastTime::Measured {
            interval: interval(Some(every), &at.field("interval"))?,
            jitter: percent(config.jitter.as_ref(), 15, &at.field("jitter"))?,
            requests: count(config.request_count, 50, &at.field("request_count"))?,
        }),
        _ => Err(at.invalid(
            "is not one of `interval` and `fixed_value`",
            "write how often the least time is measured, or which it is",
        )),
    }
}
