//! Holds the value of a patch against Envoy's message that it patches.
//!
//! As in Istio's admission check: what the message cannot hold is an error; fields that it does not
//! have, names alone where a configuration is needed, and old names are warnings.

use iako_xds_codec::{message_descriptor, messages_of_package};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::{ApplyTo, parse::report_old_name};
use crate::{
    Code, Severity,
    reader::{Cursor, closest},
    text::Value,
};

/// Groups of names of which only published messages exist.
const PUBLISHED: [&str; 6] = ["envoy.", "xds.", "udpa.", "istio.", "google.", "opencensus."];

/// Reports what the message of a kind of patch cannot hold.
pub(super) fn check(cursor: &Cursor<'_>, apply_to: ApplyTo) {
    if let Some(message) = message_descriptor(apply_to.message()) {
        fields(cursor, &message);
    }
}

fn fields(cursor: &Cursor<'_>, message: &MessageDescriptor) {
    let Value::Map(_) = &cursor.node().value else {
        let expected = format!("expected a mapping with the fields of {}", message.full_name());
        cursor.report(Code::WrongType, expected);
        return;
    };
    for (key, below) in cursor.entries() {
        if key == "@type" {
            continue;
        }
        match field_named(message, key) {
            Some(field) => field_value(&below, &field),
            None => report_unknown(&below, key, message),
        }
    }
    report_untyped(cursor, message);
}

fn field_named(message: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(key).or_else(|| message.get_field_by_json_name(key))
}

fn report_unknown(cursor: &Cursor<'_>, key: &str, message: &MessageDescriptor) {
    let names: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = match closest(key, &names) {
        Some(name) => {
            format!("{} has no field {key:?}; did you mean {name}?", message.full_name())
        }
        None => format!("{} has no field {key:?}", message.full_name()),
    };
    cursor.report_as(Severity::Warning, Code::UnknownField, text);
}

/// Warns about a name alone where Envoy wants a configuration with its type.
fn report_untyped(cursor: &Cursor<'_>, message: &MessageDescriptor) {
    if message.get_field_by_json_name("typedConfig").is_none() {
        return;
    }
    let node = cursor.node();
    if let Some(name) = node.get("name").and_then(crate::text::Node::as_text) {
        report_old_name(&cursor.at("name"), name);
    }
    let typed = ["typed_config", "typedConfig", "config_discovery", "configDiscovery"];
    if !typed.iter().any(|name| node.get(name).is_some()) {
        let text = "without typed_config Envoy looks the configuration up by name, which is old";
        cursor.at("typedConfig").report(Code::Deprecated, text);
    }
}

fn field_value(cursor: &Cursor<'_>, field: &FieldDescriptor) {
    if cursor.node().is_null() {
        return;
    }
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return };
        for (_, below) in cursor.entries() {
            single(&below, &entry.map_entry_value_field().kind());
        }
    } else if field.is_list() {
        for below in cursor.list() {
            single(&below, &field.kind());
        }
    } else {
        single(cursor, &field.kind());
    }
}

fn single(cursor: &Cursor<'_>, kind: &Kind) {
    let value = &cursor.node().value;
    let (fits, expected) = match kind {
        Kind::Message(message) => return of_message(cursor, message),
        Kind::Enum(words) => return word(cursor, words),
        Kind::Bool => (matches!(value, Value::Bool(_)), "true or false"),
        Kind::String | Kind::Bytes => (matches!(value, Value::Text(_)), "a text"),
        Kind::Double | Kind::Float => (is_number(value), "a number"),
        Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Fixed32
        | Kind::Fixed64
        | Kind::Sfixed32
        | Kind::Sfixed64 => (is_number(value), "a whole number"),
    };
    if !fits {
        cursor.report(Code::WrongType, format!("expected {expected}"));
    }
}

fn is_number(value: &Value) -> bool {
    match value {
        Value::Int(..) | Value::Float(..) => true,
        Value::Text(text) => text.parse::<f64>().is_ok(),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => false,
    }
}

fn word(cursor: &Cursor<'_>, words: &EnumDescriptor) {
    let names: Vec<String> = words.values().map(|value| value.name().to_owned()).collect();
    match &cursor.node().value {
        Value::Int(..) => {}
        Value::Text(text) if names.contains(text) => {}
        Value::Null
        | Value::Bool(_)
        | Value::Float(..)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => {
            let text = format!("expected one of {}", names.join(", "));
            cursor.report(Code::UnknownEnum, text);
        }
    }
}

fn of_message(cursor: &Cursor<'_>, message: &MessageDescriptor) {
    match message.full_name() {
        "google.protobuf.Any" => any(cursor),
        "google.protobuf.Struct" | "google.protobuf.Value" | "google.protobuf.ListValue" => {}
        "google.protobuf.Duration" => duration(cursor),
        "google.protobuf.Timestamp" | "google.protobuf.FieldMask" => {
            single(cursor, &Kind::String);
        }
        name if name.starts_with("google.protobuf.") && name.ends_with("Value") => {
            if let Some(inner) = message.get_field_by_name("value") {
                single(cursor, &inner.kind());
            }
        }
        _ => fields(cursor, message),
    }
}

/// A duration of protocol buffers: seconds, with up to nine digits after the point, and `s`.
fn duration(cursor: &Cursor<'_>) {
    let text = cursor.node().as_text();
    let number = text.and_then(|text| text.strip_suffix('s'));
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
    let is_duration =
        number.is_some_and(|number| number.chars().all(plain) && number.parse::<f64>().is_ok());
    if !is_duration {
        let message = "expected a duration in seconds, such as 0.25s";
        cursor.report(Code::BadDuration, message);
    }
}

fn any(cursor: &Cursor<'_>) {
    let Some(url) = cursor.node().get("@type").and_then(crate::text::Node::as_text) else {
        cursor.report(Code::MissingField, "a typed configuration needs @type");
        return;
    };
    let name = url.rsplit_once('/').map_or(url, |(_, name)| name);
    match message_descriptor(name) {
        Some(message) if name.starts_with("google.protobuf.") => {
            if let Some(inner) = cursor.entries().into_iter().find(|(key, _)| *key == "value") {
                of_message(&inner.1, &message);
            }
        }
        Some(message) => fields(cursor, &message),
        None => report_unknown_type(cursor, name),
    }
}

/// A type that we do not know may be one of Envoy's that our proxy has no use for; a misspelt one is
/// told by its neighbours.
fn report_unknown_type(cursor: &Cursor<'_>, name: &str) {
    let package = name.rsplit_once('.').map_or("", |(package, _)| package);
    let neighbours = messages_of_package(package);
    let neighbours: Vec<&str> = neighbours.iter().map(String::as_str).collect();
    let text = format!("there is no message {name}");
    let is_old = name.starts_with("envoy.") && (name.contains(".v2.") || name.contains(".v2alpha"));
    if is_old {
        cursor.report_with_help(Code::BadValue, text, "Envoy speaks version v3 of its messages");
    } else if let Some(near) = closest(name, &neighbours) {
        cursor.report_with_help(Code::BadValue, text, format!("did you mean {near}?"));
    } else if !PUBLISHED.iter().any(|group| name.starts_with(group)) {
        cursor.report(Code::BadValue, text);
    } else {
        let text = format!("{name} is not known here, so its fields are not checked");
        cursor.report_as(Severity::Info, Code::UnsupportedKind, text);
    }
}
