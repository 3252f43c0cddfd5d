//! The driver of an HTTP/2 connection of a client: each stream is a task.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use iako_http::h2::{
    Connection, ConnectionError, Ends, ErrorCode, Event, FloodKind, Shutdown, StreamId, Tally,
    Violation,
};
use iako_http::{RequestHead, Version};
use iako_proxy_config::{ShedPlace, Timer as Timeout};
use iako_rt::{Rng, clock};
use iako_telemetry::ResponseFlag;

use super::connection::HttpConnection;
use super::counted::{Counted, Ended};
use super::downstream::h2::Http2Downstream;
use super::record::{self, Refused};
use super::service::HttpService;
use super::stream_tasks::Job;
use super::timer::Timer;
use crate::http2::{Driver, Ending, Keepalive, Link, Listen, REST_AFTER, limits};
use crate::transport::Stream;

/// Longest time that streams have to end after their connection.
const END_TIME_MAX: Duration = Duration::from_secs(5);

/// Serves an HTTP/2 connection until either side ends it; `read` was read from it already.
pub(crate) async fn serve(connection: &Rc<HttpConnection>, stream: Stream, read: Bytes) {
    let service = connection.last_service();
    let link = Link::new(Connection::server(limits::server(&service)));
    let mut driver = Driver::new(stream, read, rests_after(&service));
    driver.measure_as(Counted::meter(&service));
    run(connection, &link, driver).await;
}

/// A request that was read in HTTP/1 and is answered in HTTP/2 (RFC 7540 §3.2).
#[derive(Debug)]
pub(crate) struct Upgraded {
    pub(crate) head: RequestHead,
    /// What `HTTP2-Settings` decodes to.
    pub(crate) settings: Vec<u8>,
}

/// Serves a connection that was upgraded; `read` was read from it already.
pub(crate) async fn serve_upgraded(
    connection: &Rc<HttpConnection>,
    stream: Stream,
    read: Bytes,
    upgraded: Upgraded,
) {
    let service = connection.last_service();
    let link = Link::new(Connection::server(limits::server(&service)));
    match link.with(|connection| connection.upgraded(&upgraded.settings)) {
        Ok(id) => start(connection, &link, id, upgraded.head, Ends::Here),
        Err(error) => note(connection, &service, error),
    }
    run(connection, &link, Driver::new(stream, read, rests_after(&service))).await;
}

/// How exactly idle time is counted: to a quarter of it, or to a second.
fn rests_after(service: &HttpService) -> Duration {
    service.manager.idle_timeout.map_or(REST_AFTER, |limit| REST_AFTER.min(limit / 4))
}

async fn run(connection: &Rc<HttpConnection>, link: &Rc<Link>, mut driver: Driver) {
    let service = connection.last_service();
    let mut serving = Serving::new(connection, &service);
    let drain = connection.chain.drain.clone();
    let mut told = pin!(drain.told(connection.worker.with_rng(Rng::unit)));
    let mut closing = pin!(drain.closing());
    let ending = poll_fn(|context| {
        if let Poll::Ready(ending) = driver.poll_turn(context, link, &mut serving) {
            return Poll::Ready(ending);
        }
        // These are asked when nothing moved, that is when something else woke this task: asking
        // them costs a lock each, and what wakes them comes once in the life of a connection.
        if !driver.has_moved() {
            if closing.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ending::Cut);
            }
            if !serving.is_ending && told.as_mut().poll(context).is_ready() {
                connection.fate.end(Ended::Drained);
                serving.end_gracefully(link);
            }
        }
        serving.poll_times(context, link, &driver)
    })
    .await;
    if matches!(ending, Ending::Refused(_) | Ending::Cut | Ending::Shed) || serving.is_ending {
        connection.fate.end(Ended::Otherwise);
    }
    if link.open() > 0 {
        connection.fate.cut_off();
    }
    link.end(ending);
    if let Ending::Refused(error) = ending {
        note(connection, &service, error);
    }
    driver.close(link, service.manager.delayed_close_timeout).await;
    // Streams learn that their connection is gone, and write down what they were doing.
    let ended = poll_fn(|context| {
        link.begin_turn(context);
        if link.open() == 0 { Poll::Ready(()) } else { Poll::Pending }
    });
    if tokio::time::timeout(END_TIME_MAX, ended).await.is_err() {
        tracing::debug!("streams outlive their connection");
    }
}

/// Counts and logs what a client did to lose its connection, once.
fn note(connection: &HttpConnection, service: &HttpService, error: ConnectionError) {
    service.stats.cx_protocol_error.inc();
    connection.worker.shared.http2.count(error);
    let (listener, client) = (&connection.chain.listener, connection.info.direct_remote);
    match error {
        ConnectionError::Violation(violation) => {
            tracing::debug!(%listener, %client, %violation, "a client broke HTTP/2");
        }
        ConnectionError::Flood(kind) => {
            if kind == FloodKind::RapidReset {
                service.stats.rq_premature_resets.inc();
            }
            tracing::info!(%listener, %client, %kind, "a client floods its connection");
        }
    }
}

