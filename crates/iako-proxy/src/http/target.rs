//! Endpoints that are not listed: where the client meant to go, and hosts that requests name.

use std::net::SocketAddr;
use std::sync::Arc;

use iako_proxy_config::{Discovery, Endpoint, HeaderName, MetadataPath};
use iako_traffic::{Capacity, EndpointState, Headers as _, OriginalName, member, original_name};

use super::attempt::TryFailure;
use super::downstream::Downstream;
use super::exchange::Exchange;
use super::failure::Failure;
use super::forward::Plan;
use crate::dns::Unresolved;
use crate::snapshot::{ProxySnapshot, UpstreamCluster};

/// An endpoint that is made for one request, and its live numbers.
pub(super) type Unlisted = (Box<Endpoint>, Arc<EndpointState>);

/// The cluster that takes a request: itself, or one of those that it stands for. None when it stands
/// for clusters without any instance.
pub(crate) fn member_of<'s>(
    cluster: &'s Arc<UpstreamCluster>,
    snapshot: &'s ProxySnapshot,
    now: std::time::Instant,
    draw: u64,
) -> Option<&'s Arc<UpstreamCluster>> {
    if !cluster.is_aggregate() {
        return Some(cluster);
    }
    choose_member(cluster, snapshot, |member, _| capacity_of(member, now, &[]), draw)
        .map(|(_, member)| member)
}

/// The clusters that one stands for, as far as they exist.
pub(super) fn members<'s>(
    cluster: &'s UpstreamCluster,
    snapshot: &'s ProxySnapshot,
) -> impl Iterator<Item = &'s Arc<UpstreamCluster>> + Clone {
    let names = match &cluster.config.discovery {
        Discovery::Aggregate(names) => names.as_slice(),
        Discovery::Static(_)
        | Discovery::Eds(_)
        | Discovery::StrictDns(_)
        | Discovery::LogicalDns(_)
        | Discovery::OriginalDst { .. }
        | Discovery::DynamicForward(_) => &[],
    };
    names.iter().filter_map(|name| snapshot.cluster(name))
}

/// The member that takes a request, and its place.
pub(super) fn choose_member<'s>(
    cluster: &'s UpstreamCluster,
    snapshot: &'s ProxySnapshot,
    capacity: impl Fn(&UpstreamCluster, usize) -> Capacity,
    draw: u64,
) -> Option<(usize, &'s Arc<UpstreamCluster>)> {
    let members = members(cluster, snapshot);
    let capacity = &capacity;
    let each = members.clone().enumerate().map(|(place, member)| capacity(member, place));
    let place = member(each, draw)?;
    Some((place, members.clone().nth(place)?))
}

/// What a member can take, without the priorities that were tried.
pub(super) fn capacity_of(
    member: &UpstreamCluster,
    now: std::time::Instant,
    tried: &[u32],
) -> Capacity {
    match &member.config.discovery {
        Discovery::LogicalDns(_) | Discovery::OriginalDst { .. } | Discovery::DynamicForward(_)
            if !tried.is_empty() =>
        {
            Capacity::default()
        }
        // Nobody knows what it can take; whoever names it means to use it.
        Discovery::LogicalDns(_) | Discovery::OriginalDst { .. } | Discovery::DynamicForward(_) => {
            Capacity { healthy: 100, degraded: 0, instances: 1 }
        }
        Discovery::Static(_) | Discovery::Eds(_) | Discovery::StrictDns(_) => {
            member.balancer().capacity(now, tried)
        }
        // As in Envoy, an aggregate cluster in another one takes nothing.
        Discovery::Aggregate(_) => Capacity::default(),
    }
}

impl Exchange<'_> {
    /// What names the server for TLS: the host, unless the cluster says that a header does.
    pub(super) fn server_name(&self, plan: &Plan<'_>) -> String {
        let named = plan.cluster.config.http.server_name_header.as_ref().and_then(|name| {
            let view = self.request.view();
            let value = std::str::from_utf8(view.value(name.as_str(), 0)?).ok()?;
            (!value.is_empty()).then(|| value.to_owned())
        });
        named.unwrap_or_else(|| self.request.authority().to_owned())
    }

    /// The address that the client meant to reach, or that a header of the request names.
    pub(super) fn original_target(
        &self,
        plan: &Plan<'_>,
        port: Option<u16>,
        (header, metadata): (Option<&HeaderName>, Option<&MetadataPath>),
    ) -> Option<Unlisted> {
        let invalid = &plan.cluster.stats.original_dst_host_invalid;
        let facts = [&self.request.metadata, &self.connection.info.metadata];
        let told = match original_name(&facts, metadata) {
            OriginalName::At(address) => Some(address),
            OriginalName::Absent => None,
            OriginalName::Invalid => {
                invalid.inc();
                None
            }
        };
        let by_header = |name: &HeaderName| {
            let view = self.request.view();
            let value = std::str::from_utf8(view.value(name.as_str(), 0)?).unwrap_or_default();
            value.trim().parse::<SocketAddr>().inspect_err(|_| invalid.inc()).ok()
        };
        let named = told.or_else(|| header.and_then(by_header));
        let mut address = named.unwrap_or(self.connection.info.original_destination);
        if let Some(port) = port {
            address.set_port(port);
        }
        // A connection that was made to this listener itself: to connect there again would never end.
        if address == self.connection.info.local {
            return None;
        }
        Some(self.unlisted(plan, Endpoint::at(address), address))
    }

    /// The host that the request names, or an object beside it; waits for its addresses.
    pub(super) async fn named_target(
        &mut self,
        plan: &Plan<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Unlisted, TryFailure> {
        let refused = |failure| Err(TryFailure::Final(failure));
        let usual = plan.cluster.usual_port();
        let (host, port) = self.state_host(usual).unwrap_or_else(|| {
            let (host, port) = host_and_port(self.request.authority(), usual);
            (host.to_owned(), port)
        });
        let resolved = self.resolve_host(&plan.cluster, (&host, port), downstream).await;
        let addresses = match resolved {
            Err(failure) => return refused(failure),
            Ok(Err(why)) => return refused(Failure::NoAddress(why)),
            Ok(Ok(addresses)) => addresses,
        };
        let Some((first, others)) = addresses.split_first() else {
            return refused(Failure::NoAddress(Unresolved::Failed));
        };
        let endpoint = Endpoint {
            additional_addresses: others.to_vec(),
            hostname: host,
            ..Endpoint::at(*first)
        };
        Ok(self.unlisted(plan, endpoint, *first))
    }

    fn unlisted(&self, plan: &Plan<'_>, endpoint: Endpoint, address: SocketAddr) -> Unlisted {
        let originals = &self.connection.worker.originals;
        let state = originals.state(&plan.cluster, address, self.now);
        (Box::new(endpoint), state)
    }
}

/// The parts of a host, with the port of the protocol where it names none.
pub(super) fn host_and_port(authority: &str, default: u16) -> (&str, u16) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            port.parse().map_or((authority, default), |port| (host, port))
        }
        Some(_) | None => (authority, default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_has_that_of_its_protocol() {
        let cases = [
            ("a.test", ("a.test", 80)),
            ("a.test:8080", ("a.test", 8080)),
            ("[::1]:9", ("[::1]", 9)),
            ("[::1]", ("[::1]", 80)),
            ("::1", ("::1", 80)),
        ];
        for (authority, expected) in cases {
            assert_eq!(host_and_port(authority, 80), expected, "{authority}");
        }
        assert_eq!(host_and_port("a.test", 443), ("a.test", 443));
    }
}
