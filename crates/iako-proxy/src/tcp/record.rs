//! What is told of a TCP connection: log lines and Istio's metrics.

use std::{
    cell::Cell,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use iako_proxy_config::{Direction, Endpoint, EndpointAddress};
use iako_rt::{Rng, clock};
use iako_telemetry::{
    AccessRecord, Labels, Principal, Reporter, RequestProtocol, ResponseFlag, ResponseFlags,
    SecurityPolicy, ServiceLabels, TcpSeries, WorkloadLabels, labels::WorkloadFacts,
};
use iako_traffic::ConnectionInfo;

use super::{
    TcpService,
    exchange::Onward,
    relay::{End, Moved},
};
use crate::{
    access_log::FilterFacts,
    connection::{Downstream, log::tell, steps::Ending},
    snapshot::UpstreamCluster,
    worker::Worker,
};

/// What is known of a connection when it ends.
pub(super) struct Record {
    worker: Rc<Worker>,
    info: Arc<ConnectionInfo>,
    started: Instant,
    started_wall: SystemTime,
    tls_version: &'static str,
    pub(super) cluster: Option<Arc<UpstreamCluster>>,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) attempts: u32,
    pub(super) details: Option<&'static str>,
    /// Why a filter ended it.
    pub(super) ending: Ending,
    pub(super) failure: Option<String>,
    flags: ResponseFlags,
    moved: Cell<Moved>,
    local: Option<SocketAddr>,
    upstream_uri: Option<String>,
    upstream_tls: &'static str,
    /// Who the server says it is, from the metadata exchange.
    pub(super) upstream_workload: Option<WorkloadLabels>,
}

impl Record {
    pub(super) fn new(worker: &Rc<Worker>, downstream: &Downstream) -> Self {
        Self {
            worker: Rc::clone(worker),
            info: Arc::clone(&downstream.info),
            started: downstream.accepted,
            started_wall: downstream.accepted_wall,
            tls_version: downstream.tls_version,
            cluster: None,
            endpoint: None,
            attempts: 0,
            details: None,
            ending: Ending::default(),
            failure: None,
            flags: ResponseFlags::NONE,
            moved: Cell::default(),
            local: None,
            upstream_uri: None,
            upstream_tls: "",
            upstream_workload: None,
        }
    }

    /// Notes why the connection ended early.
    pub(super) fn refused(&mut self, flag: ResponseFlag, details: &'static str) {
        self.flags.insert(flag);
        self.details = Some(details);
    }

    pub(super) fn connected(&mut self, onward: &Onward, endpoint: Endpoint) {
        self.endpoint = Some(endpoint);
        self.local = onward.local;
        self.upstream_tls = onward.tls_version;
        self.upstream_uri.clone_from(&onward.peer_uri);
    }

    pub(super) fn moved(&self, moved: Moved) {
        let before = self.moved.get();
        self.moved.set(Moved {
            received: before.received.saturating_add(moved.received),
            sent: before.sent.saturating_add(moved.sent),
        });
    }

    /// Counts the connection as opened in Istio's metrics, where the chain asks for that.
    pub(super) fn open(&self, downstream: &Downstream) -> Option<Arc<TcpSeries>> {
        if !downstream.chain.has_stats() {
            return None;
        }
        let own = &self.worker.shared.node.labels;
        let inbound = downstream.direction == Direction::Inbound;
        let unknown = WorkloadLabels::unknown();
        let told = self.upstream_workload.clone();
        let endpoint = told.or_else(|| self.endpoint.as_ref().map(workload_of));
        let client = downstream.peer_workload.as_deref();
        let (source, destination) = if inbound {
            (client.unwrap_or(&unknown), own)
        } else {
            (own, endpoint.as_ref().unwrap_or(&unknown))
        };
        let tls = self.info.tls.as_ref();
        let client_uri = tls.and_then(|tls| tls.peer.as_ref()).and_then(|peer| peer.uris.first());
        let (from, to) = if inbound {
            (client_uri, tls.and_then(|tls| tls.local_uris.first()))
        } else {
            (None, self.upstream_uri.as_ref())
        };
        let principal =
            |uri: Option<&String>| uri.map_or_else(Principal::unknown, |uri| Principal::new(uri));
        let (from, to) = (principal(from), principal(to));
        let nothing = ServiceLabels::unknown();
        let series = self.worker.metrics.tcp(&Labels {
            reporter: if inbound { Reporter::Destination } else { Reporter::Source },
            source,
            source_principal: &from,
            destination,
            destination_principal: &to,
            service: self.cluster.as_ref().map_or(&nothing, |cluster| &cluster.service),
            protocol: RequestProtocol::Tcp,
            security: match (inbound, client_uri) {
                (false, _) => SecurityPolicy::Unknown,
                (true, Some(_)) => SecurityPolicy::MutualTls,
                (true, None) => SecurityPolicy::None,
            },
            flags: self.flags,
        });
        series.opened();
        Some(series)
    }

