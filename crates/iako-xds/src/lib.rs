//! The xDS conversation, both ends, delta and state of the world, knowing no resource type.
//!
//! A control plane publishes whole [`Snapshot`]s for a node into a [`Cache`]; [`Server`] tells each
//! connected client what it does not have yet. A proxy runs a [`Client`] and steers it by its
//! [`ClientHandle`]: which resources it wants, and for every [`Update`] whether it is taken. A
//! resource is a name, a version and bytes; only `iako-xds-codec` looks inside.
//!
//! The conversation itself is two state machines without I/O, [`ServerStream`] and
//! [`ClientStream`]: messages in, messages out. Everything around them moves bytes.
//!
//! Not here: what resources mean, who may connect (a [`Gate`] says so), TLS (the caller dials and
//! accepts, see [`transport`]).
//!
//! Invariants: at most one response a type waits for its acknowledgement, later states coalesce
//! behind it; a rejected version is never sent again until the resource changes; clusters go out
//! before the routes to them and leave after them; every queue has a bound.
//!
//! Start with [`ServerStream`]. Tested rule by rule without I/O, and over loopback.

pub mod certificates;
mod client;
mod message;
mod resource;
mod server;
pub mod transport;
mod type_url;
mod wire;

pub use client::backoff::Backoff;
pub use client::stream::{
    ClientStream, IncomingResource, IncomingResponse, Interest, Received, Update, Verdict,
};
pub use client::{
    Client, ClientEvent, ClientHandle, ClientSettings, DialError, Dialled, NodeTold, Service,
};
pub use message::{DeltaRequest, Request, Response, StateRequest};
pub use resource::{Cache, Resource, ResourceSet, Snapshot, Version};
pub use server::status::{ClientStatus, Nack, StreamId, TypeStatus};
pub use server::stream::ServerStream;
pub use server::{Gate, Opening, Refusal, Server};
pub use type_url::TypeUrl;
pub use wire::read_response;

/// The node that a client says it is. Source: `envoy.config.core.v3.Node`.
pub use iako_xds_api::envoy::config::core::v3::Node;

/// The two forms of the conversation. Source: xDS protocol, "variants".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Only what changed is sent (`DeltaAggregatedResources`).
    Delta,
    /// Whole lists are sent (`StreamAggregatedResources`).
    StateOfTheWorld,
}
