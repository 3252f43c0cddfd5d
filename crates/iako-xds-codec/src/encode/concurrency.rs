//! How many requests may be under way, found out from how long they take.

use iako_xds_api::envoy::extensions::filters::http::adaptive_concurrency::v3 as pb;
use iako_xds_api::envoy::r#type::v3::HttpStatus;
use pb::gradient_controller_config::{
    ConcurrencyLimitCalculationParams, MinimumRttCalculationParams,
};

use super::wire;
use iako_proxy_config::{AdaptiveConcurrency, ConcurrencyGradient, Keyed, LeastTime};

pub(super) fn filter(value: &AdaptiveConcurrency) -> pb::AdaptiveConcurrency {
    use pb::adaptive_concurrency::ConcurrencyControllerConfig as Controller;
    pb::AdaptiveConcurrency {
        enabled: (value.enabled != Keyed::fixed(true)).then(|| wire::runtime_flag(&value.enabled)),
        concurrency_limit_exceeded_status: (value.status != 503)
            .then(|| HttpStatus { code: value.status.into() }),
        concurrency_controller_config: Some(Controller::GradientControllerConfig(gradient(
            &value.gradient,
        ))),
    }
}

fn gradient(value: &ConcurrencyGradient) -> pb::GradientControllerConfig {
    let limit_min = Some(value.limit_min.get());
    let buffer = Some(wire::percent(value.buffer));
    let (least, own_limit_min) = match value.least {
        LeastTime::Fixed(fixed) => {
            let least = MinimumRttCalculationParams {
                fixed_value: Some(wire::duration(fixed)),
                buffer,
                ..Default::default()
            };
            (least, limit_min)
        }
        LeastTime::Measured { interval, jitter, requests } => {
            let least = MinimumRttCalculationParams {
                interval: Some(wire::duration(interval)),
                request_count: Some(requests.get()),
                jitter: Some(wire::percent(jitter)),
                min_concurrency: limit_min,
                buffer,
                ..Default::default()
            };
            (least, None)
        }
    };
    pb::GradientControllerConfig {
        sample_aggregate_percentile: Some(wire::percent(value.percentile)),
        concurrency_limit_params: Some(ConcurrencyLimitCalculationParams {
            max_concurrency_limit: Some(value.limit_max.get()),
            concurrency_update_interval: Some(wire::duration(value.update_interval)),
            min_concurrency_limit: own_limit_min,
        }),
        min_rtt_calc_params: Some(least),
    }
}
