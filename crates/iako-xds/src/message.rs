//! What the two ends say to each other, without its encoding.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Resource, TypeUrl, Version};

/// A request, in the form of the stream's variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Of a delta stream.
    Delta(TypeUrl, DeltaRequest),
    /// Of a state-of-the-world stream.
    State(TypeUrl, StateRequest),
}

/// A message of a delta client.
///
/// Source: `envoy.service.discovery.v3.DeltaDiscoveryRequest`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeltaRequest {
    /// Names it wants from now on; `*` is everything.
    pub subscribe: Vec<String>,
    /// Names it wants no more.
    pub unsubscribe: Vec<String>,
    /// What it still has from an earlier stream, with versions. In a type's first message only.
    pub initial_versions: BTreeMap<String, String>,
    /// The response that it judges; empty in other messages.
    pub nonce: String,
    /// Its words when it rejects that response.
    pub error: Option<String>,
}

/// A message of a state-of-the-world client.
///
/// Source: `envoy.service.discovery.v3.DiscoveryRequest`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateRequest {
    /// The version that it accepted last; empty at first.
    pub version: String,
    /// All names it wants.
    pub names: Vec<String>,
    /// The response that it judges; empty in a stream's first message of a type.
    pub nonce: String,
    /// Its words when it rejects that response.
    pub error: Option<String>,
}

/// A message to a client of either form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The type of everything in it.
    pub type_url: TypeUrl,
    /// The version of the whole list as the client sees it.
    pub version: Version,
    /// By which the client answers.
    pub nonce: String,
    /// New and changed resources; for full-state types of a state-of-the-world client, all.
    pub resources: Vec<Resource>,
    /// Names that do not, or no longer, exist. Only for delta clients.
    pub removed: Vec<Arc<str>>,
}
