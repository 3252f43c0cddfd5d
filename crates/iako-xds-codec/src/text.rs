//! Messages written down: YAML and JSON in, free structures in and out.

pub(crate) mod document;
mod scalar;
pub(crate) mod typed;

use prost_reflect::{DynamicMessage, MessageDescriptor};
use prost_types::{ListValue, Struct, Value, value::Kind};

use document::{Node, NodeValue, Position, Style};
use typed::ShapeFault;

/// A structure as the message that it stands for.
pub(crate) fn from_struct(
    fields: &Struct,
    descriptor: &MessageDescriptor,
) -> Result<DynamicMessage, ShapeFault> {
    typed::message(&node(&Kind::StructValue(fields.clone())), descriptor, "")
}

/// A value as a document node; it stands nowhere in particular.
fn node(value: &Kind) -> Node {
    let plain = |text: String| NodeValue::Scalar { text, style: Style::Plain };
    let inner = |value: &Value| node(value.kind.as_ref().unwrap_or(&Kind::NullValue(0)));
    let at = Position { line: 0, column: 0 };
    let value = match value {
        Kind::NullValue(_) => plain("null".to_owned()),
        Kind::NumberValue(number) => plain(number.to_string()),
        Kind::BoolValue(value) => plain(value.to_string()),
        Kind::StringValue(text) => NodeValue::Scalar { text: text.clone(), style: Style::Quoted },
        Kind::ListValue(list) => NodeValue::List(list.values.iter().map(inner).collect()),
        Kind::StructValue(fields) => NodeValue::Map(
            fields
                .fields
                .iter()
                .map(|(name, value)| (document::Key { at, name: name.clone() }, inner(value)))
                .collect(),
        ),
    };
    Node { at, value }
}

/// A structure as a JSON object.
pub(crate) fn struct_to_json(fields: &Struct) -> serde_json::Map<String, serde_json::Value> {
    fields.fields.iter().map(|(name, value)| (name.clone(), value_to_json(value))).collect()
}

/// A value as JSON.
pub(crate) fn value_to_json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::NumberValue(number)) => number_to_json(*number),
        Some(Kind::StringValue(text)) => Json::String(text.clone()),
        Some(Kind::BoolValue(value)) => Json::Bool(*value),
        Some(Kind::StructValue(fields)) => Json::Object(struct_to_json(fields)),
        Some(Kind::ListValue(list)) => Json::Array(list.values.iter().map(value_to_json).collect()),
    }
}

/// Whole numbers are written without a fraction, as they were before they were doubles.
fn number_to_json(number: f64) -> serde_json::Value {
    if number.fract() == 0.0 && number.abs() < 9.0e15 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole, and far below the type's limit"
        )]
        return serde_json::Value::from(number as i64);
    }
    serde_json::Value::from(number)
}

/// A JSON object as a structure.
pub(crate) fn struct_from_json(object: &serde_json::Map<String, serde_json::Value>) -> Struct {
    Struct {
        fields: object.iter().map(|(name, value)| (name.clone(), value_from_json(value))).collect(),
    }
}

/// JSON as a value.
pub(crate) fn value_from_json(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(value_from_json).collect() })
        }
        Json::Object(object) => Kind::StructValue(struct_from_json(object)),
    };
    Value { kind: Some(kind) }
}
