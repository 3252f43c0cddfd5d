//! The one place where a failure becomes a response.

use std::borrow::Cow;

use bytes::Bytes;
use iako_http::{FieldName, FieldValue, HeaderEdits, Known, ParseError};
use iako_telemetry::ResponseFlag;

use super::content::ContentError;
use super::downstream::DownstreamError;
use super::failure::Failure;
use crate::dns::Unresolved;
use crate::upstream::UpstreamError;

/// How the text begins for a request that was lost before its response.
const BEFORE_RESPONSE: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: ";

/// A response made by this proxy.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Text, unless a field says otherwise; the message of a gRPC reply.
    pub(crate) body: Bytes,
    /// Further fields.
    pub(crate) edits: HeaderEdits,
    /// Envoy's response code details.
    pub(crate) details: Cow<'static, str>,
    /// The gRPC status for gRPC requests; by the HTTP status when absent.
    pub(crate) grpc_status: Option<u32>,
    /// Whether an HTTP/1 connection ends with it.
    pub(crate) closes: bool,
    /// Whether a gRPC call hears the status of HTTP too, and not 200.
    pub(crate) keeps_status: bool,
    /// A flag that counts once the reply is written: what changes replies does not see it.
    pub(crate) late_flag: Option<ResponseFlag>,
}

impl Reply {
    /// A reply without content.
    pub(crate) fn new(status: u16, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            body: Bytes::new(),
            edits: HeaderEdits::default(),
            details: details.into(),
            grpc_status: None,
            closes: false,
            keeps_status: false,
            late_flag: None,
        }
    }

    /// What came was the end of the last of several tries.
    pub(crate) fn tell_of_retries(&mut self) {
        if let Some(reason) = self.body.strip_prefix(BEFORE_RESPONSE.as_bytes()) {
            let again = b"upstream connect error or disconnect/reset before headers. retried and the latest reset reason: ";
            self.body = [again.as_slice(), reason].concat().into();
        }
    }

    /// The same with a text.
    pub(crate) fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The same with one more field.
    pub(crate) fn with_field(mut self, name: Known, value: FieldValue) -> Self {
        self.edits.append(name, value);
        self
    }
}

fn nobody(status: u16) -> Reply {
    Reply::new(status, "no_healthy_upstream").with_body("no healthy upstream")
}

