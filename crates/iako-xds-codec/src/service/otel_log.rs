//! What a collector of OpenTelemetry is told of requests and connections.

use std::time::{SystemTime, UNIX_EPOCH};

use iako_xds_api::opentelemetry::proto as otel;
use otel::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value};
use otel::logs::v1::LogRecord;
use otel::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Map, Value};

use super::log::put;

/// Where records are told by gRPC.
pub const METHOD: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// What a record says.
#[derive(Debug, Clone, Default)]
pub struct OtelRecord<'a> {
    /// What it says as a whole.
    pub body: Option<Value>,
    /// What it says by name.
    pub attributes: Map<String, Value>,
    /// The trace that it is of, 32 hexadecimal digits; empty without one.
    pub trace: &'a str,
    /// The span that it is of, 16 hexadecimal digits; empty without one.
    pub span: &'a str,
}

/// A record as bytes.
#[must_use]
pub fn record(start: SystemTime, said: &OtelRecord<'_>) -> Vec<u8> {
    let since = start.duration_since(UNIX_EPOCH).unwrap_or_default();
    let message = LogRecord {
        time_unix_nano: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        body: said.body.as_ref().map(any_value),
        attributes: named(&said.attributes),
        trace_id: bytes_of(said.trace).into(),
        span_id: bytes_of(said.span).into(),
        ..LogRecord::default()
    };
    message.encode_to_vec()
}

/// A request to a collector: records, and who made them.
#[must_use]
pub fn message(resource: &Map<String, Value>, records: &[Vec<u8>]) -> Vec<u8> {
    let resource = Resource { attributes: named(resource), ..Resource::default() };
    let mut scope = Vec::new();
    records.iter().for_each(|record| put(2, record, &mut scope));
    let mut of_resource = Vec::new();
    put(1, &resource.encode_to_vec(), &mut of_resource);
    put(2, &scope, &mut of_resource);
    let mut message = Vec::new();
    put(1, &of_resource, &mut message);
    message
}

/// A value of a schema as it is told.
pub(crate) fn any_value(value: &Value) -> AnyValue {
    use any_value::Value as Held;
    let held = match value {
        Value::Null => return AnyValue::default(),
        Value::Bool(truth) => Held::BoolValue(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Held::IntValue(number),
            None => Held::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Held::StringValue(text.clone()),
        Value::Array(items) => {
            Held::ArrayValue(ArrayValue { values: items.iter().map(any_value).collect() })
        }
        Value::Object(fields) => Held::KvlistValue(KeyValueList { values: named(fields) }),
    };
    AnyValue { value: Some(held) }
}

/// Values by name, in their order.
pub(crate) fn named(fields: &Map<String, Value>) -> Vec<KeyValue> {
    let fields = fields.iter().map(|(key, value)| KeyValue {
        key: key.clone(),
        value: Some(any_value(value)),
        ..KeyValue::default()
    });
    fields.collect()
}

/// Bytes of hexadecimal digits; none where they are no such.
fn bytes_of(digits: &str) -> Vec<u8> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let pairs = digits.as_bytes().chunks_exact(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use otel::collector::logs::v1::ExportLogsServiceRequest;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_holds_its_records_and_their_resource() {
        let said = OtelRecord {
            body: Some(json!("GET")),
            attributes: Map::from_iter([("a".to_owned(), json!({"b": [1, "c"]}))]),
            trace: "000102030405060708090a0b0c0d0e0f",
            span: "",
        };
        let records = [record(UNIX_EPOCH, &said), record(UNIX_EPOCH, &OtelRecord::default())];
        let resource = Map::from_iter([("log_name".to_owned(), json!("log"))]);
        let bytes = message(&resource, &records);
        let read = ExportLogsServiceRequest::decode(bytes.as_slice()).unwrap();
        let [of_resource] = read.resource_logs.as_slice() else { panic!("one resource") };
        assert_eq!(of_resource.resource.as_ref().unwrap().attributes[0].key, "log_name");
        let records = &of_resource.scope_logs[0].log_records;
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].trace_id.len(), 16);
        assert_eq!(records[0].attributes[0].key, "a");
        assert!(records[1].body.is_none() && records[1].trace_id.is_empty());
    }
}
