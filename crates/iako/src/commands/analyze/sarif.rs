//! Findings as SARIF 2.1.0, the exchange format of code scanning. Source: OASIS, "Static Analysis
//! Results Interchange Format (SARIF) Version 2.1.0".

use std::collections::{BTreeMap, BTreeSet};

use iako_analyze::Project;
use iako_resources::{
    Code, Diagnostic, Severity, TextEdit,
    text::{Documents, Limits, parse_documents},
    text_edits,
};
use serde_json::{Map, Value, json};

use super::load::{STANDARD_INPUT, relative};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The log of one run.
pub(super) fn log(diagnostics: &[Diagnostic], project: &Project) -> Value {
    let codes: BTreeSet<Code> = diagnostics.iter().map(|found| found.code).collect();
    let codes: Vec<Code> = codes.into_iter().collect();
    let mut trees = BTreeMap::new();
    let mut results = Vec::new();
    for found in diagnostics {
        let index = codes.iter().position(|code| *code == found.code).unwrap_or_default();
        results.push(result(found, index, project, &mut trees));
    }
    let rules: Vec<Value> = codes.into_iter().map(rule).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "iako",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.to_string(),
        "name": format!("{code:?}"),
        "shortDescription": {"text": code.title()},
        "fullDescription": {"text": code.explanation()},
        "help": {"text": code.explanation()},
        "defaultConfiguration": {"level": level(code.severity())},
    })
}

fn result(
    found: &Diagnostic,
    index: usize,
    project: &Project,
    trees: &mut BTreeMap<String, Documents>,
) -> Value {
    let mut message = found.message.clone();
    if let Some(help) = &found.help {
        message.push_str(&format!(" ({help})"));
    }
    let mut fields = Map::new();
    fields.insert("ruleId".to_owned(), found.code.to_string().into());
    fields.insert("ruleIndex".to_owned(), index.into());
    fields.insert("level".to_owned(), level(found.severity).into());
    fields.insert("message".to_owned(), json!({"text": message}));
    fields.insert("locations".to_owned(), json!([location(found)]));
    // What stays the same when lines move: code, object and field.
    let print = format!("{} {} {}", found.code, found.subject, found.path);
    fields.insert("partialFingerprints".to_owned(), json!({"iako/v1": print}));
    if let Some(fix) = fix(found, project, trees) {
        fields.insert("fixes".to_owned(), json!([fix]));
    }
    Value::Object(fields)
}

fn location(found: &Diagnostic) -> Value {
    let mut physical = Map::new();
    let uri = uri(&found.origin.file);
    physical.insert("artifactLocation".to_owned(), json!({"uri": uri}));
    if found.origin.line > 0 {
        let start = found.origin.column.max(1);
        let end = start.saturating_add(found.length);
        let region = if found.length == 0 {
            json!({"startLine": found.origin.line, "startColumn": start})
        } else {
            json!({"startLine": found.origin.line, "startColumn": start, "endColumn": end})
        };
        physical.insert("region".to_owned(), region);
    }
    let mut location = Map::new();
    location.insert("physicalLocation".to_owned(), Value::Object(physical));
    let name = [found.subject.as_str(), found.path.as_str()].join(" ");
    if !name.trim().is_empty() {
        let logical = json!([{"fullyQualifiedName": name.trim(), "kind": "resource"}]);
        location.insert("logicalLocations".to_owned(), logical);
    }
    Value::Object(location)
}

fn fix(
    found: &Diagnostic,
    project: &Project,
    trees: &mut BTreeMap<String, Documents>,
) -> Option<Value> {
    let patch = found.patch.as_deref()?;
    let text = project.text(&found.origin.file)?;
    let documents = trees
        .entry(found.origin.file.to_string())
        .or_insert_with(|| parse_documents(text, Limits::default()));
    let edits = text_edits(found, text, documents)?;
    let replacements: Vec<Value> = edits.iter().map(replacement).collect();
    Some(json!({
        "description": {"text": patch.title},
        "artifactChanges": [{
            "artifactLocation": {"uri": uri(&found.origin.file)},
            "replacements": replacements,
        }],
    }))
}

fn replacement(edit: &TextEdit) -> Value {
    json!({
        "deletedRegion": {
            "startLine": edit.start.line,
            "startColumn": edit.start.column,
            "endLine": edit.end.line,
            "endColumn": edit.end.column,
        },
        "insertedContent": {"text": edit.text},
    })
}

/// A file as a reference: relative where it can be, with everything else than letters, digits and
/// a few marks escaped. Source: RFC 3986 2.3.
fn uri(file: &str) -> String {
    if file == STANDARD_INPUT {
        return "stdin".to_owned();
    }
    let relative = relative(file);
    let escaped = iako_resources::escaped_path(&relative);
    if relative.starts_with('/') { format!("file://{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests;
