//! The load: requests over HTTP/1.1 or HTTP/2 from one thread, as fast as answers come or at a fixed
//! rate; bytes in bulk; connections, new or idle.

pub(crate) mod bulk;
pub(crate) mod connects;
pub(crate) mod exchange;
mod http1;
mod http2;
pub(crate) mod idle;

use std::io;
use std::rc::Rc;

pub(crate) use http1::end_of_head;

/// What is asked, and of whom, on how many connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) protocol: Protocol,
    pub(crate) connections: usize,
    /// Requests in flight on each connection; HTTP/1.1 has one.
    pub(crate) streams: usize,
}

/// How requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// What came of requests since the last look: when each that was answered well was due, and how
/// many were not.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) due: Vec<u64>,
    pub(crate) failed: u64,
}

/// One connection's side of the protocol.
#[derive(Debug)]
enum Codec {
    Http1(http1::Client),
    Http2(Box<http2::Client>),
}

impl Codec {
    fn new(shape: Shape, request: &Request) -> Self {
        match shape.protocol {
            Protocol::Http1 => Self::Http1(http1::Client::new(Rc::clone(&request.http1))),
            Protocol::Http2 => {
                let block = Rc::clone(&request.http2);
                Self::Http2(Box::new(http2::Client::new(block, shape.streams)))
            }
        }
    }

    /// What stands at the beginning of a connection.
    fn greet(&self, out: &mut Vec<u8>) {
        match self {
            Self::Http1(_) => {}
            Self::Http2(_) => http2::greet(out),
        }
    }

    /// Whether requests may be sent.
    fn is_settled(&self) -> bool {
        match self {
            Self::Http1(_) => true,
            Self::Http2(client) => client.is_settled(),
        }
    }

    fn has_room(&self) -> bool {
        match self {
            Self::Http1(client) => client.has_room(),
            Self::Http2(client) => client.has_room(),
        }
    }

    fn in_flight(&self) -> usize {
        match self {
            Self::Http1(client) => usize::from(!client.has_room()),
            Self::Http2(client) => client.in_flight(),
        }
    }

    fn request(&mut self, due: u64, out: &mut Vec<u8>) {
        match self {
            Self::Http1(client) => client.request(due, out),
            Self::Http2(client) => client.request(due, out),
        }
    }

    fn receive(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        answers: &mut Answers,
    ) -> io::Result<usize> {
        match self {
            Self::Http1(client) => client.receive(input, answers),
            Self::Http2(client) => client.receive(input, out, answers),
        }
    }
}

/// One request, encoded for both protocols.
#[derive(Debug)]
pub(crate) struct Request {
    http1: Rc<[u8]>,
    http2: Rc<crate::wire::frames::Block>,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self { http1: http1::get(path), http2: Rc::new(http2::get(path)) }
    }
}
