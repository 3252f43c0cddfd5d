//! A request on a shared HTTP/2 connection.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use iako_http::h2::{
    Connection, ConnectionError, Ends, ErrorCode, Event, OpenError, ResetCause, Shutdown, StreamId,
    Tally, Violation,
};
use iako_http::{
    BodyEvent, Fields, HeaderEdits, Method, NameCase, RequestEdits, RequestHead, RequestSection,
    ResponseHead, Scheme,
};
use iako_proxy_config::EndpointAddress;

use super::UpstreamError;
use super::h1::response_limits;
use crate::http::downstream::Content;
use crate::http::wire::Meter;
use crate::http2::{
    Driver, Ending, Http2Stats, Keepalive, Link, Listen, Lost, REST_AFTER, Side, StreamHandle,
    StreamPlace, codes, limits,
};
use crate::shared::Shared;
use crate::snapshot::UpstreamCluster;
use crate::transport::Stream;
use crate::transport::connect::name_of;

/// Longest time that a server has to take the last frames.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// An HTTP/2 connection that many requests of a worker share. Its driver is a task of the worker; it
/// ends with the last request once this handle is dropped.
#[derive(Debug)]
pub(crate) struct Http2Connection {
    link: Rc<Link>,
    live: Rc<Live>,
    streams_max: u32,
}

/// What requests and the driver tell each other.
#[derive(Debug, Default)]
struct Live {
    /// Requests that have a place, whether their stream is open yet or not.
    places: Cell<u32>,
    opened: Cell<u32>,
    /// No further requests are wanted on it.
    retired: Cell<bool>,
}

impl Http2Connection {
    /// Begins a connection; the second value drives it and must be run as a task. What the server makes
    /// of it is told to the requests.
    pub(crate) fn begin(
        stream: Stream,
        server: Server,
    ) -> (Self, impl Future<Output = Farewell> + use<>) {
        let settings = &server.cluster.config.http;
        let head = response_limits(NameCase::Lower);
        let link = Link::new(Connection::client(limits::client(settings, head)));
        let driven = Rc::clone(&link);
        let keepalive = Keepalive::new(&settings.http2);
        let streams_max = settings.http2.concurrent_streams_max;
        let hearing = Hearing { keepalive, server, told: false, is_leaving: false };
        (Self { link, live: Rc::default(), streams_max }, drive(driven, stream, hearing))
    }

    /// Whether another request can be put on it now: the server's limit, ours, and no GOAWAY.
    pub(crate) fn has_room(&self) -> bool {
        let peer_max =
            self.link.look(|connection| connection.peer_settings().concurrent_streams_max);
        !self.is_ended() && self.live.places.get() < self.streams_max.min(peer_max)
    }

    /// Whether it takes no further requests, now and later: it ended, the server is going away, or it
    /// was retired.
    pub(crate) fn is_ended(&self) -> bool {
        self.live.retired.get()
            || self.link.ending().is_some()
            || self.link.look(Connection::is_going_away)
    }

    /// Requests that it carried.
    pub(crate) fn opened(&self) -> u32 {
        self.live.opened.get()
    }

    /// Makes room for one request.
    pub(crate) fn open(&self) -> Http2Upstream {
        let is_reused = self.live.opened.get() > 0;
        self.live.opened.set(self.live.opened.get().saturating_add(1));
        self.live.places.set(self.live.places.get().saturating_add(1));
        Http2Upstream {
            link: Rc::clone(&self.link),
            place: Place(Rc::clone(&self.live)),
            is_reused,
            stream: None,
            note: None,
            waiting: None,
        }
    }
}

impl Drop for Http2Connection {
    fn drop(&mut self) {
        self.link.with(|connection| connection.shut_down(Shutdown::Final(ErrorCode::NO_ERROR)));
    }
}

/// A request's place on its connection, given back when dropped.
#[derive(Debug)]
struct Place(Rc<Live>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.set(self.0.places.get().saturating_sub(1));
    }
}

/// Whom a connection goes to.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) cluster: Arc<UpstreamCluster>,
    pub(crate) address: EndpointAddress,
    /// Where the statistics of the cluster are.
    pub(crate) shared: Arc<Shared>,
}

impl Server {
    fn stats(&self) -> &Http2Stats {
        self.cluster.http2_stats(&self.shared.stats)
    }

    /// Counts and logs what the server did to lose its connection, once.
    fn note(&self, error: ConnectionError) {
        self.stats().count(error);
        let (cluster, address) = (&self.cluster.name, name_of(&self.address));
        match error {
            ConnectionError::Violation(violation) => {
                tracing::info!(%cluster, address, %violation, "an upstream broke HTTP/2");
            }
            ConnectionError::Flood(kind) => {
                tracing::info!(%cluster, address, %kind, "an upstream floods its connection");
            }
        }
    }
}

