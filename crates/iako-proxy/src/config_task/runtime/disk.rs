//! A layer that is a tree of files.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use iako_proxy_config::{FileSource, RuntimeDirectory, RuntimeValues};
use iako_xds_codec::decode;
use tokio::sync::Notify;

use super::Content;
use crate::sources::watch_moves;

/// Directories within each other, as Envoy has it.
const DEPTH_MAX: usize = 16;
/// Files of a tree.
const FILES_MAX: usize = 16_384;
/// Bytes of a file: a value is a number or a word.
const BYTES_MAX: u64 = 64 * 1024;

/// Where a tree is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The link whose change is watched.
    root: PathBuf,
    /// The directory that counts.
    directory: PathBuf,
}

impl Place {
    pub(super) fn new(config: &RuntimeDirectory, service_cluster: &str) -> Self {
        let mut directory = config.root.join(&config.subdirectory);
        if config.append_service_cluster {
            directory.push(service_cluster);
        }
        Self { root: config.root.clone(), directory }
    }
}

/// Reads the tree again whenever another link is moved in the place of the old one, and tells what it
/// holds, until nobody listens.
pub(super) async fn watch<F: Future<Output = bool> + Send>(
    place: Place,
    first: Content,
    tell: impl Fn(Content) -> F + Send,
) {
    let moved = Arc::new(Notify::new());
    let link = FileSource { path: place.root.clone(), ..FileSource::default() };
    let watcher = watch_moves(&link, Arc::clone(&moved));
    if let Err(error) = &watcher {
        tracing::error!(path = %place.root.display(), %error, "changes of the link are not noticed");
    }
    // It may have changed before it was watched.
    let now = read(place.clone()).await;
    if now != first && !tell(now).await {
        return;
    }
    loop {
        moved.notified().await;
        if !tell(read(place.clone()).await).await {
            break;
        }
    }
    drop(watcher);
}

/// Reads a tree, beside the event loop.
pub(super) async fn read(place: Place) -> Content {
    let reading = tokio::task::spawn_blocking(move || {
        if !place.directory.is_dir() {
            return Content::Absent;
        }
        let mut values = RuntimeValues::new();
        match walk(&place.directory, "", 1, &mut values) {
            Ok(()) => Content::Values(Arc::new(values)),
            Err(error) => {
                let directory = place.directory.display();
                tracing::warn!(%directory, %error, "a layer of the runtime is left out");
                Content::Failed
            }
        }
    });
    reading.await.unwrap_or(Content::Failed)
}

fn walk(directory: &Path, prefix: &str, depth: usize, into: &mut RuntimeValues) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("there are more than {DEPTH_MAX} levels")));
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let key = if prefix.is_empty() { text(&name) } else { format!("{prefix}.{}", text(&name)) };
        let path = entry.path();
        let kind = fs::metadata(&path)?;
        if kind.is_dir() {
            walk(&path, &key, depth + 1, into)?;
        } else if kind.is_file() {
            if into.len() >= FILES_MAX || kind.len() > BYTES_MAX {
                return Err(io::Error::other(format!("{} is too much", path.display())));
            }
            let written = value(&fs::read_to_string(&path)?);
            let value = decode::runtime_value(&written)
                .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
            into.insert(key, value);
        }
    }
    Ok(())
}

fn text(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

/// What a file says: its lines but for comments, without what is blank at the end.
fn value(content: &str) -> String {
    let lines = content.split('\n').filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<&str> = lines.collect();
    lines.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_ends_are_no_value() {
        assert_eq!(value("# why\n 5 \n"), " 5");
        assert_eq!(value("# only\n"), "");
        assert_eq!(value("line1\nline2\n"), "line1\nline2");
    }

    #[test]
    fn paths_are_keys() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("v/c1/x")).unwrap();
        fs::write(root.path().join("v/c1/x/y"), "3\n").unwrap();
        fs::write(root.path().join("v/c1/z"), "{numerator: 1}").unwrap();
        let mut values = RuntimeValues::new();
        walk(&root.path().join("v/c1"), "", 1, &mut values).unwrap();
        let numbers: Vec<_> = values.iter().map(|(key, value)| (&**key, value.integer())).collect();
        assert_eq!(numbers, [("x.y", Some(3)), ("z", None)]);
        fs::write(root.path().join("v/c1/bad"), "{unbalanced").unwrap();
        assert!(walk(&root.path().join("v/c1"), "", 1, &mut values).is_err());
    }
}
