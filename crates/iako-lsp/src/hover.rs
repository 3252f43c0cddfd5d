//! What a field means.

use iako_analyze::Project;
use iako_resources::text::Lines;
use iako_schema::{Schema, Type};
use serde_json::{Value, json};

use crate::{
    convert::range,
    spot::{At, Spot, Step},
};

/// The documentation of the field at the cursor.
pub(crate) fn hover(spot: &Spot, lines: &Lines<'_>, _project: &Project) -> Option<Value> {
    let mut at = spot.clone();
    if at.at == At::Key {
        at.path.push(Step::Key(spot.word.clone()));
    }
    let is_header =
        matches!(at.path.as_slice(), [Step::Key(key)] if key == "kind" || key == "apiVersion");
    if is_header {
        at.path.clear();
    }
    let schema = at.schema()?;
    let name = if is_header { spot.kind.clone() } else { at.pattern() };
    let text = documentation(&name, &schema);
    let (start, end) = spot.span;
    Some(json!({
        "contents": {"kind": "markdown", "value": text},
        "range": range(start, end, lines),
    }))
}

/// A field in Markdown: its name and type, what it is for, its default, what it may be.
pub(crate) fn documentation(name: &str, schema: &Schema) -> String {
    let mut text = format!("**{name}**: {}", described(schema));
    if !schema.description().is_empty() {
        text.push_str("\n\n");
        text.push_str(schema.description());
    }
    if let Some(default) = &schema.default {
        text.push_str(&format!("\n\nDefault: `{default}`"));
    }
    let words = words(schema);
    if !words.is_empty() {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        text.push_str(&format!("\n\nOne of: {}", words.join(", ")));
    }
    if let (Some((minimum, _)), Some((maximum, _))) = (schema.minimum, schema.maximum) {
        text.push_str(&format!("\n\nFrom {minimum} to {maximum}"));
    }
    if !schema.required.is_empty() {
        text.push_str(&format!("\n\nRequired: {}", schema.required.join(", ")));
    }
    text
}

/// The type in words, elements of lists included.
pub(crate) fn described(schema: &Schema) -> String {
    match (schema.kind, &schema.items) {
        (Type::List, Some(items)) => format!("a list, each {}", items.kind.described()),
        (kind, _) => kind.described().to_owned(),
    }
}

/// The words that a field takes, without those that stand for nothing.
pub(crate) fn words(schema: &Schema) -> Vec<&str> {
    schema.words.iter().filter_map(Value::as_str).filter(|word| !word.is_empty()).collect()
}
