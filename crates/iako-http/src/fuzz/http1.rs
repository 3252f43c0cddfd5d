//! HTTP/1.1 in both roles.

use bytes::BytesMut;

use super::forwarded;
use crate::body::BodyEvent;
use crate::decode::{RequestDecoder, ResponseDecoder};
use crate::edits::{RequestEdits, ResponseEdits};
use crate::encode::{ConnectionField, Framing, Wire, write_request_head, write_response_head};
use crate::error::ParseError;
use crate::head::{Fields, RequestHead, ResponseHead};
use crate::limits::{Http10, Limits, Methods};
use crate::parse::ResponseTo;

/// Reads the bytes as the requests of one connection. Cut into small pieces they must mean the same, and
/// each head written again must be read as the same.
pub fn fuzz_request(input: &[u8]) {
    let limits = Limits { http_10: Http10::Accept, methods: Methods::Any, ..Limits::default() };
    let whole = requests(input, input.len().max(1), limits);
    for step in [1, 7] {
        let pieces = requests(input, step, limits);
        debug_assert!(whole == pieces, "the cuts of the bytes changed their meaning");
    }
}

/// The reader of one direction, as both have it.
trait Half {
    type Head;

    fn head(&mut self, buffer: &mut BytesMut) -> Result<Option<Self::Head>, ParseError>;

    fn body(&mut self, buffer: &mut BytesMut) -> Result<Option<BodyEvent>, ParseError>;

    fn eof(&mut self, buffer: &BytesMut) -> Result<(), ParseError>;

    /// Notes a head.
    fn note(&self, head: &Self::Head, trace: &mut Trace);

    /// Writes a head anew, as its edits would.
    fn rewrite(&self, head: &Self::Head);
}

/// What a half makes of the bytes when they come in pieces.
fn trace(mut half: impl Half, input: &[u8], step: usize) -> Trace {
    let mut buffer = BytesMut::new();
    let mut trace = Trace::default();
    let mut in_body = false;
    for piece in input.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            let more = if in_body {
                half.body(&mut buffer).map(|event| trace.body(event, &mut in_body))
            } else {
                half.head(&mut buffer).map(|head| {
                    let Some(head) = head else { return false };
                    half.note(&head, &mut trace);
                    // Once is enough: of the bytes in one piece.
                    if step >= input.len() {
                        half.rewrite(&head);
                    }
                    in_body = true;
                    true
                })
            };
            match more {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return trace.ended(error),
            }
        }
    }
    match half.eof(&buffer) {
        Ok(()) => trace,
        Err(error) => trace.ended(error),
    }
}

struct Requests {
    decoder: RequestDecoder,
    limits: Limits,
}

impl Half for Requests {
    type Head = RequestHead;

    fn head(&mut self, buffer: &mut BytesMut) -> Result<Option<RequestHead>, ParseError> {
        self.decoder.head(buffer)
    }

    fn body(&mut self, buffer: &mut BytesMut) -> Result<Option<BodyEvent>, ParseError> {
        self.decoder.body(buffer)
    }

    fn eof(&mut self, buffer: &BytesMut) -> Result<(), ParseError> {
        self.decoder.eof(buffer)
    }

    fn note(&self, head: &RequestHead, trace: &mut Trace) {
        trace.request(head);
    }

    fn rewrite(&self, head: &RequestHead) {
        rewrite_request(head, self.limits);
    }
}

struct Responses {
    decoder: ResponseDecoder,
    to: ResponseTo,
}

impl Half for Responses {
    type Head = ResponseHead;

    fn head(&mut self, buffer: &mut BytesMut) -> Result<Option<ResponseHead>, ParseError> {
        self.decoder.head(buffer)
    }

    fn body(&mut self, buffer: &mut BytesMut) -> Result<Option<BodyEvent>, ParseError> {
        self.decoder.body(buffer)
    }

    fn eof(&mut self, buffer: &BytesMut) -> Result<(), ParseError> {
        self.decoder.eof(buffer)
    }

    fn note(&self, head: &ResponseHead, trace: &mut Trace) {
        trace.response(head);
    }

    fn rewrite(&self, head: &ResponseHead) {
        rewrite_response(head, self.to);
    }
}

