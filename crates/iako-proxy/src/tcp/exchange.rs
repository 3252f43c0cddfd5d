//! One TCP connection: cluster, instance, connection, relay, record.

use std::{io::ErrorKind, rc::Rc, sync::Arc, time::Duration};

use iako_http::Scheme;
use iako_proxy_config::{
    Discovery, Endpoint, MetadataPath, OnDemandClusters, RoutePriority, ShedPlace, SourcedName,
};
use iako_rt::{Rng, clock};
use iako_telemetry::{ResponseFlag, access_log::LogType};
use iako_traffic::{
    ActiveRequest, Balancer, BreakerGuard, ConnectionInfo, OriginalName, Outcome, Pick,
    PickRequest, hash_of_ip, original_name, tcp_cluster,
};

use super::{
    TcpService,
    onward::Onward,
    record::{Record, logging},
    relay::{End, Limits, Moved, relay},
    tunnel,
};
use crate::{
    connection::{
        Downstream, metadata_exchange,
        steps::{CLUSTER_STATE, Ending, HOST_STATE, PORT_STATE},
    },
    dns::Unresolved,
    http::target::member_of,
    on_demand::{Found, Needed},
    snapshot::{Failing, UpstreamCluster},
    transport::{ConnectOptions, Proxied, connect},
    worker::Worker,
};

/// Time between reports of the bytes that a connection has moved. Istio's is the same.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Under this name a filter chooses the longest silence, in milliseconds.
const IDLE_STATE: &str = "envoy.tcp_proxy.per_connection_idle_timeout_ms";
/// Longest time that a peer may take for its part of the metadata exchange.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// An instance that was reached.
struct Reached {
    connected: Onward,
    endpoint: Endpoint,
    _active: Option<ActiveRequest>,
    /// Ends the connection with its instance, where that is wanted.
    failing: Option<Failing>,
    /// None where a pool counts the connection.
    _place: Option<BreakerGuard>,
}

/// Why no instance was reached.
struct Unreached {
    flag: ResponseFlag,
    /// What the transport beneath said; empty when it was not asked.
    reason: String,
    endpoint: Option<Box<Endpoint>>,
}

/// Carries a TCP connection until it ends.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    mut downstream: Downstream,
    service: Arc<TcpService>,
) {
    service.stats.cx_total.inc();
    let mut record = Record::new(&worker, &downstream);
    if service.config.access_log_times.on_start {
        record.write(&service, LogType::TcpConnectionStart);
    }
    if worker.shared.overload.sheds(ShedPlace::TcpConnect, || worker.with_rng(Rng::unit)) {
        record.flags.insert(ResponseFlag::OverloadManagerTerminated);
        downstream.turn_away();
        record.end(&service, &mut downstream);
        return;
    }
    let mut snapshot = worker.snapshot();
    let draw = worker.with_rng(Rng::next_u64);
    // What a filter chose comes before what is written.
    let chosen = match downstream.info.metadata.state(CLUSTER_STATE) {
        Some(name) => Some((name, [].as_slice())),
        None => tcp_cluster(&service.config, draw),
    };
    if let Some(on_demand) = &service.config.on_demand
        && let Some(name) = chosen.map(|(name, _)| name)
        && snapshot.cluster(name).is_none()
    {
        drop(snapshot);
        Box::pin(find_cluster(&worker, &service, name, on_demand)).await;
        snapshot = worker.snapshot();
    }
    let found = chosen.and_then(|(name, subset)| Some((snapshot.cluster(name)?, subset)));
    let found = found.map(|(cluster, subset)| (Arc::clone(cluster), subset));
    let Some((cluster, subset)) = found else {
        service.stats.no_route.inc();
        record.refused(ResponseFlag::NoClusterFound, "cluster_not_found");
        downstream.turn_away();
        record.end(&service, &mut downstream);
        return;
    };
    record.cluster = Some(Arc::clone(&cluster));
    let member = member_of(&cluster, &snapshot, clock::now(), draw).map(Arc::clone);
    let Some(cluster) = member else {
        record.refused(ResponseFlag::NoHealthyUpstream, "no_healthy_upstream");
        downstream.turn_away();
        record.end(&service, &mut downstream);
        return;
    };
    // A connection may live for days; the snapshot must not.
    drop(snapshot);
    let target = Target { cluster: &cluster, subset };
    match Box::pin(reach(&worker, &downstream, &service, target, &mut record)).await {
        Ok(reached) => {
            let is_counted_here = service.config.tunnel.is_none();
            Box::pin(carry(&worker, &mut downstream, &service, reached, &mut record)).await;
            if is_counted_here {
                cluster.stats.closed();
            }
        }
        Err(unreached) => {
            record.refused(unreached.flag, "upstream_connection_failure");
            record.endpoint = unreached.endpoint.map(|endpoint| *endpoint);
            if record.endpoint.is_some() {
                // As in Envoy, whether one try was allowed or more.
                record.refused(
                    ResponseFlag::UpstreamRetryLimitExceeded,
                    "upstream_connection_failure",
                );
                cluster.stats.cx_connect_attempts_exceeded.inc();
            }
            downstream.turn_away();
            record.failure = Some(unreached.reason).filter(|reason| !reason.is_empty());
        }
    }
    record.end(&service, &mut downstream);
}

