//! Which end of a stream becomes which on the other side of the proxy.
//!
//! | what happened | what the other side sees |
//! |---|---|
//! | client: RST_STREAM (any code), or its connection is gone | upstream HTTP/2: RST_STREAM `CANCEL`; upstream HTTP/1: the connection is closed |
//! | client: END_STREAM, then it only reads (half-close) | upstream HTTP/2: END_STREAM; upstream HTTP/1: the end of the request's content; tunnels: FIN |
//! | client: a malformed message | the client's stream is reset with `PROTOCOL_ERROR`; upstream as for RST_STREAM |
//! | upstream: RST_STREAM `REFUSED_STREAM`, or GOAWAY below the stream | tried again on another connection where that is possible, else 503 `UR`; the client never sees the code: it would try again too |
//! | upstream: RST_STREAM before its response | a retry where the policy has `reset`, else 503 `UR` |
//! | upstream: RST_STREAM `NO_ERROR` after a whole response | nothing: the response is complete, the rest of the request is not sent |
//! | upstream: RST_STREAM `CANCEL`, `ENHANCE_YOUR_CALM`, `INADEQUATE_SECURITY`, `HTTP_1_1_REQUIRED` within its response | client HTTP/2: RST_STREAM with the same code (gRPC gives each a status of its own); client HTTP/1: the connection is closed before the end of the content |
//! | upstream: RST_STREAM with any other code within its response | client HTTP/2: RST_STREAM `INTERNAL_ERROR`; client HTTP/1: closed |
//! | upstream HTTP/1: closed within its response | client HTTP/2: RST_STREAM `INTERNAL_ERROR`; client HTTP/1: closed |
//! | upstream: content that does not fit its length, or no HTTP | before the response 502 `UPE`; within it client HTTP/2: RST_STREAM `INTERNAL_ERROR` |
//! | a deadline passed within the response | client HTTP/2: RST_STREAM `INTERNAL_ERROR`; upstream: RST_STREAM `CANCEL` |
//! | a whole response before the whole request | client HTTP/2: END_STREAM, then RST_STREAM `NO_ERROR` (RFC 9113 §8.1); upstream HTTP/2: RST_STREAM `CANCEL` |
//! | a tunnel (CONNECT, upgrade) breaks | client HTTP/2: RST_STREAM `CONNECT_ERROR`; the other direction ends with it |

use iako_http::h2::ErrorCode;

use crate::http::failure::Failure;
use crate::upstream::UpstreamError;

/// The code that tells a client why its response is incomplete.
pub(crate) fn for_client(failure: &Failure) -> ErrorCode {
    if let Failure::BrokenOff(UpstreamError::Reset(code)) = failure {
        return passed_on(*code);
    }
    ErrorCode::INTERNAL_ERROR
}

/// The code of an upstream's RST_STREAM, as far as it says something to the client.
fn passed_on(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::CANCEL
        | ErrorCode::ENHANCE_YOUR_CALM
        | ErrorCode::INADEQUATE_SECURITY
        | ErrorCode::HTTP_1_1_REQUIRED => code,
        _ => ErrorCode::INTERNAL_ERROR,
    }
}

/// The code by which we give up a request to a server.
pub(crate) const TO_UPSTREAM: ErrorCode = ErrorCode::CANCEL;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_a_client_may_act_on_reach_it() {
        let seen = |code| for_client(&Failure::BrokenOff(UpstreamError::Reset(code)));
        for code in [
            ErrorCode::CANCEL,
            ErrorCode::ENHANCE_YOUR_CALM,
            ErrorCode::INADEQUATE_SECURITY,
            ErrorCode::HTTP_1_1_REQUIRED,
        ] {
            assert_eq!(seen(code), code);
        }
        for code in [ErrorCode::REFUSED_STREAM, ErrorCode::NO_ERROR, ErrorCode::new(0x7777)] {
            assert_eq!(seen(code), ErrorCode::INTERNAL_ERROR, "{code}");
        }
        let broken = Failure::BrokenOff(UpstreamError::Closed(None));
        assert_eq!(for_client(&broken), ErrorCode::INTERNAL_ERROR);
    }
}
