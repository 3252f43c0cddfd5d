//! The user's directory as the mesh that it means.

use std::{path::PathBuf, sync::Arc};

use iako_analyze::analyze;
use iako_registry::{Change, MeshSnapshot, MeshState};
use iako_resources::{Diagnostic, ReadOptions, load_directory};

use crate::place::MeshRange;

/// The user's directories, read again when they change; what breaks keeps its last good version.
#[derive(Debug)]
pub(crate) struct Directory {
    paths: Vec<PathBuf>,
    state: MeshState,
    /// The same as if it ran, for findings about what works together.
    imagined: MeshState,
}

impl Directory {
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let imagined = MeshState::inventing_pods(MeshRange::default().network());
        Self { paths, state: MeshState::default(), imagined }
    }

    /// Reads everything again.
    pub(crate) fn read(&mut self) -> anyhow::Result<Arc<MeshSnapshot>> {
        for path in &self.paths {
            anyhow::ensure!(path.exists(), "{} does not exist", path.display());
            let files = load_directory(path, &ReadOptions::default());
            let source = path.to_string_lossy().into_owned();
            let change = Change::Replace { source, files };
            self.imagined.apply(change.clone());
            self.state.apply(change);
        }
        Ok(self.state.snapshot())
    }

    /// Every mistake, those that only show between objects included.
    pub(crate) fn findings(&self) -> Vec<Diagnostic> {
        analyze(&self.imagined.snapshot())
    }
}

/// The mesh that some directories mean, read once, with the pods that they would run.
pub(crate) fn read_snapshot(paths: &[PathBuf]) -> anyhow::Result<Arc<MeshSnapshot>> {
    let mut directory = Directory::new(paths.to_vec());
    directory.read()?;
    Ok(directory.imagined.snapshot())
}
