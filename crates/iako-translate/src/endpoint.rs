//! The instances behind each cluster: who is ready, where they are, which transport they get.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    num::NonZeroU32,
};

use iako_proxy_config::{
    Discovery, Endpoint as PlannedEndpoint, EndpointAddress, EndpointMetadata, EndpointSet,
    HealthStatus, LocalityEndpoints, WorkloadLabel,
};
use iako_registry::ServiceResolution;
use iako_registry::{Endpoint, Workload, select};
use iako_resources::{
    istio::{
        destination_rule::{LocalityDistribution, LocalityLoadBalancer},
        peer_authentication::MutualTlsMode,
        service_entry::EndpointAddress as SourceAddress,
    },
    selects,
};
use iako_types::Locality;

use crate::{
    Plan,
    cluster::{TLS_MODE_ISTIO, TLS_MODE_KEY, Target, targets},
    outlook::Outlook,
};

/// The label of an instance that is going away. Source: Istio `istio.io/draining`.
const DRAINING_LABEL: &str = "istio.io/draining";

/// Adds the instances of every cluster that gets them by name.
pub(crate) fn add_endpoints(outlook: &Outlook<'_>, plan: &mut Plan) {
    let by_name: BTreeSet<&str> = plan
        .clusters
        .iter()
        .filter_map(|cluster| match &cluster.discovery {
            Discovery::Eds(name) => Some(name.name()),
            Discovery::Static(_)
            | Discovery::StrictDns(_)
            | Discovery::LogicalDns(_)
            | Discovery::OriginalDst { .. }
            | Discovery::Aggregate(_)
            | Discovery::DynamicForward(_) => None,
        })
        .collect();
    let wanted = targets(outlook).filter(|target| by_name.contains(target.cluster_name().as_str()));
    let sets: Vec<EndpointSet> = wanted.map(|target| of_target(outlook, &target)).collect();
    plan.endpoints.extend(sets);
}

/// The instances of one cluster, by place; those that are not ready are left out.
pub(crate) fn of_target(outlook: &Outlook<'_>, target: &Target<'_>) -> EndpointSet {
    let chosen = target.service.endpoints(target.port.number).iter().filter(|endpoint| {
        endpoint.ready
            && target.subset.is_none_or(|subset| selects(&subset.labels, &endpoint.labels))
    });
    let mut groups: BTreeMap<(u32, Locality), Vec<PlannedEndpoint>> = BTreeMap::new();
    for endpoint in chosen {
        let priority = priority(outlook, target, endpoint);
        let group = groups.entry((priority, endpoint.locality.clone())).or_default();
        group.push(planned(outlook, endpoint));
    }
    if groups.is_empty() {
        groups.extend(by_own_name(target).map(|own| ((0, Locality::default()), vec![own])));
    }
    let mut localities = Vec::new();
    let mut priorities: Vec<u32> = groups.keys().map(|(priority, _)| *priority).collect();
    priorities.dedup();
    let distribution = distribution(outlook, target);
    for ((priority, locality), mut endpoints) in groups {
        endpoints.sort_by_key(|endpoint| address_key(&endpoint.address));
        let weight = match distribution {
            Some(shares) => match share(shares, &locality) {
                // A place that the distribution does not name gets nothing.
                None => continue,
                some => some,
            },
            None => None,
        };
        let place = priorities.iter().position(|&other| other == priority).unwrap_or_default();
        let priority = u32::try_from(place).unwrap_or(u32::MAX);
        localities.push(LocalityEndpoints { locality, priority, weight, endpoints });
    }
    EndpointSet::new(target.cluster_name(), localities)
}

fn address_key(address: &EndpointAddress) -> (Option<SocketAddr>, String) {
    match address {
        EndpointAddress::Socket(address) => (Some(*address), String::new()),
        EndpointAddress::Host { name, port } => (None, format!("{name}:{port}")),
        EndpointAddress::Pipe(path) => (None, path.display().to_string()),
        EndpointAddress::Internal { listener, id } => (None, format!("envoy://{listener}/{id}")),
    }
}

/// A service that is found by DNS and lists no instances is its own instance.
fn by_own_name(target: &Target<'_>) -> Option<PlannedEndpoint> {
    let by_dns = matches!(
        target.service.resolution,
        ServiceResolution::Passthrough | ServiceResolution::Dns | ServiceResolution::DnsRoundRobin
    );
    let host = target.service.hostname().filter(|_| by_dns)?;
    let port = match target.port.target {
        iako_resources::kubernetes::service::TargetPort::Number(number) => number,
        iako_resources::kubernetes::service::TargetPort::Name(_) => target.port.number,
    };
    let address = match host.as_str().parse() {
        Ok(ip) => EndpointAddress::Socket(SocketAddr::new(ip, port)),
        Err(_not_an_address) => EndpointAddress::Host { name: host.to_string(), port },
    };
    Some(PlannedEndpoint {
        check: iako_proxy_config::EndpointCheck::default(),
        address,
        additional_addresses: Vec::new(),
        hostname: host.to_string(),
        health: HealthStatus::Unknown,
        weight: NonZeroU32::MIN,
        metadata: EndpointMetadata::default(),
    })
}

