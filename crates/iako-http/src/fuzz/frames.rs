//! Whole HTTP/2 connections.

use std::collections::BTreeMap;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

use super::forwarded;
use crate::edits::{HeaderEdits, RequestEdits, ResponseEdits};
use crate::h2::{
    Answer, ConnectProtocol, Connection, ConnectionError, Ends, ErrorCode, Event, H2Limits,
    InvalidMessage, Shutdown, StreamId,
};
use crate::head::{
    BodyLength, Fields, FieldsBuilder, RequestHead, RequestParts, ResponseHead, Scheme, Version,
};
use crate::known::Known;
use crate::method::Method;
use crate::section::RequestSection;

const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Gives the bytes behind the first octet to a server or a client of ours, which answers or asks. Cut
/// into single octets they must mean the same, and what goes out must be whole frames.
///
/// Of the first octet the lowest bit is the role, the next says that the peer greets as it should, the
/// third that malformed messages cost their stream only, and the fourth that limits are narrow.
pub fn fuzz_frames(input: &[u8]) {
    let Some((kind, frames)) = input.split_first() else { return };
    let mut bytes = Vec::new();
    if kind & 2 == 0 {
        let skipped = if kind & 1 == 0 { 0 } else { GREETING.len() - 9 };
        bytes.extend_from_slice(GREETING.get(skipped..).unwrap_or_default());
    }
    bytes.extend_from_slice(frames);
    let whole = End::new(*kind).converse(&bytes, bytes.len().max(1));
    let pieces = End::new(*kind).converse(&bytes, 1);
    debug_assert_eq!(whole.heard, pieces.heard, "the cuts of the bytes changed their meaning");
    debug_assert_eq!(whole.content, pieces.content, "the cuts changed the content");
}

/// What an end heard.
#[derive(Debug, Default)]
struct Trace {
    heard: Vec<String>,
    content: BTreeMap<u32, Vec<u8>>,
}

/// One end of a connection with what uses it.
struct End {
    connection: Connection,
    limits: H2Limits,
    trace: Trace,
    sent: Vec<u8>,
}

impl End {
    fn new(kind: u8) -> Self {
        let invalid_message = if kind & 4 == 0 {
            InvalidMessage::CloseConnection
        } else {
            InvalidMessage::ResetStream
        };
        let usual = H2Limits {
            connect_protocol: ConnectProtocol::Accept,
            invalid_message,
            ..H2Limits::default()
        };
        let limits = if kind & 8 == 0 {
            usual
        } else {
            H2Limits { concurrent_streams_max: 3, stream_window_bytes_start: 100, ..usual }
        };
        let connection = if kind & 1 == 0 {
            Connection::server(limits)
        } else {
            let mut client = Connection::client(limits);
            ask(&mut client);
            client
        };
        Self { connection, limits, trace: Trace::default(), sent: Vec::new() }
    }

    fn converse(mut self, bytes: &[u8], step: usize) -> Trace {
        self.write();
        let mut input = BytesMut::new();
        for piece in bytes.chunks(step) {
            input.extend_from_slice(piece);
            loop {
                match self.connection.receive(&mut input) {
                    Ok(None) if self.write() => continue,
                    Ok(None) => break,
                    Ok(Some(event)) => self.hear(event),
                    Err(error) => return self.failed(error),
                }
                self.write();
            }
            self.write();
        }
        self.trace
    }

    fn failed(mut self, error: ConnectionError) -> Trace {
        self.trace.heard.push(format!("{error:?}"));
        self.write();
        debug_assert_eq!(self.connection.streams(), 0, "streams outlived their connection");
        self.trace
    }

