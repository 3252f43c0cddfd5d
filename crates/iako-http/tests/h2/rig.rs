//! Frames made and read by hand, and both ends of a connection in memory.

use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use iako_http::h2::{Connection, ConnectionError, Event, H2Limits};
use iako_http::{
    BodyLength, Fields, FieldsBuilder, Known, Method, RequestEdits, RequestHead, RequestParts,
    RequestSection, ResponseEdits, ResponseHead, Scheme, Version,
};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITIZED: u8 = 0x20;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn number(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in settings {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A block of literals without indexing.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            if text.len() < 127 {
                block.push(u8::try_from(text.len()).unwrap());
            } else {
                block.push(127);
                let mut left = text.len() - 127;
                while left >= 128 {
                    block.push(u8::try_from(left % 128).unwrap() | 128);
                    left /= 128;
                }
                block.push(u8::try_from(left).unwrap());
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

pub(crate) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];

pub(crate) const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];

pub(crate) fn with<'a>(
    fields: &[(&'a str, &'a str)],
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    fields.iter().chain(more).copied().collect()
}

/// HEADERS that begin and end their block.
pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

pub(crate) fn get(stream: u32) -> Vec<u8> {
    headers(stream, END_STREAM, GET)
}

pub(crate) fn post(stream: u32) -> Vec<u8> {
    headers(stream, 0, POST)
}

pub(crate) fn data(stream: u32, flags: u8, content: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, content)
}

/// Reads frames until the bytes end.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    if let Some(rest) = bytes.strip_prefix(PREFACE) {
        bytes = rest;
    }
    while !bytes.is_empty() {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        frames.push(Frame {
            kind: bytes[3],
            flags: bytes[4],
            stream: u32::from_be_bytes(bytes[5..9].try_into().unwrap()),
            payload: bytes[9..9 + length].to_vec(),
        });
        bytes = &bytes[9 + length..];
    }
    frames
}

/// Takes everything that is to be written.
pub(crate) fn written(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.prepare() {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = connection.slices(&mut slices);
        let before = bytes.len();
        for slice in &slices[..filled] {
            bytes.extend_from_slice(slice);
        }
        let taken = bytes.len() - before;
        assert!(taken > 0, "there was something to write");
        connection.advance(taken);
    }
    bytes
}

/// One end of a connection, whose peer is a test that speaks in frames.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) connection: Connection,
    input: BytesMut,
}

impl End {
    /// A server whose greeting and client's greeting are over.
    pub(crate) fn server(limits: H2Limits) -> Self {
        Self::greeted_server(limits, &[])
    }

    /// A server that was told these settings.
    pub(crate) fn greeted_server(limits: H2Limits, told: &[(u16, u32)]) -> Self {
        let mut end = Self { connection: Connection::server(limits), input: BytesMut::new() };
        let greeting = [PREFACE, &settings(told), &frame(SETTINGS, ACK, 0, &[])].concat();
        let events = end.receive(&greeting);
        assert!(
            matches!(events[..], [Event::Settings(_), Event::SettingsAcknowledged]),
            "{events:?}"
        );
        end.sent();
        end
    }

    /// A server that has heard nothing.
    pub(crate) fn fresh_server(limits: H2Limits) -> Self {
        Self { connection: Connection::server(limits), input: BytesMut::new() }
    }

    /// A client whose greeting is over.
    pub(crate) fn client(limits: H2Limits, told: &[(u16, u32)]) -> Self {
        let mut end = Self { connection: Connection::client(limits), input: BytesMut::new() };
        let greeting = [&settings(told)[..], &frame(SETTINGS, ACK, 0, &[])].concat();
        end.receive(&greeting);
        end.sent();
        end
    }

    /// What the bytes mean, until they are used up or break a rule.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> (Vec<Event>, Option<ConnectionError>) {
        self.input.extend_from_slice(bytes);
        let mut events = Vec::new();
        loop {
            match self.connection.receive(&mut self.input) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, None),
                Err(error) => return (events, Some(error)),
            }
        }
    }

    /// What sound bytes mean.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Vec<Event> {
        let (events, error) = self.feed(bytes);
        assert_eq!(error, None, "after {events:?}");
        events
    }

    /// How the bytes break the connection.
    pub(crate) fn broken_by(&mut self, bytes: &[u8]) -> ConnectionError {
        let (events, error) = self.feed(bytes);
        error.unwrap_or_else(|| panic!("nothing was broken: {events:?}, {:?}", self.sent()))
    }

    /// The frames that it wants to send.
    pub(crate) fn sent(&mut self) -> Vec<Frame> {
        frames(&written(&mut self.connection))
    }
}

pub(crate) fn request(method: Method, length: BodyLength) -> RequestHead {
    let mut fields = FieldsBuilder::default();
    fields.push("x-some", b"thing");
    fields.push(Known::UserAgent, b"test");
    RequestHead::from_parts(
        RequestParts {
            method,
            scheme: Some(Scheme::Http),
            authority: b"a.test",
            path: b"/some/path",
            protocol: b"",
            length,
        },
        fields,
    )
}

pub(crate) fn open(
    connection: &mut Connection,
    head: &RequestHead,
    ends: iako_http::h2::Ends,
) -> Result<iako_http::h2::StreamId, iako_http::h2::OpenError> {
    let section = RequestSection { scheme: Scheme::Http, length: None, protocol: None };
    connection.open(head, &RequestEdits::default(), section, ends)
}

pub(crate) fn response(status: u16) -> ResponseHead {
    let mut fields = FieldsBuilder::default();
    fields.push(Known::Server, b"test");
    ResponseHead::new(status, Version::Http2, BodyLength::Chunked, fields.build())
}

pub(crate) fn respond(
    connection: &mut Connection,
    stream: iako_http::h2::StreamId,
    status: u16,
    ends: iako_http::h2::Ends,
) {
    let head = response(status);
    let edits = ResponseEdits::default();
    let answer = iako_http::h2::Answer { head: &head, edits: &edits, length: None };
    connection.respond(stream, answer, ends);
}

pub(crate) fn trailers() -> Fields {
    let mut fields = FieldsBuilder::default();
    fields.push(Known::GrpcStatus, b"0");
    fields.build()
}

/// Moves bytes from one end to the other; how many.
pub(crate) fn carry(from: &mut Connection, to: &mut BytesMut) -> usize {
    let bytes = written(from);
    to.extend_from_slice(&bytes);
    bytes.len()
}

pub(crate) fn content(length: usize, seed: u8) -> Bytes {
    (0..=250)
        .cycle()
        .take(length)
        .map(|octet: u8| seed.wrapping_add(octet))
        .collect::<Vec<_>>()
        .into()
}
