//! Mappings and lists.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use iako_cel::Value;

use super::{Checked, Checker, Finding, Place, Problem, Spelling, Wanted};
use crate::instance::{Instance, Shape, shortened};
use crate::schema::{ListType, Property, Schema};
use crate::values;

/// What every document has, and what is looked at elsewhere.
const EVERYWHERE: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];

type Entries<'a, D> = Vec<(&'a str, &'a D)>;
type Fields<'a> = Vec<(Value<'a>, Value<'a>)>;

impl<'a, D: Instance> Checker<'a, D> {
    pub(super) fn object(
        &mut self,
        schema: &'a Schema,
        (node, entries): (&'a D, Entries<'a, D>),
        place: &Place<'_>,
        wanted: Wanted,
    ) -> Checked<'a> {
        let mut is_sound = true;
        let mut fields = Vec::new();
        let mut written = Vec::with_capacity(entries.len());
        for (key, inner) in entries {
            if place.is_root() && EVERYWHERE.contains(&key) {
                continue;
            }
            let property = self.property(schema, key);
            let known = property.map(|found| &*found.schema).or(schema.values.as_deref());
            let Some(known) = known else {
                if !schema.preserves_unknown {
                    self.unknown(schema, (node, key), place);
                }
                continue;
            };
            // A null that means nothing of its own is as if it were not there.
            if matches!(inner.shape(), Shape::Null) && !known.nullable {
                continue;
            }
            let below = match property {
                Some(property) => place.field(&property.name),
                None => place.key(key),
            };
            let checked = self.value(known, inner, &below, wanted);
            is_sound &= checked.is_sound;
            if wanted == Wanted::Value {
                let name = property.map_or(key, |property| property.rule_name.as_str());
                fields.push((Value::Text(Cow::Borrowed(name)), checked.value));
            }
            written.push(property.map_or(key, |property| property.name.as_str()));
        }
        is_sound &= self.required(schema, node, place, &written);
        Checked { value: finished(schema, &written, fields, wanted), is_sound }
    }

    fn required(
        &mut self,
        schema: &'a Schema,
        node: &'a D,
        place: &Place<'_>,
        written: &[&str],
    ) -> bool {
        let mut is_whole = true;
        for name in &schema.required {
            let has_default =
                schema.property(name).is_some_and(|found| found.schema.default.is_some());
            if !has_default && !written.contains(&name.as_str()) {
                is_whole = false;
                let message = format!("the field {name} is missing");
                self.report(Problem::Missing, &place.field(name), node, message);
            }
        }
        is_whole
    }

    fn property(&self, schema: &'a Schema, key: &str) -> Option<&'a Property> {
        let exact = schema.property(key);
        if exact.is_some() || self.spelling == Spelling::Exact || !key.contains('_') {
            return exact;
        }
        schema.property(&camel_case(key))
    }

    fn unknown(&mut self, schema: &'a Schema, (node, key): (&'a D, &'a str), place: &Place<'_>) {
        self.push(Finding {
            problem: Problem::UnknownField,
            path: place.field(key).to_string(),
            node,
            key: Some(key),
            message: format!("there is no field {key:?} here"),
            rule: None,
            candidates: schema.properties.iter().map(|found| found.name.as_str()).collect(),
        });
    }

    pub(super) fn list(
        &mut self,
        schema: &'a Schema,
        (node, items): (&'a D, &'a [D]),
        place: &Place<'_>,
        wanted: Wanted,
    ) -> Checked<'a> {
        let Some(inner) = schema.items.as_deref() else {
            return Checked::of(values::dynamic(node));
        };
        let mut is_sound = true;
        let mut found = Vec::with_capacity(if wanted == Wanted::Value { items.len() } else { 0 });
        for (index, item) in items.iter().enumerate() {
            let checked = self.value(inner, item, &place.item(index), wanted);
            is_sound &= checked.is_sound;
            if wanted == Wanted::Value {
                found.push(checked.value);
            }
        }
        if schema.list_type != ListType::Atomic {
            self.duplicates(schema, items, place);
        }
        Checked { value: Value::List(Arc::new(found)), is_sound }
    }

    fn duplicates(&mut self, schema: &'a Schema, items: &'a [D], place: &Place<'_>) {
        let mut seen = HashSet::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let mut identity = String::new();
            match (&schema.list_type, item.shape()) {
                (ListType::Map(keys), Shape::Map(entries)) => {
                    for name in keys {
                        identify_key(schema, name, &entries, &mut identity);
                    }
                }
                _ => identify(item, &mut identity),
            }
            if seen.contains(&identity) {
                let message = match &schema.list_type {
                    ListType::Map(keys) => {
                        format!("another element has the same {}", keys.join(" and "))
                    }
                    ListType::Set | ListType::Atomic => {
                        format!("{} stands in the list twice", shortened(identity.trim_end()))
                    }
                };
                self.report(Problem::Duplicate, &place.item(index), item, message);
            }
            seen.insert(identity);
        }
    }
}

fn finished<'a>(
    schema: &'a Schema,
    written: &[&str],
    mut fields: Fields<'a>,
    wanted: Wanted,
) -> Value<'a> {
    if wanted == Wanted::Value {
        values::add_defaults(schema, |name| written.contains(&name), &mut fields);
    }
    Value::Map(Arc::new(fields))
}

/// A field that tells elements of a list apart; absent, it is its default.
fn identify_key<D: Instance>(
    schema: &Schema,
    name: &str,
    entries: &[(&str, &D)],
    out: &mut String,
) {
    let property = schema.items.as_deref().and_then(|inner| inner.property(name));
    match entries.iter().find(|(key, _)| *key == name) {
        Some((_, node)) => identify(*node, out),
        None => match property.and_then(|found| found.schema.default.as_ref()) {
            Some(default) => identify(default, out),
            None => out.push_str("-\n"),
        },
    }
}

/// The same text for the same value, and only for it.
fn identify<D: Instance>(node: &D, out: &mut String) {
    // Writing into a String does not fail.
    let _infallible = match node.shape() {
        Shape::Null => out.write_str("null"),
        Shape::Bool(value) => write!(out, "{value}"),
        Shape::Int(value) => write!(out, "{value}"),
        Shape::Float(value) => write!(out, "{value}"),
        Shape::Text(text) => write!(out, "{text:?}"),
        Shape::List(items) => {
            out.push('[');
            items.iter().for_each(|item| identify(item, out));
            out.write_str("]")
        }
        Shape::Map(mut entries) => {
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, node) in entries {
                let _infallible = write!(out, "{key:?}:");
                identify(node, out);
            }
            out.write_str("}")
        }
    };
    out.push('\n');
}

/// `load_balancer` as `loadBalancer`. Source: protocol buffers' JSON mapping.
fn camel_case(key: &str) -> String {
    let mut camel = String::with_capacity(key.len());
    let mut parts = key.split('_');
    camel.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let mut characters = part.chars();
        camel.extend(characters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(characters.as_str());
    }
    camel
}
