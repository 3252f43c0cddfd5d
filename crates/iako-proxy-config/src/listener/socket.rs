//! How listening sockets are opened.

use std::path::PathBuf;

use bytes::Bytes;

use crate::TcpKeepalive;

/// What is asked of the operating system for a listener's sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketSettings {
    /// Whether each worker has a socket of its own, over which the system spreads connections.
    /// False: all workers take connections from one. Envoy default: true.
    pub reuse_port: bool,
    /// How connections are spread over workers.
    pub balance: ConnectionBalance,
    /// Probes on idle connections of clients; none when absent. Envoy default: none.
    pub keepalive: Option<TcpKeepalive>,
    /// Connections that may bring bytes with their first packet and wait (RFC 7413); none when
    /// absent. Envoy default: none.
    pub fast_open_queue: Option<u32>,
    /// Whether a connection may use several paths (RFC 8684). Envoy default: false.
    pub multipath: bool,
    /// Set as they are written.
    pub options: Vec<SocketOption>,
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self {
            reuse_port: true,
            balance: ConnectionBalance::Fair,
            keepalive: None,
            fast_open_queue: None,
            multipath: false,
            options: Vec::new(),
        }
    }
}

/// How connections are spread over workers. Source: `Listener.ConnectionBalanceConfig`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConnectionBalance {
    /// Where the system puts them, but for workers that carry clearly more than others.
    #[default]
    Fair,
    /// Each to the worker that carries the fewest. Source: `exact_balance`.
    Exact,
}

/// One option of a socket. Source: `envoy.config.core.v3.SocketOption`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOption {
    /// For logs; may be empty.
    pub description: String,
    /// The system's number of the layer, such as 6 for TCP.
    pub level: i32,
    /// The system's number of the option.
    pub name: i32,
    /// Its value.
    pub value: SocketOptionValue,
    /// When it is set.
    pub state: SocketState,
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketOptionValue {
    /// A number, in the machine's form.
    Number(i32),
    /// Bytes as they are.
    Bytes(Bytes),
}

/// When an option of a socket is set. Source: `SocketOption.SocketState`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SocketState {
    /// Before the address is bound.
    #[default]
    Prebind,
    /// After that, before listening.
    Bound,
    /// Once it listens.
    Listening,
}

/// An address in the file system, at which a listener takes connections of this machine.
/// Source: `envoy.config.core.v3.Pipe`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PipeAddress {
    /// The socket's file; what starts with `@` is a name of Linux without a file.
    pub path: PathBuf,
    /// Its permissions; the system decides when 0. Envoy default: 0.
    pub mode: u32,
}
