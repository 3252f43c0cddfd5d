//! Finding out about a connection before its filter chain is chosen.

use std::{io, ops::ControlFlow, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use iako_proxy_config::{Listener, ListenerFilterKind, OriginalSrc, ProxyProtocol, TlsInspector};
use iako_traffic::{ConnectionInfo, SourceBinding, predicate_holds};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::{
    client_hello, http_sniff,
    proxy_protocol::{self, Verdict, Version},
};
use crate::{
    snapshot::{InspectorStats, ListenerSettings, ProxyProtocolStats},
    transport::failure,
};

/// Why nothing was found out, and the connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum InspectError {
    /// The client said too little for too long.
    #[error("the client did not say within {0:?} what it speaks")]
    Timeout(Duration),
    /// The client closed.
    #[error("the connection ended before the client said what it speaks")]
    Ended,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// The load balancer in front did not say who the client is.
    #[error("the connection does not begin with a PROXY protocol header that is allowed")]
    ProxyProtocol,
    /// The first message of TLS is larger than is waited for.
    #[error("the first message of TLS is too large")]
    HelloTooLarge,
    /// The first message is none of TLS, where nothing else is taken.
    #[error("the first message is not one of TLS")]
    NotTls,
    /// The settings of a filter have not arrived.
    #[error("the settings of a listener filter have not arrived")]
    NoFilterConfig,
}

/// What was found out that is not about the client's bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The original destination is known, so that another listener may take over.
    pub(super) destination: bool,
}

/// Looks at a connection, keeps what it read.
#[derive(Debug)]
pub(super) struct Inspection<'a> {
    pub(super) socket: &'a mut TcpStream,
    pub(super) info: &'a mut ConnectionInfo,
    /// Outlives a time-out, so that no byte that was read is lost.
    buffer: BytesMut,
    found: Found,
}

impl<'a> Inspection<'a> {
    pub(super) fn new(socket: &'a mut TcpStream, info: &'a mut ConnectionInfo) -> Self {
        Self { socket, info, buffer: BytesMut::new(), found: Found::default() }
    }

    /// The bytes that were read and are the connection's own.
    pub(super) fn into_bytes(self) -> Bytes {
        self.buffer.freeze()
    }

    /// What a log says of a client that was expected to speak TLS.
    pub(super) fn not_tls(&self) -> String {
        failure::not_tls(&self.buffer)
    }

    /// Lets a client know at once that nobody reads what it says.
    pub(super) fn turn_away(&self) {
        turn_away(self.socket, &self.buffer);
    }

    /// Does what a listener's filters ask for, in their order, within the listener's time.
    pub(super) async fn run(&mut self, settings: &ListenerSettings) -> Result<Found, InspectError> {
        self.found = Found::default();
        let listener = &settings.config;
        if listener.inspectors.is_empty() {
            return Ok(self.found);
        }
        let Some(limit) = listener.inspect_timeout else {
            self.filters(listener, &settings.inspectors).await?;
            return Ok(self.found);
        };
        match tokio::time::timeout(limit, self.filters(listener, &settings.inspectors)).await {
            Ok(done) => done?,
            // A server that speaks first makes the client wait: the connection goes on unrecognised.
            Err(_elapsed) if listener.continue_on_inspect_timeout => {}
            Err(_elapsed) => return Err(InspectError::Timeout(limit)),
        }
        Ok(self.found)
    }

    async fn filters(
        &mut self,
        listener: &Listener,
        stats: &InspectorStats,
    ) -> Result<(), InspectError> {
        for filter in &listener.inspectors {
            let port = self.info.original_destination.port();
            if filter.disabled.as_ref().is_some_and(|predicate| predicate_holds(predicate, port)) {
                continue;
            }
            match &filter.kind {
                ListenerFilterKind::OriginalDst => self.original_dst(listener),
                ListenerFilterKind::Tls(settings) => self.tls(settings, stats).await?,
                ListenerFilterKind::Http => self.http(stats).await?,
                ListenerFilterKind::OriginalSrc(settings) => self.original_src(*settings),
                ListenerFilterKind::Discovered(_) => return Err(InspectError::NoFilterConfig),
                ListenerFilterKind::ProxyProtocol(settings) => {
                    self.proxy_protocol(settings, &stats.proxy).await?;
                }
            }
        }
        Ok(())
    }