/// Writes the lines of a connection that a filter ended before anything was done for it.
pub(crate) fn log_unserved(
    worker: &Rc<Worker>,
    downstream: &Downstream,
    service: &TcpService,
    ending: &Ending,
) {
    let mut record = Record::new(worker, downstream);
    record.ending = ending.clone();
    record.write(service, LogType::TcpConnectionEnd);
}

/// Asks for a cluster that is not known, and waits for it.
async fn find_cluster(
    worker: &Worker,
    service: &TcpService,
    name: &str,
    on_demand: &OnDemandClusters,
) {
    let stats = &service.stats.on_demand;
    stats.attempt.inc();
    let needed = Needed::Cluster(SourcedName::new(name, on_demand.source.clone()));
    match worker.shared.needs.ask(needed, on_demand.timeout).await {
        Found::Here => stats.success.inc(),
        Found::Missing => stats.missing.inc(),
        Found::Late => stats.timeout.inc(),
    }
}

/// Where a connection goes.
#[derive(Clone, Copy)]
struct Target<'a> {
    cluster: &'a Arc<UpstreamCluster>,
    subset: &'a [(String, String)],
}

/// Connects to an instance, trying others as often as the configuration says.
#[expect(clippy::too_many_lines, reason = "one step after the other of one connection")]
async fn reach(
    worker: &Rc<Worker>,
    downstream: &Downstream,
    service: &TcpService,
    target: Target<'_>,
    record: &mut Record,
) -> Result<Reached, Unreached> {
    let Target { cluster, subset } = target;
    let place = place(service, cluster)?;
    let client = Proxied::towards(cluster, &downstream.info);
    if let Discovery::OriginalDst { port_override, metadata, .. } = &cluster.config.discovery {
        let (port, key) = (*port_override, metadata.as_ref());
        let (connected, endpoint) = reach_original(downstream, cluster, (port, key)).await?;
        record.attempts = 1;
        return Ok(Reached { connected, endpoint, _active: None, failing: None, _place: place });
    }
    if matches!(cluster.config.discovery, Discovery::DynamicForward(_)) {
        let reached = reach_named(downstream, cluster).await;
        let is_tried = reached.as_ref().err().is_none_or(|failed| failed.endpoint.is_some());
        record.attempts = u32::from(is_tried);
        let (connected, endpoint) = reached?;
        return Ok(Reached { connected, endpoint, _active: None, failing: None, _place: place });
    }
    let mut tried = Vec::new();
    let mut failed: Option<Unreached> = None;
    let hash = service.config.hash_source_ip.then(|| hash_of_ip(downstream.info.remote.ip()));
    while record.attempts < service.config.connect_attempts_max.get() {
        if failed.is_some() {
            back_off(worker, service, record.attempts).await;
        }
        let balancer = cluster.balancer();
        let request = PickRequest { hash, subset, excluded: &tried, ..PickRequest::default() };
        let pick =
            worker.with_rng(|rng| balancer.pick(&request, clock::now(), &mut || rng.next_u64()));
        let Some(pick) = pick else { break };
        record.attempts = record.attempts.saturating_add(1);
        let (endpoint, state) = (&pick.endpoint.endpoint, &pick.endpoint.state);
        let overload = &worker.shared.overload;
        if service.config.tunnel.is_none()
            && overload.sheds(ShedPlace::NewConnection, || worker.with_rng(Rng::unit))
        {
            // As in Envoy, which counts it among the tries.
            let (flag, reason) = (ResponseFlag::UpstreamRetryLimitExceeded, String::new());
            return Err(Unreached { flag, reason, endpoint: None });
        }
        let active = state.begin();
        let opened = match service.config.tunnel.as_deref() {
            None => {
                let client = client.as_ref();
                let options = ConnectOptions { client, ..ConnectOptions::default() };
                let connected = connect(cluster, endpoint, options).await;
                let connected = connected.map(Onward::direct);
                connected.map_err(|error| (error.response_flag(), error.transport_reason()))
            }
            Some(tunnel) => {
                let place = tunnel::Place { cluster, endpoint, state };
                let is_tls = cluster.transport_for(endpoint).is_tls();
                let scheme = if is_tls { Scheme::Https } else { Scheme::Http };
                let opening =
                    record.with_record(|record| tunnel::Request::new(tunnel, record, scheme));
                let opened = tunnel::open(worker, place, &opening, client.as_ref()).await;
                opened.map_err(|error| (error.response_flag(), error.transport_reason()))
            }
        };
        match opened {
            Ok(connected) => {
                record_outcome(worker, cluster, &balancer, &pick, Outcome::Connected);
                let (endpoint, active) = (endpoint.clone(), Some(active));
                let failing = cluster.failing(state);
                return Ok(Reached {
                    connected,
                    endpoint,
                    _active: active,
                    failing,
                    _place: place,
                });
            }
            Err((flag, reason)) => {
                record_outcome(worker, cluster, &balancer, &pick, Outcome::LocalFailure);
                tried.push(pick.place);
                failed =
                    Some(Unreached { flag, reason, endpoint: Some(Box::new(endpoint.clone())) });
            }
        }
    }
    Err(failed.unwrap_or_else(|| {
        cluster.stats.cx_none_healthy.inc();
        Unreached { flag: ResponseFlag::NoHealthyUpstream, reason: String::new(), endpoint: None }
    }))
}

