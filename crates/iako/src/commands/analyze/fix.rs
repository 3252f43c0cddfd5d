//! `--fix`: makes the changes that are safe.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::Context as _;
use iako_analyze::{Checked, Project};
use iako_resources::{
    Asked, Diagnostic, ReadOptions, TextEdit, apply_edits, read_text,
    text::{Limits, parse_documents},
    text_edits,
};

use super::{
    Arguments, diff,
    load::{self, STANDARD_INPUT, relative},
    summary::counted,
};

/// Rounds of changes: one may make the next possible.
const ROUNDS_MAX: usize = 5;

/// What was changed, or would be.
pub(super) struct Fixes {
    /// What was wrong before.
    pub(super) before: Checked,
    /// What is wrong afterwards.
    pub(super) after: Checked,
    /// The changes, as a diff.
    pub(super) diff: String,
    files: usize,
    made: usize,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Write,
    Show,
}

impl Fixes {
    /// What happened, in one line.
    pub(super) fn told(&self) -> String {
        let changes = counted(self.made, "finding");
        let files = counted(self.files, "file");
        match (self.made, self.mode) {
            (0, _) => "nothing here can be mended safely".to_owned(),
            (_, Mode::Write) => format!("mended {changes} in {files}"),
            (_, Mode::Show) => format!("would mend {changes} in {files}"),
        }
    }
}

/// Makes every safe change, in files or in a diff alone.
pub(super) fn fixes(
    arguments: &Arguments,
    project: &mut Project,
    before: Checked,
) -> anyhow::Result<Fixes> {
    let options = load::options(&arguments.namespace)?;
    let mut originals: BTreeMap<Arc<str>, String> = BTreeMap::new();
    let mut after = before.clone();
    let mut made = 0;
    for _round in 0..ROUNDS_MAX {
        let changed = mended(&after.diagnostics, project, &options);
        if changed.is_empty() {
            break;
        }
        for (file, text, count) in changed {
            let known = project.text(&file).unwrap_or_default().to_owned();
            originals.entry(Arc::clone(&file)).or_insert(known);
            project.set(&file, &text);
            made += count;
        }
        after = arguments.check(project);
    }
    let mode = if arguments.dry_run { Mode::Show } else { Mode::Write };
    let mut shown = String::new();
    for (file, original) in &originals {
        let text = project.text(file).unwrap_or_default();
        shown.push_str(&diff::unified(&relative(file), original, text));
        if mode == Mode::Write {
            write(file, text)?;
        }
    }
    Ok(Fixes { before, after, diff: shown, files: originals.len(), made, mode })
}

/// The text of each file in which something can be mended, and how much.
fn mended(
    diagnostics: &[Diagnostic],
    project: &Project,
    options: &ReadOptions,
) -> Vec<(Arc<str>, String, usize)> {
    let mut files: BTreeMap<Arc<str>, Vec<&Diagnostic>> = BTreeMap::new();
    for found in diagnostics.iter().filter(|found| found.patch.is_some()) {
        if &*found.origin.file != STANDARD_INPUT {
            files.entry(Arc::clone(&found.origin.file)).or_default().push(found);
        }
    }
    let mended = files.into_iter().filter_map(|(file, found)| {
        let text = project.text(&file)?;
        let documents = parse_documents(text, Limits::default());
        let groups: Vec<Vec<TextEdit>> =
            found.iter().filter_map(|found| text_edits(found, text, &documents)).collect();
        let (changed, made) = apply_edits(text, &groups);
        let is_better = made > 0 && errors(&changed, options) <= errors(text, options);
        is_better.then_some((file, changed, made))
    });
    mended.collect()
}

/// Errors of a text by itself.
fn errors(text: &str, options: &ReadOptions) -> usize {
    let options = ReadOptions { asked: Asked::ByName, ..options.clone() };
    let content = read_text(text, "", &options);
    content.diagnostics.iter().filter(|found| found.is_error()).count()
}

/// Writes a file; who reads it meanwhile sees the old text or the new one.
fn write(file: &str, text: &str) -> anyhow::Result<()> {
    let path = std::fs::canonicalize(file).unwrap_or_else(|_gone| Path::new(file).to_owned());
    let told = || format!("{file} cannot be written");
    let permissions = std::fs::metadata(&path).with_context(told)?.permissions();
    let mut beside = path.clone().into_os_string();
    beside.push(".iako-fix");
    std::fs::write(&beside, text).with_context(told)?;
    std::fs::set_permissions(&beside, permissions).with_context(told)?;
    std::fs::rename(&beside, &path).with_context(told)
}
