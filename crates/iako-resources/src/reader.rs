//! Walks a tree and reads fields, collecting every problem with its path, line and column.
//!
//! A [`Cursor`] is a value and the way to it. A reading function always returns something to go on
//! with; whether the object is usable is asked once at the end ([`Report::has_errors`]).

mod fields;
mod scalars;
mod suggest;

use std::cell::RefCell;

pub(crate) use fields::{Fields, is_named};
pub(crate) use suggest::{closest, only_near};

use crate::{
    Change, Code, Diagnostic, Origin, Patch, Position, Severity, Span,
    support::SupportTable,
    text::{Node, Value},
};

/// Problems of one object.
#[derive(Debug)]
pub(crate) struct Report {
    subject: String,
    origin: Origin,
    support: &'static SupportTable,
    problems: RefCell<Vec<Diagnostic>>,
}

impl Report {
    /// An empty list about one object of the file of `origin`.
    pub(crate) const fn new(
        subject: String,
        origin: Origin,
        support: &'static SupportTable,
    ) -> Self {
        Self { subject, origin, support, problems: RefCell::new(Vec::new()) }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.problems.borrow().iter().any(Diagnostic::is_error)
    }

    /// Lets somebody else add what they find, and see what was found.
    pub(crate) fn extend(&self, add: impl FnOnce(&mut Vec<Diagnostic>)) {
        add(&mut self.problems.borrow_mut());
    }

    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.problems.into_inner()
    }

    fn push(&self, diagnostic: Diagnostic) {
        self.problems.borrow_mut().push(diagnostic);
    }
}

/// A value, the way to it, and where to report problems.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    node: &'a Node,
    /// `spec.http[0].route[1]`.
    path: String,
    /// The same without numbers and keys, below `spec`: `http[].route[]`.
    pattern: String,
    report: &'a Report,
}

impl<'a> Cursor<'a> {
    /// The root of a part of an object; `pattern` is its name in the support table.
    pub(crate) fn new(node: &'a Node, path: &str, pattern: &str, report: &'a Report) -> Self {
        Self { node, path: path.to_owned(), pattern: pattern.to_owned(), report }
    }

    /// The same value under another name in the support table.
    pub(crate) fn with_pattern(mut self, pattern: &str) -> Self {
        pattern.clone_into(&mut self.pattern);
        self
    }

    /// A mapping without fields in the place of one that was not written.
    pub(crate) fn empty(&self, path: &str) -> Self {
        static EMPTY: Node = Node {
            value: Value::Map(Vec::new()),
            span: Span { line: 0, column: 0, length: 0 },
            end: Position { line: 0, column: 0 },
        };
        Self { node: &EMPTY, path: path.to_owned(), pattern: String::new(), report: self.report }
    }

    /// Another value of the same object, which nobody else reads.
    pub(crate) fn elsewhere(&self, node: &'a Node, path: &str) -> Self {
        Self { node, path: path.to_owned(), pattern: String::new(), report: self.report }
    }

