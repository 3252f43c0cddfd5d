//! Whole meshes of real processes on loopback, as users run them.
//!
//! Every mesh has a range of addresses and a state directory of its own, and runs alone: the
//! machine that builds this is small, and what is measured here is whether requests fail.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may be blunt"
)]

mod application;
mod bulk;
mod collectors;
mod control_plane;
mod demo;
mod edits;
mod ends;
mod floods;
mod h2spec;
mod http1;
mod idle_peers;
mod load;
mod myapp;
mod restart;
mod rig;
mod stand;
mod static_proxy;
mod tools;
mod wire;
