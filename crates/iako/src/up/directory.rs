//! The user's directory as the mesh that it means.

use std::{path::PathBuf, sync::Arc};

use iako_registry::{Change, MeshSnapshot, MeshState};
use iako_resources::{ReadOptions, load_directory};

use crate::place::MeshRange;

/// The user's directories, read again when they change; what breaks keeps its last good version.
#[derive(Debug)]
pub(crate) struct Directory {
    paths: Vec<PathBuf>,
    state: MeshState,
}

impl Directory {
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, state: MeshState::default() }
    }

    /// Reads everything again.
    pub(crate) fn read(&mut self) -> anyhow::Result<Arc<MeshSnapshot>> {
        for path in &self.paths {
            anyhow::ensure!(path.exists(), "{} does not exist", path.display());
            let files = load_directory(path, &ReadOptions::default());
            let source = path.to_string_lossy().into_owned();
            self.state.apply(Change::Replace { source, files });
        }
        Ok(self.state.snapshot())
    }
}

/// The mesh that some directories mean, read once, with the pods that they would run.
pub(crate) fn read_snapshot(paths: &[PathBuf]) -> anyhow::Result<Arc<MeshSnapshot>> {
    let state = MeshState::inventing_pods(MeshRange::default().network());
    Directory { paths: paths.to_vec(), state }.read()
}