/// Room under the circuit breaker of connections. A tunnel's connection is counted by its pool.
fn place(
    service: &TcpService,
    cluster: &UpstreamCluster,
) -> Result<Option<BreakerGuard>, Unreached> {
    if service.config.tunnel.is_some() {
        return Ok(None);
    }
    let breakers = cluster.state.breakers(RoutePriority::Default);
    let place = breakers.connection(&cluster.config.circuit_breakers.default);
    place.map(Some).map_err(|_full| {
        cluster.stats.cx_overflow.inc();
        let reason = String::new();
        Unreached { flag: ResponseFlag::UpstreamOverflow, reason, endpoint: None }
    })
}

/// Waits before another try: a random time below a bound that doubles.
async fn back_off(worker: &Worker, service: &TcpService, attempts: u32) {
    let Some(back_off) = service.config.connect_back_off else { return };
    let doubled = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let bound = back_off.base.saturating_mul(doubled).min(back_off.max);
    tokio::time::sleep(bound.mul_f64(worker.with_rng(Rng::unit))).await;
}

fn record_outcome(
    worker: &Worker,
    cluster: &UpstreamCluster,
    balancer: &Balancer,
    pick: &Pick<'_>,
    outcome: Outcome,
) {
    let mut draw = || worker.with_rng(Rng::unit);
    cluster.record(balancer, &pick.endpoint.state, outcome, (clock::now(), &mut draw));
}

async fn reach_original(
    downstream: &Downstream,
    cluster: &UpstreamCluster,
    (port_override, metadata): (Option<u16>, Option<&MetadataPath>),
) -> Result<(Onward, Endpoint), Unreached> {
    let info = &downstream.info;
    let mut address = match original_name(&[&info.metadata], metadata) {
        OriginalName::At(address) => address,
        OriginalName::Absent => info.original_destination,
        OriginalName::Invalid => {
            cluster.stats.original_dst_host_invalid.inc();
            info.original_destination
        }
    };
    if let Some(port) = port_override {
        address.set_port(port);
    }
    let endpoint = Endpoint::at(address);
    if address == info.local {
        // The connection was made to this proxy itself: to connect there again would never end.
        tracing::debug!(%address, "the original destination is this listener");
        let (flag, reason) = (ResponseFlag::NoHealthyUpstream, String::new());
        return Err(Unreached { flag, reason, endpoint: None });
    }
    reach_endpoint(info, cluster, endpoint).await
}

/// Connects to the host that the server name, or a filter, names.
async fn reach_named(
    downstream: &Downstream,
    cluster: &UpstreamCluster,
) -> Result<(Onward, Endpoint), Unreached> {
    let info = &downstream.info;
    let host = info.metadata.state(HOST_STATE).unwrap_or(&info.server_name);
    let port = info.metadata.state(PORT_STATE).and_then(|port| port.parse().ok());
    let none = |flag| Unreached { flag, reason: String::new(), endpoint: None };
    let unhealthy = || none(ResponseFlag::NoHealthyUpstream);
    let cache = cluster.forward.as_ref().filter(|_| !host.is_empty()).ok_or_else(unhealthy)?;
    let resolved = cache.addresses(host, port.unwrap_or_else(|| cluster.usual_port())).await;
    let addresses = resolved.map_err(|why| match why {
        Unresolved::Failed | Unresolved::Full => unhealthy(),
        Unresolved::Pending => none(ResponseFlag::UpstreamOverflow),
    })?;
    let (first, others) = addresses.split_first().ok_or_else(unhealthy)?;
    let endpoint = Endpoint {
        additional_addresses: others.to_vec(),
        hostname: host.to_owned(),
        ..Endpoint::at(*first)
    };
    reach_endpoint(info, cluster, endpoint).await
}