fn planned(outlook: &Outlook<'_>, endpoint: &Endpoint) -> PlannedEndpoint {
    let (address, hostname) = match &endpoint.address {
        SourceAddress::Ip(ip) => {
            (EndpointAddress::Socket(SocketAddr::new(*ip, endpoint.port)), String::new())
        }
        SourceAddress::Host(host) => {
            let name = host.to_string();
            (EndpointAddress::Host { name: name.clone(), port: endpoint.port }, name)
        }
        SourceAddress::Socket(path) => (EndpointAddress::Pipe(path.into()), String::new()),
        // Entries that only their network's gateway reaches wait; nobody answers to this name.
        SourceAddress::Network(network) => {
            (EndpointAddress::Host { name: network.clone(), port: endpoint.port }, String::new())
        }
    };
    let mut transport_match = BTreeMap::new();
    if speaks_mutual_tls(outlook, endpoint) {
        transport_match.insert(TLS_MODE_KEY.to_owned(), TLS_MODE_ISTIO.to_owned());
    }
    let draining = endpoint.labels.contains_key(DRAINING_LABEL);
    PlannedEndpoint {
        check: iako_proxy_config::EndpointCheck::default(),
        address,
        additional_addresses: Vec::new(),
        hostname,
        health: if draining { HealthStatus::Draining } else { HealthStatus::Healthy },
        weight: NonZeroU32::new(endpoint.weight).unwrap_or(NonZeroU32::MIN),
        metadata: EndpointMetadata {
            transport_match,
            workload: endpoint.workload.as_deref().map(workload_label),
            ..EndpointMetadata::default()
        },
    }
}

/// Whether clients use the mesh's mutual TLS towards an endpoint by themselves: its proxy says that
/// it can, and no PeerAuthentication forbids it on this port.
fn speaks_mutual_tls(outlook: &Outlook<'_>, endpoint: &Endpoint) -> bool {
    let forbidden = endpoint.workload.as_deref().is_some_and(|workload| {
        let accepted = select::peer_authentication(outlook.snapshot, workload.into());
        accepted.of_port(endpoint.port) == MutualTlsMode::Disable
    });
    endpoint.mutual_tls && !forbidden
}

fn workload_label(workload: &Workload) -> WorkloadLabel {
    WorkloadLabel {
        workload: workload.owner.name.clone(),
        namespace: workload.namespace.to_string(),
        canonical_name: workload.canonical_name.clone(),
        canonical_revision: workload.canonical_revision.clone(),
        cluster: "Kubernetes".to_owned(),
    }
}

/// How far an endpoint is, 0 the nearest. Places count only where failing endpoints are noticed.
fn priority(outlook: &Outlook<'_>, target: &Target<'_>, endpoint: &Endpoint) -> u32 {
    let here = &outlook.scope.locality;
    let setting = locality_setting(target);
    let default = outlook.mesh().locality_lb_enabled;
    let enabled = setting.and_then(|setting| setting.enabled).unwrap_or(default);
    let spread = setting.is_some_and(|setting| !setting.distribute.is_empty());
    if !enabled || spread || target.policy.outlier_detection.is_none() {
        return 0;
    }
    let labels = setting.map_or(&[][..], |setting| &setting.failover_priority);
    if !labels.is_empty() {
        return label_distance(outlook, labels, endpoint);
    }
    if here.is_empty() {
        return 0;
    }
    let there = &endpoint.locality;
    if there.region != here.region {
        let failover = setting.map_or(&[][..], |setting| &setting.failover);
        let named = failover.iter().find(|(from, _)| *from == here.region);
        return match named {
            Some((_, to)) if *to != there.region => 4,
            Some(_) | None => 3,
        };
    }
    if there.zone != here.zone { 2 } else { u32::from(there.sub_zone != here.sub_zone) }
}

fn label_distance(outlook: &Outlook<'_>, labels: &[String], endpoint: &Endpoint) -> u32 {
    let agrees = |label: &&String| match label.split_once('=') {
        Some((key, value)) => endpoint.labels.get(key).is_some_and(|found| found == value),
        None => {
            let own = outlook.scope.labels.get(label.as_str());
            own.is_some() && own == endpoint.labels.get(label.as_str())
        }
    };
    let agreeing = labels.iter().take_while(agrees).count();
    u32::try_from(labels.len().saturating_sub(agreeing)).unwrap_or(u32::MAX)
}

fn locality_setting<'a>(target: &Target<'a>) -> Option<&'a LocalityLoadBalancer> {
    target.policy.load_balancer.and_then(|lb| lb.locality.as_ref())
}

/// The shares of places that the user gave for traffic that starts here.
pub(crate) fn distribution<'a>(
    outlook: &Outlook<'_>,
    target: &Target<'a>,
) -> Option<&'a LocalityDistribution> {
    let setting = locality_setting(target)?;
    if setting.enabled == Some(false) {
        return None;
    }
    setting.distribute.iter().find(|shares| covers(&shares.from, &outlook.scope.locality))
}

fn share(shares: &LocalityDistribution, locality: &Locality) -> Option<NonZeroU32> {
    let (_, weight) = shares.to.iter().find(|(to, _)| covers(to, locality))?;
    NonZeroU32::new(*weight)
}

/// Whether a place written with `*`, or with its narrow parts left out, takes another.
fn covers(wide: &Locality, narrow: &Locality) -> bool {
    let part = |wide: &str, narrow: &str| match wide.strip_suffix('*') {
        Some(start) => narrow.starts_with(start),
        None => wide.is_empty() || wide == narrow,
    };
    part(&wide.region, &narrow.region)
        && part(&wide.zone, &narrow.zone)
        && part(&wide.sub_zone, &narrow.sub_zone)
}
