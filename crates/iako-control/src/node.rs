//! A client's node as the model knows it.

use iako_proxy_config::Node;
use iako_types::Locality;
use iako_xds_api::envoy::config::core::v3 as core;
use prost_types::value::Kind;
use serde_json::{Map, Number, Value};

/// Reads what a client says of itself.
pub(crate) fn node_of(message: &core::Node) -> Node {
    let locality = message.locality.as_ref().map_or_else(Locality::default, |locality| Locality {
        region: locality.region.clone(),
        zone: locality.zone.clone(),
        sub_zone: locality.sub_zone.clone(),
    });
    Node {
        id: message.id.clone(),
        cluster: message.cluster.clone(),
        locality,
        metadata: message.metadata.as_ref().map(object_of).unwrap_or_default(),
    }
}

fn object_of(message: &prost_types::Struct) -> Map<String, Value> {
    message.fields.iter().map(|(key, value)| (key.clone(), value_of(value))).collect()
}

/// The nesting is bounded by the decoder, which refuses more than a hundred levels.
fn value_of(message: &prost_types::Value) -> Value {
    match &message.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) => {
            Number::from_f64(*number).map_or(Value::Null, Value::Number)
        }
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::BoolValue(truth)) => Value::Bool(*truth),
        Some(Kind::StructValue(object)) => Value::Object(object_of(object)),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(value_of).collect()),
    }
}
