//! Which fields an encoder puts into its table.

use super::Token;
use crate::field::Sensitivity;
use crate::known::Known;

/// What is done with a field that no table holds as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indexing {
    /// It enters the table when it is seen for the second time.
    Repeated,
    /// Its value changes with each message: it would only push out what is useful.
    Without,
    /// A secret: nobody on the way may put it into a table, where its size would answer guesses
    /// (RFC 7541 §7.1.3).
    Never,
}

/// A cookie shorter than this could be guessed octet by octet.
const SHORT_COOKIE: usize = 20;

/// What is done with a field.
pub(super) fn indexing(token: Token, value: &[u8], sensitivity: Sensitivity) -> Indexing {
    if sensitivity == Sensitivity::Sensitive {
        return Indexing::Never;
    }
    match token {
        // Paths of gRPC repeat, those of most other requests do not: the second sight decides.
        Token::Pseudo(_) | Token::Other | Token::Underscored => Indexing::Repeated,
        Token::UpperCase | Token::UnknownPseudo | Token::Invalid => Indexing::Without,
        Token::Known(known) => of_known(known, value),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest repeat")]
fn of_known(known: Known, value: &[u8]) -> Indexing {
    match known {
        Known::Authorization | Known::ProxyAuthorization | Known::SetCookie => Indexing::Never,
        Known::Cookie if value.len() < SHORT_COOKIE => Indexing::Never,
        // A cookie is a secret of one of many clients that may share the connection.
        Known::Cookie
        | Known::ContentLength
        | Known::Date
        | Known::ETag
        | Known::GrpcMessage
        | Known::GrpcTimeout
        | Known::Location
        | Known::Range
        | Known::RetryAfter
        | Known::SecWebsocketAccept
        | Known::SecWebsocketKey
        | Known::TraceParent
        | Known::TraceState
        | Known::XB3ParentSpanId
        | Known::XB3SpanId
        | Known::XB3TraceId
        | Known::B3
        | Known::XClientTraceId
        | Known::XEnvoyExpectedRequestTimeout
        | Known::XEnvoyUpstreamServiceTime
        | Known::XEnvoyUpstreamStreamDuration
        | Known::XOtSpanContext
        | Known::XRateLimitRemaining
        | Known::XRateLimitReset
        | Known::XRequestId => Indexing::Without,
        _ => Indexing::Repeated,
    }
}
