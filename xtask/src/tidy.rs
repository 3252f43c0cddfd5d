//! House rules that no lint knows. Each rule is a function from the project's files to findings.

mod codes;
mod layers;
mod links;
mod manifests;
mod modules;
mod rules;
mod sizes;
mod statistics;
mod words;

use crate::project::{Outcome, Project};

/// A breach of a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    rule: &'static str,
    path: String,
    /// 0 when the finding is about the file as a whole.
    line: usize,
    message: String,
}

impl Finding {
    fn file(rule: &'static str, path: &str, message: impl Into<String>) -> Self {
        Self { rule, path: path.to_owned(), line: 0, message: message.into() }
    }

    fn line(rule: &'static str, path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { rule, path: path.to_owned(), line, message: message.into() }
    }
}

/// Breaches that are meant, with their reasons: (rule, path, reason). Printed with every run; one
/// that is no longer needed is a finding itself.
const ALLOWED: &[(&str, &str, &str)] =
    &[("words", "xtask/src/tidy/words.rs", "the list of the words itself")];

type Rule = fn(&Project) -> Vec<Finding>;

const RULES: &[(&str, Rule)] = &[
    ("layers", layers::check),
    ("sizes", sizes::check),
    ("modules", modules::check),
    ("words", words::check),
    ("links", links::check),
    ("codes", codes::check),
    ("statistics", statistics::check),
    ("manifests", manifests::check),
    ("rules", rules::check),
];

/// Checks every rule and prints what it found.
pub(crate) fn run() -> Outcome {
    let project = Project::read()?;
    let findings = RULES.iter().flat_map(|(_, rule)| rule(&project)).collect();
    let findings = without_allowed(findings, ALLOWED);
    for (rule, path, reason) in ALLOWED {
        println!("tidy: allowed: {rule} in {path}: {reason}");
    }
    for Finding { rule, path, line, message } in &findings {
        let place = if *line == 0 { path.clone() } else { format!("{path}:{line}") };
        println!("{place}: {message} [{rule}]");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, {} rules, nothing found", project.files.len(), RULES.len());
            Ok(())
        }
        count => Err(format!("{count} findings")),
    }
}

fn without_allowed(
    findings: Vec<Finding>,
    allowed: &'static [(&'static str, &'static str, &'static str)],
) -> Vec<Finding> {
    let is_allowed = |finding: &Finding| {
        allowed.iter().any(|(rule, path, _)| *rule == finding.rule && *path == finding.path)
    };
    let needless = allowed.iter().filter(|(rule, path, _)| {
        !findings.iter().any(|finding| finding.rule == *rule && finding.path == *path)
    });
    let mut kept: Vec<Finding> = needless
        .map(|(rule, path, _)| Finding::file(rule, path, "is allowed a breach that it has not"))
        .collect();
    kept.extend(findings.into_iter().filter(|finding| !is_allowed(finding)));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_follows_its_rules() {
        assert_eq!(run(), Ok(()), "the findings are printed above");
    }

    #[test]
    fn an_allowance_without_a_breach_is_a_finding() {
        const ALLOWED: &[(&str, &str, &str)] =
            &[("sizes", "a.rs", "a table"), ("sizes", "b.rs", "")];
        let findings =
            vec![Finding::file("sizes", "a.rs", "long"), Finding::file("words", "a.rs", "x")];
        let kept = without_allowed(findings, ALLOWED);
        assert_eq!(
            kept,
            [
                Finding::file("sizes", "b.rs", "is allowed a breach that it has not"),
                Finding::file("words", "a.rs", "x"),
            ]
        );
    }
}
