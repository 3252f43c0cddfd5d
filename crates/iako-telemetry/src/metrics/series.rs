//! One series: a set of labels, found by number, and the atomics that one worker adds to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{LABELS, LabelSet};
use crate::flags::ResponseFlags;
use crate::histogram::{AtomicHistogram, BYTES, DURATION};
use crate::labels::{
    Principal, Reporter, RequestProtocol, SecurityPolicy, ServiceLabels, UNKNOWN, WorkloadLabels,
};
use crate::stats::exposition::LabelPairs;

/// The parts that label a request or a connection; borrowed, nothing is copied on the path.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Which side this proxy is on.
    pub reporter: Reporter,
    /// Who called.
    pub source: &'a WorkloadLabels,
    /// As whom it called.
    pub source_principal: &'a Principal,
    /// Who answered.
    pub destination: &'a WorkloadLabels,
    /// As whom it answered.
    pub destination_principal: &'a Principal,
    /// Which service was asked.
    pub service: &'a ServiceLabels,
    /// What was spoken.
    pub protocol: RequestProtocol,
    /// How the connection was secured.
    pub security: SecurityPolicy,
    /// Why the proxy interfered.
    pub flags: ResponseFlags,
}

/// How an HTTP exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpOutcome {
    /// The status sent to the client; 0 when none was sent.
    pub response_code: u16,
    /// `grpc-status`, when the request was gRPC and a status was seen.
    pub grpc_status: Option<u16>,
}

/// The numbers of one finished request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestSample {
    /// First byte of the request to last byte of the response.
    pub duration: Duration,
    /// Bytes received from the client.
    pub request_bytes: u64,
    /// Bytes sent to the client.
    pub response_bytes: u64,
    /// gRPC messages from the client; 0 for other protocols.
    pub request_messages: u64,
    /// gRPC messages to the client; 0 for other protocols.
    pub response_messages: u64,
}

/// Which series: the fingerprints of the parts and the small facts packed into one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct SeriesKey([u64; 7]);

impl SeriesKey {
    pub(super) fn new(labels: &Labels<'_>, outcome: HttpOutcome) -> Self {
        let grpc = outcome.grpc_status.map_or(0, |status| u64::from(status) + 1);
        let small = u64::from(outcome.response_code)
            | grpc << 16
            | (labels.reporter as u64) << 40
            | (labels.protocol as u64) << 44
            | (labels.security as u64) << 48;
        Self([
            labels.source.id(),
            labels.source_principal.id(),
            labels.destination.id(),
            labels.destination_principal.id(),
            labels.service.id(),
            labels.flags.bits(),
            small,
        ])
    }

    /// The series that stands for all that find no place.
    pub(super) const fn overflow(reporter: Reporter) -> Self {
        Self([u64::MAX, u64::MAX, u64::MAX, 0, 0, 0, reporter as u64])
    }
}

/// A hasher for keys whose words are fingerprints already: mixing them is enough, and the keyed
/// fingerprints keep outsiders from choosing them.
#[derive(Default)]
pub(super) struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
            self.write_u64(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, _length: usize) {
        // The keys have a fixed length.
    }
}

pub(super) type KeyMap<V> = HashMap<SeriesKey, V, BuildHasherDefault<MixHasher>>;

/// Labels that a TCP series does not carry.
const HTTP_ONLY: [&str; 2] = ["response_code", "grpc_response_status"];

/// The text of every label, kept for the exposition.
#[derive(Clone, Debug)]
pub(super) struct LabelText {
    pub(super) reporter: Reporter,
    pub(super) source: WorkloadLabels,
    source_principal: Principal,
    pub(super) destination: WorkloadLabels,
    destination_principal: Principal,
    pub(super) service: ServiceLabels,
    protocol: Option<RequestProtocol>,
    pub(super) security: SecurityPolicy,
    /// `None` in the series that stands for many.
    pub(super) outcome: Option<HttpOutcome>,
    flags: Option<ResponseFlags>,
}

impl LabelText {
    pub(super) fn new(labels: &Labels<'_>, outcome: HttpOutcome) -> Self {
        Self {
            reporter: labels.reporter,
            source: labels.source.clone(),
            source_principal: labels.source_principal.clone(),
            destination: labels.destination.clone(),
            destination_principal: labels.destination_principal.clone(),
            service: labels.service.clone(),
            protocol: Some(labels.protocol),
            security: labels.security,
            outcome: Some(outcome),
            flags: Some(labels.flags),
        }
    }

