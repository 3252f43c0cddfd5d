//! A connection that carries HTTP, among those that are counted.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use iako_rt::clock;
use iako_traffic::ConnectionInfo;

use super::service::HttpService;
use super::wire::Meter;

/// The protocol that a connection turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
}

/// Why we ended a connection. Whatever has no such reason was ended by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing was asked for too long. `idle_timeout`.
    Idle,
    /// It became too old. `max_connection_duration`.
    Aged,
    /// It had carried enough requests. `max_requests_per_connection`.
    Served,
    /// Its listener or filter chain drains.
    Drained,
    /// An answer said so, or the client broke the protocol.
    Otherwise,
}

/// How a connection ends, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Fate {
    ended: Cell<Option<Ended>>,
    /// Whether a request was under way.
    is_busy: Cell<bool>,
    /// Whether the client left within a request.
    is_left: Cell<bool>,
}

impl Fate {
    /// We end it, if the client has not; the first reason counts.
    pub(super) fn end(&self, ended: Ended) {
        if self.ended.get().is_none() && !self.is_left.get() {
            self.ended.set(Some(ended));
        }
    }

    /// The client left within a request.
    pub(super) fn left(&self) {
        self.is_left.set(true);
        self.cut_off();
    }

    /// A request was under way as it ended.
    pub(super) fn cut_off(&self) {
        self.is_busy.set(true);
    }
}

/// Counts a connection among those that are open until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    service: Arc<HttpService>,
    began: Instant,
    is_tls: bool,
    spoken: Option<Spoken>,
}

impl Counted {
    pub(super) fn begin(service: &Arc<HttpService>, client: &ConnectionInfo) -> Self {
        let is_tls = client.tls.is_some();
        let stats = &service.stats;
        stats.cx_total.inc();
        stats.cx_active.inc();
        if is_tls {
            stats.cx_ssl_total.inc();
            stats.cx_ssl_active.inc();
        }
        Self { service: Arc::clone(service), began: clock::now(), is_tls, spoken: None }
    }

    pub(super) fn speaks(&mut self, spoken: Spoken) {
        let stats = &self.service.stats;
        match spoken {
            Spoken::Http1 => {
                stats.cx_http1_total.inc();
                stats.cx_http1_active.inc();
            }
            Spoken::Http2 => {
                stats.cx_http2_total.inc();
                stats.cx_http2_active.inc();
            }
        }
        self.spoken = Some(spoken);
    }

    /// Counts how it ended.
    pub(super) fn end(self, fate: &Fate) {
        let stats = &self.service.stats;
        let ended = fate.ended.get();
        match ended {
            Some(Ended::Idle) => stats.cx_idle_timeout.inc(),
            Some(Ended::Aged) => stats.cx_max_duration_reached.inc(),
            Some(Ended::Served) => stats.cx_max_requests_reached.inc(),
            Some(Ended::Drained) => stats.cx_drain_close.inc(),
            Some(Ended::Otherwise) | None => {}
        }
        let (all, busy) = if ended.is_some() {
            (&stats.cx_destroy_local, &stats.cx_destroy_local_active_rq)
        } else {
            (&stats.cx_destroy_remote, &stats.cx_destroy_remote_active_rq)
        };
        all.inc();
        if fate.is_busy.get() {
            stats.cx_destroy_active_rq.inc();
            busy.inc();
        }
    }

    /// Counts the bytes of the connection.
    pub(super) fn meter(service: &HttpService) -> Meter {
        Meter::new(&service.stats.cx_rx_bytes, &service.stats.cx_tx_bytes)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let stats = &self.service.stats;
        stats.cx_active.dec();
        stats.cx_destroy.inc();
        stats.cx_length.record(clock::now().saturating_duration_since(self.began));
        if self.is_tls {
            stats.cx_ssl_active.dec();
        }
        match self.spoken {
            Some(Spoken::Http1) => stats.cx_http1_active.dec(),
            Some(Spoken::Http2) => stats.cx_http2_active.dec(),
            None => {}
        }
    }
}
