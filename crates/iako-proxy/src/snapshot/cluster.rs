//! Clusters, compiled: what is configured, what is live, and how bytes get there.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};
use std::time::Duration;

use arc_swap::ArcSwap;
use iako_proxy_config::{
    Cluster, Discovery, Endpoint, EndpointSet, LocalityBalancing, ProxyProtocolHeader,
    RoutePriority, SourcedName, Thresholds, TransportMatch, UpstreamTransport,
};
use iako_rt::{Rng, clock};
use iako_telemetry::{ServiceLabels, StatsRegistry};
use iako_traffic::{
    Balancer, ClusterState, EndpointState, Neighbourhood, PickNotes, Setting, Wants,
};
use iako_types::Percent;

use tokio::sync::watch;

use super::{
    ClusterStats, ConnectionEnds, LbStats, RequestOrigin, ResponseStats,
    health::{CheckStats, Noticeboard, OutlierStats},
    stats::BreakerStats,
};
use crate::{
    dns::{ForwardCache, Resolver},
    health::HealthLogs,
    http::filters::{authz::AuthzStats, global_limit::LimitStats},
    http2::Http2Stats,
    shared::Shared,
    transport::client::ClientTlsSlot,
};

/// A cluster, compiled. A changed cluster is a new value with a new `id`; changed endpoints are not.
#[derive(Debug)]
pub(crate) struct UpstreamCluster {
    /// Tells versions of a cluster apart; never used twice. Connections of a pool belong to one.
    pub(crate) id: u64,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// As it was sent.
    pub(crate) config: Arc<Cluster>,
    /// The service that it stands for, for metrics.
    pub(crate) service: ServiceLabels,
    /// Its statistics.
    pub(crate) stats: ClusterStats,
    /// What was answered in its name, the same over all versions of the cluster.
    pub(crate) responses: Arc<ResponseStats>,
    /// Tells connections without HTTP that an instance has failed, where they end with it.
    failures: Option<watch::Sender<()>>,
    /// How its connections ended: most clusters of a large mesh never have one.
    ends: OnceLock<ConnectionEnds>,
    /// Its live numbers, the same over all versions of the cluster.
    pub(crate) state: Arc<ClusterState>,
    /// What its balancer wants to hear of responses.
    pub(crate) wants: Wants,
    /// Counts of what leads to choices, where there is anything to choose but instances.
    pub(crate) lb: Box<LbStats>,
    neighbourhood: Arc<Neighbourhood>,
    /// Whether this proxy is a part of it.
    is_local: bool,
    /// Of its HTTP/2 connections: most clusters of a large mesh never have one.
    http2: OnceLock<Http2Stats>,
    /// Statistics of active checks, where there are any.
    pub(crate) check_stats: Option<CheckStats>,
    /// Statistics of outlier detection, where outliers are looked for.
    pub(super) outlier_stats: Option<OutlierStats>,
    /// What authorization services said of its requests, by the prefix of the filter's statistics.
    authz: ByPrefix<AuthzStats>,
    /// The same of services that count requests.
    counted: ByPrefix<LimitStats>,
    /// The names that requests bring, where it forwards to them.
    pub(crate) forward: Option<Arc<ForwardCache>>,
    /// Where events about the health of its instances are written.
    pub(crate) logs: HealthLogs,
    pub(super) board: Noticeboard,
    balancer: ArcSwap<Balancer>,
    transport: ClusterTransport,
    matches: Vec<ClusterTransport>,
    sends_hosts: bool,
    tells_clients: bool,
    /// Requests that are refused because the control plane says so, in millionths of all.
    dropped: AtomicU32,
    /// How many were refused for that reason.
    dropped_count: AtomicU64,
    /// What is full, for routes of default and of high priority.
    breakers: [BreakerStats; 2],
}

/// Hears when an instance fails.
#[derive(Debug)]
pub(crate) struct Failing {
    failures: watch::Receiver<()>,
    state: Arc<EndpointState>,
    /// That of the instance when the connection was made.
    generation: u32,
}

