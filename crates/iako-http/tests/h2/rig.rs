//! Both ends of a connection in memory, and frames made and read by hand.

use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use iako_http::h2::{Connection, ConnectionError, Event, H2Limits};
use iako_http::{
    BodyLength, Fields, FieldsBuilder, Known, Method, RequestEdits, RequestHead, RequestParts,
    RequestSection, ResponseEdits, ResponseHead, Scheme, Version,
};

pub(crate) use iako_testkit::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PADDED, PING,
    PREFACE, PRIORITIZED, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, data,
    frame, goaway, headers, reset, settings, window_update,
};

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

pub(crate) fn get(stream: u32) -> Vec<u8> {
    headers(stream, END_STREAM, GET)
}

pub(crate) fn post(stream: u32) -> Vec<u8> {
    headers(stream, 0, POST)
}

/// Reads frames until the bytes end.
pub(crate) fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut buffer = bytes.strip_prefix(PREFACE).unwrap_or(bytes).to_vec();
    let frames = std::iter::from_fn(|| Frame::take(&mut buffer)).collect();
    assert!(buffer.is_empty(), "whole frames go out");
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
