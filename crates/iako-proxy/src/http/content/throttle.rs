//! Content that passes no faster than allowed.

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use iako_http::{BodyEvent, FieldName, FieldValue, Fields, FieldsBuilder, NameRef};
use iako_rt::clock;
use iako_telemetry::{Counter, Gauge};
use iako_traffic::BandwidthBucket;

/// What is counted of content that is held back.
#[derive(Clone, Debug)]
pub(crate) struct ThrottleStats {
    /// Times that content had to wait.
    pub(crate) enforced: Counter,
    /// Exchanges whose content passes.
    pub(crate) pending: Gauge,
    /// Bytes that came.
    pub(crate) incoming: Counter,
    /// Bytes that went on.
    pub(crate) allowed: Counter,
}

/// Counts an exchange as under way until it is dropped.
#[derive(Debug)]
struct Pending(ThrottleStats);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.dec();
    }
}

/// A bucket with the clock that it counts by.
#[derive(Debug)]
pub(crate) struct TimedBucket {
    bucket: BandwidthBucket,
    since: Instant,
}

impl TimedBucket {
    /// A bucket that holds at first what comes within one interval.
    pub(crate) fn new(kib_per_second: std::num::NonZeroU64, interval: Duration) -> Self {
        // A second ago, so that there is a time before now.
        let bucket = BandwidthBucket::new(kib_per_second, 1_000_000_000, interval);
        Self { bucket, since: clock::now() }
    }

    fn take(&self, wanted: u64) -> u64 {
        let since = clock::now().saturating_duration_since(self.since).as_nanos();
        let now = u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1_000_000_000);
        self.bucket.take(wanted, now)
    }
}

/// How long content took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delays {
    /// From its first byte to its last.
    whole: Duration,
    /// Of this, held back.
    held: Duration,
}

/// What is done with the delays of one direction.
#[derive(Debug)]
pub(crate) enum DelayUse {
    /// Nothing.
    Forget,
    /// They are left for the response.
    Leave(Rc<Cell<Delays>>),
    /// The trailers tell of them, and of those of the request.
    Tell {
        /// Names begin with it.
        prefix: String,
        /// Those of the request.
        request: Rc<Cell<Delays>>,
    },
}

/// Lets content pass no faster than allowed.
#[derive(Debug)]
pub(crate) struct Throttle {
    bucket: Arc<TimedBucket>,
    interval: Duration,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    waiting: Bytes,
    after: VecDeque<BodyEvent>,
    stats: Option<ThrottleStats>,
    pending: Option<Pending>,
    began: Option<Instant>,
    held_since: Option<Instant>,
    delays: Delays,
    delay_use: DelayUse,
}

impl Throttle {
    /// Holds content to a bucket, in which room is looked for once an interval.
    pub(crate) fn new(
        bucket: Arc<TimedBucket>,
        interval: Duration,
        stats: Option<ThrottleStats>,
        delay_use: DelayUse,
    ) -> Self {
        Self {
            bucket,
            interval,
            sleep: None,
            waiting: Bytes::new(),
            after: VecDeque::new(),
            stats,
            pending: None,
            began: None,
            held_since: None,
            delays: Delays::default(),
            delay_use,
        }
    }

    pub(super) fn give(&mut self, event: BodyEvent) {
        match event {
            BodyEvent::Data(data) => {
                self.began.get_or_insert_with(clock::now);
                if let Some(stats) = &self.stats {
                    stats.incoming.add(data.len() as u64);
                    self.pending.get_or_insert_with(|| {
                        stats.pending.inc();
                        Pending(stats.clone())
                    });
                }
                self.waiting = data;
            }
            BodyEvent::Trailers(trailers) => {
                self.end();
                let trailers = self.told(Some(&trailers)).map_or(trailers, Box::new);
                self.after.push_back(BodyEvent::Trailers(trailers));
            }
            BodyEvent::End => {
                if self.began.is_some() {
                    self.end();
                    let told = self.told(None).map(|told| BodyEvent::Trailers(Box::new(told)));
                    self.after.extend(told);
                }
                self.after.push_back(BodyEvent::End);
            }
        }
    }

    fn end(&mut self) {
        self.pending = None;
        let Some(began) = self.began.take() else { return };
        self.delays.whole = clock::now().saturating_duration_since(began);
        if let DelayUse::Leave(place) = &self.delay_use {
            place.set(self.delays);
        }
    }

    /// Trailers with the delays; none when nothing is told, or nothing was held back.
    fn told(&mut self, trailers: Option<&Fields>) -> Option<Fields> {
        let delay_use = std::mem::replace(&mut self.delay_use, DelayUse::Forget);
        let DelayUse::Tell { prefix, request } = delay_use else { return None };
        let request = request.get();
        let own = self.delays;
        let all = [
            ("bandwidth-request-delay-ms", request.whole),
            ("bandwidth-response-delay-ms", own.whole),
            ("bandwidth-request-filter-delay-ms", request.held),
            ("bandwidth-response-filter-delay-ms", own.held),
        ];
        let mut told = all.into_iter().filter(|(_, delay)| delay.as_millis() > 0).peekable();
        told.peek()?;
        let mut fields = FieldsBuilder::with_capacity(256);
        for field in trailers.into_iter().flat_map(Fields::iter) {
            fields.push(NameRef::from(field.original_name), field.value);
        }
        for (name, delay) in told {
            let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}-{name}") };
            let Ok(name) = FieldName::parse(name.as_bytes()) else { continue };
            let value = FieldValue::from(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
            fields.push(&name, value.as_bytes());
        }
        Some(fields.build())
    }

    pub(super) fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Option<BodyEvent>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(context));
                self.sleep = None;
            }
            if self.waiting.is_empty() {
                return Poll::Ready(self.after.pop_front());
            }
            let granted = self.bucket.take(self.waiting.len() as u64);
            let granted = usize::try_from(granted).unwrap_or(usize::MAX).min(self.waiting.len());
            if granted < self.waiting.len() {
                self.held_since.get_or_insert_with(clock::now);
                if let Some(stats) = &self.stats {
                    stats.enforced.inc();
                }
                self.sleep = Some(Box::pin(tokio::time::sleep(self.interval)));
            } else if let Some(since) = self.held_since.take() {
                self.delays.held += clock::now().saturating_duration_since(since);
            }
            if granted > 0 {
                if let Some(stats) = &self.stats {
                    stats.allowed.add(granted as u64);
                }
                return Poll::Ready(Some(BodyEvent::Data(self.waiting.split_to(granted))));
            }
        }
    }
}
