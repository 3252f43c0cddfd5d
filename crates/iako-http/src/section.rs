//! Field sections of HTTP/2: from decoded fields to heads and trailers, and back (RFC 9113 §8).
//!
//! [`SectionReader`] checks while it reads and copies each value once, into the buffer that the head then
//! shares. [`SectionWriter`] compresses straight from a head with its edits. Both are one direction of
//! one connection, because the compression's tables are.
//!
//! What HTTP/1 would read differently is refused: line breaks, fields of the connection, blanks in
//! `:path`, lengths that disagree. Left to who routes: a fragment in `:path`, unknown methods.

mod error;
mod read;
mod request;
mod response;
mod write;

pub use error::SectionError;
pub use read::SectionReader;
pub use write::{RequestSection, SectionWriter};
