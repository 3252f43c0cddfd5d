//! A set of texts that is looked at again and again while it changes.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::Arc,
};

use iako_registry::{Change, MeshSnapshot, MeshState};
use iako_resources::{
    Asked, Diagnostic, FileContent, Origin, ReadOptions, SourceFile, locate, read_text,
    text::{Documents, Limits, parse_documents},
};

use crate::{analyze, suppress::is_suppressed_by};

/// Texts, what each says, and what is wrong with all of them together.
///
/// A text is read when it changes, never otherwise; what several objects mean together is looked at
/// anew with every question.
#[derive(Debug)]
pub struct Project {
    options: ReadOptions,
    /// The network of the pods that are invented for workloads.
    network: Ipv4Addr,
    files: BTreeMap<Arc<str>, Held>,
}

/// One text.
#[derive(Debug)]
struct Held {
    text: Option<Arc<str>>,
    asked: Asked,
    content: FileContent,
    /// Places of fields that findings named by line and path alone.
    places: HashMap<(u32, String), (Origin, u32)>,
}

/// What is wrong with the texts of a project.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The mesh that the texts mean.
    pub snapshot: Arc<MeshSnapshot>,
    /// Every finding that no annotation asks not to tell, in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
    /// How many findings annotations ask not to tell.
    pub suppressed: usize,
}

impl Project {
    /// A project without texts. Pods that nobody describes get addresses of `network`, a /16.
    #[must_use]
    pub const fn new(options: ReadOptions, network: Ipv4Addr) -> Self {
        Self { options, network, files: BTreeMap::new() }
    }

    /// Puts a file that was read in the place of what it said before.
    pub fn put(&mut self, source: SourceFile) {
        let file = Arc::clone(&source.content.file);
        let text = source.text.as_deref().map(Arc::from);
        let SourceFile { content, asked, .. } = source;
        self.files.insert(file, Held { text, asked, content, places: HashMap::new() });
    }

    /// Reads a text, unless it is the one that is known.
    pub fn set(&mut self, name: &str, text: &str) {
        if self.text(name) == Some(text) {
            return;
        }
        let asked = self.files.get(name).map_or(Asked::ByName, |held| held.asked);
        let options = ReadOptions { asked, ..self.options.clone() };
        let content = read_text(text, name, &options);
        self.put(SourceFile { content, text: Some(text.to_owned()), asked });
    }

    /// Forgets a file.
    pub fn remove(&mut self, name: &str) {
        self.files.remove(name);
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.files.get(name).and_then(|held| held.text.as_deref())
    }

    /// The texts of a file as a tree.
    #[must_use]
    pub fn documents(&self, name: &str) -> Option<Documents> {
        self.text(name).map(|text| parse_documents(text, Limits::default()))
    }

    /// What every file says, in the order of their names.
    pub fn contents(&self) -> impl Iterator<Item = &FileContent> {
        self.files.values().map(|held| &held.content)
    }

    /// What all texts mean together, and what is wrong with them.
    #[must_use]
    pub fn check(&mut self) -> Checked {
        let files = self.contents().cloned().collect();
        let mut state = MeshState::inventing_pods(self.network);
        let snapshot = state.apply(Change::Replace { source: "paths".to_owned(), files });
        let mut diagnostics = analyze(&snapshot);
        self.sharpen(&mut diagnostics);
        let before = diagnostics.len();
        diagnostics.retain(|found| {
            let held = self.files.get(&found.origin.file);
            !held.is_some_and(|held| is_suppressed_by(&held.content.suppressed, found))
        });
        let suppressed = before.saturating_sub(diagnostics.len());
        diagnostics.sort_by(|a, b| {
            let key = |found: &Diagnostic| (found.origin.clone(), found.severity, found.code);
            key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
        });
        Checked { snapshot, diagnostics, suppressed }
    }

    /// Gives findings that know a line and a path the place of the field.
    fn sharpen(&mut self, diagnostics: &mut [Diagnostic]) {
        let mut trees: HashMap<Arc<str>, Documents> = HashMap::new();
        for found in diagnostics {
            if found.path.is_empty() || found.length > 0 {
                continue;
            }
            let Some(held) = self.files.get_mut(&found.origin.file) else { continue };
            let key = (found.origin.line, found.path.clone());
            if let Some((origin, length)) = held.places.get(&key) {
                found.origin.clone_from(origin);
                found.length = *length;
                continue;
            }
            let Some(text) = &held.text else { continue };
            let tree = trees
                .entry(Arc::clone(&found.origin.file))
                .or_insert_with(|| parse_documents(text, Limits::default()));
            locate(found, tree);
            held.places.insert(key, (found.origin.clone(), found.length));
        }
    }
}
