//! Codes of diagnostics: each number once, each on its page.

use std::collections::BTreeMap;

use super::Finding;
use crate::project::Project;

const TABLE: &str = "crates/iako-resources/src/diagnostic/code.rs";
const PAGE: &str = "docs/codes.md";
const SEVERITIES: [&str; 3] = ["Error", "Warning", "Info"];

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let Some(table) = project.file(TABLE) else {
        return vec![Finding::file("codes", TABLE, "the table of codes is not where it was")];
    };
    let Some(page) = project.file(PAGE) else {
        return vec![Finding::file("codes", PAGE, "is missing: run `cargo xtask gen`")];
    };
    let mut seen: BTreeMap<u16, &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for (line, name, number) in codes(&table.text) {
        if let Some(first) = seen.insert(number, name) {
            let message = format!("{name} uses the number {number} of {first}");
            findings.push(Finding::line("codes", TABLE, line, message));
        }
        if !page.text.contains(&format!("IAKO{number:04}")) {
            let message = format!("{name} is not on {PAGE}: run `cargo xtask gen`");
            findings.push(Finding::line("codes", TABLE, line, message));
        }
    }
    findings
}

/// Rows of the form `Name = 12, Severity, …`, with their lines.
fn codes(table: &str) -> Vec<(usize, &str, u16)> {
    let numbered = (1..).zip(table.lines());
    numbered
        .filter_map(|(line, text)| row(text).map(|(name, number)| (line, name, number)))
        .collect()
}

fn row(text: &str) -> Option<(&str, u16)> {
    let (name, rest) = text.trim().split_once(" = ")?;
    let mut fields = rest.split(',').map(str::trim);
    let (number, severity) = (fields.next()?.parse().ok()?, fields.next()?);
    let is_row = name.chars().all(char::is_alphanumeric) && SEVERITIES.contains(&severity);
    is_row.then_some((name, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_table_are_recognised() {
        let table = "codes! {\n    Broken = 2, Error, \"x\",\n        \"y = 3, Error\";\n    Old = 7, Warning, \"z\",\n";
        assert_eq!(codes(table), [(2, "Broken", 2), (4, "Old", 7)]);
    }
}