    /// Writes everything, as far as it goes; whether there was something.
    fn write(&mut self) -> bool {
        let mut wrote = false;
        while self.connection.prepare() {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = self.connection.slices(&mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            let mut written = 0;
            for slice in slices {
                self.sent.extend_from_slice(slice);
                written += slice.len();
            }
            debug_assert!(written > 0, "there is something to write and it is nothing");
            self.connection.advance(written);
            wrote = true;
        }
        self.check_frames();
        let most = self.limits.concurrent_streams_max as usize;
        debug_assert!(self.connection.streams() <= most, "more streams than allowed");
        wrote
    }

    /// What went out consists of whole frames no longer than the peer takes.
    fn check_frames(&mut self) {
        let mut left = self.sent.as_slice();
        left = left.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap_or(left);
        while let Some(([a, b, c, _, _, _, _, _, _], rest)) = left.split_first_chunk::<9>() {
            let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            debug_assert!(len <= 1 << 24, "a frame is too long");
            debug_assert!(len <= rest.len(), "a frame was cut off");
            left = rest.get(len..).unwrap_or_default();
        }
        debug_assert!(left.is_empty(), "the output ends inside a frame");
        self.sent.clear();
    }

    fn hear(&mut self, event: Event) {
        let heard = match event {
            Event::Writable { .. } => return,
            Event::Data { stream, bytes, ends } => {
                // Readers of every fourth stream are stalled.
                if stream.number() % 8 != 7 {
                    self.connection.release(stream, bytes.len());
                }
                let content = self.trace.content.entry(stream.number()).or_default();
                content.extend_from_slice(&bytes);
                if !ends.here() {
                    return;
                }
                self.finish(stream);
                format!("{} ends", stream.number())
            }
            Event::Request { stream, head, ends } => {
                self.answer(stream, &head);
                if ends.here() {
                    self.finish(stream);
                }
                let (method, path) = (head.method(), head.path());
                let fields = forwarded(head.fields());
                format!("{} {method:?} {path} {fields:?} {ends:?}", stream.number())
            }
            Event::Response { stream, head, ends } => {
                let (status, fields) = (head.status(), forwarded(head.fields()));
                format!("{} {status} {fields:?} {ends:?}", stream.number())
            }
            Event::Trailers { stream, fields } => {
                self.finish(stream);
                format!("{} {:?}", stream.number(), forwarded(&fields))
            }
            Event::Reset { stream, code, cause } => {
                format!("{} {code} {cause:?}", stream.number())
            }
            other @ (Event::Refused { .. }
            | Event::GoAway { .. }
            | Event::Settings(_)
            | Event::SettingsAcknowledged
            | Event::Pong { .. }) => format!("{other:?}"),
        };
        self.trace.heard.push(heard);
    }

    /// Streams behave in different ways by their numbers.
    fn answer(&mut self, stream: StreamId, request: &RequestHead) {
        match stream.number() % 32 {
            9 => return self.connection.reset(stream, ErrorCode::REFUSED_STREAM),
            17 => self.connection.refuse_rest(stream),
            25 => self.connection.shut_down(Shutdown::Graceful),
            _ => {}
        }
        let length = if *request.method() == Method::Connect {
            BodyLength::Tunnel
        } else {
            BodyLength::Chunked
        };
        let head = ResponseHead::new(200, Version::Http11, length, Fields::default());
        let edits = ResponseEdits::default();
        self.connection.interim(stream, 103, &Fields::default(), &HeaderEdits::default());
        let answer = Answer { head: &head, edits: &edits, length: None };
        self.connection.respond(stream, answer, Ends::Later);
        self.connection.data(stream, Bytes::from_static(&[b'x'; 3000]), Ends::Later);
        if stream.number() % 32 == 13 {
            self.connection.data(stream, Bytes::from_static(&[b'x'; 70_000]), Ends::Here);
        }
    }

    fn finish(&mut self, stream: StreamId) {
        let mut fields = FieldsBuilder::default();
        fields.push(Known::GrpcStatus, b"0");
        self.connection.trailers(stream, &fields.build(), &HeaderEdits::default());
    }
}

/// Three requests: without content, with some, and for a head only.
fn ask(client: &mut Connection) {
    for (method, ends) in
        [(Method::Get, Ends::Here), (Method::Post, Ends::Later), (Method::Head, Ends::Here)]
    {
        let parts = RequestParts {
            method,
            scheme: Some(Scheme::Http),
            authority: b"a.test",
            path: b"/",
            protocol: b"",
            length: BodyLength::Chunked,
        };
        let head = RequestHead::from_parts(parts, FieldsBuilder::default());
        let section = RequestSection { scheme: Scheme::Http, length: None, protocol: None };
        let stream = client.open(&head, &RequestEdits::default(), section, ends);
        let Ok(stream) = stream else {
            debug_assert!(false, "a new connection has no room");
            continue;
        };
        if !ends.here() {
            client.data(stream, Bytes::from_static(&[b'y'; 100_000]), Ends::Here);
        }
    }
}
