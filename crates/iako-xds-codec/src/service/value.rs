//! Structures of protobuf as JSON and back.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as Pb};
use serde_json::{Map, Number, Value};

/// A structure as JSON: numbers without a fraction become whole numbers.
pub(super) fn map_of(fields: Struct) -> Map<String, Value> {
    fields.fields.into_iter().map(|(name, value)| (name, value_of(value))).collect()
}

fn value_of(value: Pb) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => number_of(number),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(value_of).collect(),
        Some(Kind::StructValue(fields)) => Value::Object(map_of(fields)),
    }
}

fn number_of(number: f64) -> Value {
    /// From there on not every whole number is a number of protobuf's JSON.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0
        && number.abs() <= WHOLE_MAX
        && let Ok(whole) = format!("{number:.0}").parse::<i64>()
    {
        return Value::from(whole);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// JSON as a structure.
pub(super) fn struct_of(fields: &Map<String, Value>) -> Struct {
    Struct { fields: fields.iter().map(|(name, value)| (name.clone(), pb_of(value))).collect() }
}

fn pb_of(value: &Value) -> Pb {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(pb_of).collect() })
        }
        Value::Object(fields) => Kind::StructValue(struct_of(fields)),
    };
    Pb { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_it_was() {
        let value = serde_json::json!({"a": 1, "b": [true, null, "x", 1.5], "c": {"d": -7}});
        let fields = value.as_object().unwrap();
        assert_eq!(&map_of(struct_of(fields)), fields);
    }
}
