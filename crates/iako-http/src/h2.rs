//! HTTP/2 (RFC 9113) as a state machine without I/O, in both roles.

mod code;
mod error;
mod event;
mod settings;

pub use code::ErrorCode;
pub use error::{ConnectionError, FloodKind, OpenError, Violation};
pub use event::{Ends, Event, ResetCause, StreamId};
pub use settings::{ConnectProtocol, H2Limits, InvalidMessage, Settings};
