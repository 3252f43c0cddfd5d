//! Walks a directory: which files are read, which are passed over.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    PassedOver,
    ignore::{IgnoreFile, Target, Verdict},
};
use crate::text::{Limits, Node, Value, parse_documents};

/// Directories inside each other that are walked.
const DIRECTORY_DEPTH_MAX: usize = 32;
/// The file with rules about what is passed over.
const IGNORE_FILE: &str = ".iakoignore";

/// What a walk found.
#[derive(Debug)]
pub(super) enum Found {
    /// A file to read.
    File(PathBuf),
    /// A file or directory that is passed over, and why.
    Passed(PathBuf, PassedOver),
    /// A directory that cannot be walked, and why.
    Failed(PathBuf, String),
}

impl Found {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Passed(path, _) | Self::Failed(path, _) => path,
        }
    }
}

/// Every file of documents below a directory, in the order of their paths.
pub(super) fn walk(root: &Path) -> Vec<Found> {
    let mut walk = Walk { seen: BTreeSet::new(), ignores: Vec::new(), found: Vec::new() };
    walk.collect(root, 0);
    walk.found.sort_by(|a, b| a.path().cmp(b.path()));
    walk.found
}

struct Walk {
    /// Directories that were entered, by their real names: links may lead in circles.
    seen: BTreeSet<PathBuf>,
    /// Rules of the directories on the way, outermost first.
    ignores: Vec<(PathBuf, IgnoreFile)>,
    found: Vec<Found>,
}

impl Walk {
    fn collect(&mut self, directory: &Path, depth: usize) {
        let real = directory.canonicalize().unwrap_or_else(|_unreadable| directory.to_owned());
        if !self.seen.insert(real) {
            return;
        }
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                self.found.push(Found::Failed(directory.to_owned(), error.to_string()));
                return;
            }
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let rules = std::fs::read_to_string(directory.join(IGNORE_FILE)).ok();
        let has_rules = rules.is_some();
        if let Some(rules) = rules {
            self.ignores.push((directory.to_owned(), IgnoreFile::parse(&rules)));
        }
        let kind = DirectoryKind::of(directory);
        for path in paths {
            self.visit(path, depth, &kind);
        }
        if has_rules {
            self.ignores.pop();
        }
    }

    fn visit(&mut self, path: PathBuf, depth: usize, around: &DirectoryKind) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if name.starts_with('.') {
            return;
        }
        let is_directory = path.is_dir();
        let target = if is_directory { Target::Directory } else { Target::Any };
        if !is_directory && !is_document(&path) {
            return;
        }
        if self.is_ignored(&path, target) {
            self.found.push(Found::Passed(path, PassedOver::IgnoreFile));
        } else if let Some(why) = around.passes_over(&name, target) {
            self.found.push(Found::Passed(path, why));
        } else if !is_directory {
            self.found.push(Found::File(path));
        } else if depth < DIRECTORY_DEPTH_MAX {
            self.collect(&path, depth + 1);
        } else {
            let reason = format!("directories are nested more than {DIRECTORY_DEPTH_MAX} deep");
            self.found.push(Found::Failed(path, reason));
        }
    }

    /// Whether a rule says so; those of inner directories count more.
    fn is_ignored(&self, path: &Path, target: Target) -> bool {
        let verdicts = self.ignores.iter().rev().filter_map(|(directory, rules)| {
            rules.verdict(path.strip_prefix(directory).ok()?, target)
        });
        verdicts.take(1).any(|verdict| verdict == Verdict::Ignored)
    }
}

fn is_document(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    extension
        .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

/// What a directory is for other programs.
#[derive(Debug, Default)]
struct DirectoryKind {
    is_chart: bool,
    /// Parts of objects that Kustomize puts into others.
    patches: BTreeSet<String>,
}

const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

impl DirectoryKind {
    fn of(directory: &Path) -> Self {
        let kustomization = KUSTOMIZATIONS
            .iter()
            .find_map(|name| std::fs::read_to_string(directory.join(name)).ok());
        Self {
            is_chart: directory.join("Chart.yaml").is_file(),
            patches: kustomization.map(|text| patches_of(&text)).unwrap_or_default(),
        }
    }

    fn passes_over(&self, name: &str, target: Target) -> Option<PassedOver> {
        if self.is_chart && target == Target::Directory && name == "templates" {
            return Some(PassedOver::HelmTemplate);
        }
        if self.is_chart && target == Target::Any && matches!(name, "Chart.yaml" | "Chart.lock") {
            return Some(PassedOver::NotKubernetes);
        }
        let is_kustomize = KUSTOMIZATIONS.contains(&name) || self.patches.contains(name);
        (target == Target::Any && is_kustomize).then_some(PassedOver::Kustomization)
    }
}

/// The files beside a kustomization that are patches.
fn patches_of(text: &str) -> BTreeSet<String> {
    let found = parse_documents(text, Limits::default());
    let mut names = BTreeSet::new();
    let roots = found.documents.iter().map(|(root, _)| root);
    for root in roots {
        for field in ["patches", "patchesStrategicMerge", "patchesJson6902"] {
            let Some(Value::List(items)) = root.get(field).map(|list| &list.value) else {
                continue;
            };
            let paths = items.iter().filter_map(|item| {
                item.as_text().or_else(|| item.get("path").and_then(Node::as_text))
            });
            names.extend(paths.map(|path| path.trim_start_matches("./").to_owned()));
        }
    }
    names
}
