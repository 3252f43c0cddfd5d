//! Why a stream or a connection was refused.

use super::code::ErrorCode;

/// A rule that the peer broke. Whether it costs the stream or the connection is decided where it is
/// found, by RFC 9113.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The client preface is not the fixed text, or no SETTINGS follow it (RFC 9113 §3.4).
    #[error("the connection does not begin with the HTTP/2 preface")]
    Preface,
    /// A frame is longer than SETTINGS_MAX_FRAME_SIZE (§4.2).
    #[error("a frame is larger than announced")]
    FrameTooLarge,
    /// A frame has a length that its type does not allow (§4.2).
    #[error("a frame has a length that its type does not allow")]
    FrameSize,
    /// Padding is as long as the frame or longer (§6.1).
    #[error("padding is longer than its frame")]
    Padding,
    /// A frame of a stream came on stream 0, or a frame of the connection on a stream (§6).
    #[error("a frame came on a stream that its type does not allow")]
    StreamZero,
    /// A frame other than HEADERS or PRIORITY on a stream that was never opened (§5.1).
    #[error("a frame came for an idle stream")]
    IdleStream,
    /// A frame for a stream whose sender had ended it (§5.1).
    #[error("a frame came for a closed stream")]
    ClosedStream,
    /// A new stream's identifier is even, or not above those before it (§5.1.1).
    #[error("a stream identifier is not the peer's to use, or too low")]
    StreamNumber,
    /// PUSH_PROMISE, which a client may not send and which we do not allow servers (§8.4).
    #[error("the peer pushes")]
    PushPromise,
    /// Another frame came between HEADERS and the end of its field block (§6.10).
    #[error("a field block was interrupted")]
    BlockInterrupted,
    /// CONTINUATION without a field block before it (§6.10).
    #[error("a continuation came without a beginning")]
    UnexpectedContinuation,
    /// A setting has a value outside its range (§6.5.2, RFC 8441 §3).
    #[error("a setting has a value outside its range")]
    Setting,
    /// A window grew above 2^31 - 1 (§6.9.1).
    #[error("a flow-control window overflowed")]
    WindowOverflow,
    /// WINDOW_UPDATE by 0 (§6.9).
    #[error("a window update by zero")]
    WindowZero,
    /// More content than the window allowed (§6.9.1).
    #[error("the peer sent more than its flow-control window")]
    WindowExceeded,
    /// A stream that depends on itself (RFC 7540 §5.3.1).
    #[error("a stream depends on itself")]
    SelfDependency,
    /// More streams at once than announced (§5.1.2).
    #[error("the peer opened too many streams at once")]
    TooManyStreams,
    /// A field block that HPACK cannot read (RFC 7541).
    #[error("a field block cannot be decompressed")]
    Compression,
    /// A field block longer than any message that would be taken, see
    /// [`H2Limits`](super::H2Limits).
    #[error("a field block is too large")]
    BlockTooLarge,
    /// A field section longer than the limit of a head.
    #[error("the fields are too large")]
    FieldsTooLarge,
    /// More fields than the limit of a head.
    #[error("there are too many fields")]
    TooManyFields,
    /// A field name or value that may not stand in HTTP/2 (§8.2).
    #[error("a field is malformed")]
    Field,
    /// A field name with an underscore while those are refused.
    #[error("a field name holds an underscore")]
    Underscore,
    /// Pseudo-header fields that are missing, repeated, unknown, late or of no use (§8.3).
    #[error("the message is malformed")]
    Message,
    /// `content-length` differs from the content (§8.1.1).
    #[error("the content does not fit its announced length")]
    ContentLength,
    /// A second field section that does not end the message (§8.1).
    #[error("trailers do not end their message")]
    UnendedTrailers,
    /// More interim responses than [`Limits::interim_responses_max`](crate::Limits).
    #[error("there are too many interim responses")]
    TooManyInterim,
    /// Most of the tiny DATA frames that nobody has read, see
    /// [`H2Limits::tiny_frames_max`](super::H2Limits).
    #[error("there are too many tiny frames")]
    TinyFrames,
}

