//! What is remembered of an exchange for its log line and its metrics.

mod further;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use iako_http::{ResponseEdits, ResponseHead, Version};
use iako_proxy_config::{Direction, EndpointAddress, WorkloadLabel};
use iako_rt::clock;
use iako_telemetry::access_log::{
    LogType,
    further::{FurtherFacts as _, TimePoint},
};
use iako_telemetry::headers::NoHeaders;
use iako_telemetry::labels::UNKNOWN;
use iako_telemetry::{
    AccessRecord, HeaderLookup, HttpOutcome, Labels, Reporter, RequestProtocol, RequestSample,
    ResponseFlag, ResponseFlags, SecurityPolicy, ServiceLabels, WorkloadLabels,
};
use iako_traffic::Balancer;

use super::connection::HttpConnection;
use super::grpc;
use super::pump::{Download, Upload};
use super::request::{Request, ResponseView, TrailersView};
use super::service::HttpService;
use super::trace::ActiveTrace;
use crate::access_log::{ClientSide, FilterFacts};
use crate::connection::log::tell;
use crate::snapshot::{Tally, UpstreamCluster};
use crate::upstream::pool::ConnectionFacts;

pub(crate) use further::{ExchangeFacts, Place, Tried, shown};

/// Everything that is known of an exchange besides its messages.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) start: Instant,
    pub(crate) start_wall: SystemTime,
    pub(crate) flags: ResponseFlags,
    /// Envoy's response code details.
    pub(crate) details: Cow<'static, str>,
    /// Status that is being sent, once it is known.
    pub(crate) status: Option<u16>,
    /// Tries, the first included.
    pub(crate) attempts: u32,
    /// Name of the route; empty without one.
    pub(crate) route: String,
    /// Name of the cluster that the route chose.
    pub(crate) cluster: Option<Arc<UpstreamCluster>>,
    /// The endpoint of the last try.
    pub(crate) host: Option<EndpointAddress>,
    /// Where the endpoint stands among those of its cluster.
    pub(crate) endpoint: Option<(Arc<Balancer>, u32)>,
    /// The connection of the last try.
    pub(crate) upstream: Option<Rc<ConnectionFacts>>,
    /// Protocol of the last try.
    pub(crate) upstream_version: Option<Version>,
    /// Why the transport failed.
    pub(crate) transport_failure: String,
    /// When the head of the response came from the upstream.
    pub(crate) response_at: Option<Instant>,
    /// When the whole request had arrived.
    pub(crate) request_at: Option<Instant>,
    /// Who called, as the client said.
    pub(crate) source: Option<Arc<WorkloadLabels>>,
    /// Who answered, as the server said.
    pub(crate) destination: Option<Arc<WorkloadLabels>>,
    /// Body of a reply of our own.
    pub(crate) reply_bytes: u64,
    /// Where it is counted apart from the rest of its cluster.
    pub(crate) tally: Tally,
    /// Whether it is a health check, which is not counted among requests.
    pub(crate) is_health_check: bool,
    /// The trace that it is a part of; none for most.
    pub(crate) trace: Option<Box<ActiveTrace>>,
    /// When the head of the last try was sent.
    pub(crate) sent_at: Option<Instant>,
    /// Endpoints that were tried, where a log tells them.
    pub(crate) tried: Vec<Tried>,
}

impl Record {
    /// Nothing but the beginning.
    pub(crate) fn new(start: Instant, start_wall: SystemTime) -> Self {
        Self {
            start,
            start_wall,
            flags: ResponseFlags::NONE,
            details: Cow::Borrowed(""),
            status: None,
            attempts: 0,
            route: String::new(),
            cluster: None,
            host: None,
            endpoint: None,
            upstream: None,
            upstream_version: None,
            transport_failure: String::new(),
            response_at: None,
            request_at: None,
            source: None,
            destination: None,
            reply_bytes: 0,
            tally: Tally::default(),
            is_health_check: false,
            trace: None,
            sent_at: None,
            tried: Vec::new(),
        }
    }
}

/// What became of a request, as filters judge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There was no answer.
    None,
    /// An answer of HTTP.
    Status(u16),
    /// An answer of gRPC.
    Grpc(u32),
    /// An answer of gRPC that did not say how it went.
    Untold,
}