    /// Writes the log lines.
    pub(super) fn write(&self, service: &TcpService) {
        if service.access_log.is_empty() {
            return;
        }
        let draw = self.worker.with_rng(Rng::next_u64);
        self.with_record(|record| {
            for log in &service.access_log {
                log.log(record, FilterFacts { draw, ..FilterFacts::default() });
            }
        });
    }

    /// Writes the last lines, that of the listener too.
    pub(super) fn end(&self, service: &TcpService, downstream: &mut Downstream) {
        self.write(service);
        downstream.log_as(|write| self.with_record(|record| write(record)));
    }

    /// What is known of the client now.
    pub(super) fn look_again(&mut self, downstream: &Downstream) {
        self.info = Arc::clone(&downstream.info);
    }

    /// Lends what is known, as logs and headers see it.
    pub(super) fn with_record<T>(&self, look: impl FnOnce(&AccessRecord<'_>) -> T) -> T {
        let mut record = AccessRecord::new(self.started_wall);
        record.duration = Some(clock::now().saturating_duration_since(self.started));
        tell(&self.info, self.tls_version, &mut record);
        record.connection_termination_details = self.ending.details.as_deref().or(self.details);
        record.downstream.local_close_reason = self.ending.reason;
        record.flags = self.ending.flag.map_or(self.flags, |flag| self.flags.with(flag));
        record.bytes_received = self.moved.get().received;
        record.bytes_sent = self.moved.get().sent;
        record.upstream.host = self.endpoint.as_ref().and_then(socket_of);
        let cluster = self.cluster.as_ref();
        record.upstream.cluster = cluster.map(|cluster| &*cluster.name);
        record.upstream.cluster_alias =
            cluster.and_then(|cluster| some(&cluster.config.alt_stat_name));
        record.upstream.local_address = self.local;
        record.upstream.transport_failure_reason = self.failure.as_deref();
        record.upstream.attempts = self.attempts;
        record.upstream.peer_uri_san = self.upstream_uri.as_deref();
        record.upstream.tls_version = some(self.upstream_tls);
        look(&record)
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Who an endpoint is, as the control plane says.
fn workload_of(endpoint: &Endpoint) -> WorkloadLabels {
    let Some(label) = &endpoint.metadata.workload else { return WorkloadLabels::unknown() };
    WorkloadLabels::new(&WorkloadFacts {
        workload: label.workload.clone(),
        namespace: label.namespace.clone(),
        cluster: label.cluster.clone(),
        app: label.canonical_name.clone(),
        version: label.canonical_revision.clone(),
        canonical_service: label.canonical_name.clone(),
        canonical_revision: label.canonical_revision.clone(),
        instance: String::new(),
    })
}

/// Writes a line again and again while a relay runs.
pub(super) async fn logging(
    relaying: impl Future<Output = End>,
    interval: Duration,
    write: impl Fn(),
) -> End {
    let mut relaying = pin!(relaying);
    loop {
        tokio::select! {
            biased;
            end = &mut relaying => return end,
            () = tokio::time::sleep(interval) => write(),
        }
    }
}

/// The address of an endpoint, where it has one.
const fn socket_of(endpoint: &Endpoint) -> Option<SocketAddr> {
    match &endpoint.address {
        EndpointAddress::Socket(address) => Some(*address),
        EndpointAddress::Host { .. }
        | EndpointAddress::Pipe(_)
        | EndpointAddress::Internal { .. } => None,
    }
}
