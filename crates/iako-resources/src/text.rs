//! YAML and JSON as a tree that knows where everything was written.
//!
//! JSON is a part of YAML, so one parser reads both. Anchors and aliases are resolved, merge keys
//! (`<<`) are applied; depth, aliases and size are bounded.

mod build;
mod lines;
mod print;
mod scalar;

use crate::{Code, Position, Span};

pub use build::parse_documents;
pub use lines::Lines;
pub use print::{print_node, print_text};

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it starts.
    pub span: Span,
    /// Where it ends: after its last character, closing brackets and quotes included.
    pub end: Position,
}

/// A value as Kubernetes reads it: `yes`, `on` and the like are booleans where nothing quotes them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~`, or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, with the text that was written.
    Int(i64, String),
    /// Another number, with the text that was written.
    Float(f64, String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the document.
    Map(Vec<Entry>),
}

/// One pair of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key, as text.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The value of a key, when this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(..)
            | Value::Float(..)
            | Value::Text(_)
            | Value::List(_) => None,
        }
    }

    /// The text, when this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null
            | Value::Bool(_)
            | Value::Int(..)
            | Value::Float(..)
            | Value::List(_)
            | Value::Map(_) => None,
        }
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }
}

/// Why a text, or a part of it, is not readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextProblem {
    /// The kind of the problem.
    pub code: Code,
    /// Where.
    pub span: Span,
    /// What is wrong.
    pub message: String,
}

/// The documents of a text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Documents {
    /// Those that could be read, in order, with the problems inside each that do not end it.
    pub documents: Vec<(Node, Vec<TextProblem>)>,
    /// Why others could not be read, in order: a fault of syntax ends its document, a limit the text.
    pub failures: Vec<TextProblem>,
}

/// Bounds on what a text may ask of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a text.
    pub bytes_max: usize,
    /// Mappings and lists inside each other.
    pub depth_max: usize,
    /// Values, those that aliases repeat included.
    pub nodes_max: usize,
    /// Uses of aliases.
    pub aliases_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_max: 16 << 20, depth_max: 100, nodes_max: 1_000_000, aliases_max: 10_000 }
    }
}
