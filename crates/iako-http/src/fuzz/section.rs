//! Field sections of HTTP/2: what is accepted must mean the same when it is written again, as HTTP/2 and
//! as HTTP/1.1.

use bytes::{Bytes, BytesMut};

use super::forwarded;
use super::hpack::blocks;
use crate::decode::RequestDecoder;
use crate::edits::{HeaderEdits, RequestEdits, ResponseEdits};
use crate::encode::{ConnectionField, Framing, Wire, write_request_head};
use crate::h2::{ConnectProtocol, Ends};
use crate::head::{BodyLength, RequestHead, Scheme};
use crate::limits::{Limits, Methods};
use crate::method::Method;
use crate::parse::ResponseTo;
use crate::section::{RequestSection, SectionError, SectionReader, SectionWriter};

const TABLE_BYTES: usize = 4096;

/// Reads the bytes as blocks of one connection, two octets of length before each; the first octet of a
/// block says what it is.
pub fn fuzz_sections(input: &[u8]) {
    let mut reader = SectionReader::new(Limits::default(), TABLE_BYTES);
    let mut writer = SectionWriter::new(TABLE_BYTES);
    let mut second = SectionReader::new(Limits::default(), TABLE_BYTES);
    for block in blocks(input) {
        let Some((kind, block)) = block.split_first() else { continue };
        let ends = if kind & 0x80 != 0 { Ends::Here } else { Ends::Later };
        let mut out = BytesMut::new();
        let error = match kind & 3 {
            0 | 3 => match reader.request(block, ends, ConnectProtocol::Accept) {
                Ok(head) => {
                    let again = to_http2(&head, ends, &mut writer, &mut second);
                    debug_assert!(again.is_some(), "what we read we do not write");
                    to_http1(&head);
                    continue;
                }
                Err(error) => error,
            },
            1 => match reader.response(block, ends, ResponseTo::Plain) {
                Ok(head) => {
                    writer.response(&head, &ResponseEdits::default(), None, &mut out);
                    let again = second.response(&out, Ends::Later, ResponseTo::Plain);
                    debug_assert_eq!(
                        again.map(|again| (again.status(), forwarded(again.fields()))),
                        Ok((head.status(), forwarded(head.fields())))
                    );
                    continue;
                }
                Err(error) => error,
            },
            _ => match reader.trailers(block) {
                Ok(fields) => {
                    writer.trailers(&fields, &HeaderEdits::default(), &mut out);
                    let again = second.trailers(&out);
                    debug_assert_eq!(again.map(|again| forwarded(&again)), Ok(forwarded(&fields)));
                    continue;
                }
                Err(error) => error,
            },
        };
        if matches!(error, SectionError::Compression(_)) {
            return;
        }
    }
}

/// Writes a request as HTTP/2 and reads it again.
pub(super) fn to_http2(
    head: &RequestHead,
    ends: Ends,
    writer: &mut SectionWriter,
    reader: &mut SectionReader,
) -> Option<(Bytes, RequestHead)> {
    let mut out = BytesMut::new();
    let length = match head.length() {
        BodyLength::Exact(length) => Some(length),
        BodyLength::Empty | BodyLength::Chunked | BodyLength::UntilClose | BodyLength::Tunnel => {
            None
        }
    };
    let section = RequestSection { scheme: Scheme::Http, length, protocol: None };
    writer.request(head, &RequestEdits::default(), section, &mut out);
    let again = reader.request(&out, ends, ConnectProtocol::Accept);
    let Ok(again) = again else {
        debug_assert!(false, "a section that we wrote was refused: {again:?}");
        return None;
    };
    debug_assert_eq!(again.length(), head.length());
    same(head, &again);
    Some((out.freeze(), again))
}

/// Writes a request as HTTP/1.1 and reads it again: nothing in it may change where it ends.
pub(super) fn to_http1(head: &RequestHead) {
    if *head.method() == Method::Connect {
        // Its authority needs a port there, and an extended one becomes an upgrade by its caller.
        return;
    }
    let framing = match head.length() {
        BodyLength::Exact(length) => Framing::Length(length),
        BodyLength::Chunked => Framing::Chunked,
        BodyLength::Empty | BodyLength::UntilClose | BodyLength::Tunnel => Framing::Silent,
    };
    let connection = ConnectionField::Omit;
    let wire = Wire { framing, connection };
    let mut out = BytesMut::new();
    write_request_head(head, &RequestEdits::default(), wire, &mut out);
    let limits = Limits { head_bytes_max: usize::MAX, methods: Methods::Any, ..Limits::default() };
    let again = RequestDecoder::new(limits).head(&mut out);
    let Ok(Some(again)) = again else {
        debug_assert!(false, "a head that we wrote as HTTP/1.1 was refused: {again:?}");
        return;
    };
    debug_assert!(out.is_empty(), "something follows the head that we wrote");
    debug_assert_eq!(again.length(), head.length());
    same(head, &again);
}

fn same(head: &RequestHead, again: &RequestHead) {
    debug_assert_eq!(again.method(), head.method());
    debug_assert_eq!(again.path(), head.path());
    debug_assert_eq!(again.authority(), head.authority());
    debug_assert_eq!(forwarded(again.fields()), forwarded(head.fields()), "fields changed");
}
