//! Trees into steps: names looked up, functions found, patterns compiled.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::attribute::{Attribute, HeadersOf, MetadataOf, Root};
use crate::expression::Options;
use crate::function::{self, Form, Function};
use crate::limits::{DEPTH_MAX, NODES_MAX, PATTERN_BYTES_MAX};
use crate::tree::{Fold, Literal, Tree};
use crate::value::Value;

/// A part of an expression, ready to be evaluated.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Constant(Value<'static>),
    Attribute(Attribute),
    /// A name that nothing has: never a value.
    Missing,
    /// What a fold keeps.
    Slot(usize),
    Select(Box<Self>, Box<str>),
    Has(Box<Self>, Box<str>),
    HasAttribute(Attribute),
    Index(Box<[Self; 2]>),
    In(Box<[Self; 2]>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    If(Box<[Self; 3]>),
    /// Whether something is anything but false, an error included.
    NotFalse(Box<Self>),
    Call(Function, Vec<Self>),
    Matches(Box<Self>, Regex),
    /// Against a pattern that is not known before.
    MatchesLate(Box<[Self; 2]>),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Fold(Box<Folding>),
    /// The list of a slot with more at its end. The slot is about to be written.
    Append(usize, Vec<Self>),
}

#[derive(Debug, Clone)]
pub(crate) struct Folding {
    /// The slot of the element; the next one holds what is made.
    pub(crate) slot: usize,
    pub(crate) range: Step,
    pub(crate) initial: Step,
    pub(crate) condition: Step,
    pub(crate) step: Step,
    pub(crate) result: Step,
}

/// What was compiled.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) step: Step,
    /// Every attribute that is named.
    pub(crate) attributes: Vec<Attribute>,
    /// Names whose attributes are chosen when it is evaluated.
    pub(crate) roots: Vec<Root>,
}

/// Types that have names.
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What an expression may name and call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) options: Options,
    pub(crate) library: Library,
}

/// Who else gives functions and names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    /// A proxy: attributes of requests.
    Proxy,
    /// Kubernetes: functions for rules of schemas.
    Kubernetes,
}

/// Compiles a tree; variables that are handed in take the first slots.
pub(crate) fn compile(
    tree: &Tree,
    dialect: Dialect,
    variables: &[&str],
) -> Result<Program, String> {
    let mut compiler = Compiler {
        dialect,
        names: variables.iter().map(|name| (*name).to_owned()).collect(),
        nodes: 0,
        attributes: Vec::new(),
        roots: Vec::new(),
    };
    let step = compiler.step(tree, 0)?;
    Ok(Program { step, attributes: compiler.attributes, roots: compiler.roots })
}

/// What is asked of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Value,
    /// Whether there is one.
    Presence,
}

struct Compiler {
    dialect: Dialect,
    /// Variables and names of folds, each at the place of its slot.
    names: Vec<String>,
    nodes: usize,
    attributes: Vec<Attribute>,
    roots: Vec<Root>,
}

impl Compiler {
    fn step(&mut self, tree: &Tree, depth: usize) -> Result<Step, String> {
        self.nodes = self.nodes.saturating_add(1);
        // What macros put around counts here as well.
        if self.nodes > NODES_MAX * 2 {
            return Err(format!("the expression has more than {NODES_MAX} parts"));
        }
        if depth > DEPTH_MAX * 2 {
            return Err(format!("the expression is nested deeper than {DEPTH_MAX}"));
        }
        let below = depth.saturating_add(1);
        match tree {
            Tree::Literal(literal) => Ok(Step::Constant(constant(literal))),
            Tree::Name(name) => Ok(self.name(name)),
            Tree::Select { operand, field, is_test } => {
                let asked = if *is_test { Asked::Presence } else { Asked::Value };
                self.select(operand, field, asked, below)
            }
            Tree::Call { target, function, arguments } => {
                self.call(target.as_deref(), function, arguments, below)
            }
            Tree::List(items) => {
                let items = self.all(items, below)?;
                Ok(folded(items))
            }
            Tree::Map { message, .. } if !message.is_empty() => {
                Err(format!("messages such as `{message}` cannot be made"))
            }
            Tree::Map { entries, .. } => {
                let entries = entries.iter().map(|entry| {
                    Ok((self.step(&entry.key, below)?, self.step(&entry.value, below)?))
                });
                Ok(Step::Map(entries.collect::<Result<_, String>>()?))
            }
            Tree::Fold(fold) => self.fold(fold, below),
        }
    }

