//! What is told of a TCP connection: log lines and Istio's metrics.

use std::{
    borrow::Cow,
    cell::Cell,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use iako_proxy_config::{Direction, Endpoint, EndpointAddress};
use iako_rt::{Rng, clock};
use iako_telemetry::access_log::{
    LogType,
    further::{FurtherFacts, MetadataOf, NumberFact, Side, TextFact, TimePoint, Validity, Way},
};
use iako_telemetry::{
    AccessRecord, Labels, Principal, Reporter, RequestProtocol, ResponseFlag, ResponseFlags,
    SecurityPolicy, ServiceLabels, TcpSeries, WorkloadLabels, labels::WorkloadFacts,
};
use iako_traffic::ConnectionInfo;
use iako_xds_codec::carried::Carrier;
use serde_json::{Map, Value};

use super::{
    TcpService,
    onward::Onward,
    relay::{End, Moved},
};
use crate::{
    access_log::{ClientSide, FilterFacts},
    connection::{Downstream, log::tell, steps::Ending},
    http::record::shown,
    snapshot::{Chain, UpstreamCluster},
    transport::TlsDetails,
    worker::Worker,
};

/// What is known of a connection when it ends.
pub(super) struct Record {
    worker: Rc<Worker>,
    info: Arc<ConnectionInfo>,
    started: Instant,
    started_wall: SystemTime,
    tls: Option<Arc<TlsDetails>>,
    chain: Arc<Chain>,
    id: u64,
    pub(super) cluster: Option<Arc<UpstreamCluster>>,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) attempts: u32,
    pub(super) details: Option<&'static str>,
    /// Why a filter ended it.
    pub(super) ending: Ending,
    pub(super) failure: Option<String>,
    pub(super) flags: ResponseFlags,
    moved: Cell<Moved>,
    upstream: Option<Far>,
    upstream_uri: Option<String>,
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
            tls: downstream.tls.clone(),
            chain: Arc::clone(&downstream.chain),
            id: downstream.id,
            cluster: None,
            endpoint: None,
            attempts: 0,
            details: None,
            ending: Ending::default(),
            failure: None,
            flags: ResponseFlags::NONE,
            moved: Cell::default(),
            upstream: None,
            upstream_uri: None,
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
        self.upstream = Some(Far {
            local: onward.local,
            remote: onward.remote,
            tls: onward.tls.clone(),
            times: onward.times,
            id: onward.id,
        });
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
    pub(super) fn write(&self, service: &TcpService, log_type: LogType) {
        if service.access_log.is_empty() {
            return;
        }
        let draw = self.worker.with_rng(Rng::next_u64);
        self.with_record(|record| {
            let record = &AccessRecord { log_type, ..*record };
            for log in &service.access_log {
                log.log(record, FilterFacts { draw, ..FilterFacts::default() });
            }
        });
    }

    /// Writes the last lines, that of the listener too.
    pub(super) fn end(&self, service: &TcpService, downstream: &mut Downstream) {
        self.write(service, LogType::TcpConnectionEnd);
        downstream.log_as(|write| self.with_record(|record| write(record)));
    }

    /// Whose metadata it is, on the side of the server.
    fn carrier(&self, of: MetadataOf) -> Option<Carrier<'_>> {
        match of {
            MetadataOf::Cluster => {
                self.cluster.as_ref().map(|it| Carrier::Cluster(&it.config.metadata))
            }
            MetadataOf::Endpoint => {
                self.endpoint.as_ref().map(|it| Carrier::Endpoint(&it.metadata))
            }
            MetadataOf::Dynamic
            | MetadataOf::Route
            | MetadataOf::Listener
            | MetadataOf::FilterChain
            | MetadataOf::VirtualHost => None,
        }
    }

    /// What is known of the client now.
    pub(super) fn look_again(&mut self, downstream: &Downstream) {
        self.info = Arc::clone(&downstream.info);
    }

    /// Lends what is known, as logs and headers see it.
    pub(super) fn with_record<T>(&self, look: impl FnOnce(&AccessRecord<'_>) -> T) -> T {
        let mut record = AccessRecord::new(self.started_wall);
        record.duration = Some(clock::now().saturating_duration_since(self.started));
        let client = ClientSide {
            info: &self.info,
            tls: self.tls.as_deref(),
            chain: Some(&self.chain),
            listener: None,
            accepted: Some(self.started),
        };
        tell(&client, &mut record);
        let facts = ConnectionFacts { client, record: self };
        record.further = &facts;
        record.downstream.connection_id = Some(self.id);
        record.connection_termination_details = self.ending.details.as_deref().or(self.details);
        record.downstream.local_close_reason = self.ending.reason;
        record.response_code_details = self.ending.code_details;
        record.flags = self.ending.flag.map_or(self.flags, |flag| self.flags.with(flag));
        record.bytes_received = self.moved.get().received;
        record.bytes_sent = self.moved.get().sent;
        record.upstream.host = self.endpoint.as_ref().and_then(socket_of);
        let cluster = self.cluster.as_ref();
        record.upstream.cluster = cluster.map(|cluster| &*cluster.name);
        record.upstream.cluster_alias =
            cluster.and_then(|cluster| some(&cluster.config.alt_stat_name));
        record.upstream.local_address = self.upstream.as_ref().and_then(|far| far.local);
        record.upstream.remote = self.upstream.as_ref().and_then(|far| far.remote);
        record.upstream.transport_failure_reason = self.failure.as_deref();
        record.upstream.attempts = self.attempts;
        record.upstream.host_name =
            self.endpoint.as_ref().and_then(|endpoint| some(&endpoint.hostname));
        look(&record)
    }
}

