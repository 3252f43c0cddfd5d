//! Entries on their way to a log service: kept by each worker, sent by a task of it.
//!
//! A request leaves bytes in a bounded queue and waits for nothing. What does not fit, and what a
//! service did not take, is counted as dropped.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use iako_proxy_config::LogStreamSettings;
use iako_xds_codec::service::log;
use tokio::sync::Notify;

use super::LogCounters;
use crate::callout::grpc::GrpcStream;
use crate::callout::{CallError, within};
use crate::worker::Worker;

/// How long a service may take to answer that it is there, and at the end to take what is left.
const PATIENCE: Duration = Duration::from_secs(1);
/// Queues of a worker at most: configurations come and go.
const STREAMS_MAX: usize = 256;
/// A queue takes so many times the bytes of a batch, and at least this many bytes.
const QUEUE_BATCHES: usize = 16;
const QUEUE_BYTES_MIN: usize = 1 << 20;

/// A worker's queues.
#[derive(Debug, Default)]
pub(crate) struct LogStreams(RefCell<Vec<Rc<LogStream>>>);

/// One queue and the call that empties it.
#[derive(Debug)]
struct LogStream {
    settings: Arc<LogStreamSettings>,
    counters: LogCounters,
    entries: RefCell<Vec<Vec<u8>>>,
    bytes: Cell<usize>,
    wake: Notify,
    call: RefCell<Option<GrpcStream>>,
}

impl LogStreams {
    /// Leaves an entry for a service.
    pub(crate) fn push(
        &self,
        worker: &Rc<Worker>,
        settings: &Arc<LogStreamSettings>,
        counters: &LogCounters,
        entry: Vec<u8>,
    ) {
        let found = self.0.borrow().iter().find(|one| one.settings == *settings).map(Rc::clone);
        let stream = match found {
            Some(stream) => stream,
            None => match self.begin(worker, settings, counters) {
                Some(stream) => stream,
                None => return counters.dropped.inc(),
            },
        };
        stream.push(entry);
    }

    fn begin(
        &self,
        worker: &Rc<Worker>,
        settings: &Arc<LogStreamSettings>,
        counters: &LogCounters,
    ) -> Option<Rc<LogStream>> {
        let mut streams = self.0.borrow_mut();
        if streams.len() >= STREAMS_MAX {
            return None;
        }
        let stream = Rc::new(LogStream {
            settings: Arc::clone(settings),
            counters: counters.clone(),
            entries: RefCell::default(),
            bytes: Cell::new(0),
            wake: Notify::new(),
            call: RefCell::default(),
        });
        streams.push(Rc::clone(&stream));
        let carrying = Rc::clone(&stream).carry(Rc::clone(worker));
        worker.scope.spawn("access log stream", carrying);
        Some(stream)
    }

    /// Sends what is left, and waits a moment until the services have it.
    pub(crate) async fn finish(&self, worker: &Rc<Worker>) {
        let streams = std::mem::take(&mut *self.0.borrow_mut());
        for stream in streams {
            stream.send(worker).await;
            if let Some(mut call) = stream.call.take()
                && call.end().is_ok()
            {
                let ended = within(Some(PATIENCE), poll_fn(|context| call.poll_next(context)));
                if let Err(error) = ended.await {
                    tracing::debug!(%error, "a log service ended its stream with an error");
                }
            }
        }
    }
}

impl LogStream {
    fn push(&self, entry: Vec<u8>) {
        let batch = usize::try_from(self.settings.buffer_bytes).unwrap_or(usize::MAX);
        let most = batch.saturating_mul(QUEUE_BATCHES).max(QUEUE_BYTES_MIN);
        let bytes = self.bytes.get().saturating_add(entry.len());
        if bytes > most {
            self.counters.dropped.inc();
            return;
        }
        self.counters.written.inc();
        self.bytes.set(bytes);
        self.entries.borrow_mut().push(entry);
        if bytes >= batch {
            self.wake.notify_one();
        }
    }

    async fn carry(self: Rc<Self>, worker: Rc<Worker>) {
        loop {
            let full = self.wake.notified();
            // Either is a reason to look.
            let _elapsed = tokio::time::timeout(self.settings.flush_interval, full).await;
            self.send(&worker).await;
            // Nobody logs here any more: only this queue has the settings.
            if Arc::strong_count(&self.settings) == 1 && self.entries.borrow().is_empty() {
                let mut streams = worker.log_streams.0.borrow_mut();
                streams.retain(|one| !Rc::ptr_eq(one, &self));
                return;
            }
        }
    }

    /// Sends what is there, over a new call where there is none.
    async fn send(&self, worker: &Rc<Worker>) {
        let entries = std::mem::take(&mut *self.entries.borrow_mut());
        self.bytes.set(0);
        if entries.is_empty() {
            return self.listen().await;
        }
        for _ in 0..=self.settings.retries.saturating_add(1) {
            match self.try_send(worker, &entries).await {
                Ok(()) => return,
                Err(error) => {
                    let service = &self.settings.service.cluster;
                    tracing::debug!(%error, service, "a log service takes no entries");
                }
            }
        }
        self.counters.dropped.add(entries.len() as u64);
    }

    /// Finds out whether the service ended the call meanwhile.
    async fn listen(&self) {
        let Some(mut call) = self.call.take() else { return };
        if is_open(&mut call).await {
            self.call.replace(Some(call));
        }
    }

    async fn try_send(&self, worker: &Rc<Worker>, entries: &[Vec<u8>]) -> Result<(), CallError> {
        self.listen().await;
        let settings = &self.settings;
        let (mut call, identifier) = match self.call.take() {
            Some(call) => (call, None),
            None => {
                let opening = GrpcStream::open(worker, &settings.service, log::METHOD, None);
                let call = within(Some(PATIENCE), Box::pin(opening)).await?;
                (call, Some((&worker.shared.node.node, settings.name.as_str())))
            }
        };
        call.send(&log::message(settings.kind, identifier, entries))?;
        // Asking for an answer writes what is queued.
        if is_open(&mut call).await {
            self.call.replace(Some(call));
        }
        Ok(())
    }
}

/// Whether a call goes on: the service has not ended it.
async fn is_open(call: &mut GrpcStream) -> bool {
    poll_fn(|context| {
        loop {
            match call.poll_next(context) {
                // What the service says means nothing.
                Poll::Ready(Ok(Some(_))) => {}
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(false),
                Poll::Pending => return Poll::Ready(true),
            }
        }
    })
    .await
}