impl Violation {
    /// The code that answers it.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::FrameTooLarge | Self::FrameSize => ErrorCode::FRAME_SIZE_ERROR,
            Self::ClosedStream => ErrorCode::STREAM_CLOSED,
            Self::WindowOverflow | Self::WindowExceeded => ErrorCode::FLOW_CONTROL_ERROR,
            Self::TooManyStreams => ErrorCode::REFUSED_STREAM,
            Self::Compression => ErrorCode::COMPRESSION_ERROR,
            Self::BlockTooLarge | Self::TooManyInterim | Self::TinyFrames => {
                ErrorCode::ENHANCE_YOUR_CALM
            }
            // Envoy answers so, and clients take it as "not because of what you asked".
            Self::FieldsTooLarge | Self::TooManyFields => ErrorCode::INTERNAL_ERROR,
            Self::Preface
            | Self::Padding
            | Self::StreamZero
            | Self::IdleStream
            | Self::StreamNumber
            | Self::PushPromise
            | Self::BlockInterrupted
            | Self::UnexpectedContinuation
            | Self::Setting
            | Self::WindowZero
            | Self::SelfDependency
            | Self::Field
            | Self::Underscore
            | Self::Message
            | Self::ContentLength
            | Self::UnendedTrailers => ErrorCode::PROTOCOL_ERROR,
        }
    }

    /// Envoy's response code details where it has some for the same cause; else of the same form.
    #[must_use]
    pub const fn details(self) -> &'static str {
        match self {
            Self::Field => "http2.invalid.header.field",
            Self::Message | Self::ContentLength | Self::UnendedTrailers => {
                "http2.violation.of.messaging.rule"
            }
            Self::Underscore => "http2.unexpected_underscore",
            Self::TooManyFields => "http2.too_many_headers",
            Self::FieldsTooLarge => "http2.header_list_size_too_large",
            Self::TooManyStreams => "http2.too_many_streams",
            Self::Preface => "http2.bad_preface",
            Self::FrameTooLarge => "http2.frame_too_large",
            Self::FrameSize => "http2.invalid_frame_size",
            Self::Padding => "http2.invalid_padding",
            Self::StreamZero => "http2.invalid_stream",
            Self::IdleStream => "http2.idle_stream",
            Self::ClosedStream => "http2.closed_stream",
            Self::StreamNumber => "http2.invalid_stream_id",
            Self::PushPromise => "http2.unexpected_push",
            Self::BlockInterrupted | Self::UnexpectedContinuation => "http2.invalid_continuation",
            Self::Setting => "http2.invalid_setting",
            Self::WindowOverflow => "http2.window_overflow",
            Self::WindowZero => "http2.zero_window_update",
            Self::WindowExceeded => "http2.window_exceeded",
            Self::SelfDependency => "http2.self_dependency",
            Self::Compression => "http2.compression_error",
            Self::BlockTooLarge => "http2.header_block_too_large",
            Self::TooManyInterim => "http2.too_many_interim_responses",
            Self::TinyFrames => FloodKind::TinyFrames.details(),
        }
    }

    /// Whether fields were more, or larger, than a head may have.
    #[must_use]
    pub const fn is_overflow(self) -> bool {
        matches!(self, Self::FieldsTooLarge | Self::TooManyFields | Self::BlockTooLarge)
    }

    /// The flood that costs one stream and not the connection.
    #[must_use]
    pub const fn flood(self) -> Option<FloodKind> {
        if matches!(self, Self::TinyFrames) { Some(FloodKind::TinyFrames) } else { None }
    }

    /// Whether what broke the rule is the message and not its framing: what Envoy's
    /// `override_stream_error_on_invalid_http_message` speaks of.
    #[must_use]
    pub const fn is_invalid_message(self) -> bool {
        matches!(self, Self::Field | Self::Message | Self::Underscore)
    }
}

