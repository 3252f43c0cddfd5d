//! The files of the project, read once.

use std::fs;
use std::path::{Path, PathBuf};

/// What a task ends with: a sentence for the person who ran it.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The folder that holds the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// One text file. The path is relative to the root, with forward slashes.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// The crate the file belongs to: the folder with the `Cargo.toml`, as a path.
    pub(crate) fn crate_path(&self) -> Option<&str> {
        let mut parts = self.path.match_indices('/').map(|(at, _)| at);
        let end = if self.path.starts_with("crates/") { parts.nth(1) } else { parts.next() };
        end.and_then(|end| self.path.get(..end))
    }

    /// True for Rust that a generator wrote.
    pub(crate) fn is_generated(&self) -> bool {
        self.path.starts_with("crates/iako-xds-api/src/generated")
    }
}

/// Every text file of the project: not what git ignores, not binaries.
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    pub(crate) files: Vec<SourceFile>,
}

const IGNORED_FOLDERS: [&str; 4] = ["target", ".git", ".iako", "node_modules"];
/// Larger files are data.
const FILE_BYTES_MAX: u64 = 4 << 20;

impl Project {
    pub(crate) fn read() -> Outcome<Self> {
        let root = root();
        let mut files = Vec::new();
        walk(&root, &root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { root, files })
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.has_extension("rs"))
    }

    pub(crate) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The manifests of the workspace's members.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| {
            let depth = file.path.matches('/').count();
            let member = file.path.starts_with("crates/") && depth == 2;
            let named = ["bench/Cargo.toml", "xtask/Cargo.toml"].contains(&file.path.as_str());
            file.path.ends_with("/Cargo.toml") && member || named
        })
    }
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> Outcome {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        let name = entry.file_name();
        if kind.is_dir() {
            if !IGNORED_FOLDERS.iter().any(|ignored| name == *ignored) {
                walk(root, &path, files)?;
            }
        } else if kind.is_file() && entry.metadata().map_err(failed)?.len() <= FILE_BYTES_MAX {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            // What is not UTF-8 is no text and follows no rule.
            if let Ok(text) = fs::read_to_string(&path) {
                let path = relative.to_string_lossy().replace('\\', "/");
                files.push(SourceFile { path, text });
            }
        }
    }
    Ok(())
}
