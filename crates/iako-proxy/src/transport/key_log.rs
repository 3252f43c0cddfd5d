//! Keys of connections, written to a file that an operator asked for.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

/// Adds lines in the format of NSS, which tools for recorded traffic read.
#[derive(Debug)]
pub(super) struct FileKeyLog {
    path: PathBuf,
    file: Mutex<File>,
}

impl FileKeyLog {
    /// Opens the file, which only this user may read when it is new.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        tracing::warn!(path = %path.display(), "keys of TLS connections are written to a file");
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }
}

impl rustls::KeyLog for FileKeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let written = self.file.lock().write_all(line.as_bytes());
        if let Err(error) = written {
            tracing::debug!(path = %self.path.display(), %error, "keys are not written");
        }
    }
}