/// What ends a connection whatever its client does, and what the driver hears.
#[derive(Debug)]
struct Serving<'c> {
    connection: &'c Rc<HttpConnection>,
    service: Arc<HttpService>,
    timer: Timer,
    keepalive: Keepalive,
    opened: Instant,
    /// Since when there is no stream.
    idle_since: Option<Instant>,
    /// Since when a frame or a field block has not come whole.
    slow_since: Option<Instant>,
    served: u32,
    /// The client was told to go.
    is_ending: bool,
    /// When it was told.
    ending_since: Option<Instant>,
    /// It was told for the last time.
    is_final: bool,
    /// Nothing that it has begun comes to its end.
    is_lost: bool,
    /// No stream is served.
    is_empty: bool,
}

impl<'c> Serving<'c> {
    fn new(connection: &'c Rc<HttpConnection>, service: &Arc<HttpService>) -> Self {
        let now = clock::now();
        Self {
            connection,
            service: Arc::clone(service),
            timer: Timer::default(),
            keepalive: Keepalive::new(&service.manager.http2),
            opened: now,
            idle_since: None,
            slow_since: None,
            served: 0,
            is_ending: false,
            ending_since: None,
            is_final: false,
            is_lost: false,
            is_empty: true,
        }
    }

    /// Tells the client to go; what it has begun comes to its end.
    fn end_gracefully(&mut self, link: &Link) {
        if !self.is_ending {
            self.is_ending = true;
            self.ending_since = Some(clock::now());
            link.with(|connection| connection.shut_down(Shutdown::Graceful));
        }
    }

    /// Whether the client is told to go because the proxy is overloaded, or out of service.
    fn is_unwelcome(&self) -> bool {
        let worker = &self.connection.worker;
        let (overload, draw) = (&worker.shared.overload, || worker.with_rng(Rng::unit));
        if self.is_ending {
            return false;
        }
        let ends = overload.ends_keepalive(draw);
        if ends {
            self.service.stats.cx_overload_disable_keepalive.inc();
        }
        ends || self.connection.chain.drain.tells(draw)
            || overload.sheds(ShedPlace::Http2GoAway, draw)
    }

    /// Tells the client that nothing more is served.
    fn end_finally(&mut self, link: &Link, code: ErrorCode) {
        self.is_ending = true;
        self.is_final = true;
        self.ending_since = Some(clock::now());
        link.with(|connection| {
            connection.shut_down(Shutdown::Final(code));
        });
    }

    /// A frame or a field block does not come to its end, and nothing can come behind it: the client is
    /// told, and has little time to hear of it. What it had begun to ask for is written down here, for
    /// there is no request yet that would be.
    fn end_slow(&mut self, link: &Link) {
        self.service.stats.rq_timeout.inc();
        self.is_lost = true;
        let client = self.connection.info.direct_remote;
        tracing::debug!(%client, "a client does not end what it began to send");
        if link.look(Connection::is_inside_field_block) {
            let refused = Refused {
                version: Version::Http2,
                status: None,
                details: "request_header_timeout",
                flag: None,
                bytes: 0,
            };
            record::refused(self.connection, &self.connection.last_service(), &refused);
        }
        self.end_finally(link, ErrorCode::ENHANCE_YOUR_CALM);
    }

    /// Ready when the connection has to be closed.
    fn poll_times(
        &mut self,
        context: &mut Context<'_>,
        link: &Rc<Link>,
        driver: &Driver,
    ) -> Poll<Ending> {
        if self.is_ending && link.look(Connection::is_finished) {
            return Poll::Ready(Ending::Closed);
        }
        if let Poll::Ready(()) = self.keepalive.poll(context, link) {
            self.connection.worker.shared.http2.keepalive_timeout.inc();
            return Poll::Ready(Ending::Cut);
        }
        if !self.look(link, driver) {
            return Poll::Pending;
        }
        while let Some((due, end)) = self.next() {
            self.timer.set(Some(due));
            ready!(self.timer.poll(context));
            match end {
                Due::Drained => self.end_finally(link, ErrorCode::NO_ERROR),
                Due::Idle => {
                    self.connection.fate.end(Ended::Idle);
                    self.end_gracefully(link);
                }
                Due::Age => {
                    self.connection.fate.end(Ended::Aged);
                    self.end_gracefully(link);
                }
                Due::Slow => self.end_slow(link),
                // A time that gets shorter is looked at again and again.
                Due::Look => {}
                Due::Stuck => return Poll::Ready(Ending::Cut),
            }
        }
        Poll::Pending
    }

    /// Whether any time matters now: on a connection that is busy and welcome none does.
    fn look(&mut self, link: &Link, driver: &Driver) -> bool {
        self.idle_since = driver.rests_since();
        let is_inside = driver.is_inside_frame() || link.look(Connection::is_inside_field_block);
        if !is_inside {
            self.slow_since = None;
        } else if self.slow_since.is_none() {
            self.slow_since = Some(clock::now());
        }
        self.is_empty = link.open() == 0;
        self.is_ending
            || is_inside
            || self.idle_since.is_some()
            || self.service.manager.connection_duration_max.is_some()
    }

