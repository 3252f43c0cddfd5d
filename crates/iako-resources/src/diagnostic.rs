//! Problems found in what the user wrote: one type for terminal, JSON, status and dashboard.

mod code;
mod example;
mod istio;
mod json;
mod page;
mod render;

use std::fmt;

pub use code::Code;
pub use example::Example;
pub use istio::{Counterpart, ISTIO_MESSAGES, IstioMessage};
pub use json::{diagnostic_json, diagnostics_json};
pub use page::codes_page;
pub use render::{Painter, render};

use crate::{Origin, Patch};

/// One problem, told so that the user can act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of problem; explained in `docs/codes.md`.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// The object, as `Kind namespace/name`; empty when no object could be read.
    pub subject: String,
    /// The field, such as `spec.http[0].route[1].weight`; empty for the object as a whole.
    pub path: String,
    /// Where it was written.
    pub origin: Origin,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do, one sentence without a full stop.
    pub help: Option<String>,
    /// Characters to underline at the origin; 0 when unknown.
    pub length: u32,
    /// A change of the text that mends it and is safe to make unseen.
    pub patch: Option<Box<Patch>>,
}

impl Diagnostic {
    /// A problem with an object as a whole; severity is the code's own.
    #[must_use]
    pub fn new(code: Code, subject: impl fmt::Display, origin: Origin, message: String) -> Self {
        Self {
            code,
            severity: code.severity(),
            subject: subject.to_string(),
            path: String::new(),
            origin,
            message,
            help: None,
            length: 0,
            patch: None,
        }
    }

    /// The same, about one field.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, with a change that mends it.
    #[must_use]
    pub fn with_patch(mut self, patch: Patch) -> Self {
        self.patch = Some(Box::new(patch));
        self
    }

    /// Whether the object cannot be used because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Something is not used, because it is wrong.
    Error,
    /// It is used, but probably does not do what was meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// The word in JSON and on the terminal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
