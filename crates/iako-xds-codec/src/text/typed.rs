//! A document as a protobuf message, by proto3 JSON's rules, leniently where Envoy is: durations
//! of any unit, numbers where texts are expected, both spellings of a field's name.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::document::{Node, NodeValue, Position, Style};
use super::scalar;
use crate::pool;

/// Why a document is no such message.
#[derive(Debug)]
pub(crate) struct ShapeFault {
    pub(crate) at: Position,
    pub(crate) path: String,
    pub(crate) problem: String,
    pub(crate) help: String,
}

impl ShapeFault {
    fn new(node: &Node, path: &str, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { at: node.at, path: path.to_owned(), problem: problem.into(), help: help.into() }
    }
}

pub(crate) fn message(
    node: &Node,
    descriptor: &MessageDescriptor,
    path: &str,
) -> Result<DynamicMessage, ShapeFault> {
    match descriptor.full_name() {
        "google.protobuf.Any" => any(node, descriptor, path),
        "google.protobuf.Duration" => duration(node, descriptor, path),
        "google.protobuf.Struct" => structure(node, descriptor, path),
        "google.protobuf.Value" => free_value(node, descriptor, path),
        "google.protobuf.ListValue" => free_list(node, descriptor, path),
        name if is_wrapper(name) => wrapper(node, descriptor, path),
        _ => fields(node, descriptor, path, None),
    }
}

fn fields(
    node: &Node,
    descriptor: &MessageDescriptor,
    path: &str,
    skipped: Option<&str>,
) -> Result<DynamicMessage, ShapeFault> {
    let mut message = DynamicMessage::new(descriptor.clone());
    if node.is_null() {
        return Ok(message);
    }
    let NodeValue::Map(entries) = &node.value else {
        let help = format!("write the fields of `{}` here", descriptor.full_name());
        return Err(ShapeFault::new(node, path, "must be a map", help));
    };
    for (key, value) in entries {
        if skipped == Some(key.name.as_str()) {
            continue;
        }
        let Some(field) = field_named(descriptor, &key.name) else {
            return Err(ShapeFault {
                at: key.at,
                path: join(path, &key.name),
                problem: format!("`{}` has no such field", descriptor.full_name()),
                help: suggestion(descriptor, &key.name),
            });
        };
        let path = join(path, field.name());
        if value.is_null() && !is_free_value(&field) {
            continue;
        }
        if let Some(other) = other_of_oneof(&message, &field) {
            let problem = format!("is set together with `{other}`");
            return Err(ShapeFault::new(value, &path, problem, "set only one of the two"));
        }
        let value = field_value(value, &field, &path)?;
        message.set_field(&field, value);
    }
    Ok(message)
}

fn field_value(node: &Node, field: &FieldDescriptor, path: &str) -> Result<Value, ShapeFault> {
    if field.is_map() {
        return map(node, field, path);
    }
    if !field.is_list() {
        return single(node, &field.kind(), path);
    }
    let NodeValue::List(items) = &node.value else {
        return Err(ShapeFault::new(
            node,
            path,
            "must be a list",
            "write each element after a dash",
        ));
    };
    let mut values = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        values.push(single(item, &field.kind(), &format!("{path}[{index}]"))?);
    }
    Ok(Value::List(values))
}

