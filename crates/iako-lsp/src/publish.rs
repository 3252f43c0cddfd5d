//! Findings as editors show them.

use std::{collections::BTreeMap, sync::Arc};

use iako_analyze::Project;
use iako_resources::{Code, Diagnostic, Position, Severity, text::Lines};
use serde_json::{Value, json};

use crate::convert::{range, uri_of};

/// Findings that were told, by file.
#[derive(Debug, Default)]
pub(crate) struct Published {
    findings: BTreeMap<Arc<str>, Vec<Diagnostic>>,
    versions: BTreeMap<Arc<str>, Option<i64>>,
}

impl Published {
    /// What was told of a file.
    pub(crate) fn findings(&self, file: &str) -> &[Diagnostic] {
        self.findings.get(file).map_or(&[], Vec::as_slice)
    }

    /// What to tell, file by file, now that these are the findings. `open` gives the URI and the
    /// version of an open file.
    pub(crate) fn differences(
        &mut self,
        diagnostics: Vec<Diagnostic>,
        project: &Project,
        open: impl Fn(&str) -> Option<(String, i64)>,
    ) -> Vec<Value> {
        let mut now: BTreeMap<Arc<str>, Vec<Diagnostic>> = BTreeMap::new();
        for found in diagnostics {
            now.entry(Arc::clone(&found.origin.file)).or_default().push(found);
        }
        let before = std::mem::take(&mut self.findings);
        let mut told = Vec::new();
        let gone = before.keys().filter(|file| !now.contains_key(*file));
        let files: Vec<Arc<str>> = now.keys().chain(gone).cloned().collect();
        for file in files {
            let own = now.get(&file).map_or(&[][..], Vec::as_slice);
            let known = before.get(&file).map_or(&[][..], Vec::as_slice);
            let open = open(&file);
            let version = open.as_ref().map(|(_, version)| *version);
            if own == known && self.versions.get(&file) == Some(&version) {
                continue;
            }
            let lines = Lines::new(project.text(&file).unwrap_or_default());
            let shown: Vec<Value> = own.iter().map(|found| shown(found, &lines)).collect();
            let uri = open.map_or_else(|| uri_of(&file), |(uri, _)| uri);
            let mut params = json!({"uri": uri, "diagnostics": shown});
            if let (Some(version), Some(fields)) = (version, params.as_object_mut()) {
                fields.insert("version".to_owned(), version.into());
            }
            self.versions.insert(file, version);
            told.push(params);
        }
        self.findings = now;
        told
    }
}

/// The place of a finding: its characters, or its line where they are not known.
pub(crate) fn place(found: &Diagnostic, lines: &Lines<'_>) -> (Position, Position) {
    let start = Position { line: found.origin.line.max(1), column: found.origin.column.max(1) };
    let line = lines.line(start.line).unwrap_or_default();
    let end = match found.length {
        0 => u32::try_from(line.trim_end().chars().count() + 1).unwrap_or(u32::MAX),
        length => start.column.saturating_add(length),
    };
    (start, Position { line: start.line, column: end.max(start.column) })
}

fn shown(found: &Diagnostic, lines: &Lines<'_>) -> Value {
    let (start, end) = place(found, lines);
    let severity = match found.severity {
        Severity::Error => 1,
        Severity::Warning => 2,
        Severity::Info => 3,
    };
    let message = match &found.help {
        Some(help) => format!("{}\n{help}", found.message),
        None => found.message.clone(),
    };
    let mut value = json!({
        "range": range(start, end, lines),
        "severity": severity,
        "code": found.code.to_string(),
        "source": "iako",
        "message": message,
    });
    let without_effect = [Code::UnreachableRule, Code::NoEffect, Code::FieldIgnored];
    let tag = if found.code == Code::Deprecated {
        Some(2)
    } else {
        without_effect.contains(&found.code).then_some(1)
    };
    if let (Some(tag), Some(fields)) = (tag, value.as_object_mut()) {
        fields.insert("tags".to_owned(), json!([tag]));
    }
    value
}
