//! A whole mesh on this machine, from a directory of YAML: what `iako up` and `iako demo` share.
//!
//! This process plays the part of Kubernetes' kubelet: it plans the local pods that the directory
//! asks for, runs them, and tells the control plane about them by writing `Pod` documents with
//! their addresses and readiness. The control plane, a process of its own, reads the user's
//! directory and those documents, and nothing else; so it may die and start again at any time.

mod directory;
mod engine;
mod pods;
mod screen;

pub(crate) use directory::read_snapshot;
pub(crate) use engine::{Demo, UpSettings, run};
