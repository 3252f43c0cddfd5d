//! A connection to an instance.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use iako_identity::PeerIdentity;

use super::{far::Far, tunnel::TunnelStream};
use crate::{
    connection::{metadata_exchange, next_number},
    transport::{Connected, TlsDetails},
};

/// A connection to an instance, and what is known of it.
pub(super) struct Onward {
    pub(super) stream: Far,
    pub(super) local: Option<SocketAddr>,
    /// The server's address.
    pub(super) remote: Option<SocketAddr>,
    /// What was agreed on in the TLS handshake.
    pub(super) tls: Option<Arc<TlsDetails>>,
    /// The first URI of the server's certificate.
    pub(super) peer_uri: Option<String>,
    /// When the connection was begun, and when the server accepted it.
    pub(super) times: [Instant; 2],
    /// Its number in this process.
    pub(super) id: u64,
    /// Whether the proxies tell each other of their workloads first.
    pub(super) exchanges_metadata: bool,
}

impl Onward {
    pub(super) fn direct(connected: Connected) -> Self {
        let exchange = metadata_exchange::PROTOCOL.as_bytes();
        Self {
            local: connected.local,
            remote: connected.remote,
            tls: connected.tls,
            times: [connected.began, connected.accepted],
            id: next_number(),
            peer_uri: first_uri(connected.peer.as_deref()),
            exchanges_metadata: connected.alpn.as_deref() == Some(exchange),
            stream: Far::Direct(connected.stream),
        }
    }

    pub(super) fn tunnel(stream: TunnelStream) -> Self {
        let facts = stream.facts();
        Self {
            local: facts.local,
            remote: facts.remote,
            tls: facts.tls.clone(),
            times: [facts.began, facts.accepted],
            id: facts.id,
            peer_uri: first_uri(facts.peer.as_deref()),
            exchanges_metadata: false,
            stream: Far::Tunnel(Box::new(stream)),
        }
    }
}

fn first_uri(peer: Option<&PeerIdentity>) -> Option<String> {
    peer.and_then(|peer| peer.facts.uri_sans.first()).cloned()
}
