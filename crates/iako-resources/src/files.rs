//! Reads directories of documents.

use std::sync::Arc;

use crate::{Diagnostic, Resource, ResourceKey};

/// What one file says.
#[derive(Debug, Clone)]
pub struct FileContent {
    /// The file as messages name it.
    pub file: Arc<str>,
    /// Objects without an error, in the order of the file.
    pub resources: Vec<Resource>,
    /// Objects with an error, as far as their names could be read.
    pub refused: Vec<ResourceKey>,
    /// The whole file could be parsed. If not, what follows the fault is unknown.
    pub complete: bool,
    /// Every problem found.
    pub diagnostics: Vec<Diagnostic>,
}
