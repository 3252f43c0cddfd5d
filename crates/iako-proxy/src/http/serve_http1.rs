//! The driver of an HTTP/1 connection: one request after the other, all in one task.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use iako_http::{
    BodyLength, Fields, ParseError, RequestHead, ResponseEdits, ResponseHead, Version,
};
use iako_proxy_config::{CodecType, ShedPlace, Timer as Timeout};
use iako_rt::{Rng, clock};
use iako_telemetry::ResponseFlag;

use super::connection::HttpConnection;
use super::counted::{Counted, Ended};
use super::downstream::h1::Http1Downstream;
use super::downstream::{Content, Downstream, DownstreamError};
use super::error_response::{self, Reply};
use super::exchange::{Moment, begin};
use super::h2c;
use super::record::{self, Refused};
use super::serve_http2::{self, Upgraded};
use super::service::HttpService;
use super::timer::Timer;
use crate::transport::Stream;

/// Serves an HTTP/1 connection until either side ends it.
pub(crate) async fn serve(connection: &Rc<HttpConnection>, stream: Stream, read: Bytes) {
    let service = connection.last_service();
    let side = Http1Downstream::new(stream, read, service.limits, &service.manager.http1);
    let mut side = side.metered(Counted::meter(&service));
    let mut timer = Timer::default();
    let drain = connection.chain.drain.clone();
    let mut ends = Ends { opened: clock::now(), draining: pin!(drain.draining()), listens: false };
    let mut served: u32 = 0;
    let mut now = ends.opened;
    loop {
        let head = match next_head(connection, &mut side, &mut timer, &mut ends, now).await {
            Next::Request(head) => head,
            // Whoever means another protocol would take an answer for one in that.
            Next::Broken(ParseError::NotHttp) if served == 0 && guesses(connection) => {
                connection.last_service().stats.cx_protocol_error.inc();
                break;
            }
            Next::Broken(error) => {
                connection.last_service().stats.cx_protocol_error.inc();
                // Envoy's codec sees nothing wrong with a head that only lacks `Host`.
                let flag = (error != ParseError::MissingHost)
                    .then_some(ResponseFlag::DownstreamProtocolError);
                let reply = error_response::protocol(error);
                Box::pin(refuse(connection, &mut side, reply, flag)).await;
                break;
            }
            Next::SlowHead => {
                connection.last_service().stats.rq_header_timeout.inc();
                Box::pin(refuse(connection, &mut side, header_timeout(), None)).await;
                break;
            }
            Next::LeftInside => {
                let service = connection.last_service();
                record::refused(connection, &service, &LEFT_INSIDE);
                return;
            }
            Next::Left => return,
            Next::End(ended) => return connection.fate.end(ended),
        };
        if let Some(settings) = h2c::settings(connection, &head) {
            side.switch_to_http2();
            if poll_fn(|context| side.poll_flush(context)).await.is_ok() {
                let (stream, read) = side.into_stream();
                let upgraded = Upgraded { head, settings };
                Box::pin(serve_http2::serve_upgraded(connection, stream, read, upgraded)).await;
            }
            return;
        }
        served += 1;
        let share = || connection.worker.with_rng(Rng::unit);
        if connection.worker.shared.overload.sheds(ShedPlace::Http1Bytes, share) {
            Box::pin(turn_away(connection, &mut side)).await;
            break;
        }
        bound(connection, &mut side, served, ends.opened);
        if !connection.last_service().manager.proxy_100_continue {
            side.tell_continue();
        }
        // Boxed: a connection that waits for its next request does not hold the room of one.
        let moment = Moment::of(connection);
        let begun = begin(connection, &moment, head, &mut timer);
        now = Box::pin(begun.serve(&mut Downstream::Http1(&mut side))).await;
        if !side.is_reusable() {
            break;
        }
    }
    connection.fate.end(Ended::Otherwise);
    Box::pin(close(connection, side)).await;
}

/// Has the connection end with the response to come, where it has served enough.
fn bound(connection: &HttpConnection, side: &mut Http1Downstream, served: u32, opened: Instant) {
    let service = connection.last_service();
    let manager = &service.manager;
    let worn = manager.requests_per_connection_max.is_some_and(|max| served >= max.get());
    let share = || connection.worker.with_rng(Rng::unit);
    if worn || connection.chain.drain.tells(share) {
        connection.fate.end(if worn { Ended::Served } else { Ended::Drained });
        side.close_after_response();
    } else if connection.worker.shared.overload.ends_keepalive(share) {
        service.stats.cx_overload_disable_keepalive.inc();
        side.close_after_response();
    }
    side.close_at(connection.duration_max(manager).map(|limit| opened + limit));
}

/// Whether the protocol of the connection was guessed by its first bytes.
fn guesses(connection: &HttpConnection) -> bool {
    connection.last_service().manager.codec == CodecType::Auto && connection.info.tls.is_none()
}

/// What there is to say of a request of which only a part came.
const LEFT_INSIDE: Refused<'static> = Refused {
    version: Version::Http11,
    status: None,
    details: "downstream_remote_disconnect",
    flag: Some(ResponseFlag::DownstreamConnectionTermination),
    bytes: 0,
};

/// What ends a connection whatever its client does.
struct Ends<'e, D> {
    opened: Instant,
    draining: Pin<&'e mut D>,
    /// Whether this task is woken when the listener drains.
    listens: bool,
}

enum Next {
    Request(RequestHead),
    /// What came is no HTTP.
    Broken(ParseError),
    /// The head took too long.
    SlowHead,
    /// The client is gone in the middle of a head.
    LeftInside,
    /// The client is gone.
    Left,
    /// The client has to go.
    End(Ended),
}

