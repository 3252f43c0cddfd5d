//! Resources as proto3 JSON, for people and for `config_dump`.

use prost_reflect::{DynamicMessage, SerializeOptions};
use prost_types::Any;
use serde_json::Value;

use super::pool::{full_name, pool};

/// The proto3 JSON of a resource, with `@type` first and nested extensions unpacked. Fields have
/// the names of the schema (`load_assignment`), as Envoy's admin endpoint prints them.
///
/// Private keys and other secrets are written as `[redacted]`, as Envoy writes them.
///
/// A resource of an unknown type, or bytes that do not decode, give an object with `@type` and
/// the bytes' length, so that a dump never fails as a whole.
pub fn to_json(resource: &Any) -> Value {
    read(resource).unwrap_or_else(|| {
        serde_json::json!({ "@type": resource.type_url, "undecoded_bytes": resource.value.len() })
    })
}

fn read(resource: &Any) -> Option<Value> {
    let descriptor = pool().get_message_by_name(full_name(&resource.type_url))?;
    let message = DynamicMessage::decode(descriptor, resource.value.as_slice()).ok()?;
    let options =
        SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(true);
    let mut object = serde_json::Map::new();
    object.insert("@type".to_owned(), Value::String(resource.type_url.clone()));
    let mut json = message.serialize_with_options(serde_json::value::Serializer, &options).ok()?;
    redact(&mut json);
    if let Value::Object(fields) = json {
        object.extend(fields);
    } else {
        object.insert("value".to_owned(), json);
    }
    Some(Value::Object(object))
}

/// Fields of the schema that hold secrets, each a `DataSource`.
const SECRET_FIELDS: [&str; 5] = ["private_key", "password", "pkcs12", "secret", "keys"];

/// Hides what stands in a resource's secret fields; names of files stay.
fn redact(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                if SECRET_FIELDS.contains(&name.as_str()) {
                    hide(value);
                }
                redact(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn hide(source: &mut Value) {
    match source {
        Value::Object(fields) => {
            for name in ["inline_string", "inline_bytes"] {
                if let Some(content) = fields.get_mut(name) {
                    *content = Value::String("[redacted]".to_owned());
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