    fn all(&mut self, trees: &[Tree], depth: usize) -> Result<Vec<Step>, String> {
        trees.iter().map(|tree| self.step(tree, depth)).collect()
    }

    fn two(&mut self, one: &Tree, other: &Tree, depth: usize) -> Result<Box<[Step; 2]>, String> {
        Ok(Box::new([self.step(one, depth)?, self.step(other, depth)?]))
    }

    fn slot(&self, name: &str) -> Option<usize> {
        self.names.iter().rposition(|own| own == name)
    }

    fn root(&self, name: &str) -> Option<Root> {
        Root::from_name(name).filter(|_| self.dialect.library == Library::Proxy)
    }

    fn name(&mut self, name: &str) -> Step {
        // A leading point says that the name begins at the outermost.
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some(slot) = self.slot(name) {
            return Step::Slot(slot);
        }
        if let Some(root) = self.root(name) {
            if root == Root::Metadata {
                return Step::Constant(Value::Metadata(MetadataOf::Dynamic));
            }
            self.roots.push(root);
            return Step::Constant(Value::Root(root));
        }
        let found = TYPES.into_iter().find(|own| *own == name);
        found.map_or(Step::Missing, |name| Step::Constant(Value::Type(name)))
    }

    fn select(
        &mut self,
        operand: &Tree,
        field: &str,
        asked: Asked,
        depth: usize,
    ) -> Result<Step, String> {
        if let Tree::Name(name) = operand
            && self.slot(name).is_none()
            && let Some(root) = self.root(name.strip_prefix('.').unwrap_or(name))
            && !matches!(root, Root::Metadata | Root::FilterState | Root::UpstreamFilterState)
        {
            let Some(attribute) = Attribute::find(root, field) else {
                let never = Step::Constant(Value::Bool(false));
                return Ok(if asked == Asked::Presence { never } else { Step::Missing });
            };
            self.attributes.push(attribute);
            return Ok(match (asked, headers(attribute)) {
                (Asked::Presence, Some(_)) => Step::Constant(Value::Bool(true)),
                (Asked::Presence, None) => Step::HasAttribute(attribute),
                (Asked::Value, Some(of)) => Step::Constant(Value::Headers(of)),
                (Asked::Value, None) => Step::Attribute(attribute),
            });
        }
        let operand = Box::new(self.step(operand, depth)?);
        let field = Box::from(field);
        Ok(match asked {
            Asked::Presence => Step::Has(operand, field),
            Asked::Value => Step::Select(operand, field),
        })
    }

    fn call(
        &mut self,
        target: Option<&Tree>,
        name: &str,
        arguments: &[Tree],
        depth: usize,
    ) -> Result<Step, String> {
        match (name, target, arguments) {
            ("_&&_", None, [one, other]) => return Ok(Step::And(self.two(one, other, depth)?)),
            ("_||_", None, [one, other]) => return Ok(Step::Or(self.two(one, other, depth)?)),
            ("_?_:_", None, [condition, yes, no]) => {
                return Ok(Step::If(Box::new([
                    self.step(condition, depth)?,
                    self.step(yes, depth)?,
                    self.step(no, depth)?,
                ])));
            }
            ("_[_]", None, [one, other]) => return Ok(Step::Index(self.two(one, other, depth)?)),
            ("@in" | "_in_" | "in", None, [one, other]) => {
                return Ok(Step::In(self.two(one, other, depth)?));
            }
            ("@not_strictly_false" | "__not_strictly_false__", None, [one]) => {
                return Ok(Step::NotFalse(Box::new(self.step(one, depth)?)));
            }
            ("matches", None, [text, pattern]) | ("matches", Some(text), [pattern]) => {
                return self.matches(text, pattern, depth);
            }
            _ => {}
        }
        let count = arguments.len().saturating_add(usize::from(target.is_some()));
        let written = if target.is_some() { Form::Member } else { Form::Plain };
        let function = function::find(name, written, count, self.dialect)?;
        let mut steps = Vec::with_capacity(count);
        for tree in target.into_iter().chain(arguments) {
            steps.push(self.step(tree, depth)?);
        }
        Ok(Step::Call(function, steps))
    }