async fn next_head(
    connection: &HttpConnection,
    side: &mut Http1Downstream,
    timer: &mut Timer,
    ends: &mut Ends<'_, impl Future<Output = ()>>,
    now: Instant,
) -> Next {
    let service = connection.last_service();
    let manager = &service.manager;
    let overload = &connection.worker.shared.overload;
    let aged = connection.duration_max(manager).map(|limit| ends.opened + limit);
    let mut slow = None;
    poll_fn(|context| {
        match side.poll_head(context) {
            Poll::Ready(Ok(Some(head))) => return Poll::Ready(Next::Request(head)),
            Poll::Ready(Err(DownstreamError::Protocol(error))) => {
                return Poll::Ready(Next::Broken(error));
            }
            Poll::Ready(Err(_)) if side.is_inside_head() => return Poll::Ready(Next::LeftInside),
            Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Next::Left),
            Poll::Pending => {}
        }
        if side.is_inside_head() {
            if let Some(limit) = manager.request_headers_timeout {
                let deadline = *slow.get_or_insert_with(|| clock::now() + limit);
                timer.set(Some(deadline));
                return timer.poll(context).map(|()| Next::SlowHead);
            }
        } else if !std::mem::replace(&mut ends.listens, true) || connection.chain.drain.leaves() {
            // Asked again on the way out: each phase wakes who waits for the next one.
            if ends.draining.as_mut().poll(context).is_ready() {
                return Poll::Ready(Next::End(Ended::Drained));
            }
        }
        loop {
            let idle = overload.time(Timeout::ConnectionIdle, manager.idle_timeout);
            let idle = idle.map(|limit| now + limit);
            let end = earliest(idle, aged);
            // A time that gets shorter is looked at again and again.
            let look = overload.looks_again(Timeout::ConnectionIdle);
            timer.set(earliest(end, look.map(|time| clock::now() + time)));
            ready!(timer.poll(context));
            if look.is_none() || end.is_some_and(|end| end <= clock::now()) {
                let ended = if idle.is_some() && idle <= end { Ended::Idle } else { Ended::Aged };
                return Poll::Ready(Next::End(ended));
            }
        }
    })
    .await
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn header_timeout() -> Reply {
    Reply::new(408, "request_header_timeout").with_body("request header timeout")
}

/// Answers in place of looking at a request, as Envoy's codec does when it is overloaded.
async fn turn_away(connection: &HttpConnection, side: &mut Http1Downstream) {
    connection.last_service().stats.rq_overload_close.inc();
    let reply = Reply::new(500, "overload").with_body("Internal Server Error");
    refuse(connection, side, reply, Some(ResponseFlag::DownstreamProtocolError)).await;
}

/// Answers what is no whole request, and writes it down: nothing is known of the request itself.
async fn refuse(
    connection: &HttpConnection,
    side: &mut Http1Downstream,
    reply: Reply,
    flag: Option<ResponseFlag>,
) {
    let service = connection.last_service();
    let (status, details, bytes) = (reply.status, reply.details.clone(), reply.body.len() as u64);
    answer(connection, side, reply).await;
    flag.into_iter().for_each(|flag| connection.note_flag(flag));
    let refused =
        Refused { version: Version::Http11, status: Some(status), details: &details, flag, bytes };
    record::refused(connection, &service, &refused);
}

/// Sends a reply on a connection that has no request, and that ends with it.
async fn answer(connection: &HttpConnection, side: &mut Http1Downstream, reply: Reply) {
    let service = connection.last_service();
    let mut edits = ResponseEdits { status: None, fields: reply.edits };
    server_fields(&service, &mut edits);
    if !reply.body.is_empty() {
        let text = iako_http::FieldValue::from_static("text/plain");
        edits.fields.add_if_absent(iako_http::Known::ContentType, text);
    }
    let length = reply.body.len() as u64;
    let head = ResponseHead::new(
        reply.status,
        Version::Http11,
        BodyLength::Exact(length),
        Fields::default(),
    );
    let content = if length == 0 { Content::None } else { Content::Exact(length) };
    side.close_after_response();
    let mut sent = side.send_head(&head, &edits, content);
    if length > 0 {
        sent = sent.and_then(|()| side.send_data(reply.body));
    }
    if let Err(error) = sent.and_then(|()| side.send_end(None)) {
        tracing::debug!(%error, "an error response was not written");
        return;
    }
    if let Err(error) = poll_fn(|context| side.poll_flush(context)).await {
        tracing::debug!(%error, "the client did not take an error response");
    }
}

fn server_fields(service: &HttpService, edits: &mut ResponseEdits) {
    edits.fields.set(iako_http::Known::Server, service.server.clone());
    if !service.manager.via.is_empty() {
        let via = iako_http::FieldValue::sanitized(service.manager.via.clone());
        edits.fields.append(iako_http::Known::Via, via);
    }
    edits.fields.set(iako_http::Known::Date, super::headers::date());
}

/// Ends the connection without losing the last response: a socket that is closed with unread bytes is
/// reset, and a reset overtakes what was written.
async fn close(connection: &HttpConnection, mut side: Http1Downstream) {
    let limit = connection.last_service().manager.delayed_close_timeout;
    let closing = poll_fn(|context| side.poll_close(context));
    if let Ok(Err(error)) = tokio::time::timeout(limit, closing).await {
        tracing::trace!(%error, "the client was gone before the connection closed");
    }
}
