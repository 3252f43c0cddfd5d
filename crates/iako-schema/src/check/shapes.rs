//! Whether a value has a form, without saying why not: what `oneOf` and its like ask.

use super::{Checker, Place, Problem, scalars};
use crate::instance::{Instance, Shape};
use crate::schema::{Schema, Type};

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

/// Whether a value has the form of a schema.
fn is_valid<D: Instance>(schema: &Schema, node: &D) -> bool {
    let shape = node.shape();
    if !is_of(schema.kind, &shape) || scalars::fault(schema, &shape).is_some() {
        return false;
    }
    let is_whole = match &shape {
        Shape::Map(entries) => {
            let fits = |(key, node): &(&str, &D)| {
                matches!(node.shape(), Shape::Null)
                    || schema.property(key).is_none_or(|found| is_valid(&found.schema, *node))
            };
            schema.required.iter().all(|name| has(&shape, name)) && entries.iter().all(fits)
        }
        Shape::List(items) => {
            let Some(inner) = &schema.items else { return holds(schema, node) };
            items.iter().all(|item| is_valid(inner, item))
        }
        Shape::Null | Shape::Bool(_) | Shape::Int(_) | Shape::Float(_) | Shape::Text(_) => true,
    };
    is_whole && holds(schema, node)
}

/// Whether what a schema says of forms holds.
fn holds<D: Instance>(schema: &Schema, node: &D) -> bool {
    let of_one = schema.one_of.iter().filter(|inner| is_valid(inner, node)).count();
    (schema.one_of.is_empty() || of_one == 1)
        && (schema.any_of.is_empty() || schema.any_of.iter().any(|inner| is_valid(inner, node)))
        && schema.all_of.iter().all(|inner| is_valid(inner, node))
        && schema.not.as_ref().is_none_or(|inner| !is_valid(inner, node))
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
        for inner in &schema.all_of {
            if is_plain(inner) && !is_valid(inner, node) {
                self.report(Problem::BadValue, place, node, "the value is not allowed".to_owned());
            }
            self.forms(inner, node, place);
        }
        let valid = schema.one_of.iter().filter(|inner| is_valid(inner, node)).count();
        if !schema.one_of.is_empty() && valid != 1 {
            self.alternatives(schema, node, place);
        }
        if !schema.any_of.is_empty() && !schema.any_of.iter().any(|inner| is_valid(inner, node)) {
            self.alternatives(schema, node, place);
        }
        if schema.not.as_ref().is_some_and(|inner| is_valid(inner, node)) {
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