    fn matches(&mut self, text: &Tree, pattern: &Tree, depth: usize) -> Result<Step, String> {
        if let Tree::Literal(Literal::Text(pattern)) = pattern {
            let regex = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
            let regex = regex.map_err(|error| format!("the pattern `{pattern}`: {error}"))?;
            return Ok(Step::Matches(Box::new(self.step(text, depth)?), regex));
        }
        Ok(Step::MatchesLate(self.two(text, pattern, depth)?))
    }

    fn fold(&mut self, fold: &Fold, depth: usize) -> Result<Step, String> {
        let range = self.step(&fold.range, depth)?;
        let initial = self.step(&fold.initial, depth)?;
        let slot = self.names.len();
        self.names.push(fold.element.clone());
        self.names.push(fold.made.clone());
        let condition = self.step(&fold.condition, depth)?;
        let step = self.making(&fold.step, slot.saturating_add(1), &fold.made, depth)?;
        let result = self.step(&fold.result, depth)?;
        self.names.truncate(slot);
        Ok(Step::Fold(Box::new(Folding { slot, range, initial, condition, step, result })))
    }

    /// What is made of an element: lists grow in place.
    fn making(
        &mut self,
        tree: &Tree,
        slot: usize,
        made: &str,
        depth: usize,
    ) -> Result<Step, String> {
        let Tree::Call { target: None, function, arguments } = tree else {
            return self.step(tree, depth);
        };
        match (function.as_str(), arguments.as_slice()) {
            ("_+_", [Tree::Name(name), Tree::List(items)]) if name == made => {
                Ok(Step::Append(slot, self.all(items, depth.saturating_add(1))?))
            }
            ("_?_:_", [condition, yes, no]) => {
                let below = depth.saturating_add(1);
                if below > DEPTH_MAX * 2 {
                    return Err(format!("the expression is nested deeper than {DEPTH_MAX}"));
                }
                Ok(Step::If(Box::new([
                    self.step(condition, below)?,
                    self.making(yes, slot, made, below)?,
                    self.making(no, slot, made, below)?,
                ])))
            }
            _ => self.step(tree, depth),
        }
    }
}

/// A list of constants is one itself.
fn folded(items: Vec<Step>) -> Step {
    let constants: Option<Vec<Value<'static>>> = items
        .iter()
        .map(|item| match item {
            Step::Constant(value) => Some(value.clone()),
            _ => None,
        })
        .collect();
    constants.map_or(Step::List(items), |values| Step::Constant(Value::List(Arc::new(values))))
}

fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::Text(text) => Value::Text(text.clone().into()),
        Literal::Bytes(bytes) => Value::Bytes(bytes.clone().into()),
        Literal::Duration(nanos) => Value::Duration(*nanos),
        Literal::Timestamp(nanos) => Value::Timestamp(*nanos),
    }
}

const fn headers(attribute: Attribute) -> Option<HeadersOf> {
    match attribute {
        Attribute::RequestHeaders => Some(HeadersOf::Request),
        Attribute::ResponseHeaders => Some(HeadersOf::Response),
        Attribute::ResponseTrailers => Some(HeadersOf::Trailers),
        _ => None,
    }
}
