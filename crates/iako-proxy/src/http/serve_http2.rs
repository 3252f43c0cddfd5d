//! The driver of an HTTP/2 connection: accepts streams, each of which is a task.

use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;
use iako_rt::{LocalScope, clock};
use tokio::sync::Notify;

use super::connection::HttpConnection;
use super::convert;
use super::downstream::Downstream;
use super::downstream::h2::Http2Downstream;
use super::exchange::exchange;
use super::stream::Ends;
use super::timer::Timer;
use crate::transport::{Prefixed, Stream};

/// Heads that a client may have reset before the connection is closed: a flood of opened and reset
/// streams costs us more than the client. Envoy closes after 250.
const RESET_STREAMS_MAX: usize = 250;

/// Longest time that streams have to end after their connection.
const END_TIME_MAX: Duration = Duration::from_secs(5);

/// How often an idle connection is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Serves an HTTP/2 connection until either side ends it.
pub(crate) async fn serve(connection: &Rc<HttpConnection>, stream: Prefixed<Stream>) {
    let service = connection.last_service();
    let options = &service.manager.http2;
    let mut builder = Builder::new();
    builder
        .initial_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes)
        .max_concurrent_streams(options.concurrent_streams_max)
        .max_header_list_size(service.manager.request_head_kib_max.saturating_mul(1024))
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX);
    if options.allow_connect || !service.manager.upgrades.is_empty() {
        builder.enable_connect_protocol();
    }
    let mut streams = match builder.handshake(stream).await {
        Ok(streams) => streams,
        Err(error) => {
            service.stats.cx_protocol_error.inc();
            tracing::debug!(%error, "the HTTP/2 greeting failed");
            return;
        }
    };
    let tasks = LocalScope::new();
    let open = Rc::new(Open::default());
    drive(connection, &mut streams, &tasks, &open).await;
    // Streams learn that their connection is gone, and write down what they were doing.
    drop(streams);
    if tokio::time::timeout(END_TIME_MAX, open.none()).await.is_err() {
        tracing::debug!("streams outlived their connection and were cut");
    }
}

/// Streams of a connection that have not ended.
#[derive(Debug, Default)]
struct Open {
    count: Cell<usize>,
    ended: Notify,
}

impl Open {
    async fn none(&self) {
        while self.count.get() > 0 {
            self.ended.notified().await;
        }
    }
}

async fn drive(
    connection: &Rc<HttpConnection>,
    streams: &mut Connection<Prefixed<Stream>, Bytes>,
    tasks: &LocalScope,
    open: &Rc<Open>,
) {
    let manager = Rc::new(connection.last_service());
    let opened = clock::now();
    let mut active = clock::now();
    let mut is_closing = false;
    let drain = connection.chain.drain.clone();
    let mut draining = pin!(drain.draining());
    let mut closing = pin!(drain.closing());
    let mut timer = Timer::default();
    loop {
        let event = poll_fn(|context| {
            match streams.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    return Poll::Ready(Event::Stream(Box::new(request), respond));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Event::Broken(error)),
                Poll::Ready(None) => return Poll::Ready(Event::End),
                Poll::Pending => {}
            }
            if closing.as_mut().poll(context).is_ready() {
                return Poll::Ready(Event::End);
            }
            if !is_closing && draining.as_mut().poll(context).is_ready() {
                return Poll::Ready(Event::Drain);
            }
            timer.set(Some(active.max(clock::now()) + LOOK_INTERVAL));
            timer.poll(context).map(|()| Event::Look)
        })
        .await;
        match event {
            Event::Stream(request, respond) => {
                active = clock::now();
                let slot = Slot::new(open);
                start(connection, tasks, (*request, respond), slot);
            }
            Event::Broken(error) => {
                manager.stats.cx_protocol_error.inc();
                tracing::debug!(%error, "an HTTP/2 connection broke");
                return;
            }
            Event::End => return,
            Event::Drain => {
                is_closing = true;
                streams.graceful_shutdown();
            }
            Event::Look => {
                let now = clock::now();
                let busy = open.count.get() > 0;
                if busy {
                    active = now;
                }
                let settings = &manager.manager;
                let idle = settings.idle_timeout;
                let aged = settings.connection_duration_max;
                let is_idle = !busy
                    && idle.is_some_and(|limit| now.saturating_duration_since(active) >= limit);
                let is_old =
                    aged.is_some_and(|limit| now.saturating_duration_since(opened) >= limit);
                if (is_idle || is_old) && !is_closing {
                    is_closing = true;
                    streams.graceful_shutdown();
                }
            }
        }
    }
}

enum Event {
    Stream(Box<Request<RecvStream>>, SendResponse<Bytes>),
    Broken(h2::Error),
    End,
    Drain,
    Look,
}

fn start(
    connection: &Rc<HttpConnection>,
    tasks: &LocalScope,
    (request, respond): (Request<RecvStream>, SendResponse<Bytes>),
    slot: Slot,
) {
    let connection = Rc::clone(connection);
    tasks.spawn("http2 stream", async move {
        let (parts, body) = request.into_parts();
        let head = convert::request_from_h2(&parts, Ends::of(&body));
        drop(parts);
        let mut side = Http2Downstream::new(body, respond);
        let mut timer = Timer::default();
        Box::pin(exchange(&connection, head, &mut Downstream::Http2(&mut side), &mut timer)).await;
        drop(slot);
    });
}

/// Counts a stream as open until it is dropped.
struct Slot(Rc<Open>);

impl Slot {
    fn new(open: &Rc<Open>) -> Self {
        open.count.set(open.count.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get().saturating_sub(1));
        self.0.ended.notify_one();
    }
}
