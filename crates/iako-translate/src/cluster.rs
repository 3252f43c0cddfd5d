//! Clusters of the services that a proxy may use: one for each port and each subset.

mod limits;
mod tls;

use std::{num::NonZeroU64, time::Duration};

use iako_proxy_config::{
    Cluster, ClusterHttp, ClusterMetadata, ConsistentHashing, Discovery, DnsFamily, DnsOptions,
    EndpointSet, HashFunction, HttpProtocol, LbPolicy, LeastRequest, LocalityBalancing,
    MaglevTable, RingHash, ServiceReference, SlowStart,
};
use iako_registry::{Service, ServicePort, ServiceResolution};
use iako_resources::{
    Code, DestinationRule, Diagnostic, Kind, Object,
    istio::destination_rule::{
        EffectivePolicy, H2Upgrade, HashTable, LoadBalancerAlgorithm, Subset, Warmup,
    },
};
use iako_types::{AppProtocol, Percent};

pub(crate) use limits::{apply_pool, non_zero, unlimited};
pub(crate) use tls::{TLS_MODE_ISTIO, TLS_MODE_KEY};

use crate::{
    Interception, Plan, ProxyRole, endpoint,
    names::{
        BLACK_HOLE_CLUSTER, INBOUND_PASSTHROUGH_CLUSTER, PASSTHROUGH_CLUSTER, outbound_cluster,
    },
    origin::rule_origin,
    outlook::Outlook,
};

/// Entries of a ring unless the user says otherwise. Source: Istio `minimumRingSize`.
const RING_SIZE_MIN: u64 = 1024;
/// Most entries of a ring. Source: Envoy `maximum_ring_size`.
const RING_SIZE_MAX: u64 = 8 << 20;
/// Entries of a Maglev table. Source: Envoy `table_size`.
const MAGLEV_TABLE: u64 = 65_537;
/// Istio's rate of DNS lookups where the record says nothing.
const DNS_REFRESH: Duration = Duration::from_secs(60);

/// A port of a service, or of a subset of it, as one client reaches it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) service: &'a Service,
    pub(crate) port: &'a ServicePort,
    pub(crate) rule: Option<&'a Object<DestinationRule>>,
    pub(crate) subset: Option<&'a Subset>,
    pub(crate) policy: EffectivePolicy<'a>,
}

impl Target<'_> {
    pub(crate) fn subset_name(&self) -> &str {
        self.subset.map_or("", |subset| subset.name.as_str())
    }

    pub(crate) fn cluster_name(&self) -> String {
        outbound_cluster(self.port.number, self.subset_name(), &self.service.host.to_string())
    }
}

/// Every target that a proxy may use.
pub(crate) fn targets<'a>(outlook: &'a Outlook<'a>) -> impl Iterator<Item = Target<'a>> {
    let ports = outlook.services.iter().flat_map(|service| {
        let tcp = service.ports.iter().filter(|port| port.protocol != AppProtocol::Udp);
        tcp.map(move |port| (service, port))
    });
    ports.flat_map(move |(service, port)| {
        let rule = outlook.rule(service).map(AsRef::as_ref);
        let subsets = rule.into_iter().flat_map(|rule| rule.spec.subsets.iter().map(Some));
        std::iter::once(None).chain(subsets).map(move |subset| {
            let name = subset.map(|subset| subset.name.as_str());
            let policy = rule.map(|rule| rule.spec.effective(name, port.number));
            Target { service, port, rule, subset, policy: policy.unwrap_or_default() }
        })
    })
}

/// Adds the clusters of every service, and those that are always there.
pub(crate) fn add_clusters(outlook: &Outlook<'_>, plan: &mut Plan) {
    for target in targets(outlook) {
        if let Some(cluster) = build(outlook, &target, plan) {
            plan.clusters.push(cluster);
        }
    }
    let nothing = EndpointSet::new(BLACK_HOLE_CLUSTER, Vec::new());
    plan.clusters.push(Cluster::new(BLACK_HOLE_CLUSTER, Discovery::Static(nothing)));
    if outlook.scope.interception == Interception::Redirect
        && outlook.scope.role == ProxyRole::Sidecar
    {
        plan.clusters.push(passthrough(outlook, PASSTHROUGH_CLUSTER));
        let mut inbound = passthrough(outlook, INBOUND_PASSTHROUGH_CLUSTER);
        inbound.bind_address = Some(crate::inbound::passthrough_source(outlook.scope.address()));
        plan.clusters.push(inbound);
    }
}

