//! What is said about a resource that cannot be taken as it was sent.

use std::cell::RefCell;
use std::fmt;

/// One step from a message to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A field, by its name in the schema (`connect_timeout`).
    Field(String),
    /// The n-th element of a repeated field, from 0.
    Index(usize),
    /// An entry of a map field.
    Key(String),
}

/// Where in a resource: `filter_chains[0].filters[1].typed_config.stat_prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// The steps from the outermost message inwards.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(crate) fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if position == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => write!(f, "[\"{key}\"]")?,
            }
        }
        Ok(())
    }
}

/// Why a resource was refused. The whole resource is refused; what was held before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {at}{problem}; {help}", at = PathPrefix(path))]
pub struct Invalid {
    /// Kind and name of the resource, such as ``cluster `outbound|80||a.test` ``.
    pub resource: String,
    /// The field that is wrong; empty when it is the resource as a whole.
    pub path: FieldPath,
    /// What is wrong with it: what was found, and what was expected.
    pub problem: String,
    /// What to do about it.
    pub help: String,
}

/// Something in a resource that is taken, but not as its author may think.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Kind and name of the resource.
    pub resource: String,
    /// The field that the warning is about.
    pub path: FieldPath,
    /// What happens instead.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.resource, PathPrefix(&self.path), self.message)
    }
}

/// The path and a colon, or nothing.
struct PathPrefix<'a>(&'a FieldPath);

impl fmt::Display for PathPrefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

/// A problem at a place, before it is known which resource it belongs to. Boxed, because every
/// decoding function returns it and almost none does.
#[derive(Debug)]
pub(crate) struct Fault(Box<FaultParts>);

#[derive(Debug)]
struct FaultParts {
    path: FieldPath,
    problem: String,
    help: String,
}

impl Fault {
    pub(crate) fn new(
        path: FieldPath,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self(Box::new(FaultParts { path, problem: problem.into(), help: help.into() }))
    }

    pub(crate) fn of(self, resource: impl Into<String>) -> Invalid {
        let FaultParts { path, problem, help } = *self.0;
        Invalid { resource: resource.into(), path, problem, help }
    }
}

/// A warning at a place, before it is known which resource it belongs to.
pub(crate) type Note = (FieldPath, String);

/// Where a decoding function stands: a chain of steps on the stack, so that a message without
/// problems costs no allocation, and the place to leave warnings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a Self>,
    step: Place<'a>,
    notes: &'a RefCell<Vec<Note>>,
}

#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> At<'a> {
    pub(crate) const fn root(notes: &'a RefCell<Vec<Note>>) -> Self {
        Self { parent: None, step: Place::Root, notes }
    }

    pub(crate) const fn field<'b>(&'b self, name: &'b str) -> At<'b> {
        At { parent: Some(self), step: Place::Field(name), notes: self.notes }
    }

    pub(crate) const fn index(&self, index: usize) -> At<'_> {
        At { parent: Some(self), step: Place::Index(index), notes: self.notes }
    }

    pub(crate) const fn key<'b>(&'b self, key: &'b str) -> At<'b> {
        At { parent: Some(self), step: Place::Key(key), notes: self.notes }
    }

    pub(crate) fn path(&self) -> FieldPath {
        let mut steps = Vec::new();
        let mut here = Some(self);
        while let Some(at) = here {
            match at.step {
                Place::Root => {}
                Place::Field(name) => steps.push(Step::Field(name.to_owned())),
                Place::Index(index) => steps.push(Step::Index(index)),
                Place::Key(key) => steps.push(Step::Key(key.to_owned())),
            }
            here = at.parent;
        }
        steps.reverse();
        FieldPath(steps)
    }

    /// A refusal of what stands here.
    pub(crate) fn invalid(&self, problem: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(self.path(), problem, help)
    }

    /// A field that must be set and is not.
    pub(crate) fn missing(&self, help: impl Into<String>) -> Fault {
        self.invalid("must be set", help)
    }

    /// How many warnings there are, of any place.
    pub(crate) fn warnings(&self) -> usize {
        self.notes.borrow().len()
    }

    /// Where warnings are left.
    pub(crate) const fn notes(&self) -> &'a RefCell<Vec<Note>> {
        self.notes
    }

    /// A warning about what stands here.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        self.notes.borrow_mut().push((self.path(), message.into()));
    }
}
