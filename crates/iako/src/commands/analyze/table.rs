//! Findings in columns.

use iako_resources::Diagnostic;

use super::load::relative;

/// A line for each finding.
pub(super) fn table(diagnostics: &[Diagnostic]) -> String {
    if diagnostics.is_empty() {
        return String::new();
    }
    let mut rows = vec![["CODE", "SEVERITY", "PLACE", "OBJECT", "MESSAGE"].map(str::to_owned)];
    rows.extend(diagnostics.iter().map(row));
    let mut widths = [0_usize; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(found: &Diagnostic) -> [String; 5] {
    let file = relative(&found.origin.file);
    let place = match found.origin.line {
        0 => file,
        line => format!("{file}:{line}:{}", found.origin.column),
    };
    let object = match found.path.as_str() {
        "" => found.subject.clone(),
        path => format!("{} {path}", found.subject),
    };
    let message = found.message.replace('\n', " ");
    [found.code.to_string(), found.severity.to_string(), place, object.trim().to_owned(), message]
}
