//! Reads what the paths name.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use iako_analyze::Project;
use iako_resources::{ReadOptions, load_sources};

use crate::place::MeshRange;

/// Longest text that is read from standard input, in bytes.
const INPUT_BYTES_MAX: u64 = 64 << 20;
/// The path that means standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// Reads every path.
pub(super) fn load(paths: &[PathBuf], namespace: &str) -> anyhow::Result<Project> {
    let options = options(namespace)?;
    let mut project = Project::new(options.clone(), MeshRange::default().network());
    for path in paths {
        if path.as_os_str() == STANDARD_INPUT {
            project.set(STANDARD_INPUT, &standard_input()?);
            continue;
        }
        anyhow::ensure!(path.exists(), "{} does not exist", path.display());
        for source in load_sources(path, &options) {
            project.put(source);
        }
    }
    Ok(project)
}

/// How texts are read, with a namespace for objects that name none.
pub(super) fn options(namespace: &str) -> anyhow::Result<ReadOptions> {
    let default_namespace =
        namespace.parse().with_context(|| format!("{namespace} is no name of a namespace"))?;
    Ok(ReadOptions { default_namespace, ..ReadOptions::default() })
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().take(INPUT_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.context("standard input cannot be read")?;
    let is_whole = u64::try_from(read).is_ok_and(|read| read <= INPUT_BYTES_MAX);
    anyhow::ensure!(is_whole, "standard input has more than {INPUT_BYTES_MAX} bytes");
    Ok(text)
}

/// A path relative to the directory that the command runs in, where it lies below it.
pub(super) fn relative(file: &str) -> String {
    let own = std::env::current_dir().ok();
    let path = Path::new(file);
    let short = own.as_deref().and_then(|own| path.strip_prefix(own).ok()).unwrap_or(path);
    let short = short.strip_prefix(".").unwrap_or(short);
    short.to_string_lossy().into_owned()
}
