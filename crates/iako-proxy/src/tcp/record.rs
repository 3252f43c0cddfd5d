//! What is told of a TCP connection: log lines and Istio's metrics.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use iako_proxy_config::{Direction, Endpoint};
use iako_rt::{Rng, clock};
use iako_telemetry::{
    AccessRecord, Labels, Principal, Reporter, RequestProtocol, ResponseFlag, ResponseFlags,
    SecurityPolicy, ServiceLabels, TcpSeries, WorkloadLabels, labels::WorkloadFacts,
};
use iako_traffic::ConnectionInfo;

use super::{
    TcpService,
    exchange::{Onward, socket_of},
    relay::Moved,
};
use crate::{
    access_log::FilterFacts, connection::Downstream, snapshot::UpstreamCluster, worker::Worker,
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

    /// Lends what is known, as logs and headers see it.
    pub(super) fn with_record<T>(&self, look: impl FnOnce(&AccessRecord<'_>) -> T) -> T {
        let mut record = AccessRecord::new(self.started_wall);
        record.duration = Some(clock::now().saturating_duration_since(self.started));
        record.connection_termination_details = self.details;
        record.flags = self.flags;
        record.bytes_received = self.moved.get().received;
        record.bytes_sent = self.moved.get().sent;
        record.downstream.local_address = Some(self.info.original_destination);
        record.downstream.remote_address = Some(self.info.remote);
        record.downstream.direct_remote_address = Some(self.info.direct_remote);
        record.downstream.server_name = some(&self.info.server_name);
        record.downstream.tls_version = some(self.tls_version);
        let peer = self.info.peer();
        record.downstream.peer_uri_san =
            peer.and_then(|peer| peer.uris.first()).map(String::as_str);
        record.downstream.peer_subject = peer.and_then(|peer| some(&peer.subject));
        let own = self.info.tls.as_ref().and_then(|tls| tls.local_uris.first());
        record.downstream.local_uri_san = own.map(String::as_str);
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