/// What a peer did too often. Each has a bound in [`H2Limits`](super::H2Limits); the connection is
/// closed with `ENHANCE_YOUR_CALM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FloodKind {
    /// Frames that wait to be written, because the peer asks but does not read.
    #[error("too many frames wait to be written")]
    Outbound,
    /// PING, SETTINGS and RST_STREAM frames that wait to be written.
    #[error("too many control frames wait to be written")]
    OutboundControl,
    /// HEADERS, CONTINUATION and DATA frames in a row that carry nothing and end nothing.
    #[error("too many frames without content in a row")]
    EmptyFrames,
    /// PRIORITY frames.
    #[error("too many PRIORITY frames")]
    Priority,
    /// WINDOW_UPDATE frames.
    #[error("too many WINDOW_UPDATE frames")]
    WindowUpdate,
    /// SETTINGS frames.
    #[error("too many SETTINGS frames")]
    Settings,
    /// Streams reset soon after they were opened, by the peer or by us because of what it sent.
    #[error("too many streams were reset early")]
    RapidReset,
    /// CONTINUATION frames of one field block.
    #[error("too many CONTINUATION frames")]
    Continuation,
    /// DATA frames of a few bytes that their reader has not taken yet.
    #[error("too many tiny frames")]
    TinyFrames,
}

impl FloodKind {
    /// Response code details of streams that die of it; Envoy's where it has some.
    #[must_use]
    pub const fn details(self) -> &'static str {
        match self {
            Self::Outbound => "http2.outbound_frames_flood",
            Self::OutboundControl => "http2.outbound_control_flood",
            Self::EmptyFrames => "http2.inbound_empty_frames_flood",
            Self::Priority => "http2.inbound_priority_frames_flood",
            Self::WindowUpdate => "http2.inbound_window_update_frames_flood",
            Self::Settings => "http2.inbound_settings_frames_flood",
            Self::RapidReset => "http2.premature_reset_flood",
            Self::Continuation => "http2.inbound_continuation_frames_flood",
            Self::TinyFrames => "http2.inbound_tiny_frames_flood",
        }
    }

    /// The name of Envoy's counter for it under `http2.`; of the same form where it has none.
    #[must_use]
    pub const fn stat(self) -> &'static str {
        match self {
            Self::Outbound => "outbound_flood",
            Self::OutboundControl => "outbound_control_flood",
            Self::EmptyFrames => "inbound_empty_frames_flood",
            Self::Priority => "inbound_priority_frames_flood",
            Self::WindowUpdate => "inbound_window_update_frames_flood",
            Self::Settings => "inbound_settings_frames_flood",
            Self::RapidReset => "premature_reset_flood",
            Self::Continuation => "inbound_continuation_frames_flood",
            Self::TinyFrames => "inbound_tiny_frames_flood",
        }
    }
}

/// The connection is over. GOAWAY with the code stands in the output already; the caller writes what
/// is there and closes. Told once: afterwards input is thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The peer broke a rule.
    #[error("the peer broke HTTP/2")]
    Violation(#[from] Violation),
    /// The peer does too much of something.
    #[error("the peer floods the connection")]
    Flood(#[from] FloodKind),
}

impl ConnectionError {
    /// The code of the GOAWAY that answers it.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Violation(violation) => violation.code(),
            Self::Flood(_) => ErrorCode::ENHANCE_YOUR_CALM,
        }
    }

    /// Response code details of the streams that die of it; Envoy's where it has some.
    #[must_use]
    pub const fn details(self) -> &'static str {
        match self {
            Self::Violation(violation) => violation.details(),
            Self::Flood(kind) => kind.details(),
        }
    }
}

/// No stream can be opened on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// As many are open as the peer or we allow: later there may be room.
    #[error("the connection carries as many streams as it may")]
    NoRoom,
    /// The connection is ending, or failed, or has no stream identifiers left: never again.
    #[error("the connection is ending")]
    GoingAway,
}
