//! The server behind the proxies: answers every request, over HTTP/1.1 or HTTP/2 as the first bytes
//! say, with the same body; on a second port it sends without end.

mod http1;
mod http2;

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::wire::frames::PREFACE;
use crate::wire::reactor::{Interest, Reactor, Ready};
use crate::wire::socket::{Received, Socket};

const SCRATCH_BYTES: usize = 256 << 10;
/// Written to a bulk connection at once.
const CHUNK_BYTES: usize = 256 << 10;
/// The token of the listener for bulk; those for HTTP follow it.
const BULK: usize = 0;

#[derive(Debug)]
enum Peer {
    /// Has not said enough to tell.
    New,
    Http1,
    Http2(Box<http2::Server>),
    Bulk,
}

/// The server, listening.
pub(crate) struct Upstream {
    reactor: Reactor,
    /// The one for bulk, then those for HTTP; their places are their tokens.
    listeners: Vec<TcpListener>,
    /// By token, after those of listeners.
    connections: Vec<Option<(Socket, Peer)>>,
    free: Vec<usize>,
    scratch: Vec<u8>,
    chunk: Vec<u8>,
    answers: Answers,
}

/// The answer, encoded for both protocols.
#[derive(Debug)]
struct Answers {
    http1: Vec<u8>,
    http2: http2::Answer,
}

impl Upstream {
    /// # Errors
    /// When an address cannot be bound.
    pub(crate) fn bind(
        bulk: SocketAddr,
        http: &[SocketAddr],
        body_bytes: usize,
    ) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        let mut listeners = Vec::with_capacity(http.len() + 1);
        for (token, address) in [&bulk].into_iter().chain(http).enumerate() {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            reactor.add(&listener, token, Interest::Read)?;
            listeners.push(listener);
        }
        let answers =
            Answers { http1: http1::answer(body_bytes), http2: http2::Answer::new(body_bytes) };
        Ok(Self {
            reactor,
            listeners,
            connections: Vec::new(),
            free: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            chunk: vec![b'x'; CHUNK_BYTES],
            answers,
        })
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub(crate) fn serve(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.reactor.wait(&mut ready, None)?;
            for event in &ready {
                match event.token.checked_sub(self.listeners.len()) {
                    Some(place) => self.serve_connection(*event, place),
                    None => self.accept(event.token)?,
                }
            }
        }
    }

    /// Takes what waits at one listener.
    fn accept(&mut self, token: usize) -> io::Result<()> {
        let Some(listener) = self.listeners.get(token) else { return Ok(()) };
        while let Ok((stream, _)) = listener.accept() {
            let socket = Socket::new(stream)?;
            let (peer, interest) = match token {
                BULK => (Peer::Bulk, Interest::Both),
                _ => (Peer::New, Interest::Read),
            };
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.reactor.add(&socket.stream, place + self.listeners.len(), interest)?;
            if let Some(slot) = self.connections.get_mut(place) {
                *slot = Some((socket, peer));
            }
        }
        Ok(())
    }

    /// Serves one connection; one that breaks is forgotten.
    fn serve_connection(&mut self, event: Ready, place: usize) {
        let Some(Some((socket, peer))) = self.connections.get_mut(place) else { return };
        let answers = &self.answers;
        let mut is_open = true;
        if event.reads {
            let received =
                socket.receive(&mut self.scratch, |input, out| receive(peer, input, out, answers));
            is_open = !matches!(received, Ok(Received::Closed) | Err(_));
        }
        if is_open {
            let written = match peer {
                Peer::Bulk if event.writes => pour(&mut socket.stream, &self.chunk),
                Peer::Bulk => Ok(()),
                Peer::New | Peer::Http1 | Peer::Http2(_) => {
                    socket.flush(&self.reactor, event.token)
                }
            };
            is_open = written.is_ok();
        }
        if !is_open {
            if let Some(slot) = self.connections.get_mut(place) {
                *slot = None;
            }
            self.free.push(place);
        }
    }
}

fn receive(
    peer: &mut Peer,
    input: &[u8],
    out: &mut Vec<u8>,
    answers: &Answers,
) -> io::Result<usize> {
    match peer {
        Peer::Bulk => Ok(input.len()),
        Peer::Http1 => Ok(http1::receive(input, out, &answers.http1)),
        Peer::Http2(server) => server.receive(input, out, &answers.http2),
        Peer::New if input.starts_with(PREFACE) => {
            let mut server = Box::<http2::Server>::default();
            server.greet(out);
            let rest = input.get(PREFACE.len()..).unwrap_or_default();
            let taken = server.receive(rest, out, &answers.http2)?;
            *peer = Peer::Http2(server);
            Ok(PREFACE.len() + taken)
        }
        Peer::New if PREFACE.starts_with(input) => Ok(0),
        Peer::New => {
            *peer = Peer::Http1;
            Ok(http1::receive(input, out, &answers.http1))
        }
    }
}

/// Writes one chunk, as much of it as there is room for.
fn pour(stream: &mut TcpStream, chunk: &[u8]) -> io::Result<()> {
    match stream.write(chunk) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::bulk::Bulk;
    use crate::load::connects::connects;
    use crate::load::exchange::Load;
    use crate::load::{Protocol, Request, Shape};

    /// Addresses of bulk and HTTP of an upstream that serves as long as the test program runs.
    fn start() -> (SocketAddr, SocketAddr) {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let upstream = Upstream::bind(any, &[any], 1024).unwrap();
            let address = |at: usize| upstream.listeners[at].local_addr().unwrap();
            tell.send((address(0), address(1))).unwrap();
            upstream.serve().unwrap();
        });
        told.recv().unwrap()
    }

    #[test]
    fn every_request_of_both_protocols_is_answered_at_saturation_and_at_a_rate() {
        let (_, http) = start();
        for (protocol, streams) in [(Protocol::Http1, 1), (Protocol::Http2, 8)] {
            let shape = Shape { protocol, connections: 4, streams };
            let mut load = Load::open(http, shape, &Request::get("/")).unwrap();
            let outcome = load.saturate(Duration::from_millis(20)).unwrap();
            assert!(outcome.answered >= 4 * streams as u64, "{protocol:?}: {outcome:?}");
            assert_eq!(outcome.failed, 0, "{protocol:?}");

            let outcome = load.at_rate(1000, Duration::from_millis(50)).unwrap();
            assert_eq!((outcome.answered, outcome.failed), (50, 0), "{protocol:?}");
            assert_eq!(outcome.latencies.len(), 50, "{protocol:?}");
        }
    }

    #[test]
    fn connections_are_counted_and_bytes_flow() {
        let (bulk, http) = start();
        let outcome = connects(http, 4, Duration::from_millis(20)).unwrap();
        assert!(outcome.answered >= 4 && outcome.failed == 0, "{outcome:?}");
        let moved = Bulk::open(bulk, 2).unwrap().take(Duration::from_millis(50)).unwrap();
        assert!(moved.bytes > 0, "{moved:?}");
    }
}
