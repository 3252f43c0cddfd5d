//! What operators may know about a client.

use std::{fmt, net::SocketAddr, sync::Arc, time::SystemTime};

use crate::{Snapshot, TypeUrl, Variant, Version};

/// Tells streams of one process apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One connected client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientStatus {
    /// The name that the node gave itself.
    pub node_id: Arc<str>,
    /// Its stream; a node that reconnects may have two for a moment.
    pub stream: StreamId,
    /// Where it connected from, when known.
    pub address: Option<SocketAddr>,
    /// The form of the conversation.
    pub variant: Variant,
    /// When the stream began.
    pub connected_since: SystemTime,
    /// What it asked for, in order of sending.
    pub types: Vec<TypeStatus>,
    /// Whether it has answered everything of the newest state: nothing waits to be sent or
    /// acknowledged.
    pub up_to_date: bool,
    /// The state that its stream works on.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
}

/// How far a client is with one type of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeStatus {
    /// The type.
    pub type_url: TypeUrl,
    /// How many resources it was told of.
    pub resources: usize,
    /// The version of the list that was sent last.
    pub sent: Option<Version>,
    /// The version of the list that it acknowledged last.
    pub acknowledged: Option<Version>,
    /// Whether a response waits for its acknowledgement.
    pub waiting: bool,
    /// The last rejection that no acknowledgement has followed.
    pub rejected: Option<Nack>,
}

/// A rejection of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nack {
    /// The version of the rejected list.
    pub version: Version,
    /// The client's words.
    pub message: String,
}
