//! The Common Expression Language, as far as a proxy asks it about requests and connections.
//!
//! An [`Expression`] comes from text ([`Expression::parse`]) or from a tree that somebody else parsed
//! ([`Expression::from_tree`]), is checked and compiled once, and is then evaluated against [`Facts`]:
//! attributes of a request, its connection and its upstream, by Envoy's names ([`Attribute`]).
//! A missing attribute is an error, an error is no value, and a condition without a value is not met.
//!
//! A [`Rule`] is an expression over values that are handed in, with the functions that Kubernetes gives
//! to the rules of its schemas.
//!
//! What is **not** here: who knows the facts, and any wire format.
//!
//! Everything is bounded: the length of a text, the nesting and size of a tree ([`limits`]), and for
//! each evaluation the steps that it takes and the bytes that it makes. Patterns are matched in linear
//! time and compiled with the expression. What an evaluation borrows it does not copy.
//!
//! Start reading at `parse.rs`, then `program.rs` and `evaluate.rs`. Tests stand beside each; a fuzz
//! target parses and evaluates random text ([`fuzz`]).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an operation lists the kinds of values that it takes; any other kind is an error"
)]

mod attribute;
mod evaluate;
mod expression;
mod function;
pub mod fuzz;
mod lex;
mod library;
pub mod limits;
mod number;
mod parse;
mod program;
mod rule;
mod strings;
mod time;
mod tree;
mod value;

pub use attribute::{Attribute, Facts, HeadersOf, MetadataOf, Root, StateOf};
pub use evaluate::Failure;
pub use expression::{Expression, ExpressionError, Options, Source};
pub use rule::Rule;
pub use tree::{Entry, Fold, Literal, Tree};
pub use value::{Record, Value};
