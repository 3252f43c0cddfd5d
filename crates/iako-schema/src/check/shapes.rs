//! Whether a value has a form, without saying why not: what `oneOf` and its like ask.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Checker, Place, Problem, scalars};
use crate::instance::{Instance, Shape};
use crate::schema::{Property, Schema, Type};

/// Whether a value is of a type.
pub(super) fn is_of<D>(kind: Type, shape: &Shape<'_, D>) -> bool {
    match (kind, shape) {
        (Type::Any, _)
        | (Type::Object, Shape::Map(_))
        | (Type::List, Shape::List(_))
        | (Type::Text | Type::IntegerOrText, Shape::Text(_))
        | (Type::Integer | Type::Number | Type::IntegerOrText, Shape::Int(_))
        | (Type::Number, Shape::Float(_))
        | (Type::Boolean, Shape::Bool(_)) => true,
        (Type::Integer | Type::IntegerOrText, Shape::Float(number)) => {
            number.fract() == 0.0 && number.abs() < 9e15
        }
        (
            Type::Object
            | Type::List
            | Type::Text
            | Type::Integer
            | Type::Number
            | Type::Boolean
            | Type::IntegerOrText,
            _,
        ) => false,
    }
}

/// Whether a schema says nothing of forms.
pub(super) const fn is_plain(schema: &Schema) -> bool {
    schema.one_of.is_empty()
        && schema.any_of.is_empty()
        && schema.all_of.is_empty()
        && schema.not.is_none()
}

fn has<D: Instance>(shape: &Shape<'_, D>, name: &str) -> bool {
    let Shape::Map(entries) = shape else { return false };
    let is_it = |(key, node): &(&str, &D)| *key == name && !matches!(node.shape(), Shape::Null);
    entries.iter().any(is_it)
}

/// Whether a value has the form of a schema. `whole` is the schema that the form is a part of: it knows
/// the defaults of fields.
fn is_valid<D: Instance>(schema: &Schema, whole: &Schema, node: &D) -> bool {
    let shape = node.shape();
    if !is_of(schema.kind, &shape) || scalars::fault(schema, &shape).is_some() {
        return false;
    }
    let is_whole = match &shape {
        Shape::Map(_) => {
            let is_there = |name: &String| has(&shape, name) || default(whole, name).is_some();
            schema.required.iter().all(is_there)
                && schema.properties.iter().all(|found| has_form(found, whole, &shape))
        }
        Shape::List(items) => {
            let inner = schema.items.as_deref();
            inner.is_none_or(|inner| {
                let whole = whole.items.as_deref().unwrap_or(inner);
                items.iter().all(|item| is_valid(inner, whole, item))
            })
        }
        Shape::Null | Shape::Bool(_) | Shape::Int(_) | Shape::Float(_) | Shape::Text(_) => true,
    };
    is_whole && holds(schema, whole, node)
}

fn default<'s>(whole: &'s Schema, name: &str) -> Option<&'s Json> {
    whole.property(name).and_then(|found| found.schema.default.as_ref())
}

/// Whether a field, or its default, has a form; an absent one has every form.
fn has_form<D: Instance>(property: &Property, whole: &Schema, shape: &Shape<'_, D>) -> bool {
    let Shape::Map(entries) = shape else { return true };
    let is_it =
        |(key, node): &&(&str, &D)| *key == property.name && !matches!(node.shape(), Shape::Null);
    let inner = whole.property(&property.name).map_or(&property.schema, |found| &found.schema);
    match (entries.iter().find(is_it), default(whole, &property.name)) {
        (Some((_, node)), _) => is_valid(&property.schema, inner, *node),
        (None, Some(default)) => is_valid(&property.schema, inner, default),
        (None, None) => true,
    }
}

/// Whether what a schema says of forms holds.
fn holds<D: Instance>(schema: &Schema, whole: &Schema, node: &D) -> bool {
    let fits = |inner: &&Arc<Schema>| is_valid(inner, whole, node);
    (schema.one_of.is_empty() || schema.one_of.iter().filter(fits).count() == 1)
        && (schema.any_of.is_empty() || schema.any_of.iter().any(|inner| fits(&inner)))
        && schema.all_of.iter().all(|inner| fits(&inner))
        && !schema.not.iter().any(|inner| fits(&inner))
}

/// Names of fields that forms tell apart.
fn names<'a>(schema: &'a Schema, found: &mut Vec<&'a str>) {
    for name in &schema.required {
        if !found.contains(&name.as_str()) {
            found.push(name);
        }
    }
    let inner = schema.one_of.iter().chain(&schema.any_of).chain(&schema.all_of);
    for schema in inner.chain(&schema.not) {
        names(schema, found);
    }
}

impl<'a, D: Instance> Checker<'a, D> {
    /// Says which of the forms that a schema names a value does not have.
    pub(super) fn forms(&mut self, schema: &'a Schema, node: &'a D, place: &Place<'_>) {
        self.forms_within(schema, schema, node, place);
    }

    fn forms_within(
        &mut self,
        schema: &'a Schema,
        whole: &'a Schema,
        node: &'a D,
        place: &Place<'_>,
    ) {
        for inner in &schema.all_of {
            if is_plain(inner) && !is_valid(inner, whole, node) {
                self.report(Problem::BadValue, place, node, "the value is not allowed".to_owned());
            }
            self.forms_within(inner, whole, node, place);
        }
        let fits = |inner: &&Arc<Schema>| is_valid(inner, whole, node);
        let one_of = schema.one_of.iter().filter(fits).count();
        let any_of = schema.any_of.iter().filter(fits).count();
        if (!schema.one_of.is_empty() && one_of != 1) || (!schema.any_of.is_empty() && any_of == 0)
        {
            self.alternatives(schema, node, place);
        }
        if schema.not.iter().any(|inner| fits(&inner)) {
            self.report(Problem::BadValue, place, node, "the value is not allowed".to_owned());
        }
    }

    fn alternatives(&mut self, schema: &'a Schema, node: &'a D, place: &Place<'_>) {
        let mut known = Vec::new();
        for inner in schema.one_of.iter().chain(&schema.any_of) {
            names(inner, &mut known);
        }
        let shape = node.shape();
        let written: Vec<&str> = known.iter().copied().filter(|name| has(&shape, name)).collect();
        let (problem, message) = if written.len() > 1 {
            (Problem::Conflict, format!("only one of {} may be given", written.join(", ")))
        } else if !known.is_empty() {
            (Problem::Missing, format!("one of {} is missing", known.join(", ")))
        } else {
            let message = "the value has none of the forms that are allowed".to_owned();
            (Problem::BadValue, message)
        };
        self.report(problem, place, node, message);
    }
}
