//! The two readers of a connection: a server reads requests, a client reads responses.

use bytes::{Buf, BytesMut};

use crate::body::{BodyDecoder, BodyEvent};
use crate::error::ParseError;
use crate::head::{BodyLength, RequestHead, ResponseHead};
use crate::limits::Limits;
use crate::parse::{self, ResponseTo};
use crate::scan::{Block, BlockScanner};

/// Reads the requests of one connection, one after the other.
///
/// Ask for a [`head`](Self::head), then for [`body`](Self::body) events until [`BodyEvent::End`], then
/// for the next head. Bytes that follow a request stay in the buffer: that is pipelining.
#[derive(Debug)]
pub struct RequestDecoder {
    limits: Limits,
    scanner: BlockScanner,
    body: BodyDecoder,
}

impl RequestDecoder {
    /// A decoder for a new connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            scanner: BlockScanner::new(Block::Head),
            body: BodyDecoder::new(BodyLength::Empty),
        }
    }

    /// Takes the next head out of the buffer; `None` when more bytes are needed.
    ///
    /// Between two calls the buffer may only grow at its end.
    ///
    /// # Errors
    /// When the request is malformed, ambiguous or too large; the connection is then lost.
    pub fn head(&mut self, buffer: &mut BytesMut) -> Result<Option<RequestHead>, ParseError> {
        debug_assert!(self.body.is_done(), "the content before must be taken first");
        if self.scanner.is_fresh() {
            skip_blank_lines(buffer);
            if buffer.as_ref() == b"\r" {
                return Ok(None);
            }
        }
        let Some(len) = self.scanner.scan(buffer, &self.limits)? else { return Ok(None) };
        let block = take_block(buffer, len);
        let mut scanner = std::mem::replace(&mut self.scanner, BlockScanner::new(Block::Head));
        let head = parse::request(&mut scanner, block, &self.limits)?;
        // What follows CONNECT is the tunnel's, once there is one; until then it is nobody's content.
        let is_tunnel = head.length() == BodyLength::Tunnel;
        let length = if is_tunnel { BodyLength::Empty } else { head.length() };
        self.body = BodyDecoder::new(length);
        Ok(Some(head))
    }

    /// Takes the next piece of content; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the chunked framing or the trailers are malformed or exceed a limit.
    pub fn body(&mut self, buffer: &mut BytesMut) -> Result<Option<BodyEvent>, ParseError> {
        self.body.next(buffer, &self.limits)
    }

    /// Whether the current request's content is complete.
    #[must_use]
    pub fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    /// Whether a head has begun to arrive: how an idle connection differs from a slow head.
    #[must_use]
    pub fn is_inside_head(&self, buffer: &BytesMut) -> bool {
        self.body.is_done() && !buffer.is_empty()
    }

    /// Tells that the client sends nothing more.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when it stopped inside a head or inside content.
    pub fn eof(&mut self, buffer: &BytesMut) -> Result<(), ParseError> {
        if self.is_inside_head(buffer) {
            return Err(ParseError::Truncated);
        }
        self.body.eof()
    }

    /// Everything from here on is opaque: the request was upgraded, or CONNECT was accepted.
    pub fn switch_to_tunnel(&mut self) {
        self.body.switch_to_tunnel();
    }
}

/// Reads the responses on one connection to a server, for one request at a time.
#[derive(Debug)]
pub struct ResponseDecoder {
    limits: Limits,
    to: ResponseTo,
    /// Interim responses to this request so far.
    interims: u32,
    scanner: BlockScanner,
    body: BodyDecoder,
}

impl ResponseDecoder {
    /// A decoder for a new connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            to: ResponseTo::Plain,
            interims: 0,
            scanner: BlockScanner::new(Block::Head),
            body: BodyDecoder::new(BodyLength::Empty),
        }
    }

    /// Tells which request the next final response answers.
    pub fn expect(&mut self, to: ResponseTo) {
        self.to = to;
        self.interims = 0;
    }

    /// Takes the next head out of the buffer; `None` when more bytes are needed.
    ///
    /// After an interim head (1xx other than 101) the next call reads the next head.
    ///
    /// # Errors
    /// When the response is malformed, ambiguous or too large; the connection is then lost.
    pub fn head(&mut self, buffer: &mut BytesMut) -> Result<Option<ResponseHead>, ParseError> {
        let Some(len) = self.scanner.scan(buffer, &self.limits)? else { return Ok(None) };
        let block = take_block(buffer, len);
        let mut scanner = std::mem::replace(&mut self.scanner, BlockScanner::new(Block::Head));
        let head = parse::response(&mut scanner, block, self.to, &self.limits)?;
        if head.is_interim() {
            self.interims = self.interims.saturating_add(1);
            if self.interims > self.limits.interim_responses_max {
                return Err(ParseError::TooManyInterim);
            }
        }
        self.body = BodyDecoder::new(head.length());
        Ok(Some(head))
    }

    /// Takes the next piece of content; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the chunked framing or the trailers are malformed or exceed a limit.
    pub fn body(&mut self, buffer: &mut BytesMut) -> Result<Option<BodyEvent>, ParseError> {
        self.body.next(buffer, &self.limits)
    }

    /// Whether the current response's content is complete.
    #[must_use]
    pub fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    /// Tells that the server sends nothing more; content that lasts until then is complete.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when it stopped inside a head or inside content.
    pub fn eof(&mut self, buffer: &BytesMut) -> Result<(), ParseError> {
        if self.body.is_done() && !buffer.is_empty() {
            return Err(ParseError::Truncated);
        }
        self.body.eof()
    }
}

/// Takes the block of a head off the buffer. A buffer that holds nothing else is given away whole,
/// which needs no shared ownership.
fn take_block(buffer: &mut BytesMut, len: usize) -> BytesMut {
    if buffer.len() == len { std::mem::take(buffer) } else { buffer.split_to(len) }
}

/// Old clients send an empty line after a body (RFC 9112 §2.2).
fn skip_blank_lines(buffer: &mut BytesMut) {
    loop {
        match buffer.as_ref() {
            [b'\r', b'\n', ..] => buffer.advance(2),
            [b'\n', ..] => buffer.advance(1),
            _ => return,
        }
    }
}