    pub(crate) const fn node(&self) -> &'a Node {
        self.node
    }

    pub(crate) fn subject(&self) -> &str {
        &self.report.subject
    }

    /// The place of the value.
    pub(crate) fn origin(&self) -> Origin {
        self.report.origin.at(self.node.span)
    }

    /// The place of something below this value, such as `servers[0].tls`, for a message. What was
    /// not written is placed at the nearest value that was.
    pub(crate) fn at(&self, path: &str) -> Self {
        let mut place = self.clone();
        let mut found = true;
        for part in path.split('.') {
            let (name, indexes) = part.split_once('[').unwrap_or((part, ""));
            let below = found.then(|| fields::named(place.node, name)).flatten();
            found = below.is_some();
            place = place.child(name, below.unwrap_or(place.node));
            for index in indexes.split(['[', ']']).filter_map(|text| text.parse::<usize>().ok()) {
                let below = match &place.node.value {
                    Value::List(nodes) if found => nodes.get(index),
                    Value::Null
                    | Value::Bool(_)
                    | Value::Int(..)
                    | Value::Float(..)
                    | Value::Text(_)
                    | Value::List(_)
                    | Value::Map(_) => None,
                };
                found = below.is_some();
                place = place.element(index, below.unwrap_or(place.node));
            }
        }
        place
    }

    /// Adds what another report found.
    pub(crate) fn take_over(&self, report: Report) {
        self.report.problems.borrow_mut().extend(report.into_diagnostics());
    }

    /// The line of the value, from 1.
    pub(crate) const fn line(&self) -> u32 {
        self.node.span.line
    }

    fn child(&self, name: &str, node: &'a Node) -> Self {
        let join =
            |base: &str| if base.is_empty() { name.to_owned() } else { format!("{base}.{name}") };
        Self { node, path: join(&self.path), pattern: join(&self.pattern), report: self.report }
    }

    fn element(&self, index: usize, node: &'a Node) -> Self {
        Self {
            node,
            path: format!("{}[{index}]", self.path),
            pattern: format!("{}[]", self.pattern),
            report: self.report,
        }
    }

    fn keyed(&self, key: &str, node: &'a Node) -> Self {
        let plain = !key.is_empty()
            && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        let path =
            if plain { format!("{}.{key}", self.path) } else { format!("{}[{key:?}]", self.path) };
        Self { node, path, pattern: format!("{}{{}}", self.pattern), report: self.report }
    }

    fn diagnostic(&self, code: Code, span: Span, message: String) -> Diagnostic {
        let origin = self.report.origin.at(span);
        let mut diagnostic = Diagnostic::new(code, &self.report.subject, origin, message);
        diagnostic.path.clone_from(&self.path);
        diagnostic.length = span.length;
        diagnostic
    }

    /// Reports a problem with this value; how bad it is, the code says.
    pub(crate) fn report(&self, code: Code, message: impl Into<String>) {
        self.report.push(self.diagnostic(code, self.node.span, message.into()));
    }

    /// Reports a problem with this value, and what to do.
    pub(crate) fn report_with_help(
        &self,
        code: Code,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let diagnostic = self.diagnostic(code, self.node.span, message.into());
        self.report.push(diagnostic.with_help(help));
    }

    /// Reports a problem with this value, what to do, and a change that does it.
    pub(crate) fn report_with_patch(
        &self,
        code: Code,
        (message, help): (String, String),
        patch: Patch,
    ) {
        let diagnostic = self.diagnostic(code, self.node.span, message);
        self.report.push(diagnostic.with_help(help).with_patch(patch));
    }

    /// The way to the value, from the root of the object.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Reports a problem with a field of `metadata`, placed at this value.
    pub(crate) fn report_metadata(&self, field: &str, message: impl Into<String>) {
        let mut diagnostic = self.diagnostic(Code::BadMetadata, self.node.span, message.into());
        diagnostic.path = format!("metadata.{field}");
        self.report.push(diagnostic);
    }

    /// Reports as a warning what the code calls an error, or the other way round.
    pub(crate) fn report_as(&self, severity: Severity, code: Code, message: impl Into<String>) {
        let mut diagnostic = self.diagnostic(code, self.node.span, message.into());
        diagnostic.severity = severity;
        self.report.push(diagnostic);
    }

    fn wrong_type(&self, expected: &str) {
        let message = format!("expected {expected}, found {}", describe(&self.node.value));
        let written = match &self.node.value {
            Value::Int(_, text) | Value::Float(_, text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
        };
        match (written, &self.node.value) {
            (Some(written), _) if expected.contains("text") => {
                // A boolean may be written as another word.
                let is_so = u32::try_from(written.len()).ok() == Some(self.node.span.length);
                let help = if is_so {
                    format!("write \"{written}\" in quotes")
                } else {
                    "put it in quotes".to_owned()
                };
                let patch = Patch::new("put it in quotes", self.path(), Change::Quote);
                self.report_with_patch(Code::WrongType, (message, help), patch);
            }
            (None, Value::Text(text)) if means(text, expected) => {
                let help = format!("write {text} without quotes");
                let patch = Patch::new(help.clone(), self.path(), Change::SetPlain(text.clone()));
                self.report_with_patch(Code::WrongType, (message, help), patch);
            }
            _ => self.report(Code::WrongType, message),
        }
    }

    /// The fields of a mapping. Anything else is reported and has no fields.
    pub(crate) fn fields(&self) -> Fields<'a> {
        Fields::new(self.clone())
    }

    /// The elements of a list. Anything else is reported and has none.
    pub(crate) fn list(&self) -> Vec<Self> {
        match &self.node.value {
            Value::List(nodes) => {
                nodes.iter().enumerate().map(|(index, node)| self.element(index, node)).collect()
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(..)
            | Value::Float(..)
            | Value::Text(_)
            | Value::Map(_) => {
                self.wrong_type("a list");
                Vec::new()
            }
        }
    }

    /// The pairs of a mapping whose keys the user chooses. Anything else is reported.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Self)> {
        match &self.node.value {
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.as_str(), self.keyed(&entry.key, &entry.node)))
                .collect(),
            Value::Null
            | Value::Bool(_)
            | Value::Int(..)
            | Value::Float(..)
            | Value::Text(_)
            | Value::List(_) => {
                self.wrong_type("a mapping");
                Vec::new()
            }
        }
    }
}

/// Whether a text in quotes is what was expected without them.
fn means(text: &str, expected: &str) -> bool {
    match expected {
        "true or false" => matches!(text, "true" | "false"),
        "a whole number" | "a number" => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let plain =
                (1..=18).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit());
            plain && (digits == "0" || !digits.starts_with('0'))
        }
        _ => false,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Int(_, text) | Value::Float(_, text) => format!("the number {text}"),
        Value::Text(text) => format!("the text {:?}", shortened(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}

/// A text that fits in a message.
pub(crate) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    if text.chars().count() <= CHARACTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(CHARACTERS_MAX).chain(std::iter::once('…')).collect()
}