/// The response for a failure: Envoy's status, body and details for the same cause, so that clients,
/// alerts and people find what they know. `None` when nobody is left to answer.
pub(crate) fn reply(failure: &Failure) -> Option<Reply> {
    Some(match failure {
        Failure::NoRoute => Reply::new(404, "route_not_found"),
        Failure::NoCluster { status } => Reply::new(*status, "cluster_not_found"),
        Failure::NoHealthyUpstream => nobody(503),
        Failure::SessionGone { status } => nobody(*status),
        Failure::Unresolved(why) => unresolved(*why),
        Failure::NoAddress(why) => Reply { details: unresolved(*why).details, ..nobody(503) },
        Failure::Dropped | Failure::AllDropped => dropped(failure),
        Failure::Shed => Reply::overloaded(),
        Failure::Maintenance => Reply::new(503, "maintenance_mode")
            .with_body("maintenance mode")
            .with_field(Known::XEnvoyOverloaded, FieldValue::from_static("true")),
        Failure::Overflow(_) => {
            let value = FieldValue::from_static("true");
            before_response(503, "overflow", None).with_field(Known::XEnvoyOverloaded, value)
        }
        Failure::Connect(error) => {
            let more = transport_reason(failure).replace(' ', "_");
            before_response(503, error.reset_reason(), Some(&more))
        }
        Failure::Upstream(error) => upstream(error),
        Failure::ResponseTimeout => {
            Reply::new(504, "response_timeout").with_body("upstream request timeout")
        }
        Failure::PerTryTimeout => {
            Reply::new(504, "upstream_per_try_timeout").with_body("upstream request timeout")
        }
        Failure::PerTryIdle => {
            Reply::new(504, "upstream_per_try_idle_timeout").with_body("upstream request timeout")
        }
        Failure::StrictHeader(problem) => {
            let details = format!("request_headers_failed_strict_check{{{}}}", problem.name);
            let body = format!("invalid header '{}' with value '{}'", problem.name, problem.value);
            Reply { closes: true, ..Reply::new(400, details).with_body(body) }
        }
        Failure::StreamIdle => Reply::new(504, "stream_idle_timeout").with_body("stream timeout"),
        Failure::RequestTimeout => {
            Reply::new(408, "request_overall_timeout").with_body("request timeout")
        }
        Failure::MaxDuration => Reply {
            grpc_status: Some(DEADLINE_EXCEEDED),
            ..Reply::new(504, "max_duration_timeout").with_body("downstream duration timeout")
        },
        Failure::UpstreamMaxDuration => Reply::new(504, "upstream_max_stream_duration_reached")
            .with_body("upstream max stream duration reached"),
        Failure::UpgradeRefused => Reply::new(403, "upgrade_failed"),
        Failure::Path => Reply { closes: true, ..Reply::new(400, "path_normalization_failed") },
        Failure::Denied { policy } => {
            Reply::new(403, format!("rbac_access_denied_matched_policy[{policy}]"))
                .with_body("RBAC: access denied")
        }
        Failure::Token { status, message, body, challenge } => {
            token(*status, message, body, challenge)
        }
        // Envoy gives no details either.
        Failure::NoFilterConfig => Reply::new(500, ""),
        Failure::FaultAbort { status, grpc } => Reply {
            grpc_status: *grpc,
            ..Reply::new(*status, "fault_filter_abort").with_body("fault filter abort")
        },
        Failure::Client(error) => return client(error),
        Failure::TooLarge => {
            let reply = Reply::new(413, "request_payload_too_large");
            Reply { closes: true, ..reply.with_body("Payload Too Large") }
        }
        Failure::Origin => Reply::new(403, "csrf_origin_mismatch").with_body("Invalid origin"),
        Failure::BrokenOff(_)
        | Failure::Overtaken
        | Failure::Elsewhere
        | Failure::ResponseContent(_) => return None,
    })
}

impl Reply {
    /// The answer of a proxy that is overloaded.
    pub(crate) fn overloaded() -> Self {
        Self::new(503, "overload").with_body("envoy overloaded")
    }
}

/// The response for a request that its server lost.
fn upstream(error: &UpstreamError) -> Reply {
    match error {
        UpstreamError::Closed(_) => before_response(503, "connection termination", None),
        UpstreamError::Reset(_) => before_response(503, "remote reset", None),
        UpstreamError::Refused => before_response(503, "remote refused stream reset", None),
        // More or less content than the request announced: the client's fault (RFC 9110 §8.6).
        UpstreamError::Length(_) => {
            let reply = Reply::new(400, "http1.codec_error").with_body(iako_http::reason(400));
            Reply { closes: true, ..reply }
        }
        UpstreamError::Protocol(_) | UpstreamError::Http2(_) | UpstreamError::NoExtendedConnect => {
            before_response(502, "protocol error", None)
        }
    }
}

/// The response for a request that its client broke off; none when the client is gone.
fn client(error: &DownstreamError) -> Option<Reply> {
    match error {
        DownstreamError::Protocol(error) => Some(protocol(*error)),
        DownstreamError::Content(ContentError::NotBase64 | ContentError::CutBase64) => {
            Some(not_base64(error.details()))
        }
        // Part of it has gone on: a server must not take that for the whole.
        DownstreamError::Content(ContentError::Corrupt | ContentError::Inflates) => {
            let reply = Reply::new(400, "request_content_not_decompressed")
                .with_body("the content of the request cannot be decompressed");
            Some(Reply { closes: true, ..reply })
        }
        DownstreamError::Gone(_)
        | DownstreamError::Reset
        | DownstreamError::Overload
        | DownstreamError::Shed
        | DownstreamError::Length(_)
        | DownstreamError::Content(ContentError::Processed)
        | DownstreamError::Http2(_) => None,
    }
}

/// The answer to a request that the control plane wants refused, which is told to the client.
fn dropped(failure: &Failure) -> Reply {
    let (words, field) = if matches!(failure, Failure::AllDropped) {
        ("unconditional drop overload", "x-envoy-unconditional-drop-overload")
    } else {
        ("drop overload", "x-envoy-drop-overload")
    };
    let mut reply = Reply::new(503, words.replace(' ', "_")).with_body(words);
    if let Ok(name) = FieldName::parse(field.as_bytes()) {
        reply.edits.append(name, FieldValue::from_static("true"));
    }
    reply
}

