//! The user's directory as the mesh that it means.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use iako_registry::{Change, MeshSnapshot, MeshState};
use iako_resources::{Diagnostic, load_directory};

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
            let files = load_directory(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let source = path.to_string_lossy().into_owned();
            self.state.apply(Change::Replace { source, files });
        }
        Ok(self.state.snapshot())
    }
}

/// The mesh that some directories mean, read once.
pub(crate) fn read_snapshot(paths: &[PathBuf]) -> anyhow::Result<Arc<MeshSnapshot>> {
    Directory::new(paths.to_vec()).read()
}

/// The diagnostics of `now` that were not there before.
pub(crate) fn new_diagnostics<'a>(
    now: &'a MeshSnapshot,
    before: Option<&MeshSnapshot>,
) -> Vec<&'a Diagnostic> {
    let known = before.map(|before| before.diagnostics.as_slice()).unwrap_or_default();
    now.diagnostics.iter().filter(|diagnostic| !known.contains(diagnostic)).collect()
}
