//! From a text to objects.

use std::{collections::BTreeMap, sync::Arc};

use super::{Read, ReadOptions, kinds};
use crate::{
    Code, Diagnostic, FileContent, Origin, Resource, ResourceKey, Severity, Span,
    text::{Limits, Node, TextProblem, Value, parse_documents},
};

/// Reads every object of a text, YAML or JSON. `name` is the file as messages shall name it.
///
/// Documents of kinds that are none of ours are passed over. Nothing is read from disk.
#[must_use]
pub fn read_text(text: &str, name: &str, options: &ReadOptions) -> FileContent {
    let origin = Origin::of_source(name);
    let mut content = FileContent {
        file: Arc::clone(&origin.file),
        resources: Vec::new(),
        refused: Vec::new(),
        complete: true,
        diagnostics: Vec::new(),
    };
    let found = parse_documents(text, Limits::default());
    let mut seen = BTreeMap::new();
    for (node, problems) in &found.documents {
        let before = content.diagnostics.len();
        let mut reads = Vec::new();
        unfold(node, &origin, options, &mut reads);
        let subject = subject_of(&reads);
        content.diagnostics.extend(problems.iter().map(|p| to_diagnostic(p, &origin, &subject)));
        for read in reads {
            take(&mut content, &mut seen, read, problems);
        }
        if let Some(own) = content.diagnostics.get_mut(before..) {
            own.sort_by_key(|diagnostic| (diagnostic.origin.line, diagnostic.origin.column));
        }
    }
    for failure in &found.failures {
        content.complete = false;
        content.diagnostics.push(to_diagnostic(failure, &origin, ""));
    }
    content
}

fn to_diagnostic(problem: &TextProblem, origin: &Origin, subject: &str) -> Diagnostic {
    let nowhere = problem.span == Span::default();
    let place = if nowhere { origin.clone() } else { origin.at(problem.span) };
    let mut diagnostic = Diagnostic::new(problem.code, subject, place, problem.message.clone());
    diagnostic.length = problem.span.length;
    diagnostic
}

fn subject_of(reads: &[Read]) -> String {
    let key = reads.first().and_then(|read| {
        read.refused.clone().or_else(|| read.resource.as_ref().map(Resource::key))
    });
    key.map(|key| key.to_string()).unwrap_or_default()
}

/// Reads a document; a list of objects is read object by object.
fn unfold(node: &Node, origin: &Origin, options: &ReadOptions, reads: &mut Vec<Read>) {
    if node.is_null() {
        return;
    }
    let is_list = node.get("kind").and_then(Node::as_text).is_some_and(|k| k.ends_with("List"));
    match node.get("items").map(|items| &items.value) {
        Some(Value::List(items)) if is_list => {
            for item in items {
                unfold(item, origin, options, reads);
            }
        }
        _ => reads.push(kinds::read(node, origin, options)),
    }
}

fn take(
    content: &mut FileContent,
    seen: &mut BTreeMap<ResourceKey, u32>,
    read: Read,
    problems: &[TextProblem],
) {
    content.diagnostics.extend(read.diagnostics);
    content.refused.extend(read.refused);
    let Some(resource) = read.resource else { return };
    let key = resource.key();
    if let Some(line) = seen.get(&key) {
        let message = format!("{key} is already defined on line {line}; that one counts");
        let origin = resource.origin().clone();
        content.diagnostics.push(Diagnostic::new(Code::DuplicateObject, &key, origin, message));
        return;
    }
    seen.insert(key.clone(), resource.origin().line);
    if problems.iter().all(|problem| problem.code.severity() != Severity::Error) {
        content.resources.push(resource);
    } else {
        content.refused.push(key);
    }
}
