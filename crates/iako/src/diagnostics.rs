//! Diagnostics on the terminal, with the lines that they are about.

use std::{collections::BTreeMap, io::IsTerminal};

use iako_resources::{Diagnostic, Painter, render};

use crate::output;

/// Colours only where somebody looks, and did not ask for none.
pub(crate) fn painter(stream: &impl IsTerminal) -> Painter {
    if output::has_colours(stream) { Painter::Colours } else { Painter::Plain }
}

/// Several diagnostics, each with its source line, an empty line between.
pub(crate) fn render_all<'a>(
    diagnostics: impl IntoIterator<Item = &'a Diagnostic>,
    painter: Painter,
) -> String {
    let mut sources: BTreeMap<String, Option<String>> = BTreeMap::new();
    let texts: Vec<String> = diagnostics
        .into_iter()
        .map(|diagnostic| {
            let file = diagnostic.origin.file.to_string();
            let source =
                sources.entry(file).or_insert_with_key(|file| std::fs::read_to_string(file).ok());
            render(diagnostic, source.as_deref(), painter)
        })
        .collect();
    texts.join("\n")
}
