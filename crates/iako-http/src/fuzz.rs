//! Entry points for fuzzers: any bytes in, no panic, and what was accepted survives a round trip.

use bytes::{Bytes, BytesMut};

use crate::body::BodyEvent;
use crate::decode::{RequestDecoder, ResponseDecoder};
use crate::edits::{RequestEdits, ResponseEdits};
use crate::encode::{ConnectionField, Framing, Wire, write_request_head, write_response_head};
use crate::error::ParseError;
use crate::head::{Fields, RequestHead};
use crate::limits::{Http10, Limits, Methods, NameCase};
use crate::parse::ResponseTo;

/// Reads the bytes as the requests of one connection and writes each head again; the head read back
/// must say the same.
pub fn fuzz_request(input: &[u8]) {
    let limits = Limits { http_10: Http10::Accept, methods: Methods::Any, ..Limits::default() };
    let mut buffer = BytesMut::from(input);
    let mut decoder = RequestDecoder::new(limits);
    while let Ok(Some(head)) = decoder.head(&mut buffer) {
        rewrite(&head, limits);
        let done = drain(&mut buffer, |buffer| decoder.body(buffer));
        if !matches!(done, Ok(true)) {
            break;
        }
    }
    let ended = decoder.eof(&buffer);
    debug_assert!(ended.is_ok() || ended == Err(ParseError::Truncated));
}

/// Reads the bytes as the responses of one connection, once for each kind of request.
pub fn fuzz_response(input: &[u8]) {
    for to in [ResponseTo::Plain, ResponseTo::Head, ResponseTo::Connect, ResponseTo::Upgrade] {
        let mut buffer = BytesMut::from(input);
        let mut decoder = ResponseDecoder::new(Limits::default());
        decoder.expect(to);
        while let Ok(Some(head)) = decoder.head(&mut buffer) {
            let mut out = BytesMut::new();
            write_response_head(&head, &ResponseEdits::default(), head.version(), PLAIN, &mut out);
            let done = drain(&mut buffer, |buffer| decoder.body(buffer));
            if !matches!(done, Ok(true)) {
                break;
            }
        }
        let ended = decoder.eof(&buffer);
        debug_assert!(ended.is_ok() || ended == Err(ParseError::Truncated));
    }
}

const PLAIN: Wire<'_> = Wire {
    framing: Framing::Silent,
    connection: ConnectionField::Omit,
    name_case: NameCase::Lower,
};

/// Takes content until it ends (`true`) or needs more bytes (`false`).
fn drain(
    buffer: &mut BytesMut,
    mut next: impl FnMut(&mut BytesMut) -> Result<Option<BodyEvent>, ParseError>,
) -> Result<bool, ParseError> {
    loop {
        match next(buffer)? {
            Some(BodyEvent::End) => return Ok(true),
            Some(BodyEvent::Data(data)) => assert!(!data.is_empty(), "a piece is never empty"),
            Some(BodyEvent::Trailers(_)) => {}
            None => return Ok(false),
        }
    }
}

fn rewrite(head: &RequestHead, limits: Limits) {
    let mut out = BytesMut::new();
    write_request_head(head, &RequestEdits::default(), PLAIN, &mut out);
    // The head may grow by what is spelled out, so that its size is not checked a second time.
    let limits = Limits { head_bytes_max: usize::MAX, ..limits };
    let again = RequestDecoder::new(limits).head(&mut out);
    let Ok(Some(again)) = again else {
        debug_assert!(false, "a head that we wrote was not read back: {again:?}");
        return;
    };
    debug_assert_eq!(again.method(), head.method());
    debug_assert_eq!(again.path(), head.path());
    debug_assert_eq!(again.authority(), head.authority());
    debug_assert!(
        forwarded(&again.fields).eq(forwarded(&head.fields)),
        "fields changed in a round trip"
    );
}

fn forwarded(fields: &Fields) -> impl Iterator<Item = (Bytes, Bytes)> {
    fields
        .iter()
        .filter(|field| !field.known.is_some_and(crate::edits::is_written_apart))
        .map(|field| (Bytes::copy_from_slice(field.name), Bytes::copy_from_slice(field.value)))
}
