//! `.iakoignore`: which files of a directory are passed over. Rules as in `.gitignore`.

use std::path::Path;

use regex::{Regex, RegexBuilder};

/// Rules of one file that are read; the rest of it is without effect.
const RULES_MAX: usize = 1_000;

/// The rules of one `.iakoignore`.
#[derive(Debug, Clone, Default)]
pub(super) struct IgnoreFile {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: Regex,
    verdict: Verdict,
    /// What it is about.
    target: Target,
}

/// What a rule says about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Passed over.
    Ignored,
    /// Read, whatever an earlier rule said.
    Read,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A file, or anything.
    Any,
    /// A directory.
    Directory,
}

impl IgnoreFile {
    /// Reads the rules of a text.
    pub(super) fn parse(text: &str) -> Self {
        Self { rules: text.lines().take(RULES_MAX).filter_map(parse_rule).collect() }
    }

    /// What the last rule that matches says about a path below the directory of the file.
    pub(super) fn verdict(&self, path: &Path, target: Target) -> Option<Verdict> {
        let path: Vec<String> =
            path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let path = path.join("/");
        let matching = self.rules.iter().rfind(|rule| {
            (rule.target == Target::Any || target == Target::Directory)
                && rule.pattern.is_match(&path)
        });
        matching.map(|rule| rule.verdict)
    }
}

fn parse_rule(line: &str) -> Option<Rule> {
    let line = line.trim_end_matches('\r');
    if line.starts_with('#') {
        return None;
    }
    // Spaces at the end count only after a backslash.
    let mut text = line.trim_end_matches(' ');
    if text.ends_with('\\') && text.len() < line.len() {
        text = line.get(..text.len() + 1)?;
    }
    let (verdict, text) = match text.strip_prefix('!') {
        Some(rest) => (Verdict::Read, rest),
        None => (Verdict::Ignored, text),
    };
    let (target, text) = match text.strip_suffix('/') {
        Some(rest) => (Target::Directory, rest),
        None => (Target::Any, text),
    };
    if text.is_empty() {
        return None;
    }
    // A slash within binds the pattern to the directory of the file.
    let (start, text) = match text.strip_prefix('/') {
        Some(rest) => ("^", rest),
        None if text.contains('/') => ("^", text),
        None => ("^(?:.*/)?", text),
    };
    let expression = format!("{start}{}$", to_regex(text)?);
    let pattern = RegexBuilder::new(&expression).size_limit(1 << 20).build().ok()?;
    Some(Rule { pattern, verdict, target })
}

/// A pattern with `*`, `?`, `**` and `[a-z]` as a regular expression.
fn to_regex(pattern: &str) -> Option<String> {
    let mut expression = String::new();
    let mut rest = pattern;
    loop {
        if let Some(after) = rest.strip_prefix("**/") {
            expression.push_str("(?:.*/)?");
            rest = after;
        } else if rest == "**" {
            expression.push_str(".*");
            rest = "";
        } else if let Some(after) = rest.strip_prefix("/**/") {
            expression.push_str("/(?:.*/)?");
            rest = after;
        } else if let Some(after) = rest.strip_prefix('*') {
            expression.push_str("[^/]*");
            rest = after.trim_start_matches('*');
        } else if let Some(after) = rest.strip_prefix('?') {
            expression.push_str("[^/]");
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (class, after) = class(after)?;
            expression.push_str(&class);
            rest = after;
        } else {
            let plain = rest.strip_prefix('\\').unwrap_or(rest);
            let mut characters = plain.chars();
            let Some(c) = characters.next() else { return Some(expression) };
            expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
            rest = characters.as_str();
        }
    }
}

/// The inside of `[…]` as a class, and what follows it.
fn class(text: &str) -> Option<(String, &str)> {
    let (negation, text) = match text.strip_prefix(['!', '^']) {
        Some(rest) => ("^/", rest),
        None => ("", text),
    };
    let after_first = text.char_indices().nth(1).map_or(text.len(), |(at, _)| at);
    let end = text.get(after_first..)?.find(']')? + after_first;
    let (inner, after) = text.split_at_checked(end)?;
    let escaped: String = inner
        .chars()
        .flat_map(|c| {
            let mark = matches!(c, '[' | ']' | '\\' | '^' | '&' | '~').then_some('\\');
            mark.into_iter().chain(std::iter::once(c))
        })
        .collect();
    Some((format!("[{negation}{escaped}]"), after.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(rules: &str, path: &str) -> bool {
        let target = if path.ends_with('/') { Target::Directory } else { Target::Any };
        let path = Path::new(path.trim_end_matches('/'));
        IgnoreFile::parse(rules).verdict(path, target) == Some(Verdict::Ignored)
    }

    #[test]
    fn patterns_match_as_git_matches_them() {
        let cases = [
            ("*.json", "a/b.json", true),
            ("*.json", "a/b.yaml", false),
            ("/top.yaml", "top.yaml", true),
            ("/top.yaml", "a/top.yaml", false),
            ("a/b.yaml", "a/b.yaml", true),
            ("a/b.yaml", "x/a/b.yaml", false),
            ("**/b.yaml", "x/a/b.yaml", true),
            ("a/**/z.yaml", "a/z.yaml", true),
            ("a/**/z.yaml", "a/b/c/z.yaml", true),
            ("a/**", "a/b/c", true),
            ("old/", "x/old/", true),
            ("old/", "x/old", false),
            ("v?.yaml", "v1.yaml", true),
            ("v?.yaml", "v12.yaml", false),
            ("v[0-4].yaml", "v3.yaml", true),
            ("v[!0-4].yaml", "v3.yaml", false),
            ("v[!0-4].yaml", "v7.yaml", true),
            ("# *.yaml", "a.yaml", false),
            ("\\#a.yaml", "#a.yaml", true),
            ("a*c", "a/c", false),
            ("trailing.yaml  ", "trailing.yaml", true),
            ("[", "[", false),
        ];
        for (rules, path, expected) in cases {
            assert_eq!(ignored(rules, path), expected, "{rules} {path}");
        }
    }

    #[test]
    fn the_last_rule_that_matches_counts() {
        assert!(ignored("*.yaml\n!keep.yaml\n", "a.yaml"));
        assert!(!ignored("*.yaml\n!keep.yaml\n", "keep.yaml"));
        assert!(ignored("!keep.yaml\n*.yaml\n", "keep.yaml"));
    }
}
