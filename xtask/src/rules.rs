//! The table of the rules of RFCs that bind a proxy, and the page that is made of it.
//!
//! The table is `xtask/rules/*.txt`, one file an RFC. Its lines:
//!
//! ```text
//! # 9113 HTTP/2                       the RFC
//! ## 4.1 Frame format                 a section
//! - MUST: frames of unknown types …   a rule in one line, behind its strength
//!   = names of tests and cases        what holds it
//!   ! reason                          it is not followed on purpose
//!   ~ reason                          it does not bind us
//! ```

use std::collections::BTreeMap;

use crate::project::{Outcome, Project};

/// Where the page is.
pub(crate) const PAGE: &str = "docs/rfc-rules.md";
/// Where the tables are.
pub(crate) const TABLES: &str = "xtask/rules/";
/// Where the cases of the differential suite are.
const CASES: &str = "crates/iako/tests/differential/cases/";
/// How strong a rule may be.
const STRENGTHS: [&str; 5] = ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "says"];

/// One rule.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule<'a> {
    /// Of the table, from 1.
    pub(crate) line: usize,
    pub(crate) strength: &'a str,
    /// What it asks, in our words.
    pub(crate) text: &'a str,
    /// Tests, and cases of the differential suite as `group/name`.
    pub(crate) tests: Vec<&'a str>,
    /// Why it is not followed.
    pub(crate) departure: Option<&'a str>,
    /// Why it does not bind us.
    pub(crate) exempt: Option<&'a str>,
}

/// The rules of one section.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    pub(crate) number: &'a str,
    pub(crate) title: &'a str,
    pub(crate) rules: Vec<Rule<'a>>,
}

/// The rules of one RFC.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rfc<'a> {
    pub(crate) number: &'a str,
    pub(crate) title: &'a str,
    pub(crate) sections: Vec<Section<'a>>,
}

/// What a table cannot mean, with its line.
pub(crate) type Broken = (usize, String);

/// Reads a table.
pub(crate) fn read(text: &str) -> Result<Rfc<'_>, Broken> {
    let mut rfc = Rfc { number: "", title: "", sections: Vec::new() };
    for (line, text) in (1..).zip(text.lines()) {
        take(&mut rfc, line, text).map_err(|message| (line, message.to_owned()))?;
    }
    Ok(rfc)
}

fn take<'a>(rfc: &mut Rfc<'a>, line: usize, text: &'a str) -> Result<(), &'static str> {
    let Some((mark, rest)) = text.trim().split_once(' ') else {
        return if text.trim().is_empty() { Ok(()) } else { Err("is no line of a table") };
    };
    let titled = || rest.split_once(' ').ok_or("has a number and a title");
    match mark {
        "#" => (rfc.number, rfc.title) = titled()?,
        "##" => {
            let (number, title) = titled()?;
            rfc.sections.push(Section { number, title, rules: Vec::new() });
        }
        "-" => {
            let (strength, text) =
                rest.split_once(": ").ok_or("a rule begins with its strength")?;
            if !STRENGTHS.contains(&strength) {
                return Err("a rule begins with its strength");
            }
            let section = rfc.sections.last_mut().ok_or("a rule stands in a section")?;
            section.rules.push(Rule { line, strength, text, ..Rule::default() });
        }
        "=" | "!" | "~" => {
            let section = rfc.sections.last_mut();
            let rule = section.and_then(|section| section.rules.last_mut());
            let rule = rule.ok_or("stands behind a rule")?;
            match mark {
                "=" => rule.tests.extend(rest.split_whitespace()),
                "!" => rule.departure = Some(rest),
                _ => rule.exempt = Some(rest),
            }
        }
        _ => return Err("is no line of a table"),
    }
    Ok(())
}

/// Where tests and cases are: the path of each by its name, several when a name is used twice.
pub(crate) fn tests(project: &Project) -> BTreeMap<&str, Vec<&str>> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in project.rust() {
        for name in test_names(&file.text) {
            found.entry(name).or_default().push(&file.path);
        }
    }
    for file in &project.files {
        let name = file.path.strip_prefix(CASES).and_then(|path| path.strip_suffix(".json"));
        if let Some(name) = name {
            found.entry(name).or_default().push(&file.path);
        }
    }
    found
}

/// Functions with an attribute that makes them tests.
fn test_names(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
            return None;
        }
        let (_, signature) = line.split_once("fn ")?;
        std::mem::take(&mut is_test).then(|| signature.split(['(', '<']).next())?
    })
}