/// How a server let go of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// After GOAWAY of either side: what was not looked at is known.
    Announced,
    /// Closed without a word: a request that is on its way then is lost.
    Silent,
}

/// What the driver of a connection to a server hears.
#[derive(Debug)]
struct Hearing {
    keepalive: Keepalive,
    server: Server,
    /// A flood of this connection stands in the log.
    told: bool,
    /// The server has said GOAWAY.
    is_leaving: bool,
}

impl Listen for Hearing {
    fn hear(&mut self, _: &Rc<Link>, event: Event) {
        match event {
            Event::GoAway { last, code, .. } => {
                tracing::debug!(last, %code, "an upstream goes away");
                let ends = self.server.cluster.known_ends().filter(|_| !self.is_leaving);
                if let Some(ends) = ends {
                    ends.close_notify.inc();
                }
                self.is_leaving = true;
            }
            Event::Pong { .. } => self.keepalive.answered(),
            Event::Request { .. }
            | Event::Refused { .. }
            | Event::Settings(_)
            | Event::SettingsAcknowledged
            | Event::Response { .. }
            | Event::Data { .. }
            | Event::Trailers { .. }
            | Event::Reset { .. }
            | Event::Writable { .. } => {}
        }
    }

    fn counted(&mut self, more: Tally) {
        // Trailers of responses do not count, as in Envoy.
        self.server.stats().counted(Tally { trailers_received: 0, ..more });
        if more.resets_asked > 0 {
            self.server.cluster.stats.rq_tx_reset.add(u64::from(more.resets_asked));
        }
    }

    fn broken(&mut self, violation: Violation) {
        self.server.stats().broken(violation);
        let (cluster, address) = (&self.server.cluster.name, name_of(&self.server.address));
        if let Some(kind) = violation.flood().filter(|_| !std::mem::replace(&mut self.told, true)) {
            tracing::info!(%cluster, address, %kind, "an upstream floods a stream");
        }
        tracing::debug!(%cluster, address, %violation, "an upstream broke a stream");
    }
}

async fn drive(link: Rc<Link>, stream: Stream, mut hearing: Hearing) -> Farewell {
    let mut driver = Driver::new(stream, Bytes::new(), REST_AFTER);
    driver.measure_as(Meter::of(&hearing.server.cluster.stats));
    let ending = poll_fn(|context| {
        if let Poll::Ready(ending) = driver.poll_turn(context, &link, &mut hearing) {
            return Poll::Ready(ending);
        }
        if link.look(Connection::is_finished) {
            return Poll::Ready(Ending::Closed);
        }
        ready!(hearing.keepalive.poll(context, &link));
        hearing.server.stats().keepalive_timeout.inc();
        Poll::Ready(Ending::Cut)
    })
    .await;
    let by_server = matches!(ending, Ending::Closed | Ending::Broken(_));
    let is_silent = by_server && !link.look(Connection::is_going_away);
    link.end(ending);
    if let Ending::Refused(error) = ending {
        hearing.server.note(error);
    }
    driver.close(&link, CLOSE_TIME_MAX).await;
    if is_silent { Farewell::Silent } else { Farewell::Announced }
}

/// The client's half of a stream.
#[derive(Debug)]
pub(crate) struct Http2Upstream {
    link: Rc<Link>,
    place: Place,
    is_reused: bool,
    stream: Option<StreamHandle>,
    /// What tells whether the server has seen it, where it must not be sent twice.
    note: Option<u32>,
    /// An extended CONNECT that waits for the server's settings, which say whether it may be asked.
    waiting: Option<Box<(RequestHead, RequestEdits)>>,
}

impl Http2Upstream {
    pub(crate) fn send_head(
        &mut self,
        head: &RequestHead,
        edits: &RequestEdits,
        content: Content,
    ) -> Result<(), UpstreamError> {
        if content == Content::Tunnel && head.upgrade().is_some() {
            self.waiting = Some(Box::new((head.clone(), edits.clone())));
            return Ok(());
        }
        self.begin(head, edits, content)
    }

