//! Files that hold secrets: written whole, owned alone, never half there.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Why a file of the authority cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Others than its owner can read it, so it may no longer be a secret.
    #[error(
        "others than its owner can access the key {} (mode {mode:03o}); \
         if it was never copied, run: chmod 600 {}",
        path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Who may read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Its owner: mode 0600.
    Owner,
    /// Everybody: mode 0644.
    Everybody,
}

/// Reads a text file; none when it does not exist.
pub(crate) fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read { path: path.to_owned(), source }),
    }
}

/// Permission bits of `path` beyond its owner's; 0 when only the owner has access.
pub(crate) fn exposure(path: &Path) -> Result<u32, FileError> {
    let metadata = fs::metadata(path);
    let found = metadata.map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    Ok(found.permissions().mode() & 0o077)
}

/// Reads a key that only its owner may be able to read; none when it does not exist.
pub(crate) fn read_key(path: &Path) -> Result<Option<String>, FileError> {
    let Some(text) = read(path)? else { return Ok(None) };
    match exposure(path)? {
        0 => Ok(Some(text)),
        mode => Err(FileError::Exposed { path: path.to_owned(), mode: mode | 0o600 }),
    }
}

/// Creates the file with `text` unless it exists, and returns what it holds then. When several
/// processes do this at once, all of them get the text of the one that came first. A crash leaves
/// the whole file or none.
pub(crate) fn create_once(path: &Path, text: &str, access: Access) -> Result<String, FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let draft = draft_of(path);
    let written = write_synced(&draft, text, access)
        // Unlike a rename, a link never replaces what another process put there first.
        .and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        })
        .and_then(|()| File::open(directory)?.sync_all());
    let removed = fs::remove_file(&draft);
    written.and(removed).map_err(failed)?;
    read(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

fn write_synced(path: &Path, text: &str, access: Access) -> io::Result<()> {
    let mode = match access {
        Access::Owner => 0o600,
        Access::Everybody => 0o644,
    };
    // A draft left by a crash may have any mode, and `create` keeps it.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
