//! An expression from its text or tree to its value.

use std::sync::Arc;

use crate::attribute::{Attribute, Facts, Root};
use crate::evaluate::{Evaluation, Failure};
use crate::limits::{DEPTH_MAX, NODES_MAX};
use crate::parse;
use crate::program::{self, Dialect, Library, Program};
use crate::tree::Tree;
use crate::value::Value;

/// What an expression may do beyond comparing. Source: `envoy.config.core.v3.CelExpressionConfig`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// `string(…)` of other values. Envoy default: false.
    pub string_conversion: bool,
    /// `+` of texts. Envoy default: false.
    pub string_concat: bool,
    /// `replace`, `split` and their like. Envoy default: false.
    pub string_functions: bool,
}

/// Why a text or tree is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}{}", .at.map_or(String::new(), |at| format!(" at position {at}")))]
pub struct ExpressionError {
    /// What is wrong.
    pub problem: String,
    /// Where, in bytes from the beginning of the text; nowhere where it is about the whole.
    pub at: Option<usize>,
}

/// What an expression was made from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A text.
    Text(String),
    /// A tree.
    Tree(Tree),
}

/// An expression that was checked, cheap to copy.
#[derive(Debug, Clone)]
pub struct Expression(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    options: Options,
    program: Program,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source && self.0.options == other.0.options
    }
}

// A number that is none would not be equal to itself; no text can name one.
impl Eq for Expression {}

impl Expression {
    /// Reads a text.
    ///
    /// # Errors
    /// What is no expression, calls what there is not, or exceeds a limit.
    pub fn parse(text: &str, options: Options) -> Result<Self, ExpressionError> {
        let tree = parse::parse(text)
            .map_err(|(problem, at)| ExpressionError { problem, at: Some(at) })?;
        Self::compile(Source::Text(text.to_owned()), &tree, options)
    }

    /// Takes a tree that somebody else parsed.
    ///
    /// # Errors
    /// It calls what there is not, or exceeds a limit.
    pub fn from_tree(tree: Tree, options: Options) -> Result<Self, ExpressionError> {
        if !is_bounded(&tree) {
            let problem = format!(
                "the expression has more than {NODES_MAX} parts, or is nested deeper than {DEPTH_MAX}"
            );
            return Err(ExpressionError { problem, at: None });
        }
        let compiled = program::compile(&tree, dialect(options), &[]);
        let program = compiled.map_err(|problem| ExpressionError { problem, at: None })?;
        Ok(Self(Arc::new(Inner { source: Source::Tree(tree), options, program })))
    }

    fn compile(source: Source, tree: &Tree, options: Options) -> Result<Self, ExpressionError> {
        let compiled = program::compile(tree, dialect(options), &[]);
        let program = compiled.map_err(|problem| ExpressionError { problem, at: None })?;
        Ok(Self(Arc::new(Inner { source, options, program })))
    }

    /// What it was made from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.0.source
    }

    /// What it may do.
    #[must_use]
    pub fn options(&self) -> Options {
        self.0.options
    }

    /// Every attribute that it names.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.0.program.attributes
    }

    /// Names whose attributes it chooses only when it is evaluated, and objects of filters.
    #[must_use]
    pub fn roots(&self) -> &[Root] {
        &self.0.program.roots
    }

    /// What it is worth.
    ///
    /// # Errors
    /// It names what is not there, does with values what cannot be done, or takes too long.
    pub fn evaluate<'a>(&'a self, facts: &'a dyn Facts) -> Result<Value<'a>, Failure> {
        Evaluation::new(facts, self.0.options).value(&self.0.program.step)
    }

    /// Whether it is true; what has no value is not.
    #[must_use]
    pub fn is_met(&self, facts: &dyn Facts) -> bool {
        self.evaluate(facts) == Ok(Value::Bool(true))
    }
}

const fn dialect(options: Options) -> Dialect {
    Dialect { options, library: Library::Proxy }
}

/// Whether a tree of somebody else's is within what is allowed; it is walked no further than that.
fn is_bounded(tree: &Tree) -> bool {
    let mut open = vec![(tree, 0_usize)];
    let mut nodes = 0_usize;
    while let Some((tree, depth)) = open.pop() {
        nodes = nodes.saturating_add(1);
        if nodes > NODES_MAX || depth > DEPTH_MAX {
            return false;
        }
        let below = depth.saturating_add(1);
        match tree {
            Tree::Literal(_) | Tree::Name(_) => {}
            Tree::Select { operand, .. } => open.push((operand, below)),
            Tree::Call { target, arguments, .. } => {
                open.extend(target.iter().map(|target| (&**target, below)));
                open.extend(arguments.iter().map(|one| (one, below)));
            }
            Tree::List(items) => open.extend(items.iter().map(|one| (one, below))),
            Tree::Map { entries, .. } => {
                open.extend(
                    entries.iter().flat_map(|one| [(&one.key, below), (&one.value, below)]),
                );
            }
            Tree::Fold(fold) => {
                let parts = [&fold.range, &fold.initial, &fold.condition, &fold.step, &fold.result];
                open.extend(parts.map(|one| (one, below)));
            }
        }
    }
    true
}

#[cfg(test)]
mod tests;
