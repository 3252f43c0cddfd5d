//! HPACK, the compression of HTTP/2's field sections (RFC 7541), both ways.
//!
//! [`Decoder`] gives each field to a [`FieldSink`]; [`Encoder`] appends fields to a buffer. Both keep
//! what was found out about a name (which [`Known`] it is, whether it may be a name at all) beside the
//! table's entries, so that a field that comes by its index costs no lookup and no check.
//!
//! Bounds: a table holds at most the bytes it was made for, twice that in memory while it moves; an
//! integer has at most five octets behind its prefix; a string is never longer than eight fifths of its
//! block. What a block may unfold to is bounded by the sink, which stops copying at its limits.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod policy;
mod static_table;
mod table;

pub use decoder::Decoder;
pub use encoder::Encoder;

use crate::field::Sensitivity;
use crate::known::Known;
use crate::scan;

/// Table size that both sides start with (RFC 9113 §6.5.2), and Envoy's `hpack_table_size` default.
pub const TABLE_BYTES_DEFAULT: usize = 4096;

/// A pseudo-header field (RFC 9113 §8.3, RFC 8441 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pseudo {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`
    Path,
    /// `:protocol`
    Protocol,
    /// `:status`
    Status,
}

impl Pseudo {
    /// The name as on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => ":method",
            Self::Scheme => ":scheme",
            Self::Authority => ":authority",
            Self::Path => ":path",
            Self::Protocol => ":protocol",
            Self::Status => ":status",
        }
    }

    fn lookup(name: &[u8]) -> Option<Self> {
        Some(match name {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b":path" => Self::Path,
            b":protocol" => Self::Protocol,
            b":status" => Self::Status,
            _ => return None,
        })
    }
}

/// What a name is, found out once when it enters a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    /// A pseudo-header field that exists.
    Pseudo(Pseudo),
    /// A name that the mesh knows.
    Known(Known),
    /// Any other lower-case token.
    Other,
    /// A lower-case token with an underscore, which configuration may refuse.
    Underscored,
    /// A token but for upper-case letters.
    UpperCase,
    /// Begins with a colon and is no pseudo-header field.
    UnknownPseudo,
    /// No field name: empty, too long, or with characters that no name has.
    Invalid,
}

impl Token {
    /// Looks at a name.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        if let Some(known) = Known::lookup(name) {
            return Self::Known(known);
        }
        if name.first() == Some(&b':') {
            return Pseudo::lookup(name).map_or(Self::UnknownPseudo, Self::Pseudo);
        }
        if name.is_empty() || name.len() > usize::from(u16::MAX) {
            return Self::Invalid;
        }
        let (mut underscore, mut upper) = (false, false);
        for byte in name {
            let lower = scan::name_byte(*byte);
            if lower == 0 {
                return Self::Invalid;
            }
            upper |= lower != *byte;
            underscore |= lower == b'_';
        }
        match (upper, underscore) {
            (true, _) => Self::UpperCase,
            (false, true) => Self::Underscored,
            (false, false) => Self::Other,
        }
    }
}

/// What a value is, found out once when it enters a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// It may stand in a head as it is.
    Clean,
    /// It begins or ends with a blank (RFC 9113 §8.2.1).
    Blank,
    /// It holds NUL, a line break or another control character.
    Forbidden,
}

impl ValueKind {
    /// Looks at a value.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        if !scan::is_value(value) {
            return Self::Forbidden;
        }
        let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if blank(value.first()) || blank(value.last()) { Self::Blank } else { Self::Clean }
    }
}

/// One field as it comes out of a block. Names and values are whatever the peer sent: see
/// [`token`](Self::token) and [`kind`](Self::kind) before using them.
#[derive(Clone, Copy, Debug)]
pub struct DecodedField<'a> {
    /// What the name is.
    pub token: Token,
    /// The name.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// What the value is.
    pub kind: ValueKind,
    /// Whether the peer said that this field is never to be indexed; whoever forwards it must say the
    /// same (RFC 7541 §6.2.3).
    pub sensitivity: Sensitivity,
}

/// Where decoded fields go.
///
/// A sink that does not like a field remembers why and takes the rest: the whole block has to be read,
/// or the table is lost for the streams that follow.
pub trait FieldSink {
    /// Takes the next field.
    fn field(&mut self, field: DecodedField<'_>);
}

/// Throws fields away: for streams that are refused, whose blocks still change the table.
#[derive(Clone, Copy, Debug)]
pub struct Discard;

impl FieldSink for Discard {
    fn field(&mut self, _: DecodedField<'_>) {}
}

/// A block that cannot be read. The table is lost with it, so the connection ends with
/// `COMPRESSION_ERROR` (RFC 9113 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HpackError {
    /// The block ends inside a field.
    #[error("the block ends inside a field")]
    Truncated,
    /// An integer with more than five octets behind its prefix, or above 32 bits (RFC 7541 §5.1).
    #[error("an integer is too large")]
    Integer,
    /// Index 0, or one beyond both tables (RFC 7541 §2.3.3, §6.1).
    #[error("an index is in no table")]
    Index,
    /// A code of the end of string, or padding that is no beginning of it (RFC 7541 §5.2).
    #[error("a string is no Huffman code")]
    Huffman,
    /// A change of the table's size behind a field (RFC 7541 §4.2).
    #[error("the table's size is changed in the middle of a block")]
    LateSizeUpdate,
    /// A change of the table's size above what we offered (RFC 7541 §6.3).
    #[error("the table's size is set above its limit")]
    SizeUpdate,
    /// We offered a smaller table and the peer went on with the larger one (RFC 7541 §4.2).
    #[error("the table was not made smaller as the settings demand")]
    MissingSizeUpdate,
}
