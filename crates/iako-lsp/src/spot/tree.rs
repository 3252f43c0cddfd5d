//! What a place is at, in a text that can be read.

use iako_resources::{
    Position,
    text::{Documents, Node, Value},
};

use super::{At, Spot, Step, split_api_version};

/// The key or scalar at a place; `None` where there is neither.
pub(super) fn find(
    documents: &Documents,
    position: Position,
    default_namespace: &str,
) -> Option<Spot> {
    let mut roots = documents.documents.iter().map(|(root, _)| root);
    let document = roots.rfind(|root| root.span.line <= position.line)?;
    let object = object_at(document, position);
    let text = |node: &Node, key: &str| node.get(key).and_then(Node::as_text).map(str::to_owned);
    let (group, version) = split_api_version(&text(object, "apiVersion").unwrap_or_default());
    let namespace = object.get("metadata").and_then(|metadata| text(metadata, "namespace"));
    let mut spot = Spot {
        group,
        version,
        kind: text(object, "kind").unwrap_or_default(),
        namespace: namespace.unwrap_or_else(|| default_namespace.to_owned()),
        path: Vec::new(),
        at: At::Key,
        word: String::new(),
        span: (position, position),
        siblings: Vec::new(),
    };
    descend(object, position, &mut spot).then_some(spot)
}

fn object_at(node: &Node, position: Position) -> &Node {
    let is_list = node.get("kind").and_then(Node::as_text).is_some_and(|k| k.ends_with("List"));
    match node.get("items").map(|items| &items.value) {
        Some(Value::List(items)) if is_list => {
            items.iter().rfind(|item| item.span.start() <= position).unwrap_or(node)
        }
        _ => node,
    }
}

/// Goes to the place; says whether a key or scalar is there.
fn descend(node: &Node, position: Position, spot: &mut Spot) -> bool {
    match &node.value {
        Value::Map(entries) => {
            let word = |node: &Node| written(node).unwrap_or_default();
            spot.siblings = entries.iter().map(|it| (it.key.clone(), word(&it.node))).collect();
            for entry in entries {
                let (start, end) = (entry.key_span.start(), entry.key_span.end());
                if start <= position && position <= end {
                    spot.at = At::Key;
                    spot.word.clone_from(&entry.key);
                    spot.span = (start, end);
                    return true;
                }
                if entry.node.span.start() <= position && position <= entry.node.end {
                    spot.path.push(Step::Key(entry.key.clone()));
                    return descend(&entry.node, position, spot);
                }
            }
            false
        }
        Value::List(nodes) => {
            let holds = |node: &&Node| node.span.start() <= position && position <= node.end;
            let Some(item) = nodes.iter().find(holds) else { return false };
            spot.path.push(Step::Item);
            descend(item, position, spot)
        }
        Value::Null => false,
        Value::Bool(_) | Value::Int(..) | Value::Float(..) | Value::Text(_) => {
            spot.at = At::Value;
            spot.word = written(node).unwrap_or_default();
            spot.span = (node.span.start(), node.end);
            true
        }
    }
}

/// A scalar as one word.
fn written(node: &Node) -> Option<String> {
    match &node.value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(_, text) | Value::Float(_, text) | Value::Text(text) => Some(text.clone()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}
