//! Documents held against a schema.

mod objects;
mod place;
mod rules;
mod scalars;
mod shapes;

use iako_cel::Value;

use crate::instance::{Instance, Shape};
use crate::schema::{Schema, Type};
use crate::values;
use place::Place;

/// Something in a document that its schema does not allow.
#[derive(Debug)]
pub struct Finding<'a, D> {
    /// What kind of fault.
    pub problem: Problem,
    /// The field, such as `spec.rules[0].matches`; empty for the document as a whole.
    pub path: String,
    /// The value at fault, or the mapping that has the key at fault.
    pub node: &'a D,
    /// The key, when that is at fault.
    pub key: Option<&'a str>,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// The rule that does not hold, as it is written.
    pub rule: Option<&'a str>,
    /// What might have been meant: names of fields, or words.
    pub candidates: Vec<&'a str>,
}

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// There is no such field.
    UnknownField,
    /// The value is not of the type.
    WrongType,
    /// A required field is absent.
    Missing,
    /// The value is outside its bounds, or does not match its pattern.
    BadValue,
    /// The word is not one of those allowed.
    UnknownWord,
    /// Fields exclude each other.
    Conflict,
    /// The same stands in a list twice.
    Duplicate,
    /// A rule about the value does not hold.
    Rule,
}

/// How names of fields may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As in the schema alone.
    Exact,
    /// In snake_case too, as protocol buffers read their JSON.
    AlsoSnakeCase,
}

/// Steps that the rules of one document may take together.
const RULE_STEPS_MAX: u32 = 10_000_000;
/// Findings of one document.
const FINDINGS_MAX: usize = 200;

/// Holds a document against the schema of its version, as an API server does when it is created.
#[must_use]
pub fn check<'a, D: Instance>(
    root: &'a Schema,
    document: &'a D,
    spelling: Spelling,
) -> Vec<Finding<'a, D>> {
    let mut checker = Checker { findings: Vec::new(), budget: RULE_STEPS_MAX, spelling };
    checker.value(root, document, &Place::ROOT, Wanted::Verdict);
    checker.findings
}

/// What is asked of a part of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Whether it is allowed.
    Verdict,
    /// Its value too: a rule further out asks about it.
    Value,
}

/// What a part of a document turned out to be.
struct Checked<'a> {
    /// The value, when it was wanted.
    value: Value<'a>,
    /// Whether rules can be asked about it: it has the types and fields that they count on.
    is_sound: bool,
}

impl<'a> Checked<'a> {
    const fn of(value: Value<'a>) -> Self {
        Self { value, is_sound: true }
    }

    const UNSOUND: Self = Self { value: Value::Null, is_sound: false };
}

struct Checker<'a, D> {
    findings: Vec<Finding<'a, D>>,
    budget: u32,
    spelling: Spelling,
}

impl<'a, D: Instance> Checker<'a, D> {
    fn report(&mut self, problem: Problem, place: &Place<'_>, node: &'a D, message: String) {
        let path = place.to_string();
        let candidates = Vec::new();
        self.push(Finding { problem, path, node, key: None, message, rule: None, candidates });
    }

    fn push(&mut self, finding: Finding<'a, D>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    fn value(
        &mut self,
        schema: &'a Schema,
        node: &'a D,
        place: &Place<'_>,
        wanted: Wanted,
    ) -> Checked<'a> {
        let wanted = if schema.rules.is_empty() { wanted } else { Wanted::Value };
        let mut checked = self.unruled(schema, node, place, wanted);
        if !shapes::is_plain(schema) {
            self.forms(schema, node, place);
        }
        if checked.is_sound && !schema.rules.is_empty() {
            self.rules(schema, node, place, &checked.value);
        }
        if wanted == Wanted::Verdict {
            checked.value = Value::Null;
        }
        checked
    }

    /// The value, but for its rules.
    fn unruled(
        &mut self,
        schema: &'a Schema,
        node: &'a D,
        place: &Place<'_>,
        wanted: Wanted,
    ) -> Checked<'a> {
        let shape = node.shape();
        if matches!(shape, Shape::Null) && schema.nullable {
            return Checked::of(Value::Null);
        }
        if !shapes::is_of(schema.kind, &shape) {
            let expected = schema.kind.described();
            let message = format!("expected {expected}, found {}", shape.described());
            self.report(Problem::WrongType, place, node, message);
            return Checked::UNSOUND;
        }
        let mut is_sound = true;
        if let Some(fault) = scalars::fault(schema, &shape) {
            is_sound = !fault.is_blocking;
            self.push(Finding {
                problem: fault.problem,
                path: place.to_string(),
                node,
                key: None,
                message: fault.message,
                rule: None,
                candidates: scalars::words(schema),
            });
        }
        let inner = match (schema.kind, shape) {
            (Type::Object, Shape::Map(entries)) => {
                self.object(schema, (node, entries), place, wanted)
            }
            (Type::List, Shape::List(items)) => self.list(schema, (node, items), place, wanted),
            _ if wanted == Wanted::Value => Checked::of(values::scalar(schema, node)),
            _ => Checked::of(Value::Null),
        };
        Checked { is_sound: is_sound && inner.is_sound, ..inner }
    }
}

#[cfg(test)]
mod tests;
