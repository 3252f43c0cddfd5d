//! Frames on the wire (RFC 9113 §4, §6): their headers, read and written.

use bytes::{BufMut, BytesMut};

use super::code::ErrorCode;
use super::event::Ends;

/// Octets of a frame header.
pub(crate) const HEADER_BYTES: usize = 9;

/// What a client says first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0x0;
    pub(crate) const HEADERS: u8 = 0x1;
    pub(crate) const PRIORITY: u8 = 0x2;
    pub(crate) const RST_STREAM: u8 = 0x3;
    pub(crate) const SETTINGS: u8 = 0x4;
    pub(crate) const PUSH_PROMISE: u8 = 0x5;
    pub(crate) const PING: u8 = 0x6;
    pub(crate) const GOAWAY: u8 = 0x7;
    pub(crate) const WINDOW_UPDATE: u8 = 0x8;
    pub(crate) const CONTINUATION: u8 = 0x9;
}

/// Frame flags.
pub(crate) mod flag {
    /// Of SETTINGS and PING.
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Stream identifiers have 31 bits; the first is reserved and ignored (RFC 9113 §4.1).
pub(crate) const STREAM_MASK: u32 = 0x7fff_ffff;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl FrameHeader {
    /// Reads the header at the beginning of the bytes; `None` when they are too few.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<HEADER_BYTES>()?;
        Some(Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & STREAM_MASK,
        })
    }

    pub(crate) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What END_STREAM says, of DATA and HEADERS.
    pub(crate) const fn ends(self) -> Ends {
        if self.has(flag::END_STREAM) { Ends::Here } else { Ends::Later }
    }

    /// Octets of the frame with its header.
    pub(crate) const fn whole(self) -> usize {
        HEADER_BYTES + self.length as usize
    }

    /// The header's nine octets.
    pub(crate) const fn octets(self) -> [u8; HEADER_BYTES] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s0, s1, s2, s3]
    }

    /// Appends the header.
    pub(crate) fn write(self, out: &mut BytesMut) {
        out.put_slice(&self.octets());
    }
}

/// Appends RST_STREAM.
pub(crate) fn write_reset(stream: u32, code: ErrorCode, out: &mut BytesMut) {
    FrameHeader { length: 4, kind: kind::RST_STREAM, flags: 0, stream }.write(out);
    out.put_u32(code.get());
}

/// Appends WINDOW_UPDATE.
pub(crate) fn write_window_update(stream: u32, increment: u32, out: &mut BytesMut) {
    FrameHeader { length: 4, kind: kind::WINDOW_UPDATE, flags: 0, stream }.write(out);
    out.put_u32(increment);
}

/// Appends PING, or the answer to one.
pub(crate) fn write_ping(opaque: u64, flags: u8, out: &mut BytesMut) {
    FrameHeader { length: 8, kind: kind::PING, flags, stream: 0 }.write(out);
    out.put_u64(opaque);
}

/// Appends GOAWAY.
pub(crate) fn write_goaway(last: u32, code: ErrorCode, debug: &str, out: &mut BytesMut) {
    let debug = debug.as_bytes();
    let length = 8 + u32::try_from(debug.len()).unwrap_or_default();
    FrameHeader { length, kind: kind::GOAWAY, flags: 0, stream: 0 }.write(out);
    out.put_u32(last);
    out.put_u32(code.get());
    out.put_slice(debug);
}

/// Appends the answer to SETTINGS.
pub(crate) fn write_settings_ack(out: &mut BytesMut) {
    FrameHeader { length: 0, kind: kind::SETTINGS, flags: flag::ACK, stream: 0 }.write(out);
}

/// A 32-bit number at the beginning of a payload.
pub(crate) fn number(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |octets| u32::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_a_round_trip_and_loses_only_the_reserved_bit() {
        let header =
            FrameHeader { length: 0x01_02_03, kind: 0x9, flags: 0x2d, stream: 0x7fff_ffff };
        assert_eq!(FrameHeader::read(&header.octets()), Some(header));
        let mut octets = header.octets();
        octets[5] |= 0x80;
        assert_eq!(FrameHeader::read(&octets), Some(header));
        assert_eq!(FrameHeader::read(&octets[..8]), None);
    }
}
