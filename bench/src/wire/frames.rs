//! As much of HTTP/2 as two well-behaved ends need: RFC 9113's frames and heads that were encoded
//! beforehand. Heads of the other side are not decoded: only a status is looked at.

use std::io;

use super::broken;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const HEADER_TABLE_SIZE: u16 = 1;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// The window of a connection before anybody widens it (RFC 9113 §6.9.2).
pub(crate) const WINDOW: i64 = 65_535;
/// The window that we give: wide enough that bodies of the benchmark never wait.
const OWN_WINDOW: u32 = 1 << 24;
/// Given back in one piece after this many bytes.
const GIVE_BACK: u32 = OWN_WINDOW / 2;

/// One frame, with its payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the beginning, and its length on the wire; `None` until all of it is there.
    pub(crate) fn parse(input: &'a [u8]) -> Option<(Self, usize)> {
        let (head, rest) = input.split_at_checked(9)?;
        let &[a, b, c, kind, flags, s0, s1, s2, s3] = head else { return None };
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        let payload = rest.get(..length)?;
        Some((Self { kind, flags, stream, payload }, length + 9))
    }

    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// Whether the head is that of a 200: the first field is always the status, and every encoder
    /// takes it from the static table.
    pub(crate) fn is_success(&self) -> bool {
        let padding = usize::from(self.flags & PADDED != 0);
        let skipped = padding + if self.flags & PRIORITY == 0 { 0 } else { 5 };
        let block = self.payload.get(skipped..).unwrap_or_default();
        // Before it may stand changes of the dynamic table's size (RFC 7541 §6.3).
        block.iter().find(|byte| *byte & 0xe0 != 0x20).is_some_and(|first| *first == 0x88)
    }

    /// The window that a `WINDOW_UPDATE` gives.
    pub(crate) fn increment(&self) -> i64 {
        let bytes = self.payload.try_into().unwrap_or_default();
        i64::from(u32::from_be_bytes(bytes) & 0x7fff_ffff)
    }
}

/// Writes the nine bytes before a payload.
pub(crate) fn head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    let length = u32::try_from(length).unwrap_or_default().to_be_bytes();
    out.extend_from_slice(length.get(1..).unwrap_or_default());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// Our settings, and the window of the connection as wide as that of streams.
pub(crate) fn greet(out: &mut Vec<u8>) {
    head(out, 6, SETTINGS, 0, 0);
    out.extend_from_slice(&INITIAL_WINDOW_SIZE.to_be_bytes());
    out.extend_from_slice(&OWN_WINDOW.to_be_bytes());
    head(out, 4, WINDOW_UPDATE, 0, 0);
    out.extend_from_slice(&(OWN_WINDOW - 65_535).to_be_bytes());
}

/// What the other side asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerSettings {
    pub(crate) header_table_bytes: u32,
    pub(crate) streams_max: u32,
    pub(crate) stream_window: u32,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self { header_table_bytes: 4096, streams_max: u32::MAX, stream_window: 65_535 }
    }
}

/// What both ends keep of a connection.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) peer: PeerSettings,
    /// Whether the other side's settings came.
    pub(crate) is_settled: bool,
    received: u32,
    has_sent_head: bool,
}

impl Link {
    /// Answers what every connection has to answer: settings, pings, and windows to give back.
    ///
    /// # Errors
    /// When the other side goes away.
    pub(crate) fn keep(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        match frame.kind {
            DATA => {
                self.received += u32::try_from(frame.payload.len()).unwrap_or_default();
                if self.received >= GIVE_BACK {
                    head(out, 4, WINDOW_UPDATE, 0, 0);
                    out.extend_from_slice(&self.received.to_be_bytes());
                    self.received = 0;
                }
            }
            SETTINGS if frame.flags & ACK == 0 => {
                for setting in frame.payload.chunks_exact(6) {
                    let &[id0, id1, v0, v1, v2, v3] = setting else { continue };
                    let value = u32::from_be_bytes([v0, v1, v2, v3]);
                    match u16::from_be_bytes([id0, id1]) {
                        HEADER_TABLE_SIZE => self.peer.header_table_bytes = value,
                        MAX_CONCURRENT_STREAMS => self.peer.streams_max = value,
                        INITIAL_WINDOW_SIZE => self.peer.stream_window = value,
                        _ => {}
                    }
                }
                self.is_settled = true;
                head(out, 0, SETTINGS, ACK, 0);
            }
            PING if frame.flags & ACK == 0 => {
                head(out, frame.payload.len(), PING, ACK, 0);
                out.extend_from_slice(frame.payload);
            }
            GOAWAY => return Err(broken("the connection was ended with GOAWAY")),
            _ => {}
        }
        Ok(())
    }

