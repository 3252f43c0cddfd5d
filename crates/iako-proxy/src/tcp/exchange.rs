//! One TCP connection: cluster, instance, connection, relay, record.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use iako_proxy_config::{Discovery, Endpoint, EndpointAddress, RoutePriority};
use iako_rt::{Rng, clock};
use iako_telemetry::ResponseFlag;
use iako_traffic::{ActiveRequest, BreakerGuard, Outcome, PickRequest, hash_of_ip, tcp_cluster};

use super::{
    TcpService,
    record::Record,
    relay::{End, Limits, relay},
};
use crate::{
    connection::{Downstream, metadata_exchange},
    snapshot::UpstreamCluster,
    transport::{ConnectOptions, Connected, connect},
    worker::Worker,
};

/// Time between reports of the bytes that a connection has moved. Istio's is the same.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Longest time that a peer may take for its part of the metadata exchange.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// An instance that was reached.
struct Reached {
    connected: Connected,
    endpoint: Endpoint,
    _active: Option<ActiveRequest>,
    _place: BreakerGuard,
}

/// Why no instance was reached.
struct Unreached {
    flag: ResponseFlag,
    reason: String,
    endpoint: Option<Endpoint>,
}

/// Carries a TCP connection until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, downstream: Downstream, service: Arc<TcpService>) {
    service.stats.cx_total.inc();
    let mut record = Record::new(&worker, &downstream);
    let snapshot = worker.snapshot();
    let draw = worker.with_rng(Rng::next_u64);
    let cluster = tcp_cluster(&service.config.target, draw);
    let Some(cluster) = cluster.and_then(|name| snapshot.cluster(name)).map(Arc::clone) else {
        service.stats.no_route.inc();
        record.refused(ResponseFlag::NoClusterFound, "cluster_not_found");
        record.write(&service);
        return;
    };
    // A connection may live for days; the snapshot must not.
    drop(snapshot);
    record.cluster = Some(Arc::clone(&cluster));
    match Box::pin(reach(&worker, &downstream, &service, &cluster, &mut record)).await {
        Ok(reached) => {
            Box::pin(carry(&worker, downstream, &service, reached, &mut record)).await;
            cluster.stats.closed();
        }
        Err(unreached) => {
            record.endpoint = unreached.endpoint;
            record.refused(unreached.flag, "upstream_connection_failure");
            record.failure = Some(unreached.reason);
        }
    }
    record.write(&service);
}

/// Connects to an instance, trying others as often as the configuration says.
async fn reach(
    worker: &Worker,
    downstream: &Downstream,
    service: &TcpService,
    cluster: &UpstreamCluster,
    record: &mut Record,
) -> Result<Reached, Unreached> {
    let breakers = cluster.state.breakers(RoutePriority::Default);
    let place = breakers.connection(&cluster.config.circuit_breakers.default);
    let place = place.map_err(|overflow| {
        cluster.stats.cx_overflow.inc();
        let reason = overflow.to_string();
        Unreached { flag: ResponseFlag::UpstreamOverflow, reason, endpoint: None }
    })?;
    if let Discovery::OriginalDst { port_override } = cluster.config.discovery {
        let (connected, endpoint) = reach_original(downstream, cluster, port_override).await?;
        record.attempts = 1;
        return Ok(Reached { connected, endpoint, _active: None, _place: place });
    }
    let mut tried = Vec::new();
    let mut failed: Option<Unreached> = None;
    let hash = service.config.hash_source_ip.then(|| hash_of_ip(downstream.info.remote.ip()));
    while record.attempts < service.config.connect_attempts_max.get() {
        let balancer = cluster.balancer();
        let request = PickRequest { hash, excluded: &tried, ..PickRequest::default() };
        let pick =
            worker.with_rng(|rng| balancer.pick(&request, clock::now(), &mut || rng.next_u64()));
        let Some(pick) = pick else { break };
        record.attempts = record.attempts.saturating_add(1);
        let active = pick.endpoint.state.begin();
        let endpoint = &pick.endpoint.endpoint;
        match connect(cluster, endpoint, ConnectOptions::default()).await {
            Ok(connected) => {
                balancer.record(&pick.endpoint.state, Outcome::Connected, clock::now());
                let (endpoint, active) = (endpoint.clone(), Some(active));
                return Ok(Reached { connected, endpoint, _active: active, _place: place });
            }
            Err(error) => {
                let state = &pick.endpoint.state;
                if balancer.record(state, Outcome::LocalFailure, clock::now()).is_some() {
                    cluster.stats.ejections_total.inc();
                    cluster.stats.ejections_enforced_total.inc();
                }
                tried.push(pick.place);
                failed = Some(Unreached {
                    flag: error.response_flag(),
                    reason: with_cause(&error),
                    endpoint: Some(endpoint.clone()),
                });
            }
        }
    }
    Err(failed.unwrap_or_else(|| {
        cluster.stats.cx_none_healthy.inc();
        let reason = "no healthy upstream".to_owned();
        Unreached { flag: ResponseFlag::NoHealthyUpstream, reason, endpoint: None }
    }))
}