/// A connection to a server, as logs see it.
struct Far {
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    tls: Option<Arc<TlsDetails>>,
    times: [Instant; 2],
    id: u64,
}

/// Both sides, for formats that ask.
struct ConnectionFacts<'a> {
    client: ClientSide<'a>,
    record: &'a Record,
}

impl FurtherFacts for ConnectionFacts<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the client's side knows the rest")]
    fn text(&self, fact: TextFact) -> Option<Cow<'_, str>> {
        let tls = || self.record.upstream.as_ref()?.tls.as_deref();
        let host = || Some(shown(&self.record.endpoint.as_ref()?.address));
        match fact {
            TextFact::Certificate(Side::Upstream, holder, fact) => tls()?.certificate(holder, fact),
            TextFact::Tls(Side::Upstream, fact) => tls()?.agreed(fact),
            TextFact::UpstreamHost => host().map(Cow::Owned),
            TextFact::CloseType(Side::Upstream) => {
                self.record.upstream.as_ref().map(|_| Cow::Borrowed("Normal"))
            }
            other => self.client.text(other),
        }
    }

    fn number(&self, fact: NumberFact) -> u64 {
        let moved = self.record.moved.get();
        match fact {
            NumberFact::UpstreamConnection => self.record.upstream.as_ref().map_or(0, |far| far.id),
            NumberFact::Wire(Side::Downstream, Way::Received)
            | NumberFact::Wire(Side::Upstream, Way::Sent) => moved.received,
            NumberFact::Wire(Side::Downstream, Way::Sent)
            | NumberFact::Wire(Side::Upstream, Way::Received) => moved.sent,
            NumberFact::Endpoints
            | NumberFact::Direction
            | NumberFact::RequestHeaders
            | NumberFact::ResponseHeaders
            | NumberFact::ResponseTrailers
            | NumberFact::Headers(..)
            | NumberFact::PlainHeaders(..) => 0,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the client's side knows the rest")]
    fn time_point(&self, point: TimePoint) -> Option<Instant> {
        let far = || self.record.upstream.as_ref();
        match point {
            TimePoint::ConnectBegin => far().map(|far| far.times[0]),
            TimePoint::ConnectEnd => far().map(|far| far.times[1]),
            TimePoint::HandshakeEnd => far()?.tls.as_ref().map(|tls| tls.done),
            other => self.client.time_point(other),
        }
    }

    fn validity(&self, side: Side, end: Validity) -> Option<SystemTime> {
        match side {
            Side::Downstream => self.client.validity(side, end),
            Side::Upstream => self.record.upstream.as_ref()?.tls.as_ref()?.validity(end),
        }
    }

    fn metadata(&self, of: MetadataOf, namespace: &str) -> Option<Cow<'_, Map<String, Value>>> {
        match self.record.carrier(of) {
            Some(carrier) => carrier.of(namespace),
            None => self.client.metadata(of, namespace),
        }
    }

    fn namespaces(&self, of: MetadataOf) -> Option<Vec<String>> {
        let own = self.record.carrier(of).map(Carrier::namespaces);
        own.or_else(|| self.client.namespaces(of))
    }

    fn dynamic_metadata(&self) -> Vec<(String, Map<String, Value>)> {
        self.client.dynamic_metadata()
    }

    fn state(&self, side: Side, key: &str) -> Option<Cow<'_, str>> {
        self.client.state(side, key)
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
