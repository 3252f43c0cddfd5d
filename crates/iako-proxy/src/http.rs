//! Carrying HTTP: a connection's driver reads requests, [`exchange`] serves each of them.
//!
//! Start at [`serve_connection`], then read `exchange.rs`. An HTTP/1 connection is one task, and so is
//! each stream of an HTTP/2 connection; within it nothing is handed over.

mod attempt;
mod connection;
pub(crate) mod content;
mod counted;
mod deadlines;
pub(crate) mod downstream;
pub(crate) mod elsewhere;
mod error_response;
mod exchange;
pub(crate) mod failure;
mod fetch;
pub(crate) mod filters;
mod forward;
pub(crate) mod grpc;
mod grpc_web;
mod h2c;
mod headers;
mod local_reply;
mod mirror;
pub(crate) mod mutations;
mod on_demand;
mod passing;
pub(crate) mod pump;
pub(crate) mod record;
mod reply;
mod request;
mod respond;
mod serve_http1;
mod serve_http2;
mod service;
mod steering;
pub(crate) mod stream_tasks;
pub(crate) mod target;
pub(crate) mod timer;
pub(crate) mod trace;
mod tunnel;
pub(crate) mod wire;

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use iako_proxy_config::{CodecType, ShedPlace};
use iako_rt::Rng;
use tokio::io::AsyncReadExt as _;

pub(crate) use local_reply::BodyWriter;
/// What a cache keeps at most, for the page of limits.
pub(crate) mod cache_limits {
    pub(crate) use super::filters::content::cache::{KEPT_CONTENT_BYTES_MAX, STORE_BYTES_MAX};
}

/// What bounds exchanges that a service sees.
pub(crate) mod processing_limits {
    pub(crate) use super::filters::processing::WATCHED_MAX;
}

pub(crate) use filters::content::grpc_stats::METHODS_MAX;
pub(crate) use service::HttpService;

use crate::connection::Downstream;
use crate::transport::Stream;
use crate::worker::Worker;
use connection::HttpConnection;
use counted::{Counted, Ended, Spoken};

/// How an HTTP/2 client begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Carries an HTTP connection until it ends.
pub(crate) async fn serve_connection(
    worker: Rc<Worker>,
    mut downstream: Downstream,
    service: Arc<HttpService>,
) {
    let mut counted = Counted::begin(&service, &downstream.info);
    if downstream.gate.is_some()
        && let Err(denied) = Box::pin(downstream.pass_gate()).await
    {
        downstream.denied(denied.ending, denied.received);
        return;
    }
    let connection = Rc::new(HttpConnection::new(worker, &downstream, Arc::clone(&service)));
    // What gives the connection's place back when it ends stays with this task.
    let mut stream = downstream.stream;
    let opened = match service.manager.codec {
        CodecType::Http1 => Some(Opened::http1(stream)),
        CodecType::Http2 => Some(Opened::http2(stream)),
        CodecType::Auto => {
            let alpn = connection.info.tls.as_ref().map(|tls| tls.alpn.as_str());
            match alpn {
                Some(alpn) if alpn.ends_with("h2") => Some(Opened::http2(stream)),
                Some("") | None => {
                    first_bytes(&service, &mut stream).await.map(|found| found.over(stream))
                }
                Some(_) => Some(Opened::http1(stream)),
            }
        }
    };
    match opened {
        Some(_) if sheds_protocol(&connection) => connection.fate.end(Ended::Otherwise),
        Some(Opened::Http1(stream, read)) => {
            counted.speaks(Spoken::Http1);
            Box::pin(serve_http1::serve(&connection, stream, read)).await;
            connection.note_protocol("HTTP/1.1");
        }
        Some(Opened::Http2(stream, read)) => {
            counted.speaks(Spoken::Http2);
            Box::pin(serve_http2::serve(&connection, stream, read)).await;
            connection.note_protocol("HTTP/2");
        }
        None => {}
    }
    counted.end(&connection.fate);
}

/// Whether no HTTP is begun on a connection, because the proxy is overloaded; counted. Asked once of each.
fn sheds_protocol(connection: &HttpConnection) -> bool {
    let worker = &connection.worker;
    let is_shed = worker.shared.overload.sheds(ShedPlace::Codec, || worker.with_rng(Rng::unit));
    if is_shed {
        connection.last_service().stats.rq_overload_close.inc();
    }
    is_shed
}

/// A connection whose protocol is known.
enum Opened {
    Http1(Stream, Bytes),
    Http2(Stream, Bytes),
}

impl Opened {
    fn http1(stream: Stream) -> Self {
        Self::Http1(stream, Bytes::new())
    }

    fn http2(stream: Stream) -> Self {
        Self::Http2(stream, Bytes::new())
    }
}

/// What the first bytes said.
struct Sniffed {
    read: Bytes,
    is_http2: bool,
}

impl Sniffed {
    fn over(self, stream: Stream) -> Opened {
        if self.is_http2 {
            Opened::Http2(stream, self.read)
        } else {
            Opened::Http1(stream, self.read)
        }
    }
}

/// Reads the first bytes, as long as an idle connection may last.
async fn first_bytes(service: &HttpService, stream: &mut Stream) -> Option<Sniffed> {
    match service.manager.idle_timeout {
        Some(limit) => tokio::time::timeout(limit, sniff(stream)).await.ok().flatten(),
        None => sniff(stream).await,
    }
}

/// Reads until the bytes are the preface of HTTP/2, or cannot become it. `None`: the client left.
async fn sniff(stream: &mut Stream) -> Option<Sniffed> {
    let mut read = bytes::BytesMut::new();
    loop {
        let common = read.len().min(PREFACE.len());
        let is_alike = read.get(..common) == PREFACE.get(..common);
        if !is_alike || common == PREFACE.len() {
            return Some(Sniffed { read: read.freeze(), is_http2: is_alike });
        }
        read.reserve(1024);
        stream.read_buf(&mut read).await.ok().filter(|count| *count > 0)?;
    }
}
