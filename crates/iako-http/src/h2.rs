//! HTTP/2 (RFC 9113) as a state machine without I/O, in both roles.
//!
//! Start at [`Connection`]: bytes in, [`Event`]s out; heads, content and trailers in, gathered bytes out.
//! It keeps every stream's state, both ways of flow control, and the count of what a peer may do too
//! often; field sections are read and written by [`SectionReader`](crate::SectionReader) and
//! [`SectionWriter`](crate::SectionWriter).
//!
//! Invariants:
//! - Nothing grows without a bound that [`H2Limits`] names. What a peer can make us queue is counted
//!   where it is queued.
//! - No frame costs an allocation, and no lookup hashes more than one multiplication. Content is neither
//!   copied on the way in nor on the way out, but for pieces so small that a reference costs more.
//! - Frames stand in the output in the order in which they were made, heads at once because their
//!   compression depends on it; content moves there in turn of its streams and only as far as it can be
//!   written soon.
//! - A stream whose reader is stalled uses up its own window. The connection's window follows what came,
//!   not what was read, until all streams together hold what the connection may hold at all.
//! - Windows begin modest and double while their readers keep up and the peer waits.
//!
//! Priorities are read, checked and not followed; server push is refused.

mod code;
mod connection;
mod error;
mod event;
mod floods;
mod flow;
mod frame;
mod output;
mod settings;
mod streams;
mod tally;

pub use code::ErrorCode;
pub use connection::{Answer, Connection, Shutdown};
pub use error::{ConnectionError, FloodKind, OpenError, Violation};
pub use event::{Ends, Event, ResetCause, StreamId};
pub use settings::{ConnectProtocol, H2Limits, InvalidMessage, Settings};
pub use tally::Tally;
