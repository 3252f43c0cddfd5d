//! Conditions on text, headers and query parameters.

pub(crate) mod template;
pub(crate) mod tree;

use regex::Regex;

use crate::HeaderName;

/// Largest compiled size of one user-written expression, in bytes. Bounds memory and match time.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Why a text is no regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

/// A regular expression in RE2's syntax that must match the whole text, in linear time.
///
/// Source: `envoy.type.matcher.v3.RegexMatcher`.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    whole: Regex,
    part: Regex,
}

impl Pattern {
    /// Compiles `source`.
    ///
    /// # Errors
    /// When it is no expression of this syntax, or compiles to more than 1 MiB.
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        let compile = |text: &str| {
            regex::RegexBuilder::new(text)
                .size_limit(PATTERN_BYTES_MAX)
                .build()
                .map_err(|error| PatternError(error.to_string()))
        };
        // The bare expression first: its error message shows what the user wrote.
        let part = compile(source)?;
        let whole = compile(&format!(r"\A(?:{source})\z"))?;
        Ok(Self { source: source.to_owned(), whole, part })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The groups of a match of the whole of `text`.
    fn captures<'t>(&self, text: &'t str) -> Option<regex::Captures<'t>> {
        self.whole.captures(text)
    }

    /// Text with which everything that matches starts; may be empty though more could be said.
    #[must_use]
    pub fn literal_start(&self) -> String {
        literal_start(&self.source)
    }

    /// Whether the expression matches the whole of `text`.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }

    /// Replaces every match inside `text`; `\1` in `substitution` names a group, `\0` the match. Where
    /// it names a group that the expression does not have, nothing is replaced, as RE2 has it.
    ///
    /// Source: `envoy.type.matcher.v3.RegexMatchAndSubstitute`.
    #[must_use]
    pub fn replace_all(&self, text: &str, substitution: &str) -> String {
        if last_group(substitution) >= self.part.captures_len() {
            return text.to_owned();
        }
        self.part
            .replace_all(text, |captures: &regex::Captures<'_>| expand(substitution, captures))
            .into_owned()
    }
}

/// Reads an expression up to its first sign with a meaning. One with alternatives says nothing.
fn literal_start(source: &str) -> String {
    let mut start = String::new();
    if source.contains('|') {
        return start;
    }
    let mut chars = source.strip_prefix('^').unwrap_or(source).chars();
    while let Some(c) = chars.next() {
        match c {
            // What is repeated may be missing.
            '*' | '?' | '{' => {
                start.pop();
                break;
            }
            '\\' => match chars.next() {
                Some(escaped) if escaped.is_ascii_punctuation() => start.push(escaped),
                _ => break,
            },
            '+' | '.' | '[' | ']' | '(' | ')' | '^' | '$' | '}' => break,
            other => start.push(other),
        }
    }
    start
}

/// The highest group that a substitution names.
fn last_group(substitution: &str) -> usize {
    let mut last = 0;
    let mut bytes = substitution.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'\\'
            && let Some(digit @ b'0'..=b'9') = bytes.next()
        {
            last = last.max(usize::from(digit - b'0'));
        }
    }
    last
}

fn expand(substitution: &str, captures: &regex::Captures<'_>) -> String {
    let mut out = String::with_capacity(substitution.len());
    let mut chars = substitution.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(digit @ '0'..='9') => {
                let group = usize::try_from(u32::from(digit) - u32::from('0')).unwrap_or_default();
                out.push_str(captures.get(group).map_or("", |found| found.as_str()));
            }
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

/// A condition on a text. Source: `envoy.type.matcher.v3.StringMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StringMatch {
    /// The whole text.
    Exact {
        /// What the text must be.
        value: String,
        /// Whether ASCII case does not count.
        ignore_case: bool,
    },
    /// How the text starts.
    Prefix {
        /// The start; not empty.
        value: String,
        /// Whether ASCII case does not count.
        ignore_case: bool,
    },
    /// How the text ends.
    Suffix {
        /// The end; not empty.
        value: String,
        /// Whether ASCII case does not count.
        ignore_case: bool,
    },
    /// What the text has inside.
    Contains {
        /// The part; not empty.
        value: String,
        /// Whether ASCII case does not count.
        ignore_case: bool,
    },
    /// An expression for the whole text.
    Regex(Pattern),
}

