//! A language server for what users write: findings while typing, what a field means, which fields
//! and names there are, where a name is defined, and changes that mend a finding.
//!
//! It speaks the Language Server Protocol 3.17 over two byte streams: [`serve`] reads messages,
//! answers requests, and tells findings whenever no further message waits. What is wrong is
//! `iako-analyze`'s business, what a field means `iako-schema`'s; here both are only shown.
//!
//! Not here: standard input and output themselves (`iako lsp` hands them in), and watching files
//! (editors do).
//!
//! Start with `server.rs`; `spot.rs` finds out what the cursor is at, in texts that are finished
//! (`spot/tree.rs`) and in those that are being typed (`spot/lines.rs`).
//!
//! Invariants: one message is handled at a time, in their order; an edit of another version than the
//! one that follows is not applied; a message has at most [`MESSAGE_BYTES_MAX`] bytes.

mod action;
mod complete;
mod convert;
mod define;
mod hover;
mod names;
mod publish;
mod server;
mod spot;
mod sync;
mod wire;

pub use server::{Ending, Settings, serve};
pub use wire::MESSAGE_BYTES_MAX;
