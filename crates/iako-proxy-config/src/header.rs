//! Header names and edits.

use std::{fmt, str::FromStr};

use crate::StringMatch;

/// Why a text is no header name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderNameError {
    /// The name is empty.
    #[error("the header name is empty")]
    Empty,
    /// A character that header names do not have.
    #[error("the character {0:?} is not allowed in a header name")]
    Character(char),
}

/// The name of a header, lower-cased; a pseudo-header starts with a colon.
///
/// Source: RFC 9110 §5.1, RFC 9113 §8.3.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderName(String);

impl HeaderName {
    /// The name, lower-cased.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderName {
    type Err = HeaderNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix(':').unwrap_or(text);
        if bare.is_empty() {
            return Err(HeaderNameError::Empty);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        match bare.chars().find(|&c| !allowed(c)) {
            Some(character) => Err(HeaderNameError::Character(character)),
            None => Ok(Self(text.to_ascii_lowercase())),
        }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is done to the headers of a request and of its response.
///
/// Removals come after additions, as in Envoy. Source: `request_headers_to_add` and its siblings in
/// `envoy.config.route.v3`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderMutations {
    /// Added to the request before it is sent upstream.
    pub request_add: Vec<HeaderValueOption>,
    /// Removed from the request before it is sent upstream.
    pub request_remove: Vec<HeaderName>,
    /// Added to the response before it is sent downstream.
    pub response_add: Vec<HeaderValueOption>,
    /// Removed from the response before it is sent downstream.
    pub response_remove: Vec<HeaderName>,
}

impl HeaderMutations {
    /// Whether nothing is changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.request_add.is_empty()
            && self.request_remove.is_empty()
            && self.response_add.is_empty()
            && self.response_remove.is_empty()
    }
}

/// A header to add or set. Source: `envoy.config.core.v3.HeaderValueOption`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderValueOption {
    /// The header.
    pub name: HeaderName,
    /// Its value; `%OPERATOR(…)%` stands for a fact about the request, `%%` for a percent sign.
    pub value: String,
    /// What happens when the header is there already.
    pub action: AppendAction,
    /// Whether the header is added even when its value turns out empty. Envoy default: false.
    pub keep_empty: bool,
}

/// What happens when a header to add is there already.
///
/// Source: `envoy.config.core.v3.HeaderValueOption.HeaderAppendAction`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AppendAction {
    /// One more value is added. Envoy default.
    #[default]
    AppendOrAdd,
    /// The header is left as it is.
    AddIfAbsent,
    /// The old values give way.
    OverwriteOrAdd,
    /// The old values give way; a missing header stays missing.
    OverwriteIfExists,
}

/// One change to headers. Source: `envoy.config.common.mutation_rules.v3.HeaderMutation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderEdit {
    /// A header is added or set.
    Add(HeaderValueOption),
    /// A header goes.
    Remove(HeaderName),
    /// All headers whose name meets a condition go.
    RemoveMatching(StringMatch),
}
