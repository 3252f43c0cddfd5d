//! Places and names, as editors write them and as we do.
//!
//! Editors count lines and characters from 0, and characters in units of UTF-16; we count both from
//! 1, and characters as Unicode does.

use iako_resources::{Position, text::Lines};
use serde_json::{Value, json};

/// A place as editors write it.
pub(crate) fn to_editor(position: Position, lines: &Lines<'_>) -> Value {
    let line = lines.line(position.line).unwrap_or_default();
    let before = usize::try_from(position.column).unwrap_or(1).saturating_sub(1);
    let units: usize = line.chars().take(before).map(char::len_utf16).sum();
    json!({"line": position.line.saturating_sub(1), "character": units})
}

/// A range as editors write it.
pub(crate) fn range(start: Position, end: Position, lines: &Lines<'_>) -> Value {
    json!({"start": to_editor(start, lines), "end": to_editor(end, lines)})
}

/// A place that an editor wrote.
pub(crate) fn from_editor(place: &Value, lines: &Lines<'_>) -> Option<Position> {
    let number = |key: &str| u32::try_from(place.get(key)?.as_u64()?).ok();
    let line = number("line")?.saturating_add(1);
    let mut units = number("character")?;
    let mut column = 1_u32;
    for c in lines.line(line).unwrap_or_default().chars() {
        let width = u32::try_from(c.len_utf16()).unwrap_or(1);
        let Some(rest) = units.checked_sub(width) else { break };
        units = rest;
        column = column.saturating_add(1);
    }
    Some(Position { line, column })
}

/// The file of a URI; a URI of another scheme stays as it is.
pub(crate) fn file_of(uri: &str) -> String {
    let Some(path) = uri.strip_prefix("file://") else { return uri.to_owned() };
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The URI of a file. Source: RFC 3986 2.3.
pub(crate) fn uri_of(file: &str) -> String {
    if !file.starts_with('/') {
        return file.to_owned();
    }
    format!("file://{}", iako_resources::escaped_path(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_in_units_of_utf_16() {
        let lines = Lines::new("a\nx😀y\n");
        let place = Position { line: 2, column: 3 };
        let written = to_editor(place, &lines);
        assert_eq!(written, json!({"line": 1, "character": 3}));
        assert_eq!(from_editor(&written, &lines), Some(place));
        // Within the pair of units of one character.
        let within = json!({"line": 1, "character": 2});
        assert_eq!(from_editor(&within, &lines), Some(Position { line: 2, column: 2 }));
    }

    #[test]
    fn names_of_files_survive_the_way_there_and_back() {
        let file = "/tmp/my dir/a%20b/ü.yaml";
        assert_eq!(file_of(&uri_of(file)), file);
        assert_eq!(file_of("untitled:One"), "untitled:One");
    }
}
