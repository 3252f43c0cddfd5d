//! From a patch to characters.

use super::{Change, Edit, layout, path};
use crate::{
    Diagnostic, Position, Span,
    text::{Documents, Lines, Node, Value},
};

/// Characters of a text to replace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextEdit {
    /// Where they start.
    pub start: Position,
    /// Where they end.
    pub end: Position,
    /// What stands there afterwards.
    pub text: String,
}

/// The characters that the patch of a finding replaces in the text of its file as it is now;
/// `None` when it has no patch, or the text has no place for it.
#[must_use]
pub fn text_edits(
    diagnostic: &Diagnostic,
    text: &str,
    documents: &Documents,
) -> Option<Vec<TextEdit>> {
    let patch = diagnostic.patch.as_deref()?;
    let object = object_at(documents, diagnostic.origin.line)?;
    let lines = Lines::new(text);
    let edits: Option<Vec<TextEdit>> =
        patch.edits.iter().map(|edit| to_text(object, edit, &lines)).collect();
    edits.filter(|edits| !edits.is_empty())
}

/// Sharpens the place of a finding that knows only a line and a path: to the field, if the object
/// on that line has it.
pub fn locate(diagnostic: &mut Diagnostic, documents: &Documents) {
    if diagnostic.path.is_empty() || diagnostic.length > 0 {
        return;
    }
    let Some(object) = object_at(documents, diagnostic.origin.line) else { return };
    let Some(found) = path::find(object, &diagnostic.path) else { return };
    let own = found.node.span;
    let span = match (&found.node.value, found.entry) {
        (Value::List(_) | Value::Map(_) | Value::Null, Some(entry)) => entry.key_span,
        (Value::List(_) | Value::Map(_), None) => Span { length: 1, ..own },
        _ => own,
    };
    diagnostic.origin = diagnostic.origin.at(span);
    diagnostic.length = span.length;
}

/// The object that a line belongs to: the last one that starts on it or before.
fn object_at(documents: &Documents, line: u32) -> Option<&Node> {
    let mut roots = documents.documents.iter().map(|(root, _)| root);
    let document = roots.rfind(|root| root.span.line <= line)?;
    Some(within_list(document, line))
}

fn within_list(node: &Node, line: u32) -> &Node {
    let is_list = node.get("kind").and_then(Node::as_text).is_some_and(|k| k.ends_with("List"));
    let Some(Value::List(items)) = node.get("items").map(|items| &items.value) else { return node };
    if !is_list {
        return node;
    }
    items.iter().rfind(|item| item.span.line <= line).map_or(node, |item| within_list(item, line))
}

fn to_text(object: &Node, edit: &Edit, lines: &Lines<'_>) -> Option<TextEdit> {
    let found = path::find(object, &edit.path)?;
    match &edit.change {
        Change::SetText(value) => layout::set(&found, &layout::written(value), lines),
        Change::SetPlain(value) => layout::set(&found, value, lines),
        Change::Quote => layout::quote(&found, lines),
        Change::Rename(name) => layout::rename(&found, name),
        Change::Remove => layout::remove(&found, lines),
        Change::Add(key, value) => layout::add(&found, key, value, lines),
    }
}

/// Makes changes in a text. Of two that meet, the first one is made; returns how many were.
#[must_use]
pub fn apply_edits(text: &str, groups: &[Vec<TextEdit>]) -> (String, usize) {
    let lines = Lines::new(text);
    let mut chosen: Vec<(usize, usize, &str)> = Vec::new();
    let mut made = 0;
    for group in groups {
        let ranges: Option<Vec<(usize, usize, &str)>> = group
            .iter()
            .map(|edit| {
                let (start, end) = (lines.offset(edit.start)?, lines.offset(edit.end)?);
                (start <= end).then_some((start, end, edit.text.as_str()))
            })
            .collect();
        let Some(ranges) = ranges else { continue };
        let meets = |range: &(usize, usize, &str)| {
            chosen.iter().any(|known| range.0 < known.1 && known.0 < range.1 || range.0 == known.0)
        };
        if ranges.iter().any(meets) {
            continue;
        }
        chosen.extend(ranges);
        made += 1;
    }
    chosen.sort_unstable();
    let mut changed = String::with_capacity(text.len());
    let mut at = 0;
    for (start, end, put) in chosen {
        changed.push_str(text.get(at..start).unwrap_or_default());
        changed.push_str(put);
        at = end;
    }
    changed.push_str(text.get(at..).unwrap_or_default());
    (changed, made)
}