impl Failing {
    /// Waits until the instance fails.
    pub(crate) async fn failed(mut self) {
        while self.state.generation() == self.generation {
            if self.failures.changed().await.is_err() {
                // The cluster is gone: nobody looks after its instances any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Statistics by the prefix that a filter gives them.
type ByPrefix<T> = ArcSwap<Vec<(Box<str>, Arc<T>)>>;

/// How bytes get to endpoints.
#[derive(Debug, Clone)]
pub(crate) enum ClusterTransport {
    /// As they are.
    Raw,
    /// Through TLS.
    Tls(Arc<ClientTlsSlot>),
}

impl ClusterTransport {
    fn new(transport: &UpstreamTransport) -> Self {
        match transport {
            UpstreamTransport::Raw => Self::Raw,
            UpstreamTransport::Tls(tls) => Self::Tls(Arc::new(ClientTlsSlot::new((**tls).clone()))),
        }
    }

    /// Whether the host of a request becomes the server name.
    fn sends_hosts(&self) -> bool {
        matches!(self, Self::Tls(slot) if slot.settings().auto_sni)
    }

    /// Whether bytes are encrypted.
    #[must_use]
    pub(crate) const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl UpstreamCluster {
    /// Compiles a cluster; its TLS settings are not built yet.
    ///
    /// `state` is that of the version before, if there was one.
    pub(crate) fn new(
        id: u64,
        config: Arc<Cluster>,
        shared: &Shared,
        state: Option<Arc<ClusterState>>,
        logs: HealthLogs,
    ) -> Self {
        let state =
            state.unwrap_or_else(|| ClusterState::for_workers(shared.concurrency, clock::now()));
        let nobody = Arc::new(EndpointSet::new(config.name.clone(), Vec::new()));
        let neighbourhood = Arc::clone(&shared.neighbourhood);
        let setting = Setting { neighbourhood, seed: 0, now: clock::now() };
        let balancer =
            Balancer::new(Arc::clone(&config), nobody, Arc::clone(&state), setting.clone());
        let service = config.metadata.services.first().map_or_else(
            || ServiceLabels::from_host(host_in_name(&config.name)),
            |service| ServiceLabels::new(&service.host, &service.name, &service.namespace),
        );
        let scope = shared.stats.cluster(config.stat_name());
        let transport = ClusterTransport::new(&config.transport);
        let matches: Vec<ClusterTransport> = config
            .transport_matches
            .iter()
            .map(|one| ClusterTransport::new(&one.transport))
            .collect();
        let sends_hosts = matches.iter().chain([&transport]).any(ClusterTransport::sends_hosts);
        let headers = config.transport_matches.iter().map(|one| &one.proxy_protocol);
        let tells_clients = headers.chain([&config.proxy_protocol]).any(|header| header.is_some());
        let breakers = [
            ("default", &config.circuit_breakers.default),
            ("high", &config.circuit_breakers.high),
        ]
        .map(|(priority, limits)| {
            BreakerStats::new(&shared.stats, config.stat_name(), priority, limits)
        });
        Self {
            sends_hosts,
            tells_clients,
            dropped: AtomicU32::new(0),
            dropped_count: AtomicU64::new(0),
            breakers,
            id,
            name: config.name.as_str().into(),
            service,
            stats: ClusterStats::new(&shared.stats, config.stat_name()),
            responses: Arc::new(ResponseStats::new(scope.clone())),
            failures: config.connecting.close_on_failure.then(|| watch::Sender::new(())),
            ends: OnceLock::new(),
            check_stats: config.health_check.as_ref().map(|_| CheckStats::of(&scope)),
            outlier_stats: config.outlier_detection.as_ref().map(|_| OutlierStats::new(&scope)),
            authz: ArcSwap::default(),
            counted: ArcSwap::default(),
            forward: None,
            logs,
            board: Noticeboard::default(),
            state,
            wants: balancer.wants(),
            lb: Box::new(LbStats::new(&shared.stats, config.stat_name())),
            neighbourhood: setting.neighbourhood,
            is_local: config.name == shared.local_cluster,
            http2: OnceLock::new(),
            balancer: ArcSwap::from_pointee(balancer),
            transport,
            matches,
            config,
        }
    }

    /// The same, which goes on counting what the version before it has counted.
    pub(crate) fn continuing(mut self, before: Option<&Self>) -> Self {
        if let Some(before) =
            before.filter(|before| before.config.stat_name() == self.config.stat_name())
        {
            self.responses = Arc::clone(&before.responses);
        }
        self
    }

    /// How its connections ended, which begins to be shown with the first of them.
    pub(crate) fn ends(&self, stats: &StatsRegistry) -> &ConnectionEnds {
        self.ends.get_or_init(|| ConnectionEnds::of(&stats.cluster(self.config.stat_name())))
    }

    /// The same; none before the first connection.
    pub(crate) fn known_ends(&self) -> Option<&ConnectionEnds> {
        self.ends.get()
    }

    /// Counts a response that a client is given in its name; `internal` clients are told apart.
    pub(crate) fn count_response(&self, status: u16, origin: RequestOrigin) {
        self.responses.count(status, origin);
    }

    /// Notes the time from the end of a request to that of its answer.
    pub(crate) fn note_time(&self, took: Duration) {
        self.responses.took(took);
    }

    /// Statistics of its HTTP/2 connections, which begin to be shown with the first of them.
    pub(crate) fn http2_stats(&self, stats: &StatsRegistry) -> &Http2Stats {
        self.http2
            .get_or_init(|| Http2Stats::new(&stats.cluster(self.config.stat_name()).part("http2")))
    }

    /// Counts of what authorization services said of its requests; those of a prefix begin to be shown
    /// with the first of them. Prefixes are as many as configuration names.
    pub(crate) fn authz_stats(&self, stats: &StatsRegistry, prefix: &str) -> Arc<AuthzStats> {
        let known = self.authz.load();
        if let Some((_, known)) = known.iter().find(|(own, _)| **own == *prefix) {
            return Arc::clone(known);
        }
        let own = Arc::new(AuthzStats::new(&stats.cluster(self.config.stat_name()), prefix));
        self.authz.rcu(|known| {
            let mut all = Vec::clone(known);
            all.push((prefix.into(), Arc::clone(&own)));
            all
        });
        own
    }

    /// The same of services that count requests.
    pub(crate) fn limit_stats(&self, stats: &StatsRegistry, prefix: &str) -> Arc<LimitStats> {
        let known = self.counted.load();
        if let Some((_, known)) = known.iter().find(|(own, _)| **own == *prefix) {
            return Arc::clone(known);
        }
        let own = Arc::new(LimitStats::new(&stats.cluster(self.config.stat_name()), prefix));
        self.counted.rcu(|known| {
            let mut all = Vec::clone(known);
            all.push((prefix.into(), Arc::clone(&own)));
            all
        });
        own
    }

    /// The same, which resolves the hosts that requests name where that is what it is for.
    pub(crate) fn with_resolver(mut self, resolver: &Resolver, stats: &StatsRegistry) -> Self {
        if let Discovery::DynamicForward(cache) = &self.config.discovery {
            let (cache, dns) = (cache.clone(), self.config.dns.clone());
            self.forward = Some(ForwardCache::new(cache, dns, resolver.clone(), stats));
        }
        self
    }

    /// The instances of this moment, ready for choosing. A retry may load them again.
    #[must_use]
    pub(crate) fn balancer(&self) -> Arc<Balancer> {
        self.balancer.load_full()
    }

    pub(super) fn publish_endpoints(&self, endpoints: &Arc<EndpointSet>) {
        if self.is_local {
            self.neighbourhood.set_peers(endpoints);
        }
        let seed = Rng::from_system().next_u64();
        let balancer = Balancer::new(
            Arc::clone(&self.config),
            Arc::clone(endpoints),
            Arc::clone(&self.state),
            Setting { neighbourhood: Arc::clone(&self.neighbourhood), seed, now: clock::now() },
        );
        let dropped = endpoints.drop.as_ref().map_or(0, |drop| drop.share.parts_per_million());
        self.dropped.store(dropped, Relaxed);
        self.balancer.store(Arc::new(balancer));
    }

    /// Which share of requests is refused because the control plane says so, in millionths.
    /// Source: `ClusterLoadAssignment.Policy.drop_overloads`.
    pub(crate) fn dropped(&self) -> u32 {
        self.dropped.load(Relaxed)
    }

    /// Counts a request that is refused for this reason.
    pub(crate) fn count_dropped(&self) {
        self.dropped_count.fetch_add(1, Relaxed);
    }

    /// How many requests were refused for this reason by this version of the cluster.
    pub(crate) fn dropped_count(&self) -> u64 {
        self.dropped_count.load(Relaxed)
    }

    /// Counts what led to a choice.
    pub(crate) fn note_pick(&self, notes: PickNotes) {
        if !notes.is_none() {
            self.lb.count(notes);
        }
    }

    /// Counts that nobody was chosen: where there is nobody at all, that is a panic, too.
    pub(crate) fn note_nobody(&self, balancer: &Balancer) {
        let fails = matches!(
            self.config.localities,
            LocalityBalancing::ZoneAware(zones) if zones.fail_on_panic
        );
        let panics = self.config.panic_threshold > Percent::ZERO;
        if panics && (fails || balancer.endpoints().is_empty()) {
            self.lb.healthy_panic.inc();
        }
    }

    /// Whether it stands for other clusters.
    #[must_use]
    pub(crate) fn is_aggregate(&self) -> bool {
        matches!(self.config.discovery, Discovery::Aggregate(_))
    }

    /// An instance has failed.
    pub(super) fn tell_failure(&self) {
        if let Some(failures) = &self.failures {
            failures.send_replace(());
        }
    }

    /// What a connection without HTTP to an instance listens to; none where it outlives the instance's
    /// health. Source: `close_connections_on_host_health_failure`.
    pub(crate) fn failing(&self, state: &Arc<EndpointState>) -> Option<Failing> {
        let failures = self.failures.as_ref()?.subscribe();
        Some(Failing { failures, generation: state.generation(), state: Arc::clone(state) })
    }

    /// The port of a host that names none.
    #[must_use]
    pub(crate) const fn usual_port(&self) -> u16 {
        if self.transport.is_tls() { 443 } else { 80 }
    }

    /// Shows which circuit breakers are full.
    pub(crate) fn show_breakers(&self, now: std::time::Instant) {
        for (priority, stats) in
            [RoutePriority::Default, RoutePriority::High].into_iter().zip(&self.breakers)
        {
            stats.show(self.state.breakers(priority), self.limits(priority), now);
        }
    }

    /// What may be open at once, for routes of this priority.
    #[must_use]
    pub(crate) fn limits(&self, priority: RoutePriority) -> &Thresholds {
        let breakers = &self.config.circuit_breakers;
        match priority {
            RoutePriority::Default => &breakers.default,
            RoutePriority::High => &breakers.high,
        }
    }

    /// How many connections to one instance may be open at once, for routes of this priority.
    #[must_use]
    pub(crate) fn host_connections_max(&self, priority: RoutePriority) -> u32 {
        let breakers = &self.config.circuit_breakers;
        let max = match priority {
            RoutePriority::Default => breakers.host_connections_max,
            RoutePriority::High => breakers.high_host_connections_max,
        };
        max.unwrap_or(u32::MAX)
    }

    /// Under which name its instances are asked for; none when they come otherwise.
    #[must_use]
    pub(crate) fn eds_name(&self) -> Option<&SourcedName> {
        match &self.config.discovery {
            Discovery::Eds(name) => Some(name),
            Discovery::Static(_)
            | Discovery::StrictDns(_)
            | Discovery::LogicalDns(_)
            | Discovery::OriginalDst { .. }
            | Discovery::Aggregate(_)
            | Discovery::DynamicForward(_) => None,
        }
    }

    /// How bytes get to this endpoint: the first match whose criteria its metadata meets, else the
    /// cluster's own transport. Source: `Cluster.transport_socket_matches`.
    #[must_use]
    pub(crate) fn transport_for(&self, endpoint: &Endpoint) -> &ClusterTransport {
        let fitting = self.fitting_match(endpoint);
        fitting.and_then(|place| self.matches.get(place)).unwrap_or(&self.transport)
    }

    /// A number that tells the transports of the cluster apart.
    #[must_use]
    pub(crate) fn transport_number(&self, endpoint: &Endpoint) -> u64 {
        self.fitting_match(endpoint).map_or(0, |place| place as u64 + 1)
    }

    fn fitting_match(&self, endpoint: &Endpoint) -> Option<usize> {
        let facts = &endpoint.metadata.transport_match;
        let fits = |rule: &TransportMatch| {
            rule.criteria.iter().all(|(key, value)| facts.get(key) == Some(value))
        };
        self.config.transport_matches.iter().position(fits)
    }

    /// Whether connections differ by the host of the request that they are opened for.
    #[must_use]
    pub(crate) const fn sends_hosts(&self) -> bool {
        self.sends_hosts
    }

    /// Whether connections differ by the client that they are made for, because its servers are told.
    #[must_use]
    pub(crate) const fn tells_clients(&self) -> bool {
        self.tells_clients
    }

    /// What tells an endpoint who its client is.
    #[must_use]
    pub(crate) fn proxy_header_for(&self, endpoint: &Endpoint) -> Option<&ProxyProtocolHeader> {
        if !self.tells_clients {
            return None;
        }
        let fitting = self.fitting_match(endpoint);
        let fitting = fitting.and_then(|place| self.config.transport_matches.get(place));
        match fitting {
            Some(fitting) => fitting.proxy_protocol.as_deref(),
            None => self.config.proxy_protocol.as_deref(),
        }
    }

    /// Every TLS setting of the cluster.
    pub(crate) fn tls_slots(&self) -> impl Iterator<Item = &Arc<ClientTlsSlot>> {
        std::iter::once(&self.transport).chain(&self.matches).filter_map(
            |transport| match transport {
                ClusterTransport::Tls(slot) => Some(slot),
                ClusterTransport::Raw => None,
            },
        )
    }
}

/// The host in a cluster name of Istio's form `outbound|8080|v1|cart.shop.svc.cluster.local`; empty
/// for other names.
fn host_in_name(name: &str) -> &str {
    match name.split('|').collect::<Vec<_>>().as_slice() {
        [_, _, _, host] => host,
        _ => "",
    }
}