fn passthrough(outlook: &Outlook<'_>, name: &str) -> Cluster {
    let mut cluster = Cluster::new(
        name,
        Discovery::OriginalDst { port_override: None, header: None, metadata: None },
    );
    cluster.lb = LbPolicy::ClusterProvided;
    cluster.connect_timeout = outlook.mesh().connect_timeout;
    cluster.circuit_breakers = unlimited();
    cluster.http.protocol = HttpProtocol::Downstream;
    cluster
}

fn build(outlook: &Outlook<'_>, target: &Target<'_>, plan: &mut Plan) -> Option<Cluster> {
    let discovery = discovery(outlook, target, plan)?;
    let original = matches!(discovery, Discovery::OriginalDst { .. });
    let mut cluster = Cluster::new(target.cluster_name(), discovery);
    cluster.connect_timeout = outlook.mesh().connect_timeout;
    cluster.circuit_breakers = unlimited();
    // Instances that are not ready are not sent at all, so that a panic has nobody to turn to.
    cluster.panic_threshold = Percent::ZERO;
    cluster.lb = if original { LbPolicy::ClusterProvided } else { lb_policy(&target.policy) };
    if endpoint::distribution(outlook, target).is_some() {
        cluster.localities = LocalityBalancing::Weighted;
    }
    cluster.http = http(outlook, target);
    cluster.dns = DnsOptions {
        refresh_rate: DNS_REFRESH,
        respect_ttl: true,
        family: DnsFamily::V4Preferred,
        ..DnsOptions::default()
    };
    cluster.metadata = metadata(target);
    if let Some(pool) = target.policy.connection_pool {
        apply_pool(&mut cluster, pool);
    }
    limits::apply_retry_budget(&mut cluster, target.policy.retry_budget);
    if let Some(outlier) = target.policy.outlier_detection {
        limits::apply_outlier(&mut cluster, outlier);
    }
    tls::apply(outlook, target, &mut cluster, plan);
    Some(cluster)
}

fn discovery(outlook: &Outlook<'_>, target: &Target<'_>, plan: &mut Plan) -> Option<Discovery> {
    let captured = outlook.scope.interception == Interception::Redirect
        && outlook.scope.role == ProxyRole::Sidecar;
    let asked_passthrough = matches!(
        target.policy.load_balancer.map(|lb| &lb.algorithm),
        Some(LoadBalancerAlgorithm::Passthrough)
    );
    let original = Discovery::OriginalDst { port_override: None, header: None, metadata: None };
    let name = target.cluster_name();
    let by_name = |plan: &mut Plan| {
        let endpoints = endpoint::of_target(outlook, target);
        if endpoints.endpoints().next().is_none() && target.service.hostname().is_none() {
            plan.diagnostics.push(no_address(target));
            return None;
        }
        Some(endpoints)
    };
    match target.service.resolution {
        ServiceResolution::Endpoints if asked_passthrough && captured => Some(original),
        ServiceResolution::Headless | ServiceResolution::Passthrough if captured => Some(original),
        ServiceResolution::Endpoints | ServiceResolution::Headless => {
            Some(Discovery::Eds(name.into()))
        }
        // Without capture nobody knows the address that the application meant, only the name.
        ServiceResolution::Passthrough | ServiceResolution::Dns => {
            by_name(plan).map(Discovery::StrictDns)
        }
        ServiceResolution::DnsRoundRobin => by_name(plan).map(Discovery::LogicalDns),
    }
}

