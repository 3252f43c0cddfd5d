//! Finds mistakes in a snapshot; explains what would happen to a request.
//!
//! [`analyze`] looks for what no single document shows: names that lead nowhere, objects that
//! contradict each other, policies that do less than they seem to. Each kind of mistake is one line
//! of [`ANALYZERS`].
//!
//! [`explain`] follows one request from a client to a server: it makes the plans of both proxies
//! and asks the proxy's own code (`iako-traffic`), so that an explanation cannot differ from the
//! act.
//!
//! [`Project`] holds texts that change while they are looked at, for editors and `--watch`.
//!
//! Not here: mistakes inside one document (`iako-resources` finds them while reading), what a proxy
//! is told (`iako-translate`).
//!
//! Start with `analyzers.rs` and `explain.rs`. Tested by golden findings and golden explanations.

mod analyzers;
mod explain;
mod project;
mod suppress;

pub use analyzers::{ANALYZERS, Analyzer, analyze, analyze_at};
pub use explain::{
    Client, Decision, ExplainError, ExplainRequest, Explanation, Outcome, RuleReference, Step,
    explain, render_explanation,
};
pub use project::{Checked, Project};
pub use suppress::{Suppression, SuppressionError};