/// The answer to a call of gRPC-Web that is none. The client may be no caller of gRPC at all.
fn not_base64(details: &'static str) -> Reply {
    let reply = Reply::new(400, details).with_body("Bad gRPC-web request, invalid base64 data.");
    Reply { closes: true, keeps_status: true, ..reply }
}

/// The answer where the host of a request is not known.
fn unresolved(why: Unresolved) -> Reply {
    let (details, body) = match why {
        Unresolved::Failed => ("dns_resolution_failure", "DNS resolution failure"),
        Unresolved::Full => ("dns_cache_overflow", "DNS cache overflow"),
        Unresolved::Pending => (
            "dynamic_forward_proxy_pending_request_overflow",
            "Dynamic forward proxy pending request overflow",
        ),
    };
    Reply::new(503, details).with_body(body)
}

/// The answer to what is no HTTP. Envoy's codec answers with the reason phrase.
pub(crate) fn protocol(error: ParseError) -> Reply {
    let reply = Reply::new(error.status(), error.details());
    if error.body_is_reason() {
        return reply.with_body(iako_http::reason(error.status()));
    }
    reply
}

const DEADLINE_EXCEEDED: u32 = 4;

/// A request that was lost before its response: `reason` as Envoy names it.
fn before_response(status: u16, reason: &str, more: Option<&str>) -> Reply {
    let reason_word = reason.replace(' ', "_");
    let more = more.filter(|more| !more.is_empty());
    let more = more.map_or_else(String::new, |more| format!("|{more}"));
    Reply::new(status, format!("upstream_reset_before_response_started{{{reason_word}{more}}}"))
        .with_body(format!("{BEFORE_RESPONSE}{reason}"))
}

fn token(status: u16, message: &str, body: &str, challenge: &str) -> Reply {
    let words = message.replace(' ', "_");
    let reply = Reply::new(status, format!("jwt_authn_access_denied{{{words}}}"));
    let reply = if body.is_empty() { reply } else { reply.with_body(body.to_owned()) };
    if challenge.is_empty() {
        return reply;
    }
    reply.with_field(Known::WwwAuthenticate, FieldValue::sanitized(challenge.to_owned()))
}

/// What the log says about the transport beneath a failure, for
/// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`; blanks become underscores.
pub(crate) fn transport_reason(failure: &Failure) -> String {
    let Failure::Connect(error) = failure else { return String::new() };
    error.transport_reason()
}

/// What the log says when a response broke off after its head was sent.
pub(crate) fn broken_off_details(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Closed(_) => "upstream_reset_after_response_started{connection_termination}",
        UpstreamError::Reset(_) | UpstreamError::Refused => {
            "upstream_reset_after_response_started{remote_reset}"
        }
        UpstreamError::Protocol(_)
        | UpstreamError::Length(_)
        | UpstreamError::Http2(_)
        | UpstreamError::NoExtendedConnect => {
            "upstream_reset_after_response_started{protocol_error}"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_and_details_are_those_of_envoy() {
        let shown = |failure: Failure| {
            let reply = reply(&failure).unwrap();
            let body = String::from_utf8(reply.body.to_vec()).unwrap();
            (reply.status, body, reply.details)
        };
        let prefix = "upstream connect error or disconnect/reset before headers. reset reason: ";
        assert_eq!(shown(Failure::NoRoute), (404, String::new(), "route_not_found".into()));
        assert_eq!(
            shown(Failure::Upstream(UpstreamError::Closed(None))),
            (
                503,
                format!("{prefix}connection termination"),
                "upstream_reset_before_response_started{connection_termination}".into()
            )
        );
        let refused = std::io::Error::from_raw_os_error(111);
        let connect = ConnectError::Connect { endpoint: "127.0.0.1:1".into(), source: refused };
        assert_eq!(
            shown(Failure::Connect(connect.into())),
            (
                503,
                format!("{prefix}remote connection failure"),
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}".into()
            )
        );
    }

    use crate::transport::ConnectError;
}
