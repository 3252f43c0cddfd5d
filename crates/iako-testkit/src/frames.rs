//! Frames of HTTP/2 (RFC 9113 §4, §6), whatever they say: tests write wrong ones too.

use std::io::{self, Read};

/// What a client begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Type of frames with content.
pub const DATA: u8 = 0;
/// Type of frames that begin a field block.
pub const HEADERS: u8 = 1;
/// Type of the frames of RFC 7540's priorities.
pub const PRIORITY: u8 = 2;
/// Type of frames that end a stream early.
pub const RST_STREAM: u8 = 3;
/// Type of frames with settings.
pub const SETTINGS: u8 = 4;
/// Type of frames that promise a stream.
pub const PUSH_PROMISE: u8 = 5;
/// Type of frames that are answered.
pub const PING: u8 = 6;
/// Type of frames that end a connection.
pub const GOAWAY: u8 = 7;
/// Type of frames that widen a window.
pub const WINDOW_UPDATE: u8 = 8;
/// Type of frames that continue a field block.
pub const CONTINUATION: u8 = 9;

/// Flag of DATA and HEADERS: the message ends here.
pub const END_STREAM: u8 = 1;
/// Flag of SETTINGS and PING: an answer.
pub const ACK: u8 = 1;
/// Flag of HEADERS and CONTINUATION: the block ends here.
pub const END_HEADERS: u8 = 4;
/// Flag of DATA and HEADERS: there is padding.
pub const PADDED: u8 = 8;
/// Flag of HEADERS: there is a priority.
pub const PRIORITIZED: u8 = 0x20;

const HEADER_BYTES: usize = 9;

/// One frame that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream, with the reserved bit.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Takes the next frame off a buffer; `None` when it has not come whole.
    pub fn take(buffer: &mut Vec<u8>) -> Option<Self> {
        let (header, rest) = buffer.split_first_chunk::<HEADER_BYTES>()?;
        let (mut frame, length) = Self::of_header(*header);
        frame.payload = rest.get(..length)?.to_vec();
        buffer.drain(..HEADER_BYTES + length);
        Some(frame)
    }

    /// Reads the next frame, however long that takes.
    ///
    /// # Errors
    /// When the peer ends ahead of it or inside of it.
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        stream.read_exact(&mut header)?;
        let (mut frame, length) = Self::of_header(header);
        frame.payload.resize(length, 0);
        stream.read_exact(&mut frame.payload)?;
        Ok(frame)
    }

    /// A frame without its payload, and how long that is.
    fn of_header([a, b, c, kind, flags, stream @ ..]: [u8; HEADER_BYTES]) -> (Self, usize) {
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
        let stream = u32::from_be_bytes(stream);
        (Self { kind, flags, stream, payload: Vec::new() }, length)
    }

    /// The number at the beginning of its payload: the code of RST_STREAM, the growth of WINDOW_UPDATE,
    /// the last stream of GOAWAY; 0 when it is shorter.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.payload.first_chunk().map_or(0, |octets| u32::from_be_bytes(*octets))
    }

    /// The last stream and the code of GOAWAY.
    #[must_use]
    pub fn goaway(&self) -> (u32, u32) {
        let code = self.payload.get(4..).and_then(|rest| rest.first_chunk());
        (self.number(), code.map_or(0, |octets| u32::from_be_bytes(*octets)))
    }

    /// Whether its message ends here.
    #[must_use]
    pub const fn ends(&self) -> bool {
        self.flags & END_STREAM != 0
    }
}

/// A frame as it is on the wire; its payload has at most 2^24 - 1 octets.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = length.to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// SETTINGS with these, in this order.
#[must_use]
pub fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in settings {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// WINDOW_UPDATE by so much.
#[must_use]
pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// RST_STREAM with this code.
#[must_use]
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// GOAWAY with this last stream and code.
#[must_use]
pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// DATA with this content.
#[must_use]
pub fn data(stream: u32, flags: u8, content: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, content)
}

/// HEADERS that begin and end their block.
#[must_use]
pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

/// A field block of literals that nobody remembers (RFC 7541 §6.2.2), which may say anything.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            put_length(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn put_length(length: usize, block: &mut Vec<u8>) {
    const PREFIX_MAX: usize = 127;
    block.push(u8::try_from(length.min(PREFIX_MAX)).unwrap_or_default());
    let Some(mut left) = length.checked_sub(PREFIX_MAX) else { return };
    while left >= 128 {
        block.push(u8::try_from(left % 128).unwrap_or_default() | 128);
        left /= 128;
    }
    block.push(u8::try_from(left).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let bytes = [goaway(7, 11), data(1, END_STREAM, b"some")].concat();
        let mut buffer = bytes[..bytes.len() - 1].to_vec();
        let first = Frame::take(&mut buffer).unwrap();
        assert_eq!((first.kind, first.goaway(), first.number()), (GOAWAY, (7, 11), 7));
        assert_eq!(Frame::take(&mut buffer), None, "the second has not come whole");
        buffer.extend_from_slice(&bytes[bytes.len() - 1..]);
        let second = Frame::take(&mut buffer).unwrap();
        assert!(second.ends() && buffer.is_empty());
        let mut stream = bytes.as_slice();
        assert_eq!(Frame::read(&mut stream).unwrap(), first);
        assert_eq!(Frame::read(&mut stream).unwrap(), second);
        assert!(Frame::read(&mut stream).is_err());
    }

    #[test]
    fn lengths_of_texts_are_integers_of_hpack() {
        let length = |bytes| {
            let mut block = Vec::new();
            put_length(bytes, &mut block);
            block
        };
        assert_eq!(length(126), [126]);
        assert_eq!(length(127), [127, 0]);
        assert_eq!(length(127 + 1337), [127, 0xb9, 0x0a]);
    }
}
