//! What the cursor is at.

mod lines;
mod tree;

use std::sync::Arc;

use iako_resources::{
    Position,
    text::{Limits, Lines, parse_documents},
};
use iako_schema::{Schema, definition};

/// A step from an object towards a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into the value of a key.
    Key(String),
    /// Into an element of a list.
    Item,
}

/// Whether the cursor is at a key or at a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// A key, or where one may be typed.
    Key,
    /// A value, or where one may be typed.
    Value,
}

/// What the cursor is at, of which object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The group of the object's `apiVersion`; empty for Kubernetes' own.
    pub(crate) group: String,
    /// Its version.
    pub(crate) version: String,
    /// Its kind; empty while it is not written.
    pub(crate) kind: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// The way to the value, or to the mapping that the key stands in.
    pub(crate) path: Vec<Step>,
    /// Key or value.
    pub(crate) at: At,
    /// The key or value as far as it is written.
    pub(crate) word: String,
    /// Where it stands; its end is the cursor's place while it is typed.
    pub(crate) span: (Position, Position),
    /// Keys of the mapping around, with their values where those are one word.
    pub(crate) siblings: Vec<(String, String)>,
}

impl Spot {
    /// What the published schema says about the value at the path, or of the mapping around a key.
    pub(crate) fn schema(&self) -> Option<Arc<Schema>> {
        let definition = definition(&self.group, &self.kind)?;
        let version = definition.version(&self.version).or_else(|| definition.versions.first())?;
        let mut schema = Arc::clone(&version.root);
        for step in &self.path {
            let next = match step {
                Step::Key(key) => {
                    let property = schema.property(key).map(|property| &property.schema);
                    property.or(schema.values.as_ref()).cloned()
                }
                Step::Item => schema.items.clone(),
            };
            schema = next?;
        }
        Some(schema)
    }

    /// The path in the form `spec.http[].route[]`.
    pub(crate) fn pattern(&self) -> String {
        let mut pattern = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if pattern.is_empty() => pattern.push_str(key),
                Step::Key(key) => pattern.push_str(&format!(".{key}")),
                Step::Item => pattern.push_str("[]"),
            }
        }
        pattern
    }

    /// The value of a key beside this one.
    pub(crate) fn sibling(&self, key: &str) -> Option<&str> {
        self.siblings.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// What a place of a text is at: by the tree where the text has one there, else by its lines.
pub(crate) fn find(
    text: &str,
    lines: &Lines<'_>,
    position: Position,
    default_namespace: &str,
) -> Option<Spot> {
    let documents = parse_documents(text, Limits::default());
    let found = tree::find(&documents, position, default_namespace);
    found.or_else(|| lines::find(lines, position, default_namespace))
}

/// Group and version of an `apiVersion`.
fn split_api_version(api_version: &str) -> (String, String) {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    (group.to_owned(), version.to_owned())
}

#[cfg(test)]
mod tests;
