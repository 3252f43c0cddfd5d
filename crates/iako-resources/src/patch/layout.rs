//! What a change does to the characters, so that comments and layout stay.

use super::{TextEdit, path::Found};
use crate::{
    Position,
    reader::is_named,
    text::{Entry, Lines, Node, Value, print_text},
};

/// A text as it stands in YAML: quoted only where it must be.
pub(super) fn written(text: &str) -> String {
    print_text(text)
}

/// Replaces a scalar.
pub(super) fn set(found: &Found<'_>, value: &str, lines: &Lines<'_>) -> Option<TextEdit> {
    let node = found.node;
    if matches!(node.value, Value::List(_) | Value::Map(_)) {
        return None;
    }
    let (start, end) = (node.span.start(), node.end);
    if lines.between(start, end)?.is_empty() {
        return None;
    }
    Some(TextEdit { start, end, text: value.to_owned() })
}

/// Puts quotes around a scalar that has none.
pub(super) fn quote(found: &Found<'_>, lines: &Lines<'_>) -> Option<TextEdit> {
    let (start, end) = (found.node.span.start(), found.node.end);
    let plain = lines.between(start, end)?;
    let is_plain =
        !plain.is_empty() && !plain.contains(['"', '\'', '\n', '\\', '|', '>', '{', '[']);
    is_plain.then(|| TextEdit { start, end, text: format!("\"{plain}\"") })
}

/// Gives a key another name, if its mapping has none of that name.
pub(super) fn rename(found: &Found<'_>, name: &str) -> Option<TextEdit> {
    let entry = found.entry?;
    let (mapping, _) = found.parent?;
    if siblings(mapping).iter().any(|other| is_named(&other.key, name)) {
        return None;
    }
    let start = entry.key_span.start();
    Some(TextEdit { start, end: entry.key_span.end(), text: name.to_owned() })
}

fn siblings(mapping: &Node) -> &[Entry] {
    match &mapping.value {
        Value::Map(entries) => entries,
        Value::Null
        | Value::Bool(_)
        | Value::Int(..)
        | Value::Float(..)
        | Value::Text(_)
        | Value::List(_) => &[],
    }
}

/// Removes a pair or an element, with its comma or its lines. The last of its kind stays: what is
/// left would mean something else.
pub(super) fn remove(found: &Found<'_>, lines: &Lines<'_>) -> Option<TextEdit> {
    let (parent, position) = found.parent?;
    let places: Vec<(Position, Position)> = match &parent.value {
        Value::List(nodes) => nodes.iter().map(|node| (node.span.start(), node.end)).collect(),
        Value::Map(entries) => {
            entries.iter().map(|entry| (entry.key_span.start(), end_of(entry))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Int(..) | Value::Float(..) | Value::Text(_) => {
            return None;
        }
    };
    // Pairs that a merge brought stand elsewhere.
    let in_order = places.is_sorted_by(|a, b| a.1 <= b.0);
    if places.len() < 2 || !in_order {
        return None;
    }
    let &(start, end) = places.get(position)?;
    let before = position.checked_sub(1).and_then(|before| places.get(before));
    let after = places.get(position + 1);
    let opening = lines.after(parent.span.start())?.chars().next()?;
    let (start, end) = if matches!(opening, '[' | '{') {
        match (before, after) {
            (Some(before), _) => (before.1, end),
            (None, Some(after)) => (start, after.0),
            (None, None) => return None,
        }
    } else {
        block_item(start, end, after.map(|after| after.0), lines)?
    };
    let has_comment = lines.between(start, end)?.contains('#');
    (!has_comment).then(|| TextEdit { start, end, text: String::new() })
}

/// The lines of a pair or element in block style; `None` when its lines hold something else that no
/// simple cut keeps.
fn block_item(
    start: Position,
    end: Position,
    next: Option<Position>,
    lines: &Lines<'_>,
) -> Option<(Position, Position)> {
    let lead = lines.between(Position { column: 1, ..start }, start)?;
    let own = lead.trim_end();
    let own = own.strip_suffix('-').unwrap_or(own);
    let behind = lines.after(end)?.lines().next().unwrap_or_default();
    if !behind.trim().is_empty() {
        return None;
    }
    let is_key_after_dash = lead.trim_end().ends_with('-')
        && next.is_some_and(|n| {
            n.column == start.column && {
                let line = lines.between(Position { column: 1, ..n }, n).unwrap_or_default();
                line.trim().is_empty()
            }
        });
    if is_key_after_dash {
        return Some((start, next?));
    }
    if !own.trim().is_empty() {
        return None;
    }
    let line_end = Position { line: end.line.saturating_add(1), column: 1 };
    Some((Position { column: 1, ..start }, line_end))
}

fn end_of(entry: &Entry) -> Position {
    entry.node.end.max(entry.key_span.end())
}

/// Adds a pair to a mapping, after its last one.
pub(super) fn add(
    found: &Found<'_>,
    key: &str,
    value: &str,
    lines: &Lines<'_>,
) -> Option<TextEdit> {
    let entries = siblings(found.node);
    if entries.iter().any(|entry| is_named(&entry.key, key)) {
        return None;
    }
    let pair = format!("{}: {}", written(key), written(value));
    let opening = lines.after(found.node.span.start())?.chars().next()?;
    let last = entries.last();
    if opening == '{' {
        let Position { line, column } = found.node.end;
        let closing = Position { line, column: column.checked_sub(1)? };
        let at = last.map_or(closing, end_of);
        let text = if last.is_some() { format!(", {pair}") } else { pair };
        return Some(TextEdit { start: at, end: at, text });
    }
    let last = last?;
    let end = end_of(last);
    let column = usize::try_from(last.key_span.column).ok()?.checked_sub(1)?;
    let rest = lines.after(end)?.split('\n').next().unwrap_or_default();
    let at = Position {
        column: end.column.saturating_add(u32::try_from(rest.chars().count()).ok()?),
        ..end
    };
    Some(TextEdit { start: at, end: at, text: format!("\n{}{pair}", " ".repeat(column)) })
}
