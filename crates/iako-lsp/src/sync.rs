//! Edits of an open text. Source: LSP 3.17, "DidChangeTextDocument".

use iako_resources::text::Lines;
use serde_json::Value;

use crate::convert::from_editor;

/// A text after the changes of one notification, in their order; `None` when one of them makes no
/// sense.
pub(crate) fn changed(text: &str, changes: &[Value]) -> Option<String> {
    let mut text = text.to_owned();
    for change in changes {
        let new = change.get("text")?.as_str()?;
        let Some(range) = change.get("range").filter(|range| !range.is_null()) else {
            new.clone_into(&mut text);
            continue;
        };
        let lines = Lines::new(&text);
        let offset = |key: &str| Some(lines.offset(from_editor(range.get(key)?, &lines)?));
        let (start, end) = (offset("start")?, offset("end")?);
        // A place after the last line is the end of the text.
        let (start, end) = (start.unwrap_or(text.len()), end.unwrap_or(text.len()));
        if start > end || !text.is_char_boundary(start) || !text.is_char_boundary(end) {
            return None;
        }
        text.replace_range(start..end, new);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::changed;
    use serde_json::json;

    fn at(start: (u32, u32), end: (u32, u32), text: &str) -> serde_json::Value {
        let place = |(line, character)| json!({"line": line, "character": character});
        json!({"range": {"start": place(start), "end": place(end)}, "text": text})
    }

    #[test]
    fn changes_apply_one_after_the_other() {
        let text = "a: 1\nb: ü2\n";
        let changes =
            [at((0, 3), (0, 4), "x\ny: 5"), at((2, 4), (2, 5), "3"), at((3, 0), (3, 0), "c")];
        assert_eq!(changed(text, &changes).unwrap(), "a: x\ny: 5\nb: ü3\nc");
        assert_eq!(changed(text, &[json!({"text": "new"})]).unwrap(), "new");
        assert_eq!(changed(text, &[at((1, 0), (0, 0), "")]), None);
        // Beyond the end of a line is its end; beyond the last line is the end of the text.
        assert_eq!(changed("a\n", &[at((0, 9), (9, 9), "b")]).unwrap(), "ab");
    }
}
