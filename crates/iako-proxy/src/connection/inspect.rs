//! Finding out about a connection before its filter chain is chosen.

use std::{io, ops::ControlFlow, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use iako_proxy_config::Listener;
use iako_traffic::ConnectionInfo;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::{client_hello, http_sniff, proxy_protocol};

/// Why nothing was found out, and the connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum InspectError {
    /// The client said too little for too long.
    #[error("the client did not say within {0:?} what it speaks")]
    Timeout(Duration),
    /// The client closed, or the connection broke.
    #[error("the connection ended before the client said what it speaks")]
    Ended,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// The load balancer in front did not say who the client is.
    #[error(transparent)]
    ProxyProtocol(#[from] proxy_protocol::NotProxyProtocol),
}

/// Reads as much as the listener's inspectors need, writes what they find into `info`, and returns
/// the bytes that were read and are the connection's own.
pub(super) async fn inspect(
    socket: &mut TcpStream,
    listener: &Listener,
    info: &mut ConnectionInfo,
) -> Result<Bytes, InspectError> {
    let wanted = listener.inspectors;
    if !wanted.tls && !wanted.http && !wanted.proxy_protocol {
        return Ok(Bytes::new());
    }
    let mut inspection = Inspection { buffer: BytesMut::new() };
    let run = inspection.run(socket, listener, info);
    let Some(limit) = listener.inspect_timeout else {
        run.await?;
        return Ok(inspection.buffer.freeze());
    };
    match tokio::time::timeout(limit, run).await {
        Ok(done) => done?,
        // A server that speaks first makes the client wait: the connection goes on unrecognised.
        Err(_elapsed) if listener.continue_on_inspect_timeout => {}
        Err(_elapsed) => return Err(InspectError::Timeout(limit)),
    }
    Ok(inspection.buffer.freeze())
}

/// Outlives a timeout, so that no byte that was read is lost.
struct Inspection {
    buffer: BytesMut,
}

impl Inspection {
    async fn run(
        &mut self,
        socket: &mut TcpStream,
        listener: &Listener,
        info: &mut ConnectionInfo,
    ) -> Result<(), InspectError> {
        if listener.inspectors.proxy_protocol {
            let header = self.until(socket, proxy_protocol::HEADER_BYTES_MAX, |bytes| {
                proxy_protocol::read(bytes)
            });
            let header = header.await?.ok_or(InspectError::Ended)??;
            self.buffer.advance(header.length);
            if let Some((source, destination)) = header.addresses {
                info.remote = source;
                info.original_destination = destination;
            }
        }
        let mut is_tls = false;
        if listener.inspectors.tls {
            let read = self.until(socket, client_hello::HELLO_BYTES_MAX, client_hello::inspect);
            if let Some(client_hello::Verdict::Tls(hello)) = read.await? {
                is_tls = true;
                "tls".clone_into(&mut info.transport_protocol);
                info.server_name = hello.server_name.unwrap_or_default();
                info.application_protocols = hello.alpn;
            }
        }
        if listener.inspectors.http && !is_tls {
            let read = self.until(socket, http_sniff::LINE_BYTES_MAX, http_sniff::inspect);
            if let Some(Some(protocol)) = read.await? {
                info.application_protocols = vec![protocol.to_owned()];
            }
        }
        Ok(())
    }

    /// Reads until `look` is satisfied; `None` when the client half-closed before, having sent
    /// something. A client that closes without a word ends the connection.
    async fn until<T>(
        &mut self,
        socket: &mut TcpStream,
        bytes_max: usize,
        look: impl Fn(&[u8]) -> ControlFlow<T>,
    ) -> Result<Option<T>, InspectError> {
        loop {
            if let ControlFlow::Break(found) = look(&self.buffer) {
                return Ok(Some(found));
            }
            if self.buffer.len() >= bytes_max {
                return Ok(None);
            }
            self.buffer.reserve(2048);
            let read = socket.read_buf(&mut self.buffer).await?;
            if read == 0 && self.buffer.is_empty() {
                return Err(InspectError::Ended);
            }
            if read == 0 {
                return Ok(None);
            }
        }
    }
}