    pub(super) fn overflow(reporter: Reporter) -> Self {
        Self {
            reporter,
            source: WorkloadLabels::unknown(),
            source_principal: Principal::unknown(),
            destination: WorkloadLabels::unknown(),
            destination_principal: Principal::unknown(),
            service: ServiceLabels::unknown(),
            protocol: None,
            security: SecurityPolicy::Unknown,
            outcome: None,
            flags: None,
        }
    }

    /// The text between the braces, in the order of [`LABELS`], without what a rule removed.
    pub(super) fn pairs(&self, set: LabelSet, removed: &[&str]) -> LabelPairs {
        let names = LABELS.iter().map(|(name, _)| *name);
        let told = names
            .filter(|name| set == LabelSet::Http || !HTTP_ONLY.contains(name))
            .filter(|name| !removed.contains(name));
        LabelPairs::new(told.map(|name| (name, self.value(name))))
    }

    fn value(&self, name: &str) -> Cow<'_, str> {
        let text: &str = match name {
            "reporter" => self.reporter.name(),
            "source_workload" => &self.source.workload,
            "source_canonical_service" => &self.source.canonical_service,
            "source_canonical_revision" => &self.source.canonical_revision,
            "source_workload_namespace" => &self.source.namespace,
            "source_principal" => &self.source_principal.text,
            "source_app" => &self.source.app,
            "source_version" => &self.source.version,
            "source_cluster" => &self.source.cluster,
            "destination_workload" => &self.destination.workload,
            "destination_workload_namespace" => &self.destination.namespace,
            "destination_principal" => &self.destination_principal.text,
            "destination_app" => &self.destination.app,
            "destination_version" => &self.destination.version,
            "destination_service" => &self.service.host,
            "destination_canonical_service" => &self.destination.canonical_service,
            "destination_canonical_revision" => &self.destination.canonical_revision,
            "destination_service_name" => &self.service.name,
            "destination_service_namespace" => &self.service.namespace,
            "destination_cluster" => &self.destination.cluster,
            "request_protocol" => self.protocol.map_or(UNKNOWN, RequestProtocol::name),
            "connection_security_policy" => self.security.name(),
            "response_code" => return or_unknown(self.outcome.map(|seen| seen.response_code)),
            "grpc_response_status" => return self.grpc_status().into(),
            "response_flags" => return or_unknown(self.flags),
            _ => UNKNOWN,
        };
        text.into()
    }

    fn grpc_status(&self) -> String {
        let status = self.outcome.and_then(|outcome| outcome.grpc_status);
        status.map(|status| status.to_string()).unwrap_or_default()
    }
}

fn or_unknown(fact: Option<impl Display>) -> Cow<'static, str> {
    fact.map_or(Cow::Borrowed(UNKNOWN), |fact| fact.to_string().into())
}

/// What one worker adds for one set of labels of finished requests.
#[derive(Debug)]
pub(super) struct RequestSeries {
    pub(super) requests: AtomicU64,
    pub(super) duration: AtomicHistogram,
    pub(super) request_bytes: AtomicHistogram,
    pub(super) response_bytes: AtomicHistogram,
    pub(super) request_messages: AtomicU64,
    pub(super) response_messages: AtomicU64,
}

impl Default for RequestSeries {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            duration: AtomicHistogram::new(&DURATION),
            request_bytes: AtomicHistogram::new(&BYTES),
            response_bytes: AtomicHistogram::new(&BYTES),
            request_messages: AtomicU64::new(0),
            response_messages: AtomicU64::new(0),
        }
    }
}

impl RequestSeries {
    pub(super) fn record(&self, sample: &RequestSample) {
        self.requests.fetch_add(1, Relaxed);
        let micros = u64::try_from(sample.duration.as_micros()).unwrap_or(u64::MAX);
        self.duration.record(micros);
        self.request_bytes.record(sample.request_bytes);
        self.response_bytes.record(sample.response_bytes);
        if sample.request_messages > 0 {
            self.request_messages.fetch_add(sample.request_messages, Relaxed);
        }
        if sample.response_messages > 0 {
            self.response_messages.fetch_add(sample.response_messages, Relaxed);
        }
    }
}

/// What one worker adds for one set of labels of TCP connections. A connection asks for it once
/// and keeps it while it lives.
#[derive(Debug, Default)]
pub struct TcpSeries {
    pub(super) opened: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl TcpSeries {
    /// A connection began.
    pub fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// A connection ended.
    pub fn closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    /// Bytes were sent to the client.
    pub fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Relaxed);
    }

    /// Bytes were received from the client.
    pub fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }
}
