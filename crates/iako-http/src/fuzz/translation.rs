//! From HTTP/1.1 to HTTP/2 and back.

use bytes::{Bytes, BytesMut};

use super::section::{to_http1, to_http2};
use crate::decode::RequestDecoder;
use crate::error::ParseError;
use crate::h2::Ends;
use crate::head::{BodyLength, RequestHead};
use crate::limits::{Http10, Limits, Methods};
use crate::section::{SectionReader, SectionWriter};

const TABLE_BYTES: usize = 4096;

/// What became of the head of an HTTP/1 request.
#[derive(Debug)]
pub enum Translation {
    /// It is not whole.
    Partial,
    /// It was refused.
    Refused(ParseError),
    /// It was read.
    Read {
        /// The head.
        head: Box<RequestHead>,
        /// The block of a HEADERS frame that says the same; `None` when nobody is named whom HTTP/2 could
        /// ask.
        block: Option<Bytes>,
    },
}

/// Reads the head of an HTTP/1 request. What is accepted is written as HTTP/2, which must be read as the
/// same, and so must that written as HTTP/1 again.
#[must_use]
pub fn translate(input: &[u8]) -> Translation {
    let limits = Limits { http_10: Http10::Accept, methods: Methods::Any, ..Limits::default() };
    let head = match RequestDecoder::new(limits).head(&mut BytesMut::from(input)) {
        Ok(Some(head)) => Box::new(head),
        Ok(None) => return Translation::Partial,
        Err(error) => return Translation::Refused(error),
    };
    if head.authority().is_empty() {
        return Translation::Read { head, block: None };
    }
    let ends = match head.length() {
        BodyLength::Empty | BodyLength::Exact(0) => Ends::Here,
        BodyLength::Exact(_)
        | BodyLength::Chunked
        | BodyLength::UntilClose
        | BodyLength::Tunnel => Ends::Later,
    };
    let mut writer = SectionWriter::new(TABLE_BYTES);
    let mut reader = SectionReader::new(Limits::default(), TABLE_BYTES);
    let mut block = None;
    if let Some((written, again)) = to_http2(&head, ends, &mut writer, &mut reader) {
        to_http1(&again);
        block = Some(written);
    }
    Translation::Read { head, block }
}