    fn original_dst(&mut self, listener: &Listener) {
        // Where packets are led here unchanged (TPROXY), our end is the original destination.
        self.found.destination = listener.transparent;
        if let Some(destination) = original_destination(self.socket) {
            self.info.original_destination = destination;
            self.found.destination = true;
        }
    }

    fn original_src(&mut self, settings: OriginalSrc) {
        if self.socket.peer_addr().is_err() {
            // Who comes from within this machine has no address.
            return;
        }
        let OriginalSrc { bind_port, mark } = settings;
        let mut address = self.info.remote;
        if !bind_port {
            address.set_port(0);
        }
        self.info.source = Some(SourceBinding { address, mark });
    }

    async fn proxy_protocol(
        &mut self,
        settings: &ProxyProtocol,
        stats: &ProxyProtocolStats,
    ) -> Result<(), InspectError> {
        let of = |version: Version| match version {
            Version::One => &stats.version_1,
            Version::Two => &stats.version_2,
        };
        let look = |bytes: &[u8]| proxy_protocol::read(bytes, settings);
        let verdict = self.until(proxy_protocol::HEADER_BYTES_MAX, look).await?;
        match verdict {
            Some(Verdict::Header(header)) => {
                of(header.version).found.inc();
                self.buffer.advance(header.length.min(self.buffer.len()));
                proxy_protocol::keep(header, settings, self.info);
                Ok(())
            }
            Some(Verdict::Absent) if settings.optional => {
                stats.not_found_allowed.inc();
                Ok(())
            }
            Some(Verdict::Absent) => {
                stats.not_found_disallowed.inc();
                Err(InspectError::ProxyProtocol)
            }
            None => Err(InspectError::Ended),
            Some(Verdict::Disallowed(version)) => {
                of(version).found.inc();
                of(version).disallowed.inc();
                Err(InspectError::ProxyProtocol)
            }
            Some(Verdict::Malformed(version)) => {
                of(version).error.inc();
                Err(InspectError::ProxyProtocol)
            }
        }
    }

    async fn tls(
        &mut self,
        settings: &TlsInspector,
        stats: &InspectorStats,
    ) -> Result<(), InspectError> {
        let bytes_max = usize::try_from(settings.hello_bytes_max).unwrap_or(usize::MAX);
        let look = |bytes: &[u8]| client_hello::inspect(bytes, bytes_max);
        match self.until(bytes_max, look).await? {
            Some(client_hello::Verdict::Tls(hello)) => {
                stats.count_tls(hello.server_name.is_some(), !hello.alpn.is_empty());
                "tls".clone_into(&mut self.info.transport_protocol);
                self.info.server_name = hello.server_name.unwrap_or_default();
                self.info.application_protocols = hello.alpn;
            }
            Some(client_hello::Verdict::TooLarge) => {
                stats.hello_too_large.inc();
                return Err(InspectError::HelloTooLarge);
            }
            Some(client_hello::Verdict::NotTls) | None => {
                stats.tls_not_found.inc();
                if settings.closes_on_error {
                    return Err(InspectError::NotTls);
                }
            }
        }
        Ok(())
    }

    async fn http(&mut self, stats: &InspectorStats) -> Result<(), InspectError> {
        if self.info.transport_protocol == "tls" {
            return Ok(());
        }
        let found = self.until(http_sniff::LINE_BYTES_MAX, http_sniff::inspect).await?.flatten();
        stats.count_http(found);
        if let Some(protocol) = found {
            self.info.application_protocols = vec![protocol.to_owned()];
        }
        Ok(())
    }

    /// Reads until `look` is satisfied; `None` when the client half-closed before, having sent
    /// something. A client that closes without a word ends the connection.
    async fn until<T>(
        &mut self,
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
            let read = self.socket.read_buf(&mut self.buffer).await?;
            if read == 0 && self.buffer.is_empty() {
                return Err(InspectError::Ended);
            }
            if read == 0 {
                return Ok(None);
            }
        }
    }
}

/// Resets a connection of which something was read, as a system does with one that is closed before
/// that: whoever goes on sending learns that it is in vain.
pub(super) fn turn_away(socket: &TcpStream, read: &[u8]) {
    if !read.is_empty() {
        crate::transport::socket::reset_when_closed(socket);
    }
}

/// The address that the client meant to reach, where the kernel redirected it.
fn original_destination(socket: &TcpStream) -> Option<std::net::SocketAddr> {
    let socket = socket2::SockRef::from(socket);
    socket.original_dst_v4().or_else(|_| socket.original_dst_v6()).ok()?.as_socket()
}
