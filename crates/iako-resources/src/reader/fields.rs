//! The fields of one mapping: which are known, which are not.

use std::cell::RefCell;

use super::{Cursor, closest, only_near};
use crate::{
    Code, Patch,
    support::Support,
    text::{Entry, Node, Value},
};

/// The fields of one mapping. Whatever was not asked for is reported when it is dropped.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    cursor: Cursor<'a>,
    entries: &'a [Entry],
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(cursor: Cursor<'a>) -> Self {
        let entries = match &cursor.node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null
            | Value::Bool(_)
            | Value::Int(..)
            | Value::Float(..)
            | Value::Text(_)
            | Value::List(_) => {
                cursor.wrong_type("a mapping");
                &[]
            }
        };
        Self { cursor, entries, asked: RefCell::new(Vec::new()) }
    }

    /// The mapping itself.
    pub(crate) const fn cursor(&self) -> &Cursor<'a> {
        &self.cursor
    }

    /// Whether the mapping has no pair at all.
    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A field by its lowerCamelCase name; snake_case is accepted too, null counts as absent.
    pub(crate) fn get(&self, name: &'static str) -> Option<Cursor<'a>> {
        self.get_or_null(name).filter(|cursor| !cursor.node.is_null())
    }

    /// As [`Self::get`], but null is handed out.
    pub(crate) fn get_or_null(&self, name: &'static str) -> Option<Cursor<'a>> {
        self.asked.borrow_mut().push(name);
        let entry = self.entries.iter().find(|entry| is_named(&entry.key, name))?;
        Some(self.cursor.child(name, &entry.node))
    }

    /// A field that must be there; its absence is reported.
    pub(crate) fn required(&self, name: &'static str) -> Option<Cursor<'a>> {
        let found = self.get(name);
        if found.is_none() && matches!(self.cursor.node.value, Value::Map(_)) {
            self.report(name, Code::MissingField, format!("the field {name} is missing"));
        }
        found
    }

    /// Reports a problem with a field, written or not.
    pub(crate) fn report(&self, name: &str, code: Code, message: impl Into<String>) {
        self.cursor.at(name).report(code, message);
    }

    /// Whether a field was written, null included.
    pub(crate) fn has(&self, name: &'static str) -> bool {
        self.entries.iter().any(|entry| is_named(&entry.key, name))
    }

    /// Whether a field is a list with at least one element.
    pub(crate) fn has_elements(&self, name: &str) -> bool {
        let found = self.entries.iter().find(|entry| is_named(&entry.key, name));
        found.is_some_and(
            |entry| matches!(&entry.node.value, Value::List(nodes) if !nodes.is_empty()),
        )
    }

    /// Reads a list, element by element.
    pub(crate) fn list_of<T>(
        &self,
        name: &'static str,
        read: impl FnMut(&Cursor<'a>) -> T,
    ) -> Vec<T> {
        let list = self.get(name).map(|cursor| cursor.list()).unwrap_or_default();
        list.iter().map(read).collect()
    }

    /// Reads a list of texts.
    pub(crate) fn texts(&self, name: &'static str) -> Vec<String> {
        let list = self.get(name).map(|cursor| cursor.list()).unwrap_or_default();
        list.iter().filter_map(Cursor::text).collect()
    }

    /// Reads a text; empty counts as absent, as in protobuf.
    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        self.get(name).and_then(|cursor| cursor.text()).filter(|text| !text.is_empty())
    }

    /// Reads a boolean; absent is false.
    pub(crate) fn flag(&self, name: &'static str) -> bool {
        self.get(name).and_then(|cursor| cursor.boolean()).unwrap_or(false)
    }

    /// Takes the remaining fields of this mapping as they are, without a report.
    pub(crate) fn ignore_rest(mut self) {
        self.entries = &[];
    }

    fn report_unknown(&self, entry: &Entry) {
        let cursor = &self.cursor;
        let child = cursor.child(&entry.key, &entry.node);
        let mut diagnostic = match cursor.report.support.of(&child.pattern) {
            Some(Support::Honoured | Support::Checked(_)) => {
                debug_assert!(false, "{} is listed as read, but nobody reads it", child.pattern);
                return;
            }
            Some(Support::Warned(why)) => {
                let message = format!("{} has no effect here: {why}", entry.key);
                child.diagnostic(Code::FieldIgnored, entry.key_span, message)
            }
            Some(Support::Refused(why)) => {
                let message = format!("{} is refused here: {why}", entry.key);
                child.diagnostic(Code::FieldRefused, entry.key_span, message)
            }
            None => {
                let message = format!("there is no field {:?} here", entry.key);
                let unknown = child.diagnostic(Code::UnknownField, entry.key_span, message);
                let asked = self.asked.borrow();
                let mut names = cursor.report.support.names_below(&cursor.pattern);
                names.extend(asked.iter());
                match closest(&entry.key, &names) {
                    Some(name) => {
                        let mut unknown = unknown.with_help(format!("did you mean {name}?"));
                        if only_near(&entry.key, &names) == Some(name) {
                            let path = unknown.path.clone();
                            unknown = unknown.with_patch(Patch::rename(path, name));
                        }
                        unknown
                    }
                    None if asked.is_empty() => unknown,
                    None => unknown.with_help(format!("the fields here are {}", asked.join(", "))),
                }
            }
        };
        diagnostic.length = entry.key_span.length;
        cursor.report.push(diagnostic);
    }
}

impl Drop for Fields<'_> {
    fn drop(&mut self) {
        for entry in self.entries {
            let known = self.asked.borrow().iter().any(|name| is_named(&entry.key, name));
            if !known {
                self.report_unknown(entry);
            }
        }
    }
}

/// The value of a field of a mapping, by its lowerCamelCase name.
pub(super) fn named<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Map(entries) => {
            entries.iter().find(|entry| is_named(&entry.key, name)).map(|entry| &entry.node)
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(..)
        | Value::Float(..)
        | Value::Text(_)
        | Value::List(_) => None,
    }
}

/// Whether a key is this field, in lowerCamelCase or snake_case. Source: protobuf's JSON mapping.
pub(crate) fn is_named(key: &str, name: &str) -> bool {
    if key == name {
        return true;
    }
    if !key.contains('_') {
        return false;
    }
    let mut camel = String::with_capacity(key.len());
    let mut upper = false;
    for c in key.chars() {
        if c == '_' {
            upper = true;
        } else if upper {
            camel.push(c.to_ascii_uppercase());
            upper = false;
        } else {
            camel.push(c);
        }
    }
    camel == name
}
