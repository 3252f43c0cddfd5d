//! The one owner of what the mesh is.

use std::{path::PathBuf, sync::Arc};

use iako_registry::{Change, MeshSnapshot, MeshState};
use iako_resources::{FileContent, ReadOptions, Severity, load_directory};
use tokio::sync::watch;

use crate::{DirectoryWatch, accepted::Accepted};

/// Reads directories, keeps the mesh's state, publishes snapshots.
#[derive(Debug)]
pub(crate) struct Mesh {
    directories: Vec<PathBuf>,
    accepted: Accepted,
    state: MeshState,
    published: watch::Sender<Arc<MeshSnapshot>>,
}

impl Mesh {
    /// An owner that knows the last good version of every file, and has read nothing else.
    pub(crate) fn new(directories: Vec<PathBuf>, accepted: Accepted) -> Self {
        let mut state = MeshState::default();
        for directory in &directories {
            let source = directory.display().to_string();
            state.apply(Change::Replace { source, files: accepted.of(directory) });
        }
        let published = watch::Sender::new(state.snapshot());
        Self { directories, accepted, state, published }
    }

    /// Follows the newest snapshot.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<MeshSnapshot>> {
        self.published.subscribe()
    }

    /// Reads everything now. A file that cannot be read keeps what it said before.
    pub(crate) async fn read(&mut self) {
        for directory in self.directories.clone() {
            let source = directory.display().to_string();
            if let Some(files) = load(directory).await {
                self.accepted.keep(&files);
                self.state.apply(Change::Replace { source, files });
            }
        }
        let snapshot = self.state.snapshot();
        self.published.send_if_modified(|current| {
            if current.version == snapshot.version {
                return false;
            }
            tell(current, &snapshot);
            *current = snapshot;
            true
        });
    }

    /// Reads again whenever something changes, for ever.
    pub(crate) async fn run(mut self, mut watch: DirectoryWatch) {
        loop {
            watch.changed().await;
            self.read().await;
        }
    }
}

/// Files are read apart from the tasks that talk to proxies.
async fn load(directory: PathBuf) -> Option<Vec<FileContent>> {
    let options = ReadOptions::default();
    let loaded = tokio::task::spawn_blocking(move || load_directory(&directory, &options)).await;
    loaded.inspect_err(|error| tracing::error!(%error, "the directory was not read")).ok()
}

fn tell(before: &MeshSnapshot, now: &MeshSnapshot) {
    for found in now.diagnostics.iter().filter(|found| !before.diagnostics.contains(found)) {
        let place = found.origin.to_string();
        let (code, message) = (found.code, &found.message);
        match found.severity {
            Severity::Error => {
                tracing::error!(%place, path = found.path, ?code, "{message}");
            }
            Severity::Warning => tracing::warn!(%place, path = found.path, ?code, "{message}"),
            Severity::Info => tracing::info!(%place, path = found.path, ?code, "{message}"),
        }
    }
    tracing::info!(
        version = now.version,
        services = now.services.len(),
        workloads = now.workloads.len(),
        "configuration taken"
    );
}
