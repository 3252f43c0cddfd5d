//! The settings of the mesh: a document inside a text of another document.

use super::Context;
use crate::{
    Code, MeshConfig, Span,
    istio::{self, mesh_networks::MeshNetworks},
    reader::{Cursor, Report},
    support::{NO_TABLE, mesh_table},
    text::{Entry, Limits, Node, Value, parse_documents},
};

/// Reads the text of `data.mesh`. Places in messages are those of the outer file, as exact as a
/// block of text allows.
pub(crate) fn mesh_text(
    outer: &Cursor<'_>,
    text: &str,
    context: &Context<'_>,
) -> Option<MeshConfig> {
    let report = Report::new(outer.subject().to_owned(), outer.origin(), mesh_table());
    inner(outer, text, ("data.mesh", report), |cursor| istio::mesh_config::parse(cursor, context))
}

/// Reads the text of `data.meshNetworks`, as [`mesh_text`] does its own.
pub(crate) fn networks_text(outer: &Cursor<'_>, text: &str) -> Option<MeshNetworks> {
    let report = Report::new(outer.subject().to_owned(), outer.origin(), &NO_TABLE);
    let networks = inner(outer, text, ("data.meshNetworks", report), |cursor| {
        istio::mesh_networks::parse(cursor)
    })?;
    if !networks.networks.is_empty() {
        let message = "the networks are read and checked, not yet applied: every endpoint is \
                       reached directly";
        outer.report(Code::FieldIgnored, message);
    }
    Some(networks)
}

/// Reads a text inside a document; nothing written is the default.
fn inner<T: Default>(
    outer: &Cursor<'_>,
    text: &str,
    (path, report): (&str, Report),
    read: impl FnOnce(&Cursor<'_>) -> T,
) -> Option<T> {
    let found = parse_documents(text, Limits::default());
    let start = outer.node().span;
    for problem in found.documents.iter().flat_map(|(_, p)| p).chain(&found.failures) {
        let line = problem.span.line;
        outer.report(problem.code, format!("line {line} of the settings: {}", problem.message));
    }
    if !found.failures.is_empty() {
        return None;
    }
    let Some((mut node, _)) = found.documents.into_iter().next() else {
        return Some(T::default());
    };
    if node.is_null() {
        return Some(T::default());
    }
    move_to(&mut node, start);
    let value = read(&Cursor::new(&node, path, "", &report));
    let usable = !report.has_errors();
    outer.take_over(report);
    usable.then_some(value)
}

/// Moves spans of the inner text to the outer one. The text of a block (`|`) starts on the line
/// after its mark.
fn move_to(node: &mut Node, start: Span) {
    let moved = |span: Span| Span { line: span.line.saturating_add(start.line), ..span };
    node.span = moved(node.span);
    match &mut node.value {
        Value::List(nodes) => {
            for node in nodes {
                move_to(node, start);
            }
        }
        Value::Map(entries) => {
            for Entry { key_span, node, .. } in entries {
                *key_span = moved(*key_span);
                move_to(node, start);
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(..) | Value::Float(..) | Value::Text(_) => {}
    }
}
