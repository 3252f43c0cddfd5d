//! Copies of files that were taken whole.
//!
//! While a file is broken, its last good version serves. A control plane that starts in that time
//! would know nothing of it, so the text of every file without a mistake is kept beside the keys,
//! readable for its owner only: it may hold secrets.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use iako_resources::{FileContent, ReadOptions, read_text};
use serde::{Deserialize, Serialize};

/// The copies, one file each.
#[derive(Debug)]
pub(crate) struct Accepted {
    folder: PathBuf,
    /// What was written by this process, so that unchanged files are not written again.
    written: BTreeMap<Arc<str>, String>,
}

#[derive(Serialize, Deserialize)]
struct Copy {
    file: String,
    text: String,
}

impl Accepted {
    /// The copies in `folder`, which is made when it is missing.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder, written: BTreeMap::new() })
    }

    /// The last good content of the files below `directory` that still exist.
    pub(crate) fn of(&self, directory: &Path) -> Vec<FileContent> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, "the copies of good files cannot be read");
                return Vec::new();
            }
        };
        let copies = entries.flatten().filter_map(|entry| {
            let text = std::fs::read_to_string(entry.path()).ok()?;
            serde_json::from_str::<Copy>(&text).ok()
        });
        copies
            .filter(|copy| {
                let file = Path::new(&copy.file);
                file.starts_with(directory) && file.exists()
            })
            .map(|copy| read_text(&copy.text, &copy.file, &ReadOptions::default()))
            .collect()
    }

    /// Keeps the files without a mistake; what cannot be written is told, and costs nothing else.
    pub(crate) fn keep(&mut self, files: &[FileContent]) {
        for content in files.iter().filter(|file| is_good(file)) {
            let Ok(text) = std::fs::read_to_string(&*content.file) else { continue };
            if self.written.get(&content.file) == Some(&text) {
                continue;
            }
            // It may have changed since it was looked at.
            if !is_good(&read_text(&text, &content.file, &ReadOptions::default())) {
                continue;
            }
            match self.write(&content.file, &text) {
                Ok(()) => {
                    self.written.insert(Arc::clone(&content.file), text);
                }
                Err(error) => {
                    tracing::warn!(file = %content.file, %error, "no copy of the file was kept");
                }
            }
        }
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let path = self.folder.join(format!("{:016x}.json", fnv1a(file.as_bytes())));
        let draft = path.with_extension("new");
        let copy = Copy { file: file.to_owned(), text: text.to_owned() };
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?
            .write_all(serde_json::to_string(&copy)?.as_bytes())?;
        std::fs::rename(draft, path)
    }
}

fn is_good(file: &FileContent) -> bool {
    file.complete && file.refused.is_empty() && !file.diagnostics.iter().any(|it| it.is_error())
}

/// A name for a path that is the same in every process. Source: FNV-1a, 64 bit.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: a }\n\
                        spec: { ports: [{ name: http, port: 80 }] }\n";

    #[test]
    fn a_file_that_is_broken_now_is_known_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::create_dir(&config).unwrap();
        let file = config.join("a.yaml");
        let read = || iako_resources::load_directory(&config, &ReadOptions::default());
        let mut accepted = Accepted::open(folder.path().join("accepted")).unwrap();

        std::fs::write(&file, GOOD).unwrap();
        accepted.keep(&read());
        std::fs::write(&file, GOOD.replace("port: 80", "port: eighty")).unwrap();
        accepted.keep(&read());

        let after_restart = Accepted::open(folder.path().join("accepted")).unwrap();
        let known = after_restart.of(&config);
        assert_eq!(known.len(), 1);
        assert_eq!(known[0].resources.len(), 1);
        assert!(after_restart.of(&folder.path().join("elsewhere")).is_empty());

        std::fs::remove_file(&file).unwrap();
        assert!(after_restart.of(&config).is_empty());
    }
}
