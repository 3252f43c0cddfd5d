//! Writes a tree as YAML that reads back as the same tree, with Kubernetes' reader too.

use super::{Node, Value, scalar};

/// A tree as a YAML document in block style, with a line break at its end.
#[must_use]
pub fn print_node(node: &Node) -> String {
    let mut text = String::new();
    block(node, 0, &mut text);
    text
}

/// A text as one line of YAML: plain where every reader sees a text in it, in quotes elsewhere.
#[must_use]
pub fn print_text(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Whether a text needs no quotes, neither in a block nor between brackets.
fn is_plain(text: &str) -> bool {
    let starts_well =
        text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.'));
    let harmless =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+' | '@');
    starts_well
        && text.chars().all(harmless)
        && !matches!(text, "..." | ".")
        && matches!(scalar::resolve(text), Value::Text(_))
}

fn quoted(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    written.push('"');
    for c in text.chars() {
        match c {
            '"' => written.push_str("\\\""),
            '\\' => written.push_str("\\\\"),
            '\n' => written.push_str("\\n"),
            '\t' => written.push_str("\\t"),
            '\r' => written.push_str("\\r"),
            ' '..='~' | '\u{a0}'..='\u{d7ff}' if !matches!(c, '\u{2028}' | '\u{2029}') => {
                written.push(c);
            }
            _ if u32::from(c) <= 0xffff => written.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => written.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    written.push('"');
    written
}

/// A value on lines of its own, at the place where the text ends now, which is a line's start.
fn block(node: &Node, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match &node.value {
        Value::List(nodes) if !nodes.is_empty() => {
            for node in nodes {
                text.push_str(&indent);
                text.push('-');
                after_mark(node, depth, text);
            }
        }
        Value::Map(entries) if !entries.is_empty() => {
            for entry in entries {
                text.push_str(&indent);
                text.push_str(&print_text(&entry.key));
                text.push(':');
                after_mark(&entry.node, depth, text);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(..)
        | Value::Float(..)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => {
            text.push_str(&indent);
            text.push_str(&inline(&node.value));
            text.push('\n');
        }
    }
}

/// A value after `-` or `key:`.
fn after_mark(node: &Node, depth: usize, text: &mut String) {
    let is_block = match &node.value {
        Value::List(nodes) => !nodes.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
        Value::Null | Value::Bool(_) | Value::Int(..) | Value::Float(..) | Value::Text(_) => false,
    };
    if is_block {
        text.push('\n');
        block(node, depth + 1, text);
    } else {
        text.push(' ');
        text.push_str(&inline(&node.value));
        text.push('\n');
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(_, written) | Value::Float(_, written) => written.clone(),
        Value::Text(text) => print_text(text),
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
    }
}
