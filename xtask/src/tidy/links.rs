//! Links between the project's own pages lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::Finding;
use crate::project::{Project, SourceFile};

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for page in project.files.iter().filter(|file| file.has_extension("md")) {
        for (number, target) in links(&page.text) {
            if let Some(message) = broken(project, page, target) {
                findings.push(Finding::line("links", &page.path, number, message));
            }
        }
    }
    findings
}

/// The targets of `[text](target)` outside code blocks, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(targets.map(|target| (number, target)));
    }
    found
}

fn broken(project: &Project, page: &SourceFile, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = Path::new(&page.path).parent().unwrap_or_else(|| Path::new(""));
    let path = if path.is_empty() { PathBuf::from(&page.path) } else { folder.join(path) };
    let path = normal(&path)?;
    let Some(linked) = project.file(&path.to_string_lossy()) else {
        // A folder, or a file that is no text.
        let exists = project.root.join(&path).exists();
        return (!exists).then(|| format!("links to {target}, which does not exist"));
    };
    let has_anchor = anchor.is_empty() || headings(&linked.text).any(|name| name == anchor);
    (!has_anchor).then(|| format!("links to {target}, which has no such heading"))
}

/// The path without `.` and `..`; `None` when it leaves the project.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                normal.push(component);
            }
        }
    }
    Some(normal)
}

/// Anchors of headings, made the way Git hosts make them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let keep = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        title.chars().filter(keep).map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_nothing_are_found_with_their_line() {
        let page = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let project = Project {
            root: crate::project::root(),
            files: vec![page(
                "README.md",
                "# Iako: a mesh\n[own](#iako-a-mesh) [web](https://example.com)\n\
                 [lost](lost.md) [code](Cargo.toml)\n```\n[in](code)\n```\n[no](#such)",
            )],
        };
        let found = check(&project);
        let found: Vec<_> = found.iter().map(|f| (f.line, f.message.as_str())).collect();
        assert_eq!(
            found,
            [
                (3, "links to lost.md, which does not exist"),
                (7, "links to #such, which has no such heading"),
            ]
        );
    }
}
