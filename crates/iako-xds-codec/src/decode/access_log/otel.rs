//! Logs that go to a collector of OpenTelemetry.

use iako_xds_api::envoy::extensions::access_loggers::open_telemetry::v3 as pb;
use iako_xds_api::opentelemetry::proto::common::v1::{AnyValue, KeyValueList, any_value};
use serde_json::{Map, Value};

use super::formatters;
use crate::decode::{callout, tracing, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{LogStreamSettings, OtelLabels, OtelLog, OtelStreamSettings, OtlpExporter};

pub(super) fn log(
    config: &pb::OpenTelemetryAccessLogConfig,
    at: &At<'_>,
) -> Result<OtelLog, Fault> {
    let common = config.common_config.as_ref();
    let retries = common.and_then(|common| common.grpc_stream_retry_policy.as_ref());
    let name = match (config.log_name.as_str(), common) {
        ("", Some(common)) => common.log_name.clone(),
        (name, _) => name.to_owned(),
    };
    let at_interval = at.field("buffer_flush_interval");
    let interval = config.buffer_flush_interval;
    let interval = interval.or_else(|| common.and_then(|common| common.buffer_flush_interval));
    let default = LogStreamSettings::FLUSH_INTERVAL;
    let flush_interval = wire::duration_or(interval.as_ref(), default, &at_interval)?;
    if flush_interval.is_zero() {
        return Err(at_interval.invalid("0 is no interval", "write a time above 0"));
    }
    let bytes = config.buffer_size_bytes;
    let bytes = bytes.or_else(|| common.and_then(|common| common.buffer_size_bytes));
    let mut states = config.filter_state_objects_to_log.clone();
    if let Some(common) = common {
        states.extend(common.filter_state_objects_to_log.iter().cloned());
    }
    let mut custom_tags = config.custom_tags.clone();
    if let Some(common) = common {
        custom_tags.extend(common.custom_tags.iter().cloned());
    }
    let attributes = config.attributes.as_ref();
    Ok(OtelLog {
        stream: OtelStreamSettings {
            name,
            exporter: exporter(config, at)?,
            labels: if config.disable_builtin_labels {
                OtelLabels::None
            } else {
                OtelLabels::BuiltIn
            },
            resource: list(
                config.resource_attributes.as_ref(),
                Wanted::Anything,
                &at.field("resource_attributes"),
            )?,
            flush_interval,
            buffer_bytes: bytes.unwrap_or(LogStreamSettings::BUFFER_BYTES),
            retries: retries.map_or(0, |policy| policy.num_retries.unwrap_or(1)),
        },
        body: match &config.body {
            Some(body) => Some(value(body, Wanted::Formats, &at.field("body"))?),
            None => None,
        },
        attributes: list(attributes, Wanted::Formats, &at.field("attributes"))?,
        states,
        tags: tracing::tags(&custom_tags, &at.field("custom_tags"))?,
        stat_prefix: config.stat_prefix.clone(),
        calling: formatters(&config.formatters, &at.field("formatters"))?,
    })
}

/// Who gets records: one of three fields says it.
fn exporter(config: &pb::OpenTelemetryAccessLogConfig, at: &At<'_>) -> Result<OtlpExporter, Fault> {
    let common = config.common_config.as_ref().and_then(|common| common.grpc_service.as_ref());
    let at_grpc = at.field("grpc_service");
    match (&config.grpc_service, &config.http_service, common) {
        (Some(_), Some(_), _) | (None, Some(_), Some(_)) => {
            let problem = "is set beside a service of gRPC";
            Err(at.field("http_service").invalid(problem, "write one of the two"))
        }
        (Some(service), None, _) => Ok(OtlpExporter::Grpc(callout::grpc(service, None, &at_grpc)?)),
        (None, Some(service), None) => {
            Ok(OtlpExporter::Http(tracing::collector(service, &at.field("http_service"))?))
        }
        (None, None, Some(service)) => {
            let at = at.field("common_config");
            Ok(OtlpExporter::Grpc(callout::grpc(service, None, &at.field("grpc_service"))?))
        }
        (None, None, None) => Err(at_grpc.missing("write which collector takes records")),
    }
}

/// What values may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Texts with operators, and lists and objects of them.
    Formats,
    /// Whatever can be told.
    Anything,
}

fn list(
    config: Option<&KeyValueList>,
    wanted: Wanted,
    at: &At<'_>,
) -> Result<Map<String, Value>, Fault> {
    let at = at.field("values");
    let values = config.map_or(&[][..], |config| config.values.as_slice());
    let values = wire::list(values, &at, |one, at| {
        let at_value = at.field("value");
        let held = one.value.as_ref().ok_or_else(|| at_value.missing("write a value"))?;
        Ok((one.key.clone(), value(held, wanted, &at_value)?))
    })?;
    Ok(values.into_iter().collect())
}

fn value(config: &AnyValue, wanted: Wanted, at: &At<'_>) -> Result<Value, Fault> {
    use any_value::Value as Held;
    let anything = |value: Value| {
        if wanted == Wanted::Anything {
            return Ok(value);
        }
        let help = "write a text, or a list or an object of texts";
        Err(at.invalid("is no format", help))
    };
    match &config.value {
        Some(Held::StringValue(text)) => Ok(Value::from(text.as_str())),
        Some(Held::BoolValue(truth)) => anything(Value::from(*truth)),
        Some(Held::IntValue(number)) => anything(Value::from(*number)),
        Some(Held::DoubleValue(number)) => anything(Value::from(*number)),
        Some(Held::ArrayValue(array)) => {
            let at = at.field("array_value");
            let values =
                wire::list(&array.values, &at.field("values"), |one, at| value(one, wanted, at))?;
            Ok(Value::Array(values))
        }
        Some(Held::KvlistValue(fields)) => {
            Ok(Value::Object(list(Some(fields), wanted, &at.field("kvlist_value"))?))
        }
        Some(Held::BytesValue(_) | Held::StringValueStrindex(_)) => {
            Err(at.invalid("is of a kind that is not told", "write a text"))
        }
        None => Err(at.missing("write a value")),
    }
}
