//! What `iako demo` adds to `iako up`: customers, and a summary that is alive.

mod load;
mod summary;

pub(crate) use load::{Load, LoadSettings, LoadTotals};
pub(crate) use summary::{MeshSummary, Statistics, Window};
