//! What the mesh is now: applies changes, publishes `MeshSnapshot`.
//!
//! Every source (files, later a Kubernetes API server) becomes the same [`Change`];
//! [`MeshState::apply`] makes a whole new [`MeshSnapshot`] of it. An edit that breaks an object
//! does not remove it: the last version that was correct stays, and a diagnostic says so.
//!
//! Not here: reading documents (`iako-resources`), what a proxy is told (`iako-translate`).
//!
//! Start with [`MeshState`]; which policy counts for which workload is in [`select`]; which
//! processes a directory means on one machine is in [`local_pods`].
//!
//! Invariants: a snapshot never changes; lists are oldest first; the same objects make the same
//! snapshot in whatever order they came.

mod build;
mod change;
mod local;
pub mod select;
mod service;
mod snapshot;
mod state;
mod workload;

pub use change::Change;
pub use local::{Allocated, LocalPod, LocalPodRole, Readiness, local_findings, local_pods};
pub use service::{Endpoint, Service, ServicePort, ServiceResolution, ServiceSource};
pub use snapshot::MeshSnapshot;
pub use state::MeshState;
pub use workload::{
    APP_ADDRESS_ANNOTATION, GATEWAY_ANNOTATION, OWNER_ANNOTATION, TLS_MODE_LABEL, Workload,
    WorkloadOwner, WorkloadSource,
};
