//! Words that a finished project does not hold: notes of unfinished work, and places that exist on
//! one machine only.

use super::Finding;
use crate::project::{Project, SourceFile};

/// Notes to oneself; an issue is the place for them.
const NOTES: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];
/// Paths of one machine.
const PATHS: [&str; 3] = ["/work/", "/root/", "/home/"];
/// Package registries: where packages come from is the business of whoever builds.
const HOSTS: [&str; 6] = [
    "index.crates.io",
    "static.crates.io",
    "pypi.org",
    "files.pythonhosted.org",
    "registry.npmjs.org",
    "proxy.golang.org",
];

pub(super) fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in project.files.iter().filter(|file| !is_foreign(file)) {
        for (number, line) in (1..).zip(file.text.lines()) {
            if let Some(word) = forbidden(line) {
                let message = format!("`{word}` has no place in the project");
                findings.push(Finding::line("words", &file.path, number, message));
            }
        }
    }
    findings
}

/// Texts that others wrote.
fn is_foreign(file: &SourceFile) -> bool {
    file.is_generated()
        || file.path.starts_with("crates/iako-xds-api/gen/")
        || file.path.starts_with("crates/iako-schema/crds/")
        || file.path.ends_with("Cargo.lock")
        || file.path == "LICENSE"
}

fn forbidden(line: &str) -> Option<&'static str> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let around = |at: usize, word: &str| {
        let bytes = line.as_bytes();
        (at.checked_sub(1).and_then(|before| bytes.get(before)), bytes.get(at + word.len()))
    };
    let note = NOTES.into_iter().find(|word| {
        line.match_indices(word).any(|(at, _)| {
            let (before, after) = around(at, word);
            !is_word(before) && !is_word(after)
        })
    });
    // A path begins after a space, a quote or a bracket; `ca/root/` is a path of ours.
    let path = PATHS.into_iter().find(|path| {
        line.match_indices(path).any(|(at, _)| {
            let (before, _) = around(at, path);
            !is_word(before)
                && !matches!(before, Some(b'.' | b'}' | b'-' | b'/' | b'>' | b'~' | b'*'))
        })
    });
    let host = HOSTS.into_iter().find(|host| line.contains(host));
    note.or(path).or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_and_places_are_found_but_not_inside_other_words() {
        assert_eq!(forbidden("// TODO: later"), Some("TODO"));
        assert_eq!(forbidden("open(\"/root/x\")"), Some("/root/"));
        assert_eq!(forbidden("mktemp XXXXXX; MASTODON; STATE/root/key; a/work/b"), None);
    }
}
