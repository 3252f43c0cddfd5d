//! Reads directories of documents.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Code, Diagnostic, Origin, ReadOptions, Resource, ResourceKey, read_text};

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

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Directories inside each other that are walked.
const DIRECTORY_DEPTH_MAX: usize = 32;

/// Reads every `.yaml`, `.yml` and `.json` file below a directory, in the order of their paths, or
/// one file. Hidden files and directories are passed over.
///
/// What cannot be read becomes a diagnostic of its file. Documents that are no Kubernetes objects
/// are errors in a file that was named itself, and in a directory as well.
#[must_use]
pub fn load_directory(path: &Path, options: &ReadOptions) -> Vec<FileContent> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    if path.is_dir() {
        let mut walk = Walk { seen: BTreeSet::new(), found: &mut found, failures: &mut failures };
        walk.collect(path, 0);
    } else {
        found.push(path.to_owned());
    }
    found.sort();
    let mut contents: Vec<FileContent> =
        found.iter().map(|file| load_file(file, options)).collect();
    contents.extend(failures);
    contents
}

/// A walk over a directory and what is below it.
struct Walk<'a> {
    /// Directories that were entered, by their real names: links may lead in circles.
    seen: BTreeSet<PathBuf>,
    found: &'a mut Vec<PathBuf>,
    failures: &'a mut Vec<FileContent>,
}

impl Walk<'_> {
    fn collect(&mut self, directory: &Path, depth: usize) {
        let real = directory.canonicalize().unwrap_or_else(|_unreadable| directory.to_owned());
        if !self.seen.insert(real) {
            return;
        }
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                self.failures.push(unreadable(directory, &error.to_string()));
                return;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if path.is_dir() {
                if depth < DIRECTORY_DEPTH_MAX {
                    self.collect(&path, depth + 1);
                } else {
                    let reason = "directories are nested too deeply";
                    self.failures.push(unreadable(&path, reason));
                }
            } else if is_document(&path) {
                self.found.push(path);
            }
        }
    }
}

fn is_document(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    extension
        .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

fn load_file(path: &Path, options: &ReadOptions) -> FileContent {
    match read_bounded(path) {
        Ok(text) => read_text(&text, &path.to_string_lossy(), options),
        Err(reason) => unreadable(path, &reason),
    }
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("it has {size} bytes, more than the {FILE_BYTES_MAX} allowed"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8: {}", error.utf8_error()))
}

fn unreadable(path: &Path, reason: &str) -> FileContent {
    let mut origin = Origin::of_source(&path.to_string_lossy());
    origin.line = 0;
    origin.column = 0;
    let message = format!("the file cannot be read: {reason}");
    FileContent {
        file: Arc::clone(&origin.file),
        resources: Vec::new(),
        refused: Vec::new(),
        complete: false,
        diagnostics: vec![Diagnostic::new(Code::UnreadableFile, "", origin, message)],
    }
}
