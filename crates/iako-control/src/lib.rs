//! Runs the control plane: sources, the mesh's state, the xDS server, the certificate authority
//! and the API for tools.
//!
//! One task owns the mesh's state and applies what the sources tell; everything else reads the
//! snapshots that it publishes. Proxies are planned by `iako-translate`, talked to by `iako-xds`.
//! A proxy proves who it is with a join token or a certificate, and is told only what concerns its
//! own namespace and account; certificates name whoever asked.
//!
//! Not here: what documents mean (`iako-resources`, `iako-registry`), what a proxy is told
//! (`iako-translate`), the conversation (`iako-xds`), the command line.
//!
//! Start with [`Control::start`].

mod accepted;
mod api;
mod authenticate;
mod certificates;
mod control;
mod incoming;
mod mesh;
mod planner;
mod proxies;
mod watch;

pub use control::{Control, ControlSettings, StartError};
pub use watch::DirectoryWatch;
