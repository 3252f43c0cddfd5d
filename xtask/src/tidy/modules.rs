//! Every source file is part of a crate, says what it is for, and keeps `unsafe` in one place.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::project::{Project, SourceFile};

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    let reached = reached(project);
    let mut with_unsafe: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in project.rust().filter(|file| !file.is_generated()) {
        if !reached.contains(file.path.as_str()) {
            findings.push(Finding::file("modules", &file.path, "is reached by no `mod`"));
        }
        let is_tests = file.path.ends_with("/tests.rs");
        if !is_tests && !file.text.trim_start().starts_with("//!") {
            let message = "begins without a `//!` that says what it is for";
            findings.push(Finding::file("modules", &file.path, message));
        }
        if let Some(owner) = file.crate_path().filter(|_| has_unsafe(&file.text)) {
            with_unsafe.entry(owner).or_default().push(&file.path);
        }
    }
    for (owner, files) in with_unsafe {
        if files.len() > 1 {
            let message = format!("`unsafe` in more than one module: {}", files.join(", "));
            findings.push(Finding::file("modules", owner, message));
        }
    }
    findings
}

/// Every file that is a root of compilation, or that a reached file names.
fn reached(project: &Project) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&SourceFile> = project.rust().filter(|file| is_root(&file.path)).collect();
    while let Some(file) = waiting.pop() {
        if !reached.insert(file.path.clone()) {
            continue;
        }
        let folder = folder_of_modules(&file.path);
        for name in modules(&file.text) {
            let candidates = [format!("{folder}/{name}.rs"), format!("{folder}/{name}")];
            waiting.extend(candidates.iter().filter_map(|path| project.file(path)));
        }
    }
    reached
}

/// What Cargo compiles by itself: libraries, programs, tests, examples and build scripts; and the targets
/// of cargo-fuzz.
fn is_root(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    let (folder, above) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_target = |folder: &str| {
        folder == "bin"
            || (matches!(folder, "tests" | "benches" | "examples" | "fuzz_targets")
                && !path.contains("/src/"))
    };
    match name {
        "lib.rs" => folder == "src",
        "main.rs" => folder == "src" || is_target(above) || is_target(folder),
        "build.rs" => !path.contains("/src/"),
        _ => is_target(folder),
    }
}

/// Where the modules of a file live: beside a root, below any other file.
fn folder_of_modules(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if is_root(path) {
        folder.to_owned()
    } else {
        format!("{folder}/{}", name.trim_end_matches(".rs"))
    }
}

/// The names in `mod name;`, behind the names of the inline modules around them, and the paths in
/// `#[path = "…"]`.
fn modules(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // Inline modules around the line: name and indentation, as rustfmt leaves them.
    let mut around: Vec<(&str, usize)> = Vec::new();
    for line in text.lines() {
        let code = line.trim();
        let indent = line.len() - line.trim_start().len();
        if let Some(path) =
            code.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]"))
        {
            found.push(path.to_owned());
        } else if let Some(name) = declared(code, " {") {
            around.push((name, indent));
        } else if code == "}" && around.last().is_some_and(|(_, began)| *began == indent) {
            around.pop();
        } else if let Some(name) = declared(code, ";") {
            let folders = around.iter().map(|(folder, _)| *folder);
            found.push(folders.chain([name]).collect::<Vec<_>>().join("/"));
        }
    }
    found
}

/// The name in `mod name` before `end`, whatever its visibility.
fn declared<'a>(code: &'a str, end: &str) -> Option<&'a str> {
    let (before, name) = code.strip_suffix(end)?.rsplit_once(' ')?;
    (before == "mod" || before.ends_with(" mod")).then_some(name)
}

fn has_unsafe(text: &str) -> bool {
    text.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
            .iter()
            .any(|form| code.contains(form))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_no_module_names_is_dead() {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let project = Project {
            root: "/".into(),
            files: vec![
                file("crates/a/src/dead.rs", "//! D."),
                file("crates/a/src/lib.rs", "//! A.\nmod live;\npub(crate) mod other;"),
                file("crates/a/src/live.rs", "//! L.\n#[cfg(test)]\nmod tests;"),
                file("crates/a/src/live/tests.rs", ""),
                file("crates/a/src/other.rs", "use x;"),
                file("crates/a/tests/it.rs", "//! I.\nmod support;"),
                file(
                    "crates/a/tests/many/main.rs",
                    "//! M.\nmod part {\n    mod inner;\n}\nmod other;",
                ),
                file("crates/a/tests/many/other.rs", "//! O."),
                file("crates/a/tests/many/part/inner.rs", "//! P."),
                file("crates/a/tests/support.rs", "//! S."),
            ],
        };
        let found = check(&project);
        let found: Vec<_> = found.iter().map(|f| (f.path.as_str(), f.message.as_str())).collect();
        assert_eq!(
            found,
            [
                ("crates/a/src/dead.rs", "is reached by no `mod`"),
                ("crates/a/src/other.rs", "begins without a `//!` that says what it is for"),
            ]
        );
    }
}