impl Record {
    /// The name of the endpoint; empty where it has none.
    pub(crate) fn hostname(&self) -> String {
        let name = self.endpoint.as_ref().and_then(|(balancer, place)| {
            let endpoint = balancer.endpoints().get(usize::try_from(*place).ok()?)?;
            Some(endpoint.endpoint.hostname.clone())
        });
        name.unwrap_or_default()
    }
}

/// The messages of a finished exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finished<'a> {
    pub(crate) request: &'a Request,
    pub(crate) response: Option<(&'a ResponseHead, &'a ResponseEdits)>,
    pub(crate) upload: &'a Upload,
    pub(crate) download: &'a Download,
}

impl Finished<'_> {
    fn status(&self) -> Option<u16> {
        self.response.map(|(head, edits)| edits.status(head))
    }

    /// What became of the request, for filters that judge by it.
    pub(crate) fn outcome(&self) -> Outcome {
        let Some((head, edits)) = self.response else { return Outcome::None };
        let fields = head.fields();
        let told = |name| edits.fields.get(fields, name);
        let of_head = told(iako_http::Known::GrpcStatus)
            .and_then(|value| std::str::from_utf8(value).ok()?.trim().parse::<u32>().ok());
        let is_grpc =
            told(iako_http::Known::ContentType).is_some_and(iako_traffic::is_grpc_content_type);
        if is_grpc && let Some(status) = of_head {
            return Outcome::Grpc(status);
        }
        if !is_grpc || edits.status(head) != 200 {
            return Outcome::Status(edits.status(head));
        }
        let Some(trailers) = self.download.trailers.as_deref() else { return Outcome::Untold };
        // What has no status there is no success.
        Outcome::Grpc(grpc::status(trailers).map_or(u32::MAX, u32::from))
    }

    /// Whether the client was told everything.
    fn is_told(&self, record: &Record) -> bool {
        self.download.is_told_whole() || (record.response_at.is_none() && self.response.is_some())
    }

    fn grpc_status(&self) -> Option<u16> {
        if !self.request.is_grpc() {
            return None;
        }
        let trailers = self.download.trailers.as_deref().and_then(grpc::status);
        trailers.or_else(|| {
            let (head, edits) = self.response?;
            let value = edits.fields.get(head.fields(), iako_http::Known::GrpcStatus)?;
            std::str::from_utf8(value).ok()?.trim().parse().ok()
        })
    }
}

/// Counts an exchange.
pub(crate) fn finish(
    connection: &HttpConnection,
    service: &HttpService,
    record: &Record,
    finished: &Finished<'_>,
    now: Instant,
) {
    let duration = now.saturating_duration_since(record.start);
    let counted = finished.status().filter(|_| !record.is_health_check);
    service.count_completed(counted, duration);
    if let Some(status) = finished.status() {
        let upstream = record.response_at.and(record.request_at);
        let took = upstream.map(|at| now.saturating_duration_since(at));
        record.tally.answered(status, took);
        if let (Some(took), Some(cluster)) = (took, &record.cluster)
            && !record.is_health_check
        {
            cluster.note_time(took);
        }
    }
    if service.traits.counts_in_metrics {
        count(connection, record, finished, duration);
    }
}

/// Writes a line of an exchange to every log.
pub(crate) fn write(
    further: &ExchangeFacts<'_>,
    service: &HttpService,
    finished: &Finished<'_>,
    log_type: LogType,
) {
    let ExchangeFacts { connection, record, .. } = *further;
    let now = further.now.unwrap_or(record.start);
    let request_view = finished.request.view();
    let response_view = finished.response.map(|(head, edits)| ResponseView { head, edits });
    let trailers_view = finished.download.trailers.as_deref().map(TrailersView);
    let mut access = access_record(further, &request_view);
    if let Some(view) = &response_view {
        access.response_headers = view;
    }
    if let Some(view) = &trailers_view {
        access.response_trailers = view;
    }
    access.duration = Some(now.saturating_duration_since(record.start));
    access.response_code = finished.status();
    access.bytes_received = finished.upload.bytes;
    access.bytes_sent = finished.download.bytes + record.reply_bytes;
    let told = record.response_at.filter(|_| finished.is_told(record));
    access.response_tx_duration = told.map(|at| now.saturating_duration_since(at));
    access.log_type = log_type;
    let facts = FilterFacts {
        draw: connection.worker.with_rng(iako_rt::Rng::next_u64),
        health_check: record.is_health_check,
        traced: service.manager.tracing.is_some(),
    };
    for log in &service.access_log {
        log.log(&access, facts);
    }
}

