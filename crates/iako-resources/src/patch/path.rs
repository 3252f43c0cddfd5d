//! Looks a field up by its path.

use crate::{
    reader::is_named,
    text::{Entry, Node, Value},
};

/// A field that was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    /// Its value.
    pub(super) node: &'a Node,
    /// The pair that it is the value of, if it is no element of a list.
    pub(super) entry: Option<&'a Entry>,
    /// The mapping or list around it, and its position there; none for the root.
    pub(super) parent: Option<(&'a Node, usize)>,
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// The field of a path below a root; the root itself for an empty path.
pub(super) fn find<'a>(root: &'a Node, path: &str) -> Option<Found<'a>> {
    let mut found = Found { node: root, entry: None, parent: None };
    for step in steps(path)? {
        let parent = found.node;
        found = match (&parent.value, step) {
            (Value::Map(entries), Step::Key(key)) => {
                let is_it = |entry: &Entry| entry.key == key || is_named(&entry.key, &key);
                let position = entries.iter().position(is_it)?;
                let entry = entries.get(position)?;
                Found { node: &entry.node, entry: Some(entry), parent: Some((parent, position)) }
            }
            (Value::List(nodes), Step::Index(index)) => {
                Found { node: nodes.get(index)?, entry: None, parent: Some((parent, index)) }
            }
            _ => return None,
        };
    }
    Some(found)
}

/// `spec.http[0].headers["x.y"]` as steps; `None` when it is no path.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix("[\"") {
            let (key, after) = quoted(inner)?;
            steps.push(Step::Key(key));
            rest = after.strip_prefix(']')?;
        } else if let Some(inner) = rest.strip_prefix('[') {
            let (number, after) = inner.split_once(']')?;
            steps.push(Step::Index(number.parse().ok()?));
            rest = after;
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (key, after) = name.split_at_checked(end)?;
            if key.is_empty() {
                return None;
            }
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        }
    }
    Some(steps)
}

/// A key up to its closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut key = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((key, text.get(at + 1..)?)),
            '\\' => key.push(characters.next()?.1),
            _ => key.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Step, steps};

    #[test]
    fn paths_are_taken_apart_as_messages_write_them() {
        let key = |name: &str| Step::Key(name.to_owned());
        let found = steps("spec.http[2].headers[\"x.a\\\"b\"].exact").unwrap();
        let wanted =
            [key("spec"), key("http"), Step::Index(2), key("headers"), key("x.a\"b"), key("exact")];
        assert_eq!(found, wanted);
        assert_eq!(steps(""), Some(Vec::new()));
        assert_eq!(steps("a..b"), None);
        assert_eq!(steps("a[x]"), None);
    }
}
