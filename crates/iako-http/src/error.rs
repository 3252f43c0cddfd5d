//! Why bytes were refused, and how the refusal is answered.

/// A message that is refused. Every cause closes the connection: after one of these nobody knows
/// where the next message would begin.
///
/// [`status`](Self::status) and [`details`](Self::details) are Envoy's answers for the same cause, so
/// that clients and access logs see what they are used to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The request line is not `method SP target SP version`.
    #[error("the request line is malformed")]
    RequestLine,
    /// The first line ends in a word that is no version of HTTP: whoever sent it speaks something else,
    /// and is not answered when nothing on the connection was HTTP before.
    #[error("the first line is no HTTP")]
    NotHttp,
    /// The method is no registered method; unknown ones are refused unless allowed.
    #[error("the method is unknown")]
    UnknownMethod,
    /// The status line is not `version SP three digits`.
    #[error("the status line is malformed")]
    StatusLine,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the protocol version is not supported")]
    Version,
    /// A version that is not spoken here: HTTP/1.0 while it is not accepted, none at all (HTTP/0.9), or
    /// another than 1.x.
    #[error("the protocol version is not accepted here")]
    LowVersion,
    /// The request target is in no form that fits the method.
    #[error("the request target is malformed")]
    Target,
    /// The request target holds a control character.
    #[error("the request target holds a forbidden character")]
    TargetCharacter,
    /// The absolute-form target names a scheme other than http or https.
    #[error("the scheme of the request target is not supported")]
    Scheme,
    /// HTTP/1.1 without `Host` and without an absolute target.
    #[error("the request has no Host")]
    MissingHost,
    /// More than one `Host`, or one that is no authority.
    #[error("the Host field is malformed or repeated")]
    Host,
    /// A name is empty, holds a character outside RFC 9110 `token`, or a space stands before the colon.
    #[error("a field name is malformed")]
    FieldName,
    /// A value holds NUL, a bare CR or another control character.
    #[error("a field value holds a forbidden character")]
    FieldValue,
    /// A continuation line without a field before it, or one that continues a framing field.
    #[error("a folded line stands where none may")]
    Fold,
    /// A field name with an underscore while those are refused.
    #[error("a field name holds an underscore")]
    Underscore,
    /// The head is longer than [`crate::Limits::head_bytes_max`].
    #[error("the head is too large")]
    HeadTooLarge,
    /// More fields than [`crate::Limits::fields_max`].
    #[error("the head has too many fields")]
    TooManyFields,
    /// `Content-Length` is no decimal number below 2^63.
    #[error("Content-Length is malformed")]
    ContentLength,
    /// `Content-Length` twice, even with the same number: who repeats it has not been read by one parser
    /// only.
    #[error("Content-Length is repeated")]
    ContentLengthRepeated,
    /// Both `Content-Length` and `Transfer-Encoding`: the classic request smuggling.
    #[error("both Content-Length and Transfer-Encoding are present")]
    LengthAndChunked,
    /// A transfer coding other than exactly one `chunked`, or any in HTTP/1.0 or with CONNECT.
    #[error("the transfer coding is not supported")]
    TransferEncoding,
    /// CONNECT with `Content-Length` above zero.
    #[error("CONNECT carries a Content-Length")]
    ConnectLength,
    /// `Connection` nominates too many fields, or one that others decide by.
    #[error("Connection nominates fields that it must not")]
    ConnectionField,
    /// A chunk size that is no hexadecimal number below 2^63, or its line is malformed.
    #[error("a chunk size is malformed")]
    ChunkSize,
    /// Chunk extensions longer than [`crate::Limits::chunk_extension_bytes_max`].
    #[error("a chunk extension is too long")]
    ChunkExtension,
    /// A chunk is not followed by a line end.
    #[error("a chunk does not end where it should")]
    ChunkEnd,
    /// Trailers above the limits of a head.
    #[error("the trailers are too large")]
    TrailersTooLarge,
    /// More trailers than [`crate::Limits::fields_max`].
    #[error("there are too many trailers")]
    TooManyTrailers,
    /// A 101 that nobody asked for.
    #[error("the peer switched protocols unasked")]
    UnexpectedSwitch,
    /// A 1xx or 204, which has no content, announces some (RFC 9110 §8.6, RFC 9112 §6.1).
    #[error("a response without content announces content")]
    LengthOfNothing,
    /// More interim responses than [`crate::Limits::interim_responses_max`].
    #[error("there are too many interim responses")]
    TooManyInterim,
    /// The peer closed in the middle of a message.
    #[error("the connection closed in the middle of a message")]
    Truncated,
}

impl ParseError {
    /// The status a server answers with before it closes.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest are plain refusals")]
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::LowVersion => 426,
            Self::HeadTooLarge
            | Self::TooManyFields
            | Self::TrailersTooLarge
            | Self::TooManyTrailers => 431,
            Self::TransferEncoding => 501,
            _ => 400,
        }
    }

    /// Envoy's response code details for this cause.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest are plain refusals")]
    #[must_use]
    pub const fn details(self) -> &'static str {
        match self {
            Self::LowVersion => "low_version",
            Self::MissingHost => "missing_host_header",
            Self::Target => "http1.invalid_url",
            Self::Scheme => "http1.invalid_scheme",
            Self::Host => "http.invalid_authority",
            Self::FieldValue | Self::TargetCharacter => "http1.invalid_characters",
            Self::Underscore => "http1.unexpected_underscore",
            Self::HeadTooLarge => "http1.headers_too_large",
            Self::TooManyFields | Self::TooManyTrailers => "http1.too_many_headers",
            Self::TrailersTooLarge => "http1.trailers_too_large",
            Self::LengthAndChunked => "http1.content_length_and_chunked_not_allowed",
            Self::TransferEncoding => "http1.invalid_transfer_encoding",
            Self::ConnectLength => "http1.body_disallowed",
            Self::LengthOfNothing => "http1.content_length_not_allowed",
            Self::ConnectionField => "http1.connection_header_rejected",
            _ => "http1.codec_error",
        }
    }

    /// Whether the answer carries the reason phrase as its body.
    ///
    /// Envoy's codec does; the checks it makes after the codec (a missing `Host`) answer without one.
    #[must_use]
    pub const fn body_is_reason(self) -> bool {
        !matches!(self, Self::MissingHost)
    }
}
