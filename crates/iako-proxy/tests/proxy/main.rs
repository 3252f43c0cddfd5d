//! Whole proxies on loopback, in one process with their clients, servers and control plane.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may be blunt")]

mod admin;
mod ads;
mod load;
mod sources;
mod spread;
mod stapling;
mod support;
mod tcp;
mod tls;