fn requests(input: &[u8], step: usize, limits: Limits) -> Trace {
    trace(Requests { decoder: RequestDecoder::new(limits), limits }, input, step)
}

/// Reads the bytes as the responses of one connection, once for each kind of request.
pub fn fuzz_response(input: &[u8]) {
    for to in [ResponseTo::Plain, ResponseTo::Head, ResponseTo::Connect, ResponseTo::Upgrade] {
        let whole = responses(input, input.len().max(1), to);
        let pieces = responses(input, 1, to);
        debug_assert!(whole == pieces, "the cuts of the bytes changed their meaning");
    }
}

fn responses(input: &[u8], step: usize, to: ResponseTo) -> Trace {
    let mut decoder = ResponseDecoder::new(Limits::default());
    decoder.expect(to);
    trace(Responses { decoder, to }, input, step)
}

/// Everything that a decoder said. Content is put together, for its pieces depend on the cuts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trace {
    heads: Vec<String>,
    content: Vec<u8>,
    error: Option<ParseError>,
}

impl Trace {
    fn request(&mut self, head: &RequestHead) {
        self.heads.push(format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.content.len(),
            head.method(),
            head.path(),
            head.authority(),
            head.scheme(),
            head.length(),
            head.persistence(),
            forwarded(head.fields())
        ));
    }

    fn response(&mut self, head: &ResponseHead) {
        self.heads.push(format!(
            "{:?} {} {:?} {:?} {:?}",
            self.content.len(),
            head.status(),
            head.length(),
            head.persistence(),
            forwarded(head.fields())
        ));
    }

    /// Whether to go on with what is in the buffer.
    fn body(&mut self, event: Option<BodyEvent>, in_body: &mut bool) -> bool {
        match event {
            None => return false,
            Some(BodyEvent::End) => *in_body = false,
            Some(BodyEvent::Data(data)) => {
                debug_assert!(!data.is_empty(), "a piece is never empty");
                self.content.extend_from_slice(&data);
            }
            Some(BodyEvent::Trailers(trailers)) => self.trailers(&trailers),
        }
        true
    }

    fn trailers(&mut self, trailers: &Fields) {
        self.heads.push(format!("{:?}", forwarded(trailers)));
    }

    fn ended(mut self, error: ParseError) -> Self {
        self.error = Some(error);
        self
    }
}

const PLAIN: Wire<'_> = Wire { framing: Framing::Silent, connection: ConnectionField::Omit };

fn rewrite_request(head: &RequestHead, limits: Limits) {
    if head.authority().is_empty() {
        // HTTP/1.0 without a host; its caller finds one or refuses it.
        return;
    }
    let mut out = BytesMut::new();
    write_request_head(head, &RequestEdits::default(), PLAIN, &mut out);
    // The head may grow by what is spelled out, so that its size is not checked a second time.
    let limits = Limits { head_bytes_max: usize::MAX, ..limits };
    let again = RequestDecoder::new(limits).head(&mut out);
    let Ok(Some(again)) = again else {
        debug_assert!(false, "a head that we wrote was not read back: {again:?}");
        return;
    };
    debug_assert!(out.is_empty(), "something follows the head that we wrote");
    debug_assert_eq!(again.method(), head.method());
    debug_assert_eq!(again.path(), head.path());
    debug_assert_eq!(again.authority(), head.authority());
    debug_assert_eq!(forwarded(again.fields()), forwarded(head.fields()), "fields changed");
}

fn rewrite_response(head: &ResponseHead, to: ResponseTo) {
    let mut out = BytesMut::new();
    write_response_head(head, &ResponseEdits::default(), head.version(), PLAIN, &mut out);
    let limits = Limits { head_bytes_max: usize::MAX, ..Limits::default() };
    let mut decoder = ResponseDecoder::new(limits);
    decoder.expect(to);
    let again = decoder.head(&mut out);
    let Ok(Some(again)) = again else {
        debug_assert!(false, "a head that we wrote was not read back: {again:?}");
        return;
    };
    debug_assert!(out.is_empty(), "something follows the head that we wrote");
    debug_assert_eq!(again.status(), head.status());
    debug_assert_eq!(forwarded(again.fields()), forwarded(head.fields()), "fields changed");
}
