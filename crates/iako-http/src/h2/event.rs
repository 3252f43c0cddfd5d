//! What a connection tells whoever drives it.

use bytes::Bytes;

use super::code::ErrorCode;
use super::error::Violation;
use super::settings::Settings;
use crate::head::{Fields, RequestHead, ResponseHead};

/// A stream of a connection: its number on the wire and its place in the connection's table.
///
/// Calls with a stream that is gone do nothing, so a caller that has not yet heard of a reset harms
/// nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId {
    pub(crate) number: u32,
    pub(crate) place: u32,
}

impl StreamId {
    /// The stream's identifier on the wire (RFC 9113 §5.1.1).
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }

    /// A small dense number, the same for as long as the stream lives and used again afterwards: the
    /// index of a caller's own table of streams. A table must compare the number too, for the place may
    /// have a new stream while the work for the old one is not over.
    #[must_use]
    pub const fn place(self) -> usize {
        self.place as usize
    }
}

/// Whether a message ends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Nothing follows on this half of the stream (END_STREAM).
    Here,
    /// More may follow.
    Later,
}

impl Ends {
    /// Whether it is [`Ends::Here`].
    #[must_use]
    pub const fn here(self) -> bool {
        matches!(self, Self::Here)
    }
}

/// What one frame meant.
#[derive(Debug)]
pub enum Event {
    /// A request began (server).
    Request {
        /// Its stream.
        stream: StreamId,
        /// Its head.
        head: Box<RequestHead>,
        /// Whether it has no content.
        ends: Ends,
    },
    /// A response, interim or final (client).
    Response {
        /// The stream of its request.
        stream: StreamId,
        /// Its head; see [`ResponseHead::is_interim`].
        head: Box<ResponseHead>,
        /// Whether it has no content.
        ends: Ends,
    },
    /// Content. The bytes share the read buffer and stay charged to the stream's window until
    /// [`release`](super::Connection::release) gives them back. Empty only when the message ends.
    Data {
        /// Its stream.
        stream: StreamId,
        /// The content, without padding.
        bytes: Bytes,
        /// Whether it was the last.
        ends: Ends,
    },
    /// Trailers; the message is complete.
    Trailers {
        /// Their stream.
        stream: StreamId,
        /// The trailers.
        fields: Box<Fields>,
    },
    /// The stream is gone, both halves; the caller drops what it has for it.
    Reset {
        /// The stream.
        stream: StreamId,
        /// The code of the frame that ended it.
        code: ErrorCode,
        /// Who ended it and why.
        cause: ResetCause,
    },
    /// A stream of the peer was refused before it became a message; nothing need be done, but it may
    /// be counted and logged.
    Refused {
        /// Its identifier on the wire.
        number: u32,
        /// The code it was answered with.
        code: ErrorCode,
        /// Why.
        violation: Violation,
    },
    /// What was queued on the stream has gone to the output: more may be queued.
    Writable {
        /// The stream.
        stream: StreamId,
    },
    /// The peer takes no streams above `last`. Those of ours above it are told as
    /// [`Event::Reset`] with [`ErrorCode::REFUSED_STREAM`]: they were not looked at.
    GoAway {
        /// The last stream that the peer looks at.
        last: u32,
        /// Why it goes.
        code: ErrorCode,
        /// What it says about it, at most 256 bytes.
        debug: Bytes,
    },
    /// The peer's settings changed and are in force.
    Settings(Settings),
    /// The peer has taken our settings.
    SettingsAcknowledged,
    /// The answer to [`ping`](super::Connection::ping).
    Pong {
        /// What the ping carried.
        opaque: u64,
    },
}

/// Who ended a stream early, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetCause {
    /// The peer sent RST_STREAM.
    Peer,
    /// The peer said with GOAWAY that it will not look at the stream.
    GoAway,
    /// The peer broke a rule on this stream; RST_STREAM went out.
    Violation(Violation),
}
