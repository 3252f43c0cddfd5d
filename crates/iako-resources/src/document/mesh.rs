//! The settings of the mesh: a document inside a text of another document.

use super::Context;
use crate::{
    MeshConfig, Span, istio,
    reader::{Cursor, Report},
    support::mesh_table,
    text::{Entry, Limits, Node, Value, parse_documents},
};

/// Reads the text of `data.mesh`. Places in messages are those of the outer file, as exact as a
/// block of text allows.
pub(crate) fn mesh_text(
    outer: &Cursor<'_>,
    text: &str,
    context: &Context<'_>,
) -> Option<MeshConfig> {
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
        return Some(MeshConfig::default());
    };
    if node.is_null() {
        return Some(MeshConfig::default());
    }
    move_to(&mut node, start);
    let report = Report::new(outer.subject().to_owned(), outer.origin(), mesh_table());
    let cursor = Cursor::new(&node, "data.mesh", "", &report);
    let mesh = istio::mesh_config::parse(&cursor, context);
    let usable = !report.has_errors();
    outer.take_over(report);
    usable.then_some(mesh)
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
