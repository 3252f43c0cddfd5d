//! The table of the rules of RFCs names tests that exist, and its page says what it says.

use std::collections::BTreeSet;

use super::Finding;
use crate::project::Project;
use crate::rules::{self, PAGE, Rule, TABLES};

/// What names of tests begin with that claim to hold a rule.
const CLAIMS: [&str; 4] = ["rfc9113_", "rfc9112_", "rfc9110_7_", "rfc7541_"];
/// Where the names of tests begin with `section_` and a number of RFC 9113.
const SECTIONS: &str = "crates/iako-http/tests/h2/";

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let tests = rules::tests(project);
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    let mut is_empty = true;
    for (path, table) in rules::tables(project) {
        is_empty = false;
        let rfc = match table {
            Ok(rfc) => rfc,
            Err((line, message)) => {
                findings.push(Finding::line("rules", path, line, message));
                continue;
            }
        };
        for rule in rfc.sections.iter().flat_map(|section| &section.rules) {
            named.extend(rule.tests.iter().copied());
            let told = |message: String| Finding::line("rules", path, rule.line, message);
            findings.extend(is_unheld(rule).map(|message| told(message.to_owned())));
            for name in &rule.tests {
                match tests.get(name).map_or(0, Vec::len) {
                    1 => {}
                    0 => findings.push(told(format!("there is no test {name}"))),
                    count => findings.push(told(format!("{name} is the name of {count} tests"))),
                }
            }
        }
    }
    if is_empty {
        return vec![Finding::file("rules", TABLES, "the tables are not where they were")];
    }
    for (name, paths) in &tests {
        for path in paths.iter().filter(|path| claims(name, path)) {
            if !named.contains(name) {
                let message = format!("{name} holds a rule that no table in {TABLES} names");
                findings.push(Finding::file("rules", path, message));
            }
        }
    }
    if project.file(PAGE).is_none_or(|page| page.text != rules::page(project)) {
        findings.push(Finding::file("rules", PAGE, "is stale: run `cargo xtask gen`"));
    }
    findings
}

/// Whether the name of a test says that it holds a rule.
fn claims(name: &str, path: &str) -> bool {
    CLAIMS.iter().any(|claim| name.starts_with(claim))
        || (path.starts_with(SECTIONS) && name.starts_with("section_"))
}

/// What a rule lacks.
fn is_unheld(rule: &Rule<'_>) -> Option<&'static str> {
    match (rule.tests.is_empty(), rule.departure.or(rule.exempt)) {
        (true, None) => Some("a rule has a test, or a reason why it has none"),
        (false, Some(_)) if rule.exempt.is_some() => Some("what does not bind us needs no test"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::SourceFile;

    fn found(table: &str, source: &str) -> Vec<String> {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let table = format!("# 1 One\n## 2 Two\n{table}");
        let mut project = Project {
            root: "/".into(),
            files: vec![
                file("crates/iako-http/tests/h2/a.rs", source),
                file("crates/iako/tests/differential/cases/group/case.json", "{}"),
                file(&format!("{TABLES}one.txt"), &table),
            ],
        };
        let page = rules::page(&project);
        project.files.push(file(PAGE, &page));
        check(&project).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_rule_needs_a_test_that_exists_or_a_reason() {
        let none: [&str; 0] = [];
        assert_eq!(found("- MUST: x\n  = a group/case\n", "#[test]\nfn a() {}\n"), none);
        assert_eq!(found("- MUST: x\n  ~ y\n- MUST: z\n  ! y\n", ""), none);
        for (table, told) in [
            ("- MUST: x\n", "a rule has a test"),
            ("- MUST: x\n  = gone\n", "there is no test gone"),
            ("- MUST: x\n  = group/other\n", "there is no test group/other"),
            ("- WANTS: x\n", "a rule begins with its strength"),
        ] {
            let found = found(table, "");
            assert!(found.iter().any(|message| message.contains(told)), "{told}: {found:?}");
        }
    }

    #[test]
    fn a_test_that_claims_a_rule_is_in_a_table() {
        for name in ["rfc9112_9_9_x", "section_9_9_x"] {
            let found = found("- MUST: x\n  ~ y\n", &format!("#[test]\nfn {name}() {{}}\n"));
            assert!(found[0].starts_with(name), "{found:?}");
        }
    }

    #[test]
    fn a_page_that_says_something_else_is_stale() {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let table = file(&format!("{TABLES}one.txt"), "# 1 One\n## 2 Two\n- MUST: x\n  ~ y\n");
        let project = Project { root: "/".into(), files: vec![table, file(PAGE, "old")] };
        assert!(check(&project)[0].message.starts_with("is stale"));
    }
}