async fn reach_endpoint(
    info: &ConnectionInfo,
    cluster: &UpstreamCluster,
    endpoint: Endpoint,
) -> Result<(Onward, Endpoint), Unreached> {
    let client = Proxied::towards(cluster, info);
    let options = ConnectOptions { client: client.as_ref(), ..ConnectOptions::default() };
    match connect(cluster, &endpoint, options).await {
        Ok(connected) => Ok((Onward::direct(connected), endpoint)),
        Err(error) => Err(Unreached {
            flag: error.response_flag(),
            reason: error.transport_reason(),
            endpoint: Some(Box::new(endpoint)),
        }),
    }
}

/// Moves the bytes and notes how it ended.
#[expect(clippy::too_many_lines, reason = "one step after the other of one connection")]
async fn carry(
    worker: &Worker,
    downstream: &mut Downstream,
    service: &TcpService,
    reached: Reached,
    record: &mut Record,
) {
    let Reached { mut connected, endpoint, _active, failing, _place } = reached;
    let Some(cluster) = record.cluster.clone() else { return };
    record.connected(&connected, endpoint);
    if connected.exchanges_metadata {
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
    let times = service.config.access_log_times;
    if times.on_connected {
        record.write(service, LogType::TcpUpstreamConnected);
    }
    let limits = Limits {
        idle: idle_timeout(service, &downstream.info),
        until: service.config.duration_max.map(|limit| {
            downstream.accepted + worker.spread(limit, service.config.duration_jitter)
        }),
        report: times.interval.map_or(REPORT_INTERVAL, |interval| interval.min(REPORT_INTERVAL)),
    };
    let series = record.open(downstream);
    let ends = (&mut *downstream, &mut connected.stream);
    let relaying = relay(worker, ends, limits, |moved| {
        service.stats.rx_bytes.add(moved.received);
        service.stats.tx_bytes.add(moved.sent);
        cluster.stats.cx_tx_bytes.add(moved.received);
        cluster.stats.cx_rx_bytes.add(moved.sent);
        record.moved(moved);
        if let Some(series) = &series {
            series.received(moved.received);
            series.sent(moved.sent);
        }
    });
    let relaying = unless_failed(relaying, failing);
    let end = match times.interval {
        None => relaying.await,
        Some(interval) => {
            logging(relaying, interval, || record.write(service, LogType::TcpPeriodic)).await
        }
    };
    match end {
        End::Done => {}
        End::Idle => {
            service.stats.idle_timeout.inc();
            record.details = Some("idle_timeout");
        }
        End::MaxDuration => {
            service.stats.max_duration.inc();
            record.refused(ResponseFlag::DurationTimeout, "max_duration");
        }
        End::Denied(denied) => {
            service.stats.rx_bytes.add(denied.received);
            record.moved(Moved { received: denied.received, sent: 0 });
            record.ending = denied.ending;
        }
        End::Shed => record.flags.insert(ResponseFlag::OverloadManagerTerminated),
        End::Drained => record.details = Some("drained"),
        End::Failed => record.details = Some("upstream_failed"),
        End::Downstream => record.details = Some("downstream_reset"),
        End::Upstream(error) if error.kind() == ErrorKind::ConnectionReset => {
            record.refused(ResponseFlag::UpstreamRemoteReset, "upstream_reset");
            downstream.turn_away();
        }
        End::Upstream(error) => {
            record.details = Some("upstream_reset");
            record.failure = Some(error.to_string());
        }
    }
    // Filters may have kept something at the first bytes.
    record.look_again(downstream);
    if let Some(series) = &series {
        series.closed();
    }
}

/// Ends a relay when its instance fails.
async fn unless_failed(relaying: impl Future<Output = End>, failing: Option<Failing>) -> End {
    let Some(failing) = failing else { return relaying.await };
    tokio::select! {
        biased;
        end = relaying => end,
        () = failing.failed() => End::Failed,
    }
}

/// What a filter chose, or what is written.
fn idle_timeout(service: &TcpService, info: &ConnectionInfo) -> Option<Duration> {
    let own = info.metadata.state(IDLE_STATE).and_then(|text| text.parse().ok());
    match own {
        Some(0) => None,
        Some(millis) => Some(Duration::from_millis(millis)),
        None => service.config.idle_timeout,
    }
}
