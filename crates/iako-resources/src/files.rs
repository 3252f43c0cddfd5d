//! Reads directories of documents.

mod ignore;
mod walk;

use std::{num::NonZeroUsize, path::Path, sync::Arc, thread};

use crate::{
    Code, Diagnostic, Origin, ReadOptions, Resource, ResourceKey,
    document::{Asked, read_text},
};
use walk::Found;

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
    /// What was passed over because it is not ours: the line at which it starts, and why.
    pub passed: Vec<(u32, PassedOver)>,
    /// What annotations of objects ask not to be told: the object as in [`Diagnostic::subject`],
    /// and codes, ours or Istio's, or `*`.
    pub suppressed: Vec<(String, Vec<String>)>,
}

impl FileContent {
    /// A file of which nothing is known yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            file: Arc::from(name),
            resources: Vec::new(),
            refused: Vec::new(),
            complete: true,
            diagnostics: Vec::new(),
            passed: Vec::new(),
            suppressed: Vec::new(),
        }
    }
}

/// Why a file or document is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PassedOver {
    /// It is for Helm to render; what comes out can be read from standard input.
    HelmTemplate,
    /// It is for Kustomize: a kustomization, or a patch that one names.
    Kustomization,
    /// It is no object of Kubernetes.
    NotKubernetes,
    /// It is an object of a kind that says nothing about a mesh.
    OtherKind,
    /// A rule of an `.iakoignore` says so.
    IgnoreFile,
}

/// A file that was read, with its text where there is one.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// What it says.
    pub content: FileContent,
    /// Its text; none when it cannot be read or was passed over by its name.
    pub text: Option<String>,
    /// How it came to us.
    pub asked: Asked,
}

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files below which a second thread costs more than it saves.
const FILES_PER_THREAD_MIN: usize = 32;

/// Reads every `.yaml`, `.yml` and `.json` file below a directory, in the order of their paths, or
/// one file. Hidden files and directories are passed over, and what `.iakoignore` names, what other
/// programs have to render first, and documents that are no Kubernetes objects.
///
/// What cannot be read becomes a diagnostic of its file.
#[must_use]
pub fn load_directory(path: &Path, options: &ReadOptions) -> Vec<FileContent> {
    load_sources(path, options).into_iter().map(|source| source.content).collect()
}

/// As [`load_directory`], with the texts.
#[must_use]
pub fn load_sources(path: &Path, options: &ReadOptions) -> Vec<SourceFile> {
    if !path.is_dir() {
        return vec![load_file(path, options)];
    }
    let options = ReadOptions { asked: Asked::InDirectory, ..options.clone() };
    let found = walk::walk(path);
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = found.len().div_ceil(threads).max(FILES_PER_THREAD_MIN);
    let load = |part: &[Found]| -> Vec<SourceFile> {
        part.iter().map(|found| load_found(found, &options)).collect()
    };
    if found.len() <= share {
        return load(&found);
    }
    thread::scope(|scope| {
        let parts: Vec<_> =
            found.chunks(share).map(|part| (part, scope.spawn(|| load(part)))).collect();
        let join = |(part, handle): (_, thread::ScopedJoinHandle<'_, Vec<SourceFile>>)| {
            // A part whose thread ended early is read here, so that the fault shows here too.
            handle.join().unwrap_or_else(|_panicked| load(part))
        };
        parts.into_iter().flat_map(join).collect()
    })
}

/// The files that [`load_sources`] would read below a directory, in the same order.
#[must_use]
pub fn list_sources(path: &Path) -> Vec<std::path::PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let files = walk::walk(path).into_iter().filter_map(|found| match found {
        Found::File(path) => Some(path),
        Found::Passed(..) | Found::Failed(..) => None,
    });
    files.collect()
}

fn load_found(found: &Found, options: &ReadOptions) -> SourceFile {
    match found {
        Found::File(path) => load_file(path, options),
        Found::Passed(path, why) => {
            let mut content = FileContent::new(&path.to_string_lossy());
            content.passed.push((1, *why));
            SourceFile { content, text: None, asked: Asked::InDirectory }
        }
        Found::Failed(path, reason) => unreadable(path, reason),
    }
}

fn load_file(path: &Path, options: &ReadOptions) -> SourceFile {
    match read_bounded(path) {
        Ok(text) => SourceFile {
            content: read_text(&text, &path.to_string_lossy(), options),
            text: Some(text),
            asked: options.asked,
        },
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

fn unreadable(path: &Path, reason: &str) -> SourceFile {
    let mut origin = Origin::of_source(&path.to_string_lossy());
    origin.line = 0;
    origin.column = 0;
    let message = format!("the file cannot be read: {reason}");
    let mut content = FileContent::new(&origin.file);
    content.complete = false;
    content.diagnostics.push(Diagnostic::new(Code::UnreadableFile, "", origin, message));
    SourceFile { content, text: None, asked: Asked::ByName }
}

/// A path as the path of a URI: everything else than letters, digits, slashes and a few marks is
/// escaped. Source: RFC 3986 §2.1 and §2.3.
#[must_use]
pub fn escaped_path(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