    /// What is due next.
    fn next(&self) -> Option<(Instant, Due)> {
        let manager = &self.service.manager;
        let overload = &self.connection.worker.shared.overload;
        let look = overload.looks_again(Timeout::ConnectionIdle);
        let after = |since: Option<Instant>, limit: Option<Duration>| Some(since? + limit?);
        let idle = self.idle_since.filter(|_| !self.is_ending);
        let opened = Some(self.opened).filter(|_| !self.is_ending);
        let told = self.ending_since.filter(|_| !self.is_final);
        let is_over = self.is_final && (self.is_empty || self.is_lost);
        let last_told = self.ending_since.filter(|_| is_over);
        let slow = self.slow_since.filter(|_| !self.is_lost);
        // A head that does not come to its end; Envoy has the same time for it.
        let slow_max = manager.request_headers_timeout.or(manager.stream_idle_timeout);
        [
            (after(idle, overload.time(Timeout::ConnectionIdle, manager.idle_timeout)), Due::Idle),
            (after(idle.map(|_| clock::now()), look), Due::Look),
            (after(opened, self.connection.duration_max(manager)), Due::Age),
            (after(told, Some(manager.drain_timeout)), Due::Drained),
            (after(last_told, Some(manager.delayed_close_timeout)), Due::Stuck),
            (after(slow, slow_max), Due::Slow),
        ]
        .into_iter()
        .filter_map(|(due, end)| Some((due?, end)))
        .min_by_key(|(due, _)| *due)
    }
}

#[derive(Clone, Copy, Debug)]
enum Due {
    /// No stream for too long. `idle_timeout`.
    Idle,
    /// It is looked whether it became too long.
    Look,
    /// The connection is too old. `max_connection_duration`.
    Age,
    /// The client had its time to hear that it has to go. `drain_timeout`.
    Drained,
    /// A frame or a head does not come to its end. `request_headers_timeout`.
    Slow,
    /// The client does not take the last frames. `delayed_close_timeout`.
    Stuck,
}

impl Listen for Serving<'_> {
    fn hear(&mut self, link: &Rc<Link>, event: Event) {
        match event {
            Event::Request { stream, head, ends } => {
                self.served = self.served.saturating_add(1);
                start(self.connection, link, stream, *head, ends);
                if self.is_unwelcome() {
                    self.end_gracefully(link);
                }
                let served_max = self.service.manager.requests_per_connection_max;
                if served_max.is_some_and(|max| self.served >= max.get()) {
                    // Counted for each request from the last one on, as in Envoy.
                    self.service.stats.cx_max_requests_reached.inc();
                    self.connection.fate.end(Ended::Otherwise);
                    self.end_gracefully(link);
                }
            }
            Event::Refused { number, code, violation } => {
                self.connection.worker.shared.http2.broken(violation);
                tracing::debug!(number, %code, %violation, "a stream was refused");
                // Envoy's words for it: a reset of its own, unless the message itself was wrong.
                let flag = if violation.is_invalid_message() {
                    ResponseFlag::DownstreamProtocolError
                } else {
                    ResponseFlag::DownstreamRemoteReset
                };
                let refused = Refused {
                    version: Version::Http2,
                    status: None,
                    details: violation.details(),
                    flag: Some(flag),
                    bytes: 0,
                };
                record::refused(self.connection, &self.connection.last_service(), &refused);
            }
            Event::Pong { .. } => self.keepalive.answered(),
            Event::GoAway { .. }
            | Event::Settings(_)
            | Event::SettingsAcknowledged
            | Event::Response { .. }
            | Event::Data { .. }
            | Event::Trailers { .. }
            | Event::Reset { .. }
            | Event::Writable { .. } => {}
        }
    }

    fn turns_away(&mut self, link: &Rc<Link>) -> bool {
        let worker = &self.connection.worker;
        let draw = || worker.with_rng(Rng::unit);
        let is_shed = worker.shared.overload.sheds(ShedPlace::Http2Close, draw);
        if is_shed {
            link.with(|connection| {
                connection.shut_down(Shutdown::Graceful);
                connection.shut_down(Shutdown::Final(ErrorCode::NO_ERROR));
            });
        }
        is_shed
    }

    fn counted(&mut self, more: Tally) {
        self.connection.worker.shared.http2.counted(more);
    }

    // The stream's own task writes down the rest.
    fn broken(&mut self, violation: Violation) {
        self.connection.worker.shared.http2.broken(violation);
    }
}

fn start(
    connection: &Rc<HttpConnection>,
    link: &Rc<Link>,
    stream: StreamId,
    head: RequestHead,
    ends: Ends,
) {
    let mut side = Http2Downstream::new(link, stream, ends, &head);
    if connection.worker.shared.overload.tracks_streams() {
        side = side.tracked(&connection.worker.ledger);
    }
    let connection = Rc::clone(connection);
    if side.waits_to_go_on() && !connection.last_service().manager.proxy_100_continue {
        side.tell_continue();
    }
    let worker = Rc::clone(&connection.worker);
    worker.streams.serve(Job { connection, side, head });
}
