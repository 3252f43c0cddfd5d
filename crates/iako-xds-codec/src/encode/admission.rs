//! Requests that are turned away while too many of them fail.

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::http::admission_control::v3 as pb;
use iako_xds_api::envoy::r#type::v3::Int32Range;
use pb::admission_control::{EvaluationCriteria, SuccessCriteria, success_criteria};

use super::wire;
use iako_proxy_config::{AdmissionControl, Keyed};

pub(super) fn filter(value: &AdmissionControl) -> pb::AdmissionControl {
    let http = |ranges: &Vec<(u16, u16)>| success_criteria::HttpCriteria {
        http_success_status: ranges
            .iter()
            .map(|(start, end)| Int32Range { start: (*start).into(), end: (*end).into() })
            .collect(),
    };
    let grpc = |statuses: &Vec<u32>| success_criteria::GrpcCriteria {
        grpc_success_status: statuses.clone(),
    };
    let criteria = SuccessCriteria {
        http_criteria: value.criteria.http.as_ref().map(http),
        grpc_criteria: value.criteria.grpc.as_ref().map(grpc),
    };
    pb::AdmissionControl {
        enabled: (value.enabled != Keyed::fixed(true)).then(|| wire::runtime_flag(&value.enabled)),
        sampling_window: Some(wire::duration(value.window)),
        aggression: Some(core::RuntimeDouble {
            default_value: value.aggression.value,
            runtime_key: value.aggression.key().to_owned(),
        }),
        sr_threshold: Some(percent(&value.success_threshold)),
        rps_threshold: Some(core::RuntimeUInt32 {
            default_value: value.rate_threshold.value,
            runtime_key: value.rate_threshold.key().to_owned(),
        }),
        max_rejection_probability: Some(percent(&value.rejected_max)),
        evaluation_criteria: Some(EvaluationCriteria::SuccessCriteria(criteria)),
    }
}

fn percent(value: &Keyed<Percent>) -> core::RuntimePercent {
    core::RuntimePercent {
        default_value: Some(wire::percent(value.value)),
        runtime_key: value.key().to_owned(),
    }
}
