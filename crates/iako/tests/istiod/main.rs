//! What a real istiod sent, served over xDS to whole proxies, with requests through them.
//!
//! `recordings/` holds every resource that an istiod sent to the workloads of 18 scenarios. Each
//! scenario runs on loopback addresses of its own: pods, services and gateways keep their ports and
//! the ends of their addresses; applications are local processes that say what they saw, and end
//! mutual TLS themselves where their sidecar is not a part of the scenario. Nothing is captured:
//! listeners behind a capture are bound where the captured connection would have gone.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests may be blunt"
)]

mod application;
mod authorization;
mod client;
mod gateways;
mod pki;
mod plane;
mod recording;
mod support;
mod traffic;
mod world;
