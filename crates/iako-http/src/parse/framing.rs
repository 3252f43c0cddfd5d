//! Where a message's content ends. Every doubt is refused: two readers that disagree are an attack.

use crate::error::ParseError;
use crate::head::{BodyLength, Version};
use crate::known::{Known, KnownSet};
use crate::method::Method;
use crate::parse::ResponseTo;
use crate::scan::Entries;

/// What `Content-Length` and `Transfer-Encoding` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Nothing,
    Length(u64),
    Chunked,
}

impl Framing {
    /// Reads both fields.
    pub(super) fn read(
        entries: &Entries,
        block: &[u8],
        present: KnownSet,
    ) -> Result<Self, ParseError> {
        let chunked = present.contains(Known::TransferEncoding);
        if !present.contains(Known::ContentLength) {
            if !chunked {
                return Ok(Self::Nothing);
            }
            transfer_encoding(entries, block)?;
            return Ok(Self::Chunked);
        }
        if chunked {
            return Err(ParseError::LengthAndChunked);
        }
        content_length(entries, block)
    }

    /// RFC 9112 §6.3 for requests.
    pub(super) fn request_length(
        self,
        method: &Method,
        version: Version,
    ) -> Result<BodyLength, ParseError> {
        if *method == Method::Connect {
            return match self {
                Self::Nothing | Self::Length(0) => Ok(BodyLength::Tunnel),
                Self::Length(_) => Err(ParseError::ConnectLength),
                Self::Chunked => Err(ParseError::TransferEncoding),
            };
        }
        match self {
            Self::Nothing => Ok(BodyLength::Empty),
            Self::Length(length) => Ok(BodyLength::Exact(length)),
            // HTTP/1.0 knows no transfer codings; who forwards it there may read on as HTTP/1.0 does.
            Self::Chunked if version == Version::Http10 => Err(ParseError::TransferEncoding),
            Self::Chunked => Ok(BodyLength::Chunked),
        }
    }

    /// RFC 9112 §6.3 for responses.
    pub(super) fn response_length(
        self,
        status: u16,
        version: Version,
        to: ResponseTo,
    ) -> Result<BodyLength, ParseError> {
        match (status, to) {
            (101, ResponseTo::Upgrade) | (200..=299, ResponseTo::Connect) => {
                return Ok(BodyLength::Tunnel);
            }
            (101, _) => return Err(ParseError::UnexpectedSwitch),
            // What comes next on such a connection nobody knows. A length of 0 is a common mistake.
            (100..=199 | 204, _) if !matches!(self, Self::Nothing | Self::Length(0)) => {
                return Err(ParseError::LengthOfNothing);
            }
            (100..=199 | 204 | 304, _) | (_, ResponseTo::Head) => return Ok(BodyLength::Empty),
            (_, ResponseTo::Plain | ResponseTo::Connect | ResponseTo::Upgrade) => {}
        }
        match self {
            Self::Nothing => Ok(BodyLength::UntilClose),
            Self::Length(length) => Ok(BodyLength::Exact(length)),
            Self::Chunked if version == Version::Http10 => Err(ParseError::TransferEncoding),
            Self::Chunked => Ok(BodyLength::Chunked),
        }
    }
}

/// The one coding that is understood is `chunked`, once.
fn transfer_encoding(entries: &Entries, block: &[u8]) -> Result<(), ParseError> {
    let mut values = entries.iter().filter(|entry| entry.known == Some(Known::TransferEncoding));
    let only = values.next().map(|entry| entry.value_span().of(block));
    match (only, values.next()) {
        (Some(value), None) if value.eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(ParseError::TransferEncoding),
    }
}

fn content_length(entries: &Entries, block: &[u8]) -> Result<Framing, ParseError> {
    let mut values = entries.iter().filter(|entry| entry.known == Some(Known::ContentLength));
    let only = values.next().and_then(|entry| decimal(entry.value_span().of(block)));
    if values.next().is_some() {
        return Err(ParseError::ContentLengthRepeated);
    }
    only.map(Framing::Length).ok_or(ParseError::ContentLength)
}

/// Digits only, below 2^63: no sign, no list, no blank inside.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (value <= i64::MAX.unsigned_abs()).then_some(value)
}
