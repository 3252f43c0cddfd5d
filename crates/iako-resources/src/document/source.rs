//! From a text to objects.

use std::{collections::BTreeMap, sync::Arc};

use super::{Asked, Read, ReadOptions, kinds};
use crate::{
    Code, Diagnostic, FileContent, Origin, PassedOver, Position, Resource, ResourceKey, Severity,
    Span,
    text::{Limits, Lines, Node, TextProblem, Value, parse_documents},
};

/// Annotations whose value is a list of codes that shall not be told of their object: ours, and
/// Istio's.
const SUPPRESS: [&str; 2] = ["iako.io/suppress", "galley.istio.io/analyze-suppress"];

/// Reads every object of a text, YAML or JSON. `name` is the file as messages shall name it.
///
/// Documents of kinds that are none of ours are passed over. Nothing is read from disk.
#[must_use]
pub fn read_text(text: &str, name: &str, options: &ReadOptions) -> FileContent {
    let origin = Origin::of_source(name);
    let mut content = FileContent { file: Arc::clone(&origin.file), ..FileContent::new("") };
    let found = parse_documents(text, Limits::default());
    let mut seen = BTreeMap::new();
    for (node, problems) in &found.documents {
        read_document(&mut content, &mut seen, (node, problems), (&origin, options));
    }
    for failure in &found.failures {
        take_failure(&mut content, failure, &origin, (text, options));
    }
    content
}

fn read_document(
    content: &mut FileContent,
    seen: &mut BTreeMap<ResourceKey, u32>,
    (node, problems): (&Node, &[TextProblem]),
    (origin, options): (&Origin, &ReadOptions),
) {
    let before = content.diagnostics.len();
    let mut reads = Vec::new();
    unfold(node, origin, options, &mut reads);
    if !reads.is_empty() && reads.iter().all(|(_, read)| read.passed.is_some()) {
        // What other programs read is not for us to judge.
        content.passed.extend(reads.iter().filter_map(|(n, r)| Some((n.span.line, r.passed?))));
        return;
    }
    let subject = reads.first().map(|(_, read)| subject_of(read)).unwrap_or_default();
    content.diagnostics.extend(problems.iter().map(|p| to_diagnostic(p, origin, &subject)));
    for (node, read) in reads {
        take(content, seen, (node, read), problems);
    }
    if let Some(own) = content.diagnostics.get_mut(before..) {
        own.sort_by_key(|diagnostic| (diagnostic.origin.line, diagnostic.origin.column));
    }
}

fn to_diagnostic(problem: &TextProblem, origin: &Origin, subject: &str) -> Diagnostic {
    let nowhere = problem.span == Span::default();
    let place = if nowhere { origin.clone() } else { origin.at(problem.span) };
    let mut diagnostic = Diagnostic::new(problem.code, subject, place, problem.message.clone());
    diagnostic.length = problem.span.length;
    diagnostic
}

/// A document that could not be read is an error, unless it lies in a directory and nothing in it
/// says that it is ours.
fn take_failure(
    content: &mut FileContent,
    failure: &TextProblem,
    origin: &Origin,
    (text, options): (&str, &ReadOptions),
) {
    let mut diagnostic = to_diagnostic(failure, origin, "");
    if failure.code == Code::BrokenYaml {
        let (start, part) = document_around(text, failure.span.line);
        let is_template = part.contains("{{");
        let names_itself = ["apiVersion:", "\"apiVersion\":"];
        let is_ours = names_itself.iter().any(|field| part.contains(field));
        let why = if is_template { PassedOver::HelmTemplate } else { PassedOver::NotKubernetes };
        if options.asked == Asked::InDirectory && (is_template || !is_ours) {
            content.passed.push((start, why));
            return;
        }
        if is_template {
            let help =
                "this looks like a template; render it first: helm template . | iako analyze -";
            diagnostic = diagnostic.with_help(help);
        }
    }
    content.complete = false;
    content.diagnostics.push(diagnostic);
}

/// The document of a line: where it starts, and its text.
fn document_around(text: &str, line: u32) -> (u32, &str) {
    let lines = Lines::new(text);
    let is_mark = |number: &u32| lines.line(*number).is_some_and(|text| text.starts_with("---"));
    let count = u32::try_from(lines.count()).unwrap_or(u32::MAX);
    let start = (1..=line).rev().find(is_mark).unwrap_or(1);
    let end =
        (line.saturating_add(1)..=count).find(is_mark).unwrap_or_else(|| count.saturating_add(1));
    let at = |line| Position { line, column: 1 };
    (start, lines.between(at(start), at(end)).unwrap_or(text))
}

fn subject_of(read: &Read) -> String {
    let key = read.refused.clone().or_else(|| read.resource.as_ref().map(Resource::key));
    let told = || read.diagnostics.first().map(|diagnostic| diagnostic.subject.clone());
    key.map(|key| key.to_string()).or_else(told).unwrap_or_default()
}

/// Reads a document; a list of objects is read object by object.
fn unfold<'n>(
    node: &'n Node,
    origin: &Origin,
    options: &ReadOptions,
    reads: &mut Vec<(&'n Node, Read)>,
) {
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
        _ => reads.push((node, kinds::read(node, origin, options))),
    }
}

/// The codes that annotations of an object ask not to be told.
fn suppressed(node: &Node) -> Vec<String> {
    let annotations = node.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let values = SUPPRESS.iter().filter_map(|key| annotations?.get(key)?.as_text());
    let codes = values.flat_map(|value| value.split(',')).map(str::trim);
    codes.filter(|code| !code.is_empty()).map(str::to_owned).collect()
}

fn take(
    content: &mut FileContent,
    seen: &mut BTreeMap<ResourceKey, u32>,
    (node, read): (&Node, Read),
    problems: &[TextProblem],
) {
    let codes = suppressed(node);
    if !codes.is_empty() {
        content.suppressed.push((subject_of(&read), codes));
    }
    content.passed.extend(read.passed.map(|why| (node.span.line, why)));
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