impl StringMatch {
    /// The whole text, with its case.
    #[must_use]
    pub fn exact(value: impl Into<String>) -> Self {
        Self::Exact { value: value.into(), ignore_case: false }
    }

    /// The start of the text, with its case.
    #[must_use]
    pub fn prefix(value: impl Into<String>) -> Self {
        Self::Prefix { value: value.into(), ignore_case: false }
    }

    /// The end of the text, with its case.
    #[must_use]
    pub fn suffix(value: impl Into<String>) -> Self {
        Self::Suffix { value: value.into(), ignore_case: false }
    }

    /// Whether `text` meets the condition.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (text, bytes) = (text, text.as_bytes());
        match self {
            Self::Exact { value, ignore_case: false } => text == value,
            Self::Exact { value, ignore_case: true } => text.eq_ignore_ascii_case(value),
            Self::Prefix { value, ignore_case: false } => text.starts_with(value.as_str()),
            Self::Prefix { value, ignore_case: true } => bytes
                .get(..value.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(value.as_bytes())),
            Self::Suffix { value, ignore_case: false } => text.ends_with(value.as_str()),
            Self::Suffix { value, ignore_case: true } => bytes
                .len()
                .checked_sub(value.len())
                .and_then(|start| bytes.get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(value.as_bytes())),
            Self::Contains { value, ignore_case: false } => text.contains(value.as_str()),
            Self::Contains { value, ignore_case: true } => {
                text.to_ascii_lowercase().contains(&value.to_ascii_lowercase())
            }
            Self::Regex(pattern) => pattern.is_match(text),
        }
    }
}

/// A condition on a header; each value of a repeated header is looked at by itself.
///
/// Source: `envoy.config.route.v3.HeaderMatcher`, per value as Envoy 1.40 does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    /// The header, or a pseudo-header such as `:method`.
    pub name: HeaderName,
    /// What is asked of it.
    pub check: HeaderCheck,
    /// Whether the answer is turned round. A missing header still fails a value check, unless
    /// `missing_as_empty`.
    pub invert: bool,
    /// Whether a missing header counts as one with an empty value. Envoy default: false.
    pub missing_as_empty: bool,
}

/// What is asked of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderCheck {
    /// That it is there (`true`) or not (`false`).
    Present(bool),
    /// That one of its values meets a condition.
    Text(StringMatch),
    /// That one of its values is a whole number from `start` up to, not including, `end`.
    Range {
        /// The first number inside.
        start: i64,
        /// The first number outside.
        end: i64,
    },
}

/// A condition on a query parameter. Source: `envoy.config.route.v3.QueryParameterMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMatch {
    /// The parameter, with its case.
    pub name: String,
    /// What is asked of it.
    pub check: QueryCheck,
}

/// What is asked of a query parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryCheck {
    /// That it is there (`true`) or not (`false`).
    Present(bool),
    /// That its first value meets a condition.
    Text(StringMatch),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_the_whole_text_even_with_alternatives() {
        let pattern = Pattern::parse("a|bc").unwrap();
        assert!(pattern.is_match("bc"));
        assert!(!pattern.is_match("xbc"));
        assert!(!pattern.is_match("ab"));
    }

    #[test]
    fn the_literal_start_holds_for_every_match() {
        let start = |source: &str| Pattern::parse(source).unwrap().literal_start();
        assert_eq!(start("/a/b[0-9]+"), "/a/b");
        assert_eq!(start("^/a/bc*"), "/a/b");
        assert_eq!(start("/a/bc+"), "/a/bc");
        assert_eq!(start("/a\\.b/.*"), "/a.b/");
        assert_eq!(start("/a\\d"), "/a");
        assert_eq!(start("/a|/b"), "");
        assert_eq!(start("(?i)/a"), "");
    }

    #[test]
    fn a_substitution_names_groups() {
        let pattern = Pattern::parse("^/service/([^/]+)(/.*)$").unwrap();
        assert_eq!(
            pattern.replace_all("/service/foo/v1/api", r"\2/instance/\1"),
            "/v1/api/instance/foo"
        );
    }

    #[test]
    fn case_counts_unless_told() {
        let prefix = StringMatch::Prefix { value: "Ab".into(), ignore_case: true };
        assert!(prefix.matches("aBc") && !prefix.matches("a"));
        assert!(!StringMatch::prefix("Ab").matches("abc"));
    }
}