/// What there is to say about a request that was refused before it was one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused<'a> {
    pub(crate) version: Version,
    /// What it was answered with, if anything.
    pub(crate) status: Option<u16>,
    /// Envoy's response code details.
    pub(crate) details: &'a str,
    pub(crate) flag: Option<ResponseFlag>,
    /// Content of the answer.
    pub(crate) bytes: u64,
}

/// Writes the log line of a request whose head was no head.
pub(crate) fn refused(connection: &HttpConnection, service: &HttpService, refused: &Refused<'_>) {
    service.count_refused(refused.version, refused.status);
    let mut record = AccessRecord::new(clock::wall());
    record.request_headers = &NoHeaders;
    record.protocol = Some(refused.version.as_str());
    record.response_code = refused.status;
    record.response_code_details = Some(refused.details);
    if let Some(flag) = refused.flag {
        record.flags.insert(flag);
    }
    record.bytes_sent = refused.bytes;
    record.duration = Some(Duration::ZERO);
    let client = ClientSide {
        info: &connection.info,
        tls: connection.tls.as_deref(),
        chain: Some(&connection.chain),
        listener: None,
        accepted: Some(connection.accepted),
    };
    tell(&client, &mut record);
    record.log_type = LogType::DownstreamEnd;
    record.downstream.connection_id = Some(connection.id);
    let facts = FilterFacts { draw: connection.draw(), ..FilterFacts::default() };
    for log in &service.access_log {
        log.log(&record, facts);
    }
}

/// Name of the machine, for `%HOSTNAME%`; empty where the kernel does not tell it.
static HOSTNAME: LazyLock<String> = LazyLock::new(|| {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
});

/// The facts of an exchange as log formats and header formats read them.
pub(crate) fn access_record<'a>(
    further: &'a ExchangeFacts<'a>,
    request_headers: &'a dyn HeaderLookup,
) -> AccessRecord<'a> {
    let ExchangeFacts { connection, record, request, .. } = *further;
    let mut access = AccessRecord::new(record.start_wall);
    let since = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(record.start));
    let some = |text: &'a str| (!text.is_empty()).then_some(text);
    access.request_headers = request_headers;
    access.further = further;
    access.protocol = Some(request.head.version().as_str());
    access.hostname = some(&HOSTNAME);
    access.response_code = record.status;
    access.response_code_details = some(&record.details);
    access.flags = record.flags;
    access.request_duration = since(further.time_point(TimePoint::DownstreamReceiveEnd));
    access.response_duration = since(record.response_at);
    access.request_tx_duration =
        since(record.sent_at.zip(record.request_at).map(|(sent, whole)| sent.max(whole)));
    access.route_name = some(&record.route);
    access.virtual_cluster = record.tally.virtual_cluster();
    access.trace_id = record.trace.as_ref().map(|trace| trace.id());
    let info = &connection.info;
    let down = &mut access.downstream;
    down.local_address = Some(info.original_destination);
    down.direct_local_address = Some(info.local);
    // Of a client that only a header tells, nobody knows the port.
    let port = if request.client == info.remote.ip() { info.remote.port() } else { 0 };
    down.remote_address = Some(SocketAddr::new(request.client, port));
    down.direct_remote_address = Some(info.direct_remote);
    down.server_name = some(&info.server_name);
    down.connection_id = Some(connection.id);
    let up = &mut access.upstream;
    up.attempts = record.attempts;
    up.transport_failure_reason = some(&record.transport_failure);
    if let Some(cluster) = &record.cluster {
        up.cluster = Some(&cluster.name);
        up.cluster_alias = some(&cluster.config.alt_stat_name);
    }
    match &record.host {
        Some(EndpointAddress::Socket(address)) => up.host = Some(*address),
        Some(EndpointAddress::Host { name, .. }) => up.host_name = Some(name),
        Some(EndpointAddress::Pipe(_) | EndpointAddress::Internal { .. }) | None => {}
    }
    if let Some(facts) = &record.upstream {
        up.local_address = facts.local;
        up.remote = facts.remote;
    }
    up.protocol = record.upstream_version.map(Version::as_str);
    access
}

