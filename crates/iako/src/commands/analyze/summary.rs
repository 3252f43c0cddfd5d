//! Findings for people: each with its line, then how many there are.

use std::collections::BTreeMap;

use iako_analyze::{Checked, Project};
use iako_resources::{Painter, PassedOver, Severity, render};

use crate::diagnostics::painter;

/// Every finding with the line that it is about, and a summary.
pub(super) fn text(checked: &Checked, project: &Project) -> String {
    let painter = painter(&std::io::stdout());
    let mut text = String::new();
    for found in &checked.diagnostics {
        text.push_str(&render(found, project.text(&found.origin.file), painter));
        text.push('\n');
    }
    text.push_str(&summary(checked, project, painter));
    text
}

/// What was read, how many findings there are, what was passed over, what to do next.
fn summary(checked: &Checked, project: &Project, painter: Painter) -> String {
    let contents = || project.contents();
    let files = contents().filter(|content| !is_passed_as_a_whole(content)).count();
    let objects: usize =
        contents().map(|content| content.resources.len() + content.refused.len()).sum();
    let read = format!("{} in {}", counted(objects, "object"), counted(files, "file"));
    let count = |severity| checked.diagnostics.iter().filter(|it| it.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let notes = count(Severity::Info);
    let kinds = [(errors, "error"), (warnings, "warning"), (notes, "note")];
    let told: Vec<String> = kinds
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| counted(count, word))
        .collect();
    let result = if told.is_empty() { "nothing wrong".to_owned() } else { told.join(", ") };
    let colour = match (errors, warnings) {
        (0, 0) => "1;32",
        (0, _) => "1;33",
        _ => "1;31",
    };
    let mut text = format!("{read}: {}", painter.paint(colour, &result));
    if checked.suppressed > 0 {
        text.push_str(&format!(" ({} suppressed)", checked.suppressed));
    }
    text.push('\n');
    text.push_str(&passed_over(project));
    let mendable = checked.diagnostics.iter().filter(|found| found.patch.is_some()).count();
    if mendable > 0 {
        text.push_str(&format!("--fix mends {mendable} of them; --fix --dry-run shows how\n"));
    }
    text
}

fn is_passed_as_a_whole(content: &iako_resources::FileContent) -> bool {
    !content.passed.is_empty()
        && content.resources.is_empty()
        && content.refused.is_empty()
        && content.diagnostics.is_empty()
}

/// `passed over: 3 Helm templates, 1 kustomization`; empty when nothing was.
fn passed_over(project: &Project) -> String {
    let mut counts: BTreeMap<PassedOver, usize> = BTreeMap::new();
    for (_, why) in project.contents().flat_map(|content| &content.passed) {
        *counts.entry(*why).or_default() += 1;
    }
    if counts.is_empty() {
        return String::new();
    }
    let parts: Vec<String> = counts
        .into_iter()
        .map(|(why, count)| match why {
            PassedOver::HelmTemplate => {
                format!(
                    "{} (render them first: helm template … | iako analyze -)",
                    counted(count, "Helm template")
                )
            }
            PassedOver::Kustomization => {
                format!(
                    "{} of Kustomize (kustomize build … | iako analyze -)",
                    counted(count, "file")
                )
            }
            PassedOver::NotKubernetes => {
                format!("{} outside Kubernetes", counted(count, "document"))
            }
            PassedOver::OtherKind => {
                format!("{} that no mesh reads", counted(count, "object"))
            }
            PassedOver::IgnoreFile => format!("{count} named by .iakoignore"),
        })
        .collect();
    format!("passed over: {}\n", parts.join(", "))
}

/// `1 file`, `2 files`.
pub(super) fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
