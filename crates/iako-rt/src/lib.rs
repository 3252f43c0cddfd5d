//! The only door to time, randomness and tasks.
//!
//! Code that decides takes `now` and `rng` as arguments; the shells at the edge obtain them here.
//! That keeps the deciding code testable with values, and gives one place where a simulated clock
//! and network can be put beneath a whole process.
//!
//! Not here: sockets (the proxy owns them), signals and processes (the supervisor owns them).

pub mod clock;
pub mod memory;
pub mod panics;
mod rng;
mod scope;

pub use rng::Rng;
pub use scope::{LocalScope, Scope, spawn_detached};
