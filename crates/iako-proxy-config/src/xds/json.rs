//! Resources as proto3 JSON, for people and for `config_dump`.

use prost_reflect::{DynamicMessage, SerializeOptions};
use prost_types::Any;
use serde_json::Value;

use super::pool;

/// The proto3 JSON of a resource, with `@type` first and nested extensions unpacked. Fields have
/// the names of the schema (`load_assignment`), as Envoy's admin endpoint prints them.
///
/// A resource of an unknown type, or bytes that do not decode, give an object with `@type` and
/// the bytes' length, so that a dump never fails as a whole.
pub fn to_json(resource: &Any) -> Value {
    read(resource).unwrap_or_else(|| {
        serde_json::json!({ "@type": resource.type_url, "undecoded_bytes": resource.value.len() })
    })
}

fn read(resource: &Any) -> Option<Value> {
    let descriptor = pool::message(&resource.type_url)?;
    let message = DynamicMessage::decode(descriptor, resource.value.as_slice()).ok()?;
    let options =
        SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(true);
    let mut object = serde_json::Map::new();
    object.insert("@type".to_owned(), Value::String(resource.type_url.clone()));
    let json = message.serialize_with_options(serde_json::value::Serializer, &options).ok()?;
    if let Value::Object(fields) = json {
        object.extend(fields);
    } else {
        object.insert("value".to_owned(), json);
    }
    Some(Value::Object(object))
}
