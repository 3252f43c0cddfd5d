//! The published schemas of the kinds that users write, and documents held against them.
//!
//! An API server that has Istio's and the Gateway API's CustomResourceDefinitions refuses documents
//! by what stands in these definitions: types, bounds, patterns, required fields, lists whose elements
//! have to differ, and rules in the Common Expression Language. This crate holds the definitions as
//! they were published (`crds/`, packed by the build script) and answers as such a server does.
//!
//! What is **not** here: what a document means (`iako-resources` reads it), and how texts become trees;
//! whoever has a tree implements [`Instance`] for it.
//!
//! Start with [`definition`] for the schema of a kind and [`check`] for a document. A [`Schema`] also
//! knows its description and default, for those who show them.
//!
//! Invariants: defaults are applied before rules are asked, fields that are null without being allowed
//! to be count as absent, and rules about changes (`oldSelf`) are not asked, because every document is a
//! new object. What evaluating rules may cost is bounded a document. Schemas are unpacked once, at the
//! first question; patterns and rules are compiled at their first use.

mod catalog;
mod check;
mod instance;
mod raw;
mod schema;
mod values;

pub use catalog::{Definition, Source, Version, definition, definitions};
pub use check::{Finding, Problem, Spelling, check};
pub use instance::{Instance, Shape};
pub use schema::{ListType, Pattern, Property, Rule, Schema, Type};
