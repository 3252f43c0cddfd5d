//! Iako's own kinds, in the group `iako.io`: only for what Istio's and the Gateway API's cannot say.
//!
//! Their Rust types are the only description there is: the definitions that an API server needs
//! ([`definitions`]), the reader of documents and the documentation of fields are made from them.

mod described;
mod page;
pub mod rate_limit;

pub(crate) use described::Described;
pub use page::{OwnDefinition, own_definitions};

/// The group of Iako's own kinds.
pub(crate) const GROUP: &str = "iako.io";
