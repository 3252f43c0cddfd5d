//! Records for collectors of OpenTelemetry.

use std::sync::Arc;

use iako_cel::Options;
use iako_proxy_config::{CustomTag, OtelLog, OtelStreamSettings};
use iako_telemetry::access_log::FormatError;
use iako_telemetry::access_log::further::{Side, TextFact};
use iako_telemetry::{AccessLogFormat, AccessRecord};
use iako_xds_codec::service::otel_log::{self, OtelRecord};
use serde_json::{Map, Value};

use crate::tags;

/// A log of records, compiled.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) stream: Arc<OtelStreamSettings>,
    body: Option<Part>,
    attributes: Vec<(String, Part)>,
    states: Vec<String>,
    tags: Vec<CustomTag>,
}

/// A value of a record.
#[derive(Debug)]
enum Part {
    Text(AccessLogFormat),
    List(Vec<Self>),
    Fields(Vec<(String, Self)>),
    Constant(Value),
}

impl Records {
    /// Compiles what a record says.
    ///
    /// # Errors
    /// When an operator is unknown or malformed.
    pub(super) fn compile(log: &OtelLog) -> Result<Self, FormatError> {
        Ok(Self {
            stream: Arc::new(log.stream.clone()),
            body: log.body.as_ref().map(|body| part(body, log.calling)).transpose()?,
            attributes: fields(&log.attributes, log.calling)?,
            states: log.states.clone(),
            tags: log.tags.clone(),
        })
    }

    /// Whether a record tells every endpoint that was tried.
    pub(super) fn tells_tries(&self) -> bool {
        let parts = self.attributes.iter().map(|(_, part)| part);
        self.body.iter().chain(parts).any(Part::tells_tries)
    }

    /// A record as bytes.
    pub(super) fn encode(&self, record: &AccessRecord<'_>) -> Vec<u8> {
        let mut attributes: Map<String, Value> =
            self.attributes.iter().map(|(name, part)| (name.clone(), part.value(record))).collect();
        for key in &self.states {
            if let Some(text) = record.further.state(Side::Downstream, key) {
                attributes.insert(key.clone(), Value::from(text.into_owned()));
            }
        }
        for tag in &self.tags {
            if let Some(value) = tags::value(&tag.value, record) {
                attributes.insert(tag.name.clone(), Value::from(value));
            }
        }
        let span = record.further.text(TextFact::SpanId).unwrap_or_default();
        let said = OtelRecord {
            body: self.body.as_ref().map(|body| body.value(record)),
            attributes,
            trace: record.trace_id.unwrap_or_default(),
            span: &span,
        };
        otel_log::record(record.start_time, &said)
    }
}

fn part(format: &Value, calling: Options) -> Result<Part, FormatError> {
    Ok(match format {
        Value::String(text) => Part::Text(AccessLogFormat::text_with(text, calling)?),
        Value::Array(items) => {
            Part::List(items.iter().map(|item| part(item, calling)).collect::<Result<_, _>>()?)
        }
        Value::Object(named) => Part::Fields(fields(named, calling)?),
        Value::Null | Value::Bool(_) | Value::Number(_) => Part::Constant(format.clone()),
    })
}

fn fields(
    named: &Map<String, Value>,
    calling: Options,
) -> Result<Vec<(String, Part)>, FormatError> {
    named.iter().map(|(name, format)| Ok((name.clone(), part(format, calling)?))).collect()
}

impl Part {
    fn tells_tries(&self) -> bool {
        match self {
            Self::Text(format) => format.tells_tries(),
            Self::List(parts) => parts.iter().any(Self::tells_tries),
            Self::Fields(fields) => fields.iter().any(|(_, part)| part.tells_tries()),
            Self::Constant(_) => false,
        }
    }

    fn value(&self, record: &AccessRecord<'_>) -> Value {
        match self {
            Self::Text(format) => {
                let mut text = Vec::new();
                format.render(record, &mut text);
                Value::String(String::from_utf8_lossy(&text).into_owned())
            }
            Self::List(parts) => parts.iter().map(|part| part.value(record)).collect(),
            Self::Fields(fields) => {
                fields.iter().map(|(name, part)| (name.clone(), part.value(record))).collect()
            }
            Self::Constant(value) => value.clone(),
        }
    }
}
