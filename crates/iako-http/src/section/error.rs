//! Why a field section was refused.

use crate::h2::Violation;
use crate::hpack::{HpackError, Pseudo};

/// A field section that is no head and no trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SectionError {
    /// The block cannot be read; the connection is lost.
    #[error("the field block cannot be decompressed")]
    Compression(#[from] HpackError),
    /// More fields than [`crate::Limits::fields_max`].
    #[error("there are too many fields")]
    TooManyFields,
    /// Names and values longer than [`crate::Limits::head_bytes_max`].
    #[error("the fields are too large")]
    TooLarge,
    /// A name with an upper-case letter (RFC 9113 §8.2.1).
    #[error("a field name has an upper-case letter")]
    UpperCase,
    /// A name that is no token (RFC 9113 §8.2.1).
    #[error("a field name is malformed")]
    Name,
    /// A name with an underscore while those are refused.
    #[error("a field name holds an underscore")]
    Underscore,
    /// NUL, a line break or another control character in a value (RFC 9113 §8.2.1).
    #[error("a field value holds a forbidden character")]
    Value,
    /// A value with a blank at its beginning or end (RFC 9113 §8.2.1).
    #[error("a field value begins or ends with a blank")]
    Blank,
    /// A field that speaks about an HTTP/1 connection (RFC 9113 §8.2.2).
    #[error("a field of the connection stands in HTTP/2")]
    ConnectionField,
    /// `te` with another value than `trailers` (RFC 9113 §8.2.2).
    #[error("te says more than trailers")]
    Te,
    /// A pseudo-header field that does not exist (RFC 9113 §8.3).
    #[error("a pseudo-header field is unknown")]
    UnknownPseudo,
    /// A pseudo-header field behind a regular one (RFC 9113 §8.3).
    #[error("a pseudo-header field stands behind a regular field")]
    LatePseudo,
    /// A pseudo-header field twice (RFC 9113 §8.3).
    #[error("{} stands there twice", .0.as_str())]
    RepeatedPseudo(Pseudo),
    /// A pseudo-header field that this message may not have (RFC 9113 §8.1, §8.3, §8.5).
    #[error("{} has no place here", .0.as_str())]
    UnexpectedPseudo(Pseudo),
    /// A pseudo-header field that is missing (RFC 9113 §8.3.1, §8.3.2, §8.5).
    #[error("{} is missing", .0.as_str())]
    MissingPseudo(Pseudo),
    /// A pseudo-header field with a value that it cannot have.
    #[error("{} is malformed", .0.as_str())]
    MalformedPseudo(Pseudo),
    /// More than one `host`, or one that is no authority while there is no `:authority`.
    #[error("the host field is malformed or repeated")]
    Host,
    /// `content-length` is no decimal number below 2^63.
    #[error("content-length is malformed")]
    ContentLength,
    /// `content-length` twice, even with the same number.
    #[error("content-length is repeated")]
    ContentLengthRepeated,
    /// Content is announced on a stream that ends here (RFC 9113 §8.1.1).
    #[error("content is announced and none follows")]
    MissingContent,
    /// A 1xx or 204, which has no content, announces some (RFC 9110 §8.6).
    #[error("content is announced where there can be none")]
    UnexpectedLength,
    /// An interim response that ends its stream (RFC 9113 §8.1).
    #[error("an interim response ends its stream")]
    EndedInterim,
}

impl SectionError {
    /// Envoy's response code details for this cause.
    #[must_use]
    pub const fn details(self) -> &'static str {
        self.violation().details()
    }

    /// The rule that was broken, as a connection answers it.
    #[must_use]
    pub const fn violation(self) -> Violation {
        match self {
            Self::Compression(_) => Violation::Compression,
            Self::TooManyFields => Violation::TooManyFields,
            Self::TooLarge => Violation::FieldsTooLarge,
            Self::Underscore => Violation::Underscore,
            Self::UpperCase
            | Self::Name
            | Self::Value
            | Self::Blank
            | Self::ConnectionField
            | Self::Te
            | Self::UnknownPseudo
            | Self::LatePseudo
            | Self::RepeatedPseudo(_)
            | Self::MalformedPseudo(_)
            | Self::Host
            | Self::ContentLength
            | Self::ContentLengthRepeated => Violation::Field,
            Self::UnexpectedPseudo(_) | Self::MissingPseudo(_) | Self::EndedInterim => {
                Violation::Message
            }
            Self::MissingContent | Self::UnexpectedLength => Violation::ContentLength,
        }
    }
}

impl From<SectionError> for Violation {
    fn from(error: SectionError) -> Self {
        error.violation()
    }
}