    fn poll_waiting(&mut self, context: &Context<'_>) -> Poll<Result<(), UpstreamError>> {
        if self.waiting.is_none() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.link.poll_greeted(context));
        let Some(waiting) = self.waiting.take() else { return Poll::Ready(Ok(())) };
        if !self.link.look(|connection| connection.peer_settings().connect_protocol) {
            return Poll::Ready(Err(UpstreamError::NoExtendedConnect));
        }
        let (head, edits) = *waiting;
        Poll::Ready(self.begin(&head, &edits, Content::Tunnel))
    }

    fn begin(
        &mut self,
        head: &RequestHead,
        edits: &RequestEdits,
        content: Content,
    ) -> Result<(), UpstreamError> {
        if let Some(ending) = self.link.ending() {
            return Err(Lost::Connection(ending).into());
        }
        let (length, ends) = match content {
            Content::None | Content::Described(_) => (None, Ends::Here),
            Content::Exact(0) => (Some(0), Ends::Here),
            Content::Exact(length) => (Some(length), Ends::Later),
            Content::Streamed | Content::Tunnel => (None, Ends::Later),
        };
        let method = edits.method(head);
        let is_connect = *method == Method::Connect;
        self.note = (!method.is_idempotent()).then(|| self.link.ask_proof());
        // An upgraded HTTP/1 request is an extended CONNECT (RFC 8441 §4).
        let protocol = head.upgrade().filter(|_| content == Content::Tunnel && !is_connect);
        let section = RequestSection { scheme: Scheme::Http, length, protocol };
        let opened = self.link.with(|connection| connection.open(head, edits, section, ends));
        let id: StreamId = match opened {
            Ok(id) => id,
            Err(OpenError::NoRoom | OpenError::GoingAway) => {
                return Err(UpstreamError::Refused);
            }
        };
        let mut stream = StreamHandle::new(&self.link, id, Ends::Later, Side::Client);
        if ends.here() {
            stream.end_sending();
        }
        self.stream = Some(stream);
        Ok(())
    }

    pub(crate) fn send_data(&mut self, data: Bytes) {
        if let Some(stream) = &mut self.stream {
            stream.send_data(data);
        }
    }

    pub(crate) fn send_end(&mut self, trailers: Option<(&Fields, &HeaderEdits)>) {
        if let Some(stream) = &mut self.stream {
            stream.send_end(trailers);
        }
    }

    /// Where what the stream holds can be looked at.
    pub(crate) fn place(&self) -> Option<StreamPlace> {
        self.stream.as_ref().map(StreamHandle::place)
    }

    /// Content is taken only once the head has its stream.
    pub(crate) fn queued(&self) -> usize {
        self.stream.as_ref().map_or(usize::MAX, StreamHandle::queued)
    }

    pub(crate) fn poll_flush(&mut self, context: &Context<'_>) -> Poll<Result<(), UpstreamError>> {
        ready!(self.poll_waiting(context))?;
        match &mut self.stream {
            Some(stream) => stream.poll_sent(context).map_err(UpstreamError::from),
            None => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn poll_head(
        &mut self,
        context: &Context<'_>,
    ) -> Poll<Result<ResponseHead, UpstreamError>> {
        ready!(self.poll_waiting(context))?;
        match &mut self.stream {
            Some(stream) => {
                stream.poll_head(context).map(|head| head.map(|head| *head)).map_err(Into::into)
            }
            None => Poll::Ready(Err(UpstreamError::Closed(None))),
        }
    }

    pub(crate) fn poll_body(
        &mut self,
        context: &Context<'_>,
    ) -> Poll<Result<BodyEvent, UpstreamError>> {
        match &mut self.stream {
            Some(stream) => stream.poll_body(context).map_err(UpstreamError::from),
            None => Poll::Ready(Err(UpstreamError::Closed(None))),
        }
    }

    pub(crate) fn has_sent(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether the server closed its side before any byte of the request had reached its system, so that
    /// it cannot have looked at it.
    pub(crate) fn is_unseen(&self) -> bool {
        self.note.is_some_and(|note| self.link.is_unseen(note))
    }

    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Whether either side has said that the connection ends.
    pub(crate) fn is_leaving(&self) -> bool {
        self.link.look(Connection::is_going_away)
    }

    /// Keeps further requests off the connection; those under way go on.
    pub(crate) fn retire(&self) {
        self.place.0.retired.set(true);
    }

    /// Gives the stream up.
    pub(crate) fn cancel(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.reset(codes::TO_UPSTREAM);
        }
    }
}

impl From<Lost> for UpstreamError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Reset(ErrorCode::REFUSED_STREAM, _) | Lost::Reset(_, ResetCause::GoAway) => {
                Self::Refused
            }
            // The server found our message wrong, not its work impossible.
            Lost::Reset(ErrorCode::PROTOCOL_ERROR, ResetCause::Peer) => {
                Self::Http2("http2.remote_reset")
            }
            Lost::Reset(code, ResetCause::Peer) => Self::Reset(code),
            Lost::Reset(_, ResetCause::Violation(violation)) => Self::Http2(violation.details()),
            Lost::Connection(Ending::Refused(error)) => Self::Http2(error.details()),
            Lost::Connection(Ending::Broken(kind)) => Self::Closed(Some(kind.into())),
            Lost::Connection(Ending::Closed | Ending::Cut | Ending::Shed) => Self::Closed(None),
        }
    }
}
