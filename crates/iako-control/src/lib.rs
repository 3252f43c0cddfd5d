//! Runs the control plane: sources, the mesh's state, the xDS server, the certificate authority
//! and the API for tools.
//!
//! One task owns the mesh's state and applies what the sources tell; everything else reads the
//! snapshots that it publishes. Proxies are planned by `iako-translate`, talked to by `iako-xds`.
//!
//! Not here: what documents mean (`iako-resources`, `iako-registry`), what a proxy is told
//! (`iako-translate`), the command line.
//!
//! Start with [`Control::start`].

mod authenticate;
mod certificates;
mod incoming;
mod watch;
