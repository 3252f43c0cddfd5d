//! Where something was written.

use std::{fmt, sync::Arc};

/// A place in a source, for messages: file, line and column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The file as the user named it, `-` for standard input, or the name of another source.
    pub file: Arc<str>,
    /// Line, from 1; 0 when the source has no lines.
    pub line: u32,
    /// Column in characters, from 1; 0 when the source has no columns.
    pub column: u32,
}

impl Origin {
    /// The start of a source.
    #[must_use]
    pub fn of_source(name: &str) -> Self {
        Self { file: Arc::from(name), line: 1, column: 1 }
    }

    /// Another place in the same source.
    #[must_use]
    pub fn at(&self, span: Span) -> Self {
        Self { file: Arc::clone(&self.file), line: span.line, column: span.column }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A place inside one text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Characters that the thing takes on its first line; at least 1 when drawn.
    pub length: u32,
}

/// A point between two characters of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Span {
    /// Where it starts.
    #[must_use]
    pub const fn start(self) -> Position {
        Position { line: self.line, column: self.column }
    }

    /// Where its part on the first line ends.
    #[must_use]
    pub const fn end(self) -> Position {
        Position { line: self.line, column: self.column.saturating_add(self.length) }
    }
}