/// Counts an exchange in Istio's standard metrics.
fn count(
    connection: &HttpConnection,
    record: &Record,
    finished: &Finished<'_>,
    duration: Duration,
) {
    let own = &connection.worker.shared.node.labels;
    let unknown = &connection.worker.unknown;
    let inbound = connection.direction == Direction::Inbound;
    let told;
    let host_service;
    let (reporter, source, source_principal, destination, destination_principal) = if inbound {
        let source = record.source.as_deref().unwrap_or(&unknown.workload);
        let (client, server) = (&connection.client_principal, &connection.own_principal);
        (Reporter::Destination, source, client, own, server)
    } else {
        told = record.endpoint.as_ref().and_then(endpoint_labels);
        let destination = record.destination.as_deref().or(told.as_deref());
        let upstream = record.upstream.as_deref();
        (
            Reporter::Source,
            own,
            upstream.map_or(&unknown.principal, |facts| &facts.own_principal),
            destination.unwrap_or(&unknown.workload),
            upstream.map_or(&unknown.principal, |facts| &facts.server_principal),
        )
    };
    let service = match &record.cluster {
        Some(cluster) if &*cluster.service.host != UNKNOWN => &cluster.service,
        Some(_) | None => {
            host_service = service_of_host(finished.request.authority());
            &*host_service
        }
    };
    let security = match (inbound, connection.info.peer()) {
        (false, _) => SecurityPolicy::Unknown,
        (true, Some(_)) => SecurityPolicy::MutualTls,
        (true, None) => SecurityPolicy::None,
    };
    let grpc = finished.request.is_grpc();
    let labels = Labels {
        reporter,
        source,
        source_principal,
        destination,
        destination_principal,
        service,
        protocol: if grpc { RequestProtocol::Grpc } else { RequestProtocol::Http },
        security,
        flags: record.flags,
    };
    let outcome = HttpOutcome {
        response_code: finished.status().unwrap_or(0),
        grpc_status: finished.grpc_status(),
    };
    let sample = RequestSample {
        duration,
        request_bytes: finished.upload.bytes,
        response_bytes: finished.download.bytes + record.reply_bytes,
        request_messages: finished.upload.messages.messages(),
        response_messages: finished.download.messages.messages(),
    };
    connection.worker.metrics.request(&labels, outcome, &sample);
}

/// Who an endpoint is by what the control plane said, built once a worker.
fn endpoint_labels((balancer, place): &(Arc<Balancer>, u32)) -> Option<Rc<WorkloadLabels>> {
    let endpoint = balancer.endpoints().get(usize::try_from(*place).ok()?)?;
    let label = endpoint.endpoint.metadata.workload.as_ref()?;
    LABELS.with_borrow_mut(|known| {
        if let Some(labels) = known.get(label) {
            return Some(Rc::clone(labels));
        }
        if known.len() >= LABELS_MAX {
            known.clear();
        }
        let labels = Rc::new(workload_labels(label));
        known.insert(label.clone(), Rc::clone(&labels));
        Some(labels)
    })
}

/// Workloads remembered a worker; when it is full it starts anew.
const LABELS_MAX: usize = 1024;

thread_local! {
    static LABELS: RefCell<HashMap<WorkloadLabel, Rc<WorkloadLabels>>> = RefCell::default();
}

fn workload_labels(label: &WorkloadLabel) -> WorkloadLabels {
    let parts = [
        &label.workload,
        &label.namespace,
        &label.canonical_name,
        &label.canonical_revision,
        &label.cluster,
    ];
    WorkloadLabels::from_endpoint_metadata(&parts.map(String::as_str).join(";"))
}

/// An authority and its service.
type LastHost = (Box<str>, Rc<ServiceLabels>);

thread_local! {
    /// What was asked for last: a sidecar hears few names.
    static LAST_HOST: RefCell<Option<LastHost>> = const { RefCell::new(None) };
}

/// The service of a host that no cluster speaks for, without its port.
fn service_of_host(authority: &str) -> Rc<ServiceLabels> {
    LAST_HOST.with_borrow_mut(|last| {
        if let Some((_, labels)) = last.as_ref().filter(|(known, _)| **known == *authority) {
            return Rc::clone(labels);
        }
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let labels = Rc::new(ServiceLabels::from_host(host));
        *last = Some((authority.into(), Rc::clone(&labels)));
        labels
    })
}
