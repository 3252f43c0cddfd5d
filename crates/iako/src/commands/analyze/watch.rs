//! `--watch`: tells anew whenever a file changes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use iako_analyze::Project;
use iako_control::DirectoryWatch;
use iako_resources::{Asked, ReadOptions, list_sources, load_sources};

use super::{
    Arguments,
    load::{self, STANDARD_INPUT},
};
use crate::{commands::block_on, output};

/// When a file was written last, and how long it is.
type Stamp = (Option<SystemTime>, u64);

/// Tells, waits, and tells again, until somebody ends it.
pub(super) fn run(arguments: &Arguments, mut project: Project) -> anyhow::Result<ExitCode> {
    let paths = &arguments.paths;
    anyhow::ensure!(
        paths.iter().all(|path| path.as_os_str() != STANDARD_INPUT),
        "standard input cannot be watched"
    );
    let options = load::options(&arguments.namespace)?;
    let mut stamps = stamps(paths);
    let mut told = arguments.check(&mut project);
    output::print(&arguments.written(&told, &project)?)?;
    block_on(async {
        let directories: Vec<PathBuf> = paths.iter().map(|path| directory_of(path)).collect();
        let mut watch = DirectoryWatch::start(&directories);
        loop {
            watch.changed().await;
            let started = iako_rt::clock::now();
            let now = self::stamps(paths);
            let changed = update(&mut project, &options, &stamps, &now);
            stamps = now;
            if changed == 0 {
                continue;
            }
            let checked = arguments.check(&mut project);
            let same = checked.diagnostics == told.diagnostics;
            told = checked;
            if !same {
                output::print(&format!("\n{}", arguments.written(&told, &project)?))?;
            }
            let took = iako_rt::clock::now().saturating_duration_since(started);
            let files = super::summary::counted(changed, "file");
            let result = if same { ", nothing new" } else { "" };
            output::note(&format!("{files} read anew in {} ms{result}", took.as_millis()));
        }
    })
}

fn directory_of(path: &Path) -> PathBuf {
    if path.is_dir() {
        return path.to_owned();
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn stamps(paths: &[PathBuf]) -> BTreeMap<PathBuf, (Stamp, Asked)> {
    let mut stamps = BTreeMap::new();
    for path in paths {
        let asked = if path.is_dir() { Asked::InDirectory } else { Asked::ByName };
        for file in list_sources(path) {
            let Ok(metadata) = std::fs::metadata(&file) else { continue };
            stamps.insert(file, ((metadata.modified().ok(), metadata.len()), asked));
        }
    }
    stamps
}

/// Reads what changed, forgets what is gone; returns how many files that were.
fn update(
    project: &mut Project,
    options: &ReadOptions,
    before: &BTreeMap<PathBuf, (Stamp, Asked)>,
    now: &BTreeMap<PathBuf, (Stamp, Asked)>,
) -> usize {
    let mut changed = 0;
    for path in before.keys().filter(|path| !now.contains_key(*path)) {
        project.remove(&path.to_string_lossy());
        changed += 1;
    }
    for (path, stamp) in now.iter().filter(|(path, stamp)| before.get(*path) != Some(*stamp)) {
        let options = ReadOptions { asked: stamp.1, ..options.clone() };
        for source in load_sources(path, &options) {
            project.put(source);
        }
        changed += 1;
    }
    changed
}