fn map(node: &Node, field: &FieldDescriptor, path: &str) -> Result<Value, ShapeFault> {
    let (NodeValue::Map(entries), Kind::Message(entry)) = (&node.value, field.kind()) else {
        return Err(ShapeFault::new(node, path, "must be a map", "write `key: value` pairs"));
    };
    let (key_kind, value_kind) =
        (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
    let mut values = HashMap::new();
    for (key, value) in entries {
        let path = format!("{path}[\"{}\"]", key.name);
        let Some(map_key) = scalar::map_key(&key_kind, &key.name) else {
            return Err(ShapeFault::new(
                value,
                &path,
                "has a key of the wrong type",
                "write a number as the key",
            ));
        };
        values.insert(map_key, single(value, &value_kind, &path)?);
    }
    Ok(Value::Map(values))
}

fn single(node: &Node, kind: &Kind, path: &str) -> Result<Value, ShapeFault> {
    if let Kind::Message(descriptor) = kind {
        return Ok(Value::Message(message(node, descriptor, path)?));
    }
    let NodeValue::Scalar { text, style } = &node.value else {
        return Err(ShapeFault::new(
            node,
            path,
            "must be a single value",
            scalar::expectation(kind),
        ));
    };
    scalar::value(kind, text, *style).ok_or_else(|| {
        let problem = format!("`{text}` is not a value of this field");
        ShapeFault::new(node, path, problem, scalar::expectation(kind))
    })
}

fn wrapper(
    node: &Node,
    descriptor: &MessageDescriptor,
    path: &str,
) -> Result<DynamicMessage, ShapeFault> {
    // Envoy's own documents sometimes spell the wrapper out: `{value: 5}`.
    if matches!(node.value, NodeValue::Map(_)) {
        return fields(node, descriptor, path, None);
    }
    let mut message = DynamicMessage::new(descriptor.clone());
    if let Some(field) = descriptor.get_field(1) {
        let value = single(node, &field.kind(), path)?;
        message.set_field(&field, value);
    }
    Ok(message)
}

fn any(
    node: &Node,
    descriptor: &MessageDescriptor,
    path: &str,
) -> Result<DynamicMessage, ShapeFault> {
    let help = "name the extension's type, as `\"@type\": type.googleapis.com/…`";
    let NodeValue::Map(entries) = &node.value else {
        return Err(ShapeFault::new(node, path, "must be a map with `@type`", help));
    };
    let type_url = entries.iter().find(|(key, _)| key.name == "@type").map(|(_, value)| value);
    let Some(Node { value: NodeValue::Scalar { text: type_url, .. }, .. }) = type_url else {
        return Err(ShapeFault::new(node, path, "has no `@type`", help));
    };
    let bytes = match pool::message(type_url) {
        Some(inner) => packed(node, &inner, path)?,
        // Whoever wants the extension refuses it or skips it by its type; its content is lost.
        None => Vec::new(),
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    message.set_field_by_number(1, Value::String(type_url.clone()));
    message.set_field_by_number(2, Value::Bytes(bytes.into()));
    Ok(message)
}

fn packed(node: &Node, inner: &MessageDescriptor, path: &str) -> Result<Vec<u8>, ShapeFault> {
    use prost_reflect::prost::Message as _;
    // Types with a JSON form of their own stand under `value` beside `@type`.
    let own_form = inner.package_name() == "google.protobuf" && inner.name() != "Empty";
    let entries = match &node.value {
        NodeValue::Map(entries) if own_form => entries.as_slice(),
        NodeValue::Map(_) | NodeValue::List(_) | NodeValue::Scalar { .. } => &[],
    };
    let value = entries.iter().find(|(key, _)| key.name == "value").map(|(_, value)| value);
    let message = match value {
        Some(value) => message(value, inner, &join(path, "value"))?,
        None => fields(node, inner, path, Some("@type"))?,
    };
    Ok(message.encode_to_vec())
}

fn is_wrapper(name: &str) -> bool {
    name.starts_with("google.protobuf.") && name.ends_with("Value")
}

fn is_free_value(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(message) if message.full_name() == "google.protobuf.Value")
}

fn field_named(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name))
}