/// The tables, in the order of their files.
pub(crate) fn tables(project: &Project) -> Vec<(&str, Result<Rfc<'_>, Broken>)> {
    let tables = project.files.iter().filter(|file| file.path.starts_with(TABLES));
    tables.map(|file| (file.path.as_str(), read(&file.text))).collect()
}

/// The page.
pub(crate) fn page(project: &Project) -> String {
    let tests = tests(project);
    let rfcs: Vec<Rfc<'_>> = tables(project).into_iter().filter_map(|(_, rfc)| rfc.ok()).collect();
    let mut page = String::from(INTRODUCTION);
    for rfc in &rfcs {
        let rules = || rfc.sections.iter().flat_map(|section| &section.rules);
        let held = rules().filter(|rule| !rule.tests.is_empty()).count();
        let departures = rules().filter(|rule| rule.departure.is_some()).count();
        let exempt = rules().filter(|rule| rule.exempt.is_some()).count();
        let row = format!(
            "| RFC {} {} | {} | {held} | {departures} | {exempt} |",
            rfc.number,
            rfc.title,
            rules().count()
        );
        page += &row;
        page.push('\n');
    }
    for rfc in &rfcs {
        page += &["\n## RFC ", rfc.number, " ", rfc.title, "\n"].concat();
        for section in &rfc.sections {
            page += &["\n### ", section.number, " ", section.title, "\n\n"].concat();
            page += "| rule | held by |\n|---|---|\n";
            for rule in &section.rules {
                let held = held(rule, &tests);
                page += &["| ", rule.strength, ": ", rule.text, " | ", &held, " |\n"].concat();
            }
        }
    }
    page
}

const INTRODUCTION: &str = "# Rules of HTTP

Every rule of RFC 9113, RFC 9112, RFC 9110 section 7 and RFC 7541 that binds whoever stands between
a client and a server, in one line of our own words, and the tests that hold it. What else of
RFC 9110 a proxy has to do stands behind section 7. A name with a slash is a case of the
[differential suite](../crates/iako/tests/differential/cases/README.md). A rule that is not followed
on purpose says so with its reason, and so does one that does not bind us.

<!-- made from xtask/rules -->

| RFC | rules | held by tests | not followed on purpose | not for us |
|---|---|---|---|---|
";

/// The tests of a rule as links, and the reasons.
fn held(rule: &Rule<'_>, tests: &BTreeMap<&str, Vec<&str>>) -> String {
    let mut parts: Vec<String> = rule
        .tests
        .iter()
        .map(|name| match tests.get(name).and_then(|paths| paths.first()) {
            Some(path) => format!("[`{name}`](../{path})"),
            None => format!("`{name}`"),
        })
        .collect();
    parts.extend(rule.departure.map(|reason| format!("**not followed**: {reason}")));
    parts.extend(rule.exempt.map(|reason| format!("not for us: {reason}")));
    parts.join("<br>")
}

/// Writes the page.
pub(crate) fn write() -> Outcome {
    let project = Project::read()?;
    let path = project.root.join(PAGE);
    std::fs::write(&path, page(&project)).map_err(|error| format!("{PAGE}: {error}"))
}

/// Fails when the page says something else than the tables.
pub(crate) fn compare() -> Outcome {
    let project = Project::read()?;
    if project.file(PAGE).is_some_and(|committed| committed.text == page(&project)) {
        return Ok(());
    }
    Err(format!("{PAGE} is stale: run `cargo xtask gen`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_line_by_line() {
        let text =
            "# 1 One\n\n## 2.1 Two\n- MUST NOT: three\n  = a b/c\n  ! four\n- says: x\n  ~ y\n";
        let rule = |line, strength, text| Rule { line, strength, text, ..Rule::default() };
        let rules = vec![
            Rule {
                tests: vec!["a", "b/c"],
                departure: Some("four"),
                ..rule(4, "MUST NOT", "three")
            },
            Rule { exempt: Some("y"), ..rule(7, "says", "x") },
        ];
        let sections = vec![Section { number: "2.1", title: "Two", rules }];
        assert_eq!(read(text), Ok(Rfc { number: "1", title: "One", sections }));
        for (broken, line) in [("## 1 A\n- WILL: x", 2), ("- MUST: x", 1), ("\n= x", 2), ("x y", 1)]
        {
            assert_eq!(read(broken).err().map(|(line, _)| line), Some(line), "{broken:?}");
        }
    }

    #[test]
    fn tests_are_known_by_their_attribute() {
        let text = "#[test]\nfn a() {}\n    #[tokio::test(start_paused = true)]\n    \
                    #[expect(x)]\n    async fn b() {}\nfn no_test() {}\n";
        assert_eq!(test_names(text).collect::<Vec<_>>(), ["a", "b"]);
    }
}
