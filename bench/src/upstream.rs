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

struct Upstream {
    reactor: Reactor,
    connections: Vec<Option<(Socket, Peer)>>,
    /// Tokens of connections begin here, after those of listeners.
    first: usize,
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

/// Serves until the process ends.
///
/// # Errors
/// When an address cannot be bound or the kernel refuses to wait.
pub(crate) fn serve(bulk: SocketAddr, http: &[SocketAddr], body_bytes: usize) -> io::Result<()> {
    let mut listeners = vec![TcpListener::bind(bulk)?];
    for address in http {
        listeners.push(TcpListener::bind(address)?);
    }
    let first = listeners.len();
    let reactor = Reactor::new()?;
    for (token, listener) in listeners.iter().enumerate() {
        listener.set_nonblocking(true)?;
        reactor.add(listener, token, Interest::Read)?;
    }
    let answers =
        Answers { http1: http1::answer(body_bytes), http2: http2::Answer::new(body_bytes) };
    let mut upstream = Upstream {
        reactor,
        connections: Vec::new(),
        first,
        free: Vec::new(),
        scratch: vec![0; SCRATCH_BYTES],
        chunk: vec![b'x'; CHUNK_BYTES],
        answers,
    };
    let mut ready = Vec::new();
    loop {
        upstream.reactor.wait(&mut ready, None)?;
        for event in &ready {
            match (listeners.get(event.token), event.token) {
                (Some(listener), BULK) => upstream.accept(listener, || Peer::Bulk)?,
                (Some(listener), _) => upstream.accept(listener, || Peer::New)?,
                (None, _) => upstream.serve_connection(*event),
            }
        }
    }
}

impl Upstream {
    fn accept(&mut self, listener: &TcpListener, peer: impl Fn() -> Peer) -> io::Result<()> {
        while let Ok((stream, _)) = listener.accept() {
            let socket = Socket::new(stream)?;
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let peer = peer();
            let interest = match peer {
                Peer::Bulk => Interest::Both,
                Peer::New | Peer::Http1 | Peer::Http2(_) => Interest::Read,
            };
            self.reactor.add(&socket.stream, place + self.first, interest)?;
            if let Some(slot) = self.connections.get_mut(place) {
                *slot = Some((socket, peer));
            }
        }
        Ok(())
    }

    /// Serves one connection; one that breaks is forgotten.
    fn serve_connection(&mut self, event: Ready) {
        let place = event.token - self.first;
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
