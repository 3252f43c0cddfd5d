//! Runs an application beside its sidecar, and the local pods of `iako up`.
//!
//! Duty: processes. Which program starts when, what it is told, who stops whom, which exit code
//! comes out. A process that this crate started never outlives it: every child gets a process group
//! of its own, so that Ctrl-C reaches only us, and a death signal, so that it ends when we are
//! killed.
//!
//! Not here: what a pod is made of (`iako-registry` plans pods), the sidecar itself
//! (`iako-proxy`), the control plane.
//!
//! Start with [`Program`] and [`Running`] (one process), then [`run_beside`] (an application and
//! its sidecar), then [`Pods`] (all pods of a directory).

mod beside;
mod exit;
mod output;
mod pods;
mod probe;
mod program;
mod signals;

pub use beside::{BesideError, BesideSettings, SidecarControl, run_beside};
pub use exit::Exit;
pub use output::Output;
pub use pods::{PodPhase, PodSpec, PodState, Pods, PodsSettings};
pub use probe::{accepts_connections, is_healthy};
pub use program::{Program, Running, SpawnError};
pub use signals::{Signals, Stop};