    /// Writes a head for a stream: with names and values the first time, by their places in the
    /// dynamic table from then on, as real clients and servers do.
    pub(crate) fn send_head(&mut self, block: &Block, flags: u8, stream: u32, out: &mut Vec<u8>) {
        let bytes = if self.peer.header_table_bytes < 4096 {
            &block.unindexed
        } else if self.has_sent_head {
            &block.again
        } else {
            &block.first
        };
        // The table that we do not use must be said to be empty (RFC 7541 §4.2).
        let resize = self.peer.header_table_bytes < 4096 && !self.has_sent_head;
        self.has_sent_head = true;
        head(out, bytes.len() + usize::from(resize), HEADERS, flags | END_HEADERS, stream);
        if resize {
            out.push(0x20);
        }
        out.extend_from_slice(bytes);
    }
}

/// A head in HPACK, encoded three ways.
#[derive(Debug)]
pub(crate) struct Block {
    /// Enters its fields into the dynamic table.
    first: Vec<u8>,
    /// Refers to them.
    again: Vec<u8>,
    /// Leaves the table alone.
    unindexed: Vec<u8>,
}

impl Block {
    /// From fields that the static table holds whole, and fields of which it holds the name.
    /// Nothing else may enter the connection's table.
    pub(crate) fn new(whole: &[u8], named: &[(u8, &str)]) -> Self {
        let whole: Vec<u8> = whole.iter().map(|index| 0x80 | index).collect();
        let (mut first, mut again, mut unindexed) = (whole.clone(), whole.clone(), whole);
        for (order, (name, value)) in named.iter().enumerate() {
            first.push(0x40 | name);
            // An index of 15 or more does not fit into the prefix of four bits.
            match name.checked_sub(15) {
                Some(rest) => unindexed.extend_from_slice(&[0x0f, rest]),
                None => unindexed.push(*name),
            }
            let length = u8::try_from(value.len()).unwrap_or_default().min(126);
            for block in [&mut first, &mut unindexed] {
                block.push(length);
                block.extend(value.bytes().take(usize::from(length)));
            }
            // The newest entry is 62 (RFC 7541 §2.3.3).
            let newer = named.len() - order - 1;
            again.push(0x80 | u8::try_from(62 + newer).unwrap_or_default());
        }
        Self { first, again, unindexed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_head_fills_the_table_and_later_ones_refer_to_it() {
        // Indexes of RFC 7541 appendix A: GET; a path, by a name below 15; an agent, by one above.
        let block = Block::new(&[2], &[(4, "/a"), (58, "b")]);
        let mut link = Link::default();
        let mut out = Vec::new();
        link.send_head(&block, END_STREAM, 1, &mut out);
        let (frame, length) = Frame::parse(&out).unwrap();
        assert_eq!((length, frame.stream, frame.ends_stream()), (out.len(), 1, true));
        assert_eq!(frame.payload, b"\x82\x44\x02/a\x7a\x01b");

        out.clear();
        link.send_head(&block, 0, 3, &mut out);
        assert_eq!(Frame::parse(&out).unwrap().0.payload, [0x82, 0xbf, 0xbe]);
    }

    #[test]
    fn a_peer_without_a_table_is_told_that_it_is_empty() {
        let block = Block::new(&[2], &[(4, "/a"), (58, "b")]);
        let (mut link, mut out) = (Link::default(), Vec::new());
        let settings = Frame { kind: SETTINGS, flags: 0, stream: 0, payload: &[0, 1, 0, 0, 0, 0] };
        link.keep(&settings, &mut out).unwrap();
        out.clear();
        link.send_head(&block, 0, 1, &mut out);
        assert_eq!(Frame::parse(&out).unwrap().0.payload, b"\x20\x82\x04\x02/a\x0f\x2b\x01b");
    }
}