async fn reach_original(
    downstream: &Downstream,
    cluster: &UpstreamCluster,
    port_override: Option<u16>,
) -> Result<(Connected, Endpoint), Unreached> {
    let info = &downstream.info;
    let mut address = info.original_destination;
    if let Some(port) = port_override {
        address.set_port(port);
    }
    let endpoint = Endpoint::at(address);
    if address == info.local {
        // The connection was made to this proxy itself: to connect there again would never end.
        let reason = "the original destination is this listener".to_owned();
        let flag = ResponseFlag::NoHealthyUpstream;
        return Err(Unreached { flag, reason, endpoint: Some(endpoint) });
    }
    match connect(cluster, &endpoint, ConnectOptions::default()).await {
        Ok(connected) => Ok((connected, endpoint)),
        Err(error) => Err(Unreached {
            flag: error.response_flag(),
            reason: with_cause(&error),
            endpoint: Some(endpoint),
        }),
    }
}

/// Moves the bytes and notes how it ended.
async fn carry(
    worker: &Worker,
    mut downstream: Downstream,
    service: &TcpService,
    reached: Reached,
    record: &mut Record,
) {
    let Reached { mut connected, endpoint, _active, _place } = reached;
    let Some(cluster) = record.cluster.clone() else { return };
    record.connected(&connected, endpoint);
    if connected.alpn.as_deref() == Some(metadata_exchange::PROTOCOL.as_bytes()) {
        let frame = &worker.shared.node.metadata_frame;
        let exchange = metadata_exchange::exchange(&mut connected.stream, frame);
        match tokio::time::timeout(METADATA_TIMEOUT, exchange).await {
            Ok(Ok(peer)) => record.upstream_workload = peer,
            Ok(Err(_)) | Err(_) => {
                record.refused(ResponseFlag::UpstreamProtocolError, "metadata_exchange_failed");
                return;
            }
        }
    }
    let limits = Limits {
        idle: service.config.idle_timeout,
        until: service.config.duration_max.map(|limit| {
            downstream.accepted + worker.spread(limit, service.config.duration_jitter)
        }),
        report: REPORT_INTERVAL,
    };
    let drain = downstream.drain().clone();
    let series = record.open(&downstream);
    let streams = (&mut downstream.stream, &mut connected.stream);
    let end = relay(worker, streams, limits, &drain, |moved| {
        service.stats.rx_bytes.add(moved.received);
        service.stats.tx_bytes.add(moved.sent);
        cluster.stats.cx_tx_bytes.add(moved.received);
        cluster.stats.cx_rx_bytes.add(moved.sent);
        record.moved(moved);
        if let Some(series) = &series {
            series.received(moved.received);
            series.sent(moved.sent);
        }
    })
    .await;
    match end {
        End::Done => {}
        End::Idle => {
            service.stats.idle_timeout.inc();
            record.refused(ResponseFlag::StreamIdleTimeout, "idle_timeout");
        }
        End::MaxDuration => record.refused(ResponseFlag::DurationTimeout, "max_duration"),
        End::Drained => record.details = Some("drained"),
        End::Downstream => {
            record.refused(ResponseFlag::DownstreamConnectionTermination, "downstream_reset");
        }
        End::Upstream(error) => {
            record.refused(ResponseFlag::UpstreamConnectionTermination, "upstream_reset");
            record.failure = Some(error.to_string());
        }
    }
    if let Some(series) = &series {
        series.closed();
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_cause(cause)),
        None => error.to_string(),
    }
}

/// The address of an endpoint, where it has one.
pub(super) const fn socket_of(endpoint: &Endpoint) -> Option<SocketAddr> {
    match &endpoint.address {
        EndpointAddress::Socket(address) => Some(*address),
        EndpointAddress::Host { .. } | EndpointAddress::Pipe(_) => None,
    }
}
