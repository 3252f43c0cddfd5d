//! Every crate inherits licence, lints and versions from the workspace; packages come from one
//! registry.

use super::Finding;
use crate::project::Project;

const INHERITED: [&str; 5] = [
    "license.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "publish.workspace = true",
    "workspace = true",
];
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in project.manifests() {
        let lines: Vec<&str> = manifest.text.lines().map(str::trim).collect();
        for wanted in INHERITED.iter().filter(|wanted| !lines.contains(wanted)) {
            let message = format!("lacks `{wanted}`");
            findings.push(Finding::file("manifests", &manifest.path, message));
        }
        if !lines.iter().any(|line| line.starts_with("description = ")) {
            let message = "lacks a description of its duty";
            findings.push(Finding::file("manifests", &manifest.path, message));
        }
    }
    for path in ["LICENSE", "NOTICE"].iter().filter(|path| project.file(path).is_none()) {
        findings.push(Finding::file("manifests", path, "is missing"));
    }
    let lock = project.file("Cargo.lock").map(|lock| lock.text.as_str()).unwrap_or_default();
    for (number, line) in (1..).zip(lock.lines()) {
        if line.starts_with("source = ") && !line.contains(REGISTRY) {
            let message = "comes from elsewhere than crates.io";
            findings.push(Finding::line("manifests", "Cargo.lock", number, message));
        }
    }
    findings
}
