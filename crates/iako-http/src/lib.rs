//! HTTP/1.1 and HTTP/2 as state machines without I/O: bytes in, events out, one kind of head for both.
//!
//! Duty: read and write HTTP messages in both roles, exactly, fast, and without ever disagreeing with
//! another reader about where a message ends. Not here: sockets, timers, routing, policy.
//!
//! HTTP/2: start at [`h2::Connection`]; [`hpack`] compresses fields, [`SectionReader`] and
//! [`SectionWriter`] turn them into heads and back.
//!
//! HTTP/1.1: start at [`RequestDecoder`] (what a server reads) and [`ResponseDecoder`] (what a client
//! reads). They give [`RequestHead`] or [`ResponseHead`], then [`BodyEvent`]s. [`write_request_head`],
//! [`write_response_head`] and [`BodyEncoder`] are the way back. Changes to a head are a list
//! ([`RequestEdits`], [`ResponseEdits`]) that is applied while writing, so a head that passes through is
//! never rebuilt.
//!
//! Invariants:
//! - A head is one shared buffer and an index of it; reading one of up to sixteen fields allocates
//!   nothing. Content is split off the read buffer and not gathered; only small pieces are copied
//!   where they are written, to go out together.
//! - What is ambiguous is refused with a typed [`ParseError`] that knows its status and Envoy's details.
//! - Names are lower case (as Envoy sends them) unless [`NameCase::Preserve`] is asked for.
//!
//! Where RFC 9112 leaves a choice, we do as Envoy 1.40 does: a bare LF ends a line of a head; a folded
//! value is joined with one space; `http://host/path` replaces `Host`; an underscore in a name is
//! allowed; HTTP/1.0 is answered 426 and an unregistered method 400 unless configured otherwise; only
//! the member `trailers` of `te` travels on. Stricter than Envoy, on purpose: a bare LF in chunked
//! framing, user information in an authority, and a second `Host` are refused.
//!
//! Tests: each rule by its section in `tests/`, splitting at every byte, round trips, the `h2` crate as a
//! peer and as a second opinion, and [`fuzz`] on random bytes.

mod body;
mod date;
mod decode;
mod edits;
mod encode;
mod error;
mod field;
pub mod fuzz;
pub mod h2;
mod head;
pub mod hpack;
mod join;
mod known;
mod limits;
mod method;
mod parse;
mod scan;
mod section;
mod spare;
mod websocket;

pub use body::{BodyDecoder, BodyEvent};
pub use date::http_date;
pub use decode::{RequestDecoder, ResponseDecoder};
pub use edits::{HeaderEdits, RequestEdits, ResponseEdits, edited_fields};
pub use encode::{
    BodyEncoder, ConnectionField, Framing, LengthMismatch, Wire, capitalize_names, write_interim,
    write_request_head, write_response_head,
};
pub use error::ParseError;
pub use field::{
    Field, FieldName, FieldValue, InvalidName, InvalidValue, NameRef, OtherName, Sensitivity,
};
pub use head::{
    BodyLength, Fields, FieldsBuilder, Persistence, RequestHead, RequestParts, ResponseHead,
    Scheme, TargetForm, Version, list_members,
};
pub use known::{Known, KnownSet};
pub use limits::{Http10, Limits, Methods, NameCase, Underscores};
pub use method::{Method, reason};
pub use parse::ResponseTo;
pub use section::{RequestSection, SectionError, SectionReader, SectionWriter};
pub use websocket::{websocket_accept, websocket_key};
