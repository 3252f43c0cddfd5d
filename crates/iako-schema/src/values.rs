//! Documents as the values that rules see.

use std::borrow::Cow;
use std::sync::Arc;

use iako_cel::Value;

use crate::instance::{Instance, Shape};
use crate::schema::{Schema, Type};

/// A value of which no schema says anything.
pub(crate) fn dynamic<'a, D: Instance>(node: &'a D) -> Value<'a> {
    match node.shape() {
        Shape::Null => Value::Null,
        Shape::Bool(value) => Value::Bool(value),
        Shape::Int(value) => Value::Int(value),
        Shape::Float(value) => Value::Double(value),
        Shape::Text(text) => Value::Text(Cow::Borrowed(text)),
        Shape::List(items) => Value::List(Arc::new(items.iter().map(dynamic).collect())),
        Shape::Map(entries) => {
            let entry = |(key, node)| (Value::text(key), dynamic(node));
            Value::Map(Arc::new(entries.into_iter().map(entry).collect()))
        }
    }
}

/// A text or number of a schema: rules see moments and durations where the format says so.
pub(crate) fn scalar<'a, D: Instance>(schema: &Schema, node: &'a D) -> Value<'a> {
    match (schema.kind, node.shape()) {
        (Type::Number, Shape::Int(value)) => {
            #[expect(clippy::cast_precision_loss, reason = "what a double cannot hold is rounded")]
            let value = value as f64;
            Value::Double(value)
        }
        (Type::Integer | Type::IntegerOrText, Shape::Float(value)) => {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number, as was checked")]
            let value = value as i64;
            Value::Int(value)
        }
        _ => dynamic(node),
    }
}

/// What a default means to rules, with the defaults inside it.
pub(crate) fn defaulted<'a, D: Instance>(schema: &'a Schema, node: &'a D) -> Value<'a> {
    match node.shape() {
        Shape::Map(entries) if schema.kind == Type::Object => {
            let of = |key: &str| schema.property(key).map(|found| &*found.schema);
            let mut fields = Vec::with_capacity(entries.len());
            for (key, node) in &entries {
                let name = schema.property(key).map_or(*key, |found| &found.rule_name);
                let inner = of(key).or(schema.values.as_deref());
                let value = inner.map_or_else(|| dynamic(*node), |inner| defaulted(inner, *node));
                fields.push((Value::text(name), value));
            }
            let is_there = |name: &str| entries.iter().any(|(key, _)| *key == name);
            add_defaults(schema, is_there, &mut fields);
            Value::Map(Arc::new(fields))
        }
        Shape::List(items) => {
            let item = |node| match &schema.items {
                Some(inner) => defaulted(inner, node),
                None => dynamic(node),
            };
            Value::List(Arc::new(items.iter().map(item).collect()))
        }
        Shape::Null
        | Shape::Bool(_)
        | Shape::Int(_)
        | Shape::Float(_)
        | Shape::Text(_)
        | Shape::Map(_) => scalar(schema, node),
    }
}

/// The fields that are there without having been written.
pub(crate) fn add_defaults<'a>(
    schema: &'a Schema,
    is_there: impl Fn(&str) -> bool,
    fields: &mut Vec<(Value<'a>, Value<'a>)>,
) {
    for property in &schema.properties {
        if let Some(default) = &property.schema.default
            && !is_there(&property.name)
        {
            fields.push((Value::text(&property.rule_name), defaulted(&property.schema, default)));
        }
    }
}
