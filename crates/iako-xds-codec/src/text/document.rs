//! YAML (and JSON, which is YAML) as a tree that remembers where everything stood.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle};

use crate::problem::{FieldPath, Step};

/// Most nodes that a document may have, aliases expanded. Bounds what a small file with nested
/// aliases can make us allocate.
const NODES_MAX: usize = 1_000_000;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Counted from 1.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
}

impl Position {
    fn of(marker: &Marker) -> Self {
        Self { line: marker.line(), column: marker.col().saturating_add(1) }
    }
}

/// Why a text is no document.
#[derive(Debug)]
pub(crate) struct SyntaxFault {
    pub(crate) at: Position,
    pub(crate) problem: String,
}

/// A value and where it starts.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: NodeValue,
}

/// How a single value is written. Only a plain one can be a number, a truth value or null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Quoted,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeValue {
    Scalar { text: String, style: Style },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) at: Position,
    pub(crate) name: String,
}

impl Node {
    /// Reads the first document of a text; an empty text is an empty map.
    pub(crate) fn parse(text: &str) -> Result<Self, SyntaxFault> {
        let mut builder = Builder::default();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| SyntaxFault {
                at: Position::of(error.marker()),
                problem: error.info(),
            })?;
            builder.take(event, Position::of(&span.start))?;
        }
        Ok(builder.root.unwrap_or(Self {
            at: Position { line: 1, column: 1 },
            value: NodeValue::Map(Vec::new()),
        }))
    }

    /// As JSON; a word without quotes is a number or a switch where it reads as one.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            NodeValue::Scalar { text, style: Style::Plain } => match text.as_str() {
                "true" => true.into(),
                "false" => false.into(),
                "null" | "~" | "" => serde_json::Value::Null,
                word => word.parse::<serde_json::Number>().map_or_else(|_| word.into(), Into::into),
            },
            NodeValue::Scalar { text, style: Style::Quoted } => text.as_str().into(),
            NodeValue::List(items) => items.iter().map(Self::to_json).collect(),
            NodeValue::Map(fields) => {
                fields.iter().map(|(key, value)| (key.name.clone(), value.to_json())).collect()
            }
        }
    }

    /// Whether this is YAML's or JSON's null.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, NodeValue::Scalar { text, style: Style::Plain }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Where the field of a path stands, or the innermost part of the path that is written down.
    pub(crate) fn locate(&self, path: &FieldPath) -> Position {
        let mut node = self;
        for step in path.steps() {
            let Some(next) = node.child(step) else { break };
            node = next;
        }
        node.at
    }

    fn child(&self, step: &Step) -> Option<&Self> {
        match (&self.value, step) {
            (NodeValue::List(items), Step::Index(index)) => items.get(*index),
            (NodeValue::Map(entries), Step::Field(name)) => {
                entries.iter().find(|(key, _)| same_field(&key.name, name)).map(|(_, node)| node)
            }
            (NodeValue::Map(entries), Step::Key(name)) => {
                entries.iter().find(|(key, _)| key.name == *name).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// The types of all extensions in it: what stands at `@type`.
    pub(crate) fn extensions(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.collect_extensions(&mut found);
        found
    }

    fn collect_extensions<'n>(&'n self, found: &mut Vec<&'n str>) {
        match &self.value {
            NodeValue::Scalar { .. } => {}
            NodeValue::List(items) => {
                for item in items {
                    item.collect_extensions(found);
                }
            }
            NodeValue::Map(entries) => {
                for (key, node) in entries {
                    match &node.value {
                        NodeValue::Scalar { text, .. } if key.name == "@type" => found.push(text),
                        NodeValue::Scalar { .. } => {}
                        NodeValue::List(_) | NodeValue::Map(_) => node.collect_extensions(found),
                    }
                }
            }
        }
    }

    fn size(&self) -> usize {
        match &self.value {
            NodeValue::Scalar { .. } => 1,
            NodeValue::List(items) => items.iter().map(Self::size).fold(1, usize::saturating_add),
            NodeValue::Map(entries) => {
                entries.iter().map(|(_, node)| node.size()).fold(1, usize::saturating_add)
            }
        }
    }
}

/// Whether a written key means a field: both of proto3 JSON's spellings do.
fn same_field(written: &str, name: &str) -> bool {
    written == name
        || written
            .bytes()
            .filter(|byte| *byte != b'_')
            .map(|byte| byte.to_ascii_lowercase())
            .eq(name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase()))
}

/// Collections that are still open, innermost last.
#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

struct Open {
    node: Node,
    anchor: usize,
    key: Option<Key>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), SyntaxFault> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let style = if plain { Style::Plain } else { Style::Quoted };
                self.scalar(text, style, anchor, at)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(NodeValue::List(Vec::new()), anchor, at);
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                self.open(NodeValue::Map(Vec::new()), anchor, at);
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.place(open.node, open.anchor),
                None => Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => {
                    self.nodes = self.nodes.saturating_add(node.size());
                    self.place(node, 0)
                }
                None => Err(SyntaxFault {
                    at,
                    problem: "an alias stands inside its own anchor".to_owned(),
                }),
            },
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | Event::UnresolvedAlias(_)
            | Event::Comment(..)
            | _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: Style,
        anchor: usize,
        at: Position,
    ) -> Result<(), SyntaxFault> {
        if let Some(Open {
            node: Node { value: NodeValue::Map(entries), .. },
            key: key @ None,
            ..
        }) = self.open.last_mut()
        {
            if entries.iter().any(|(earlier, _)| earlier.name == *text) {
                return Err(SyntaxFault { at, problem: format!("key `{text}` is written twice") });
            }
            *key = Some(Key { at, name: text.into_owned() });
            return Ok(());
        }
        let value = NodeValue::Scalar { text: text.into_owned(), style };
        self.place(Node { at, value }, anchor)
    }

    fn open(&mut self, value: NodeValue, anchor: usize, at: Position) {
        self.open.push(Open { node: Node { at, value }, anchor, key: None });
    }

    fn place(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxFault> {
        let at = node.at;
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > NODES_MAX {
            return Err(SyntaxFault { at, problem: format!("more than {NODES_MAX} values") });
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => {
                // Later documents of a stream are not the bootstrap.
                self.root.get_or_insert(node);
            }
            Some(Open { node: Node { value: NodeValue::List(items), .. }, .. }) => items.push(node),
            Some(Open { node: Node { value: NodeValue::Map(entries), .. }, key, .. }) => {
                match key.take() {
                    Some(key) => entries.push((key, node)),
                    None => {
                        return Err(SyntaxFault {
                            at,
                            problem: "a key must be a plain text".to_owned(),
                        });
                    }
                }
            }
            Some(Open { node: Node { value: NodeValue::Scalar { .. }, .. }, .. }) => {}
        }
        Ok(())
    }
}
