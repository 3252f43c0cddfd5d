//! Changes that mend a finding.

use iako_resources::{
    Diagnostic, Position, TextEdit,
    text::{Limits, Lines, parse_documents},
    text_edits,
};
use serde_json::{Value, json};

use crate::{
    convert::{from_editor, range},
    publish::place,
};

/// The changes for the findings that a range touches.
pub(crate) fn actions(
    findings: &[Diagnostic],
    text: &str,
    (uri, version): (&str, Option<i64>),
    wanted: &Value,
) -> Option<Value> {
    let lines = Lines::new(text);
    let start = from_editor(wanted.get("start")?, &lines)?;
    let end = from_editor(wanted.get("end")?, &lines)?;
    let mut documents = None;
    let mut actions = Vec::new();
    for found in findings.iter().filter(|found| touches(found, (start, end), &lines)) {
        let Some(patch) = &found.patch else { continue };
        let documents = documents.get_or_insert_with(|| parse_documents(text, Limits::default()));
        let Some(edits) = text_edits(found, text, documents) else { continue };
        let edits: Vec<Value> = edits.iter().map(|edit| written(edit, &lines)).collect();
        let document = json!({"uri": uri, "version": version});
        actions.push(json!({
            "title": capitalised(&patch.title),
            "kind": "quickfix",
            "isPreferred": true,
            "edit": {"documentChanges": [{"textDocument": document, "edits": edits}]},
        }));
    }
    Some(Value::Array(actions))
}

fn touches(found: &Diagnostic, (start, end): (Position, Position), lines: &Lines<'_>) -> bool {
    let (from, to) = place(found, lines);
    from <= end && start <= to
}

fn written(edit: &TextEdit, lines: &Lines<'_>) -> Value {
    json!({"range": range(edit.start, edit.end, lines), "newText": edit.text})
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", characters.as_str())
}
