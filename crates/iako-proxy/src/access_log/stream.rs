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

use bytes::Bytes;
use iako_http::Method;
use iako_proxy_config::{
    LogStreamSettings, Node, OtelLabels, OtelStreamSettings, OtlpExporter, SpanCollector,
};
use iako_rt::clock;
use iako_telemetry::AccessRecord;
use iako_xds_codec::service::{log, otel_log};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::LogCounters;
use crate::callout::grpc::{self, GrpcStream};
use crate::callout::http::{Question, ask};
use crate::callout::{CallError, own_address, within};
use crate::http::mutations;
use crate::worker::Worker;

/// How long a service may take to answer that it is there, and at the end to take what is left.
const PATIENCE: Duration = Duration::from_secs(1);
/// Queues of a worker at most: configurations come and go.
const STREAMS_MAX: usize = 256;
/// A queue takes so many times the bytes of a batch, and at least this many bytes.
const QUEUE_BATCHES: usize = 16;
const QUEUE_BYTES_MIN: usize = 1 << 20;

/// How a queue is emptied.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum StreamSettings {
    /// Entries over a call that goes on.
    Entries(Arc<LogStreamSettings>),
    /// Records, each batch by a call of its own.
    Records(Arc<OtelStreamSettings>),
}

impl StreamSettings {
    fn buffer_bytes(&self) -> usize {
        let bytes = match self {
            Self::Entries(settings) => settings.buffer_bytes,
            Self::Records(settings) => settings.buffer_bytes,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn flush_interval(&self) -> Duration {
        match self {
            Self::Entries(settings) => settings.flush_interval,
            Self::Records(settings) => settings.flush_interval,
        }
    }

    /// Tries after the first one. A call that goes on may have ended since it was used last.
    fn retries(&self) -> u32 {
        match self {
            Self::Entries(settings) => settings.retries.saturating_add(1),
            Self::Records(settings) => settings.retries,
        }
    }

    fn service(&self) -> &str {
        match self {
            Self::Entries(settings) => &settings.service.cluster,
            Self::Records(settings) => match &settings.exporter {
                OtlpExporter::Grpc(service) => &service.cluster,
                OtlpExporter::Http(collector) => &collector.cluster,
            },
        }
    }

    /// Whether only one queue has them.
    fn is_forgotten(&self) -> bool {
        match self {
            Self::Entries(settings) => Arc::strong_count(settings) == 1,
            Self::Records(settings) => Arc::strong_count(settings) == 1,
        }
    }
}

/// A worker's queues.
#[derive(Debug, Default)]
pub(crate) struct LogStreams(RefCell<Vec<Rc<LogStream>>>);

/// One queue and the call that empties it.
#[derive(Debug)]
struct LogStream {
    settings: StreamSettings,
    counters: LogCounters,
    entries: RefCell<Vec<Vec<u8>>>,
    bytes: Cell<usize>,
    wake: Notify,
    call: RefCell<Option<GrpcStream>>,
}

impl LogStreams {
    /// Leaves an entry for a service.
    pub(super) fn push(
        &self,
        worker: &Rc<Worker>,
        settings: &StreamSettings,
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
        settings: &StreamSettings,
        counters: &LogCounters,
    ) -> Option<Rc<LogStream>> {
        let mut streams = self.0.borrow_mut();
        if streams.len() >= STREAMS_MAX {
            return None;
        }
        let stream = Rc::new(LogStream {
            settings: settings.clone(),
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
        let batch = self.settings.buffer_bytes();
        let most = batch.saturating_mul(QUEUE_BATCHES).max(QUEUE_BYTES_MIN);
        let bytes = self.bytes.get().saturating_add(entry.len());
        if bytes > most {
            self.counters.dropped.inc();
            return;
        }
        if matches!(self.settings, StreamSettings::Entries(_)) {
            self.counters.written.inc();
        }
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
            let _elapsed = tokio::time::timeout(self.settings.flush_interval(), full).await;
            self.send(&worker).await;
            // Nobody logs here any more: only this queue has the settings.
            if self.settings.is_forgotten() && self.entries.borrow().is_empty() {
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
        for _ in 0..=self.settings.retries() {
            match self.try_send(worker, &entries).await {
                // As Envoy does, entries count when they are left, records when they are taken.
                Ok(()) if matches!(self.settings, StreamSettings::Records(_)) => {
                    return self.counters.written.add(entries.len() as u64);
                }
                Ok(()) => return,
                Err(error) => {
                    let service = self.settings.service();
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
        let settings = match &self.settings {
            StreamSettings::Entries(settings) => settings,
            StreamSettings::Records(settings) => return tell(worker, settings, entries).await,
        };
        self.listen().await;
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

/// Longest answer of a collector that is taken.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Tells a collector of records.
async fn tell(
    worker: &Rc<Worker>,
    settings: &OtelStreamSettings,
    records: &[Vec<u8>],
) -> Result<(), CallError> {
    let resource = resource(settings, &worker.shared.node.node);
    let message = otel_log::message(&resource, records);
    match &settings.exporter {
        OtlpExporter::Grpc(service) => {
            let limit = Some(service.timeout.unwrap_or(PATIENCE));
            let called = grpc::unary(worker, service, otel_log::METHOD, &message);
            within(limit, Box::pin(called)).await.map(drop)
        }
        OtlpExporter::Http(collector) => post(worker, collector, message).await,
    }
}

/// Who made the records.
fn resource(settings: &OtelStreamSettings, node: &Node) -> Map<String, Value> {
    let mut resource = Map::new();
    if settings.labels == OtelLabels::BuiltIn {
        let labels = [
            ("log_name", &settings.name),
            ("zone_name", &node.locality.zone),
            ("cluster_name", &node.cluster),
            ("node_name", &node.id),
        ];
        for (name, value) in labels {
            resource.insert(name.to_owned(), Value::from(value.as_str()));
        }
    }
    for (name, value) in &settings.resource {
        resource.insert(name.clone(), value.clone());
    }
    resource
}

/// Sends records by POST.
async fn post(
    worker: &Rc<Worker>,
    collector: &SpanCollector,
    message: Vec<u8>,
) -> Result<(), CallError> {
    let limit = collector.timeout.unwrap_or(PATIENCE);
    let (millis, from) = (limit.as_millis().to_string(), own_address().to_string());
    let added: Vec<_> = {
        // Such headers know of no request; what they name of one is empty.
        let record = AccessRecord::new(clock::wall());
        let headers = collector.headers.iter();
        headers.map(|header| (header, mutations::render(&header.value, &record))).collect()
    };
    let mut fields: Vec<(&str, &[u8])> =
        vec![("content-type", b"application/x-protobuf"), ("user-agent", USER_AGENT.as_bytes())];
    for (header, value) in &added {
        fields.push((header.name.as_str(), value.as_bytes()));
    }
    fields.push(("x-envoy-internal", b"true"));
    fields.push(("x-forwarded-for", from.as_bytes()));
    fields.push(("x-envoy-expected-rq-timeout-ms", millis.as_bytes()));
    let question = Question {
        cluster: &collector.cluster,
        method: Method::Post,
        authority: &collector.host,
        path: &collector.path,
        fields: &fields,
        body: Some(Bytes::from(message)),
        limit: Some(limit),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let answer = ask(worker, &question).await?;
    if !(200..=299).contains(&answer.status) {
        tracing::debug!(status = answer.status, "a collector did not take records");
    }
    Ok(())
}

/// Who sends, as OpenTelemetry's specification wants it said.
const USER_AGENT: &str = concat!("OTel-OTLP-Exporter-Iako/", env!("CARGO_PKG_VERSION"));

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
