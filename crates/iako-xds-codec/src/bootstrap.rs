//! Bootstrap files: the same YAML or JSON that Envoy v3 runs.

use std::cell::RefCell;
use std::fmt;

use iako_xds_api::envoy::config::bootstrap::v3 as pb;
use prost::Message as _;
use prost::Name as _;

use crate::FieldPath;
use crate::pool;
use crate::problem::At;
use crate::text::document::{Node, Position};
use crate::text::typed::{self, ShapeFault};
use iako_proxy_config::Bootstrap;

/// Where something stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why a bootstrap file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {field}{problem}; {help}", field = FieldPrefix(field))]
pub struct BootstrapError {
    /// Where.
    pub place: Place,
    /// The field's path, such as `static_resources.clusters[0].lb_policy`; empty when the text
    /// itself cannot be read.
    pub field: String,
    /// What is wrong: what was found, and what was expected.
    pub problem: String,
    /// What to do about it.
    pub help: String,
}

/// Something in a bootstrap file that is taken, but not as its author may think.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapWarning {
    /// Where.
    pub place: Place,
    /// The field's path.
    pub field: String,
    /// What happens instead.
    pub message: String,
}

impl fmt::Display for BootstrapWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.place, FieldPrefix(&self.field), self.message)
    }
}

struct FieldPrefix<'a>(&'a str);

impl fmt::Display for FieldPrefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

/// Reads an `envoy.config.bootstrap.v3.Bootstrap` in YAML or JSON; `file` is its name in messages.
///
/// Durations may have any of Go's units, names may be written in either of proto3 JSON's
/// spellings. Files that the bootstrap names (certificates) are read here, once.
///
/// # Errors
/// When the text is no YAML, a field does not exist or has a value that it cannot have, or a field
/// is set whose effect we do not have and cannot leave out. Only the first problem is told.
pub fn parse(file: &str, text: &str) -> Result<(Bootstrap, Vec<BootstrapWarning>), BootstrapError> {
    let place = |at: Position| Place { file: file.to_owned(), line: at.line, column: at.column };
    let document = Node::parse(text).map_err(|fault| BootstrapError {
        place: place(fault.at),
        field: String::new(),
        problem: fault.problem,
        help: "write YAML or JSON".to_owned(),
    })?;
    let message = message(&document).map_err(|fault| BootstrapError {
        place: place(fault.at),
        field: fault.path,
        problem: fault.problem,
        help: fault.help,
    })?;
    let bytes = message.encode_to_vec();
    let notes = RefCell::new(Vec::new());
    let type_url = pb::Bootstrap::type_url();
    let checked = crate::check(&type_url, &bytes, &mut notes.borrow_mut());
    let read = checked.and_then(|()| {
        let at = At::root(&notes);
        let help = "this is a mistake of this program: report it";
        let config = pb::Bootstrap::decode(bytes.as_slice())
            .map_err(|error| at.invalid(format!("does not decode: {error}"), help))?;
        crate::decode::bootstrap(&config, &at)
    });
    let locate = |path: &FieldPath| place(document.locate(path));
    let bootstrap = read.map_err(|fault| {
        let invalid = fault.of("bootstrap");
        BootstrapError {
            place: locate(&invalid.path),
            field: invalid.path.to_string(),
            problem: invalid.problem,
            help: invalid.help,
        }
    })?;
    let warnings = crate::decode::warnings(notes.into_inner(), "bootstrap");
    let placed = warnings.into_iter().map(|warning| BootstrapWarning {
        place: locate(&warning.path),
        field: warning.path.to_string(),
        message: warning.message,
    });
    Ok((bootstrap, placed.collect()))
}

fn message(document: &Node) -> Result<prost_reflect::DynamicMessage, ShapeFault> {
    let descriptor = pool::for_document(document, &pb::Bootstrap::full_name());
    // The descriptors are a constant of the program, and a test reads a bootstrap.
    let Some(descriptor) = descriptor else {
        return Err(ShapeFault {
            at: document.at,
            path: String::new(),
            problem: "the built-in descriptors have no bootstrap".to_owned(),
            help: "this is a mistake of this program: report it".to_owned(),
        });
    };
    typed::message(document, &descriptor, "")
}