fn other_of_oneof(message: &DynamicMessage, field: &FieldDescriptor) -> Option<String> {
    let oneof = field.containing_oneof()?;
    let mut fields = oneof.fields();
    fields
        .find(|other| other != field && message.has_field(other))
        .map(|other| other.name().to_owned())
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn duration(
    node: &Node,
    descriptor: &MessageDescriptor,
    path: &str,
) -> Result<DynamicMessage, ShapeFault> {
    let parsed = match &node.value {
        NodeValue::Scalar { text, .. } => scalar::duration(text),
        NodeValue::List(_) | NodeValue::Map(_) => None,
    };
    let (seconds, nanos) = parsed.ok_or_else(|| {
        ShapeFault::new(
            node,
            path,
            "is not a duration",
            "write seconds with an `s`, such as `10s` or `0.25s`",
        )
    })?;
    let mut message = DynamicMessage::new(descriptor.clone());
    message.set_field_by_number(1, Value::I64(seconds));
    message.set_field_by_number(2, Value::I32(nanos));
    Ok(message)
}

/// A `google.protobuf.Struct`: any map.
fn structure(
    node: &Node,
    descriptor: &MessageDescriptor,
    path: &str,
) -> Result<DynamicMessage, ShapeFault> {
    let NodeValue::Map(entries) = &node.value else {
        return Err(ShapeFault::new(node, path, "must be a map", "write `key: value` pairs"));
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    let (Some(value), mut fields) = (pool::message("google.protobuf.Value"), HashMap::new()) else {
        return Ok(message);
    };
    for (key, node) in entries {
        fields.insert(
            MapKey::String(key.name.clone()),
            Value::Message(free_value(node, &value, path)?),
        );
    }
    message.set_field_by_number(1, Value::Map(fields));
    Ok(message)
}

fn free_list(
    node: &Node,
    descriptor: &MessageDescriptor,
    path: &str,
) -> Result<DynamicMessage, ShapeFault> {
    let NodeValue::List(items) = &node.value else {
        return Err(ShapeFault::new(
            node,
            path,
            "must be a list",
            "write each element after a dash",
        ));
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    let (Some(value), mut values) = (pool::message("google.protobuf.Value"), Vec::new()) else {
        return Ok(message);
    };
    for node in items {
        values.push(Value::Message(free_value(node, &value, path)?));
    }
    message.set_field_by_number(1, Value::List(values));
    Ok(message)
}

/// A `google.protobuf.Value`: whatever stands there, with YAML's core types.
fn free_value(
    node: &Node,
    descriptor: &MessageDescriptor,
    path: &str,
) -> Result<DynamicMessage, ShapeFault> {
    let mut message = DynamicMessage::new(descriptor.clone());
    let inner = |number: u32| match descriptor.get_field(number).map(|field| field.kind()) {
        Some(Kind::Message(inner)) => Some(inner),
        _ => None,
    };
    match &node.value {
        NodeValue::Scalar { .. } if node.is_null() => {
            message.set_field_by_number(1, Value::EnumNumber(0));
        }
        NodeValue::Scalar { text, style: Style::Plain }
            if matches!(text.as_str(), "true" | "false") =>
        {
            message.set_field_by_number(4, Value::Bool(text == "true"));
        }
        NodeValue::Scalar { text, style } => {
            match scalar::number(text).filter(|_| *style == Style::Plain) {
                Some(number) => message.set_field_by_number(2, Value::F64(number)),
                None => message.set_field_by_number(3, Value::String(text.clone())),
            }
        }
        NodeValue::Map(_) => {
            if let Some(inner) = inner(5) {
                message.set_field_by_number(5, Value::Message(structure(node, &inner, path)?));
            }
        }
        NodeValue::List(_) => {
            if let Some(inner) = inner(6) {
                message.set_field_by_number(6, Value::Message(free_list(node, &inner, path)?));
            }
        }
    }
    Ok(message)
}

/// What to say about an unknown field: the closest one there is, or the page that lists them.
fn suggestion(descriptor: &MessageDescriptor, name: &str) -> String {
    let closest = descriptor
        .fields()
        .map(|field| (distance(name, field.name()).min(distance(name, field.json_name())), field))
        .min_by_key(|(distance, _)| *distance);
    match closest {
        Some((distance, field)) if distance <= 3 => format!("did you mean `{}`?", field.name()),
        _ => "see docs/xds-support.md for the fields there are".to_owned(),
    }
}

/// Edits that turn one name into the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, left_byte) in left.bytes().enumerate() {
        let mut diagonal = index;
        let mut previous = index.saturating_add(1);
        for (cell, right_byte) in row.iter_mut().skip(1).zip(right.bytes()) {
            let replaced = diagonal.saturating_add(usize::from(left_byte != right_byte));
            diagonal = *cell;
            *cell = replaced.min(previous.saturating_add(1)).min(diagonal.saturating_add(1));
            previous = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = index.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