fn no_address(target: &Target<'_>) -> Diagnostic {
    let service = target.service;
    let subject = format!("{} {}/{}", service_kind(service), service.namespace, service.name);
    let message = format!(
        "the host {} has no address that this proxy could resolve; requests to it are refused",
        service.host
    );
    Diagnostic::new(Code::NoEffect, subject, service.origin.clone(), message)
        .with_help("name the host in full, or give endpoints")
}

/// The kind of the object that defined a service.
pub(crate) const fn service_kind(service: &Service) -> Kind {
    match service.source {
        iako_registry::ServiceSource::Kubernetes => Kind::Service,
        iako_registry::ServiceSource::ServiceEntry => Kind::ServiceEntry,
    }
}

fn lb_policy(policy: &EffectivePolicy<'_>) -> LbPolicy {
    let Some(lb) = policy.load_balancer else {
        return LbPolicy::LeastRequest(LeastRequest::default());
    };
    let slow_start = lb.warmup.and_then(slow_start);
    match &lb.algorithm {
        LoadBalancerAlgorithm::RoundRobin => LbPolicy::RoundRobin(slow_start),
        LoadBalancerAlgorithm::Random => LbPolicy::Random,
        LoadBalancerAlgorithm::ConsistentHash(hash) => hash_table(hash.table),
        LoadBalancerAlgorithm::LeastRequest | LoadBalancerAlgorithm::Passthrough => {
            LbPolicy::LeastRequest(LeastRequest { slow_start, ..LeastRequest::default() })
        }
    }
}

/// How new endpoints begin. Without a duration there is nothing to spread.
fn slow_start(warmup: Warmup) -> Option<SlowStart> {
    let is_meant = !warmup.duration.is_zero() && warmup.aggression > 0.0;
    is_meant.then_some(SlowStart {
        window: warmup.duration,
        aggression: warmup.aggression.into(),
        weight_min: warmup.minimum,
    })
}

fn hash_table(table: HashTable) -> LbPolicy {
    let at_least = |entries: u64, default: u64| {
        NonZeroU64::new(if entries == 0 { default } else { entries }).unwrap_or(NonZeroU64::MIN)
    };
    match table {
        HashTable::Ring { entries_min } => LbPolicy::RingHash(RingHash {
            ring_size_min: at_least(entries_min, RING_SIZE_MIN),
            ring_size_max: at_least(RING_SIZE_MAX, RING_SIZE_MAX),
            function: HashFunction::XxHash,
            hashing: ConsistentHashing::default(),
        }),
        HashTable::Maglev { entries } => LbPolicy::Maglev(MaglevTable {
            table_size: at_least(entries, MAGLEV_TABLE),
            hashing: ConsistentHashing::default(),
        }),
    }
}

fn http(outlook: &Outlook<'_>, target: &Target<'_>) -> ClusterHttp {
    let pool = target.policy.connection_pool;
    let upgraded = pool.is_some_and(|pool| pool.h2_upgrade == H2Upgrade::Yes);
    let as_client = pool.is_some_and(|pool| pool.use_client_protocol)
        || (target.port.protocol == AppProtocol::Unknown
            && outlook.scope.role == ProxyRole::Sidecar);
    let protocol = if target.port.protocol.is_http2() || upgraded {
        HttpProtocol::Http2
    } else if as_client {
        HttpProtocol::Downstream
    } else {
        HttpProtocol::Http1
    };
    ClusterHttp { protocol, ..ClusterHttp::default() }
}

fn metadata(target: &Target<'_>) -> ClusterMetadata {
    let line = target.subset.map_or(0, |subset| subset.line);
    ClusterMetadata {
        services: vec![service_reference(target.service)],
        subset: target.subset_name().to_owned(),
        external: target.service.mesh_external,
        alpn_override: true,
        origin: target.rule.map(|rule| rule_origin(Kind::DestinationRule, rule, line)),
        ..ClusterMetadata::default()
    }
}

/// What telemetry says of a service.
pub(crate) fn service_reference(service: &Service) -> ServiceReference {
    ServiceReference {
        host: service.host.to_string(),
        name: service.name.clone(),
        namespace: service.namespace.to_string(),
    }
}
