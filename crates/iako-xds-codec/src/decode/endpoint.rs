//! Where the instances of a service are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use iako_types::{Locality, Percent};
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::endpoint::v3 as pb;

use super::{health, metadata, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    DropOverload, Endpoint, EndpointAddress, EndpointSet, HealthStatus, LocalityEndpoints,
};

/// Whether endpoints may be names that are still to be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// As in DNS clusters.
    Allowed,
    /// As in static clusters and in what EDS sends.
    Refused,
}

/// What counts for every instance of a set.
#[derive(Debug, Clone, Copy)]
struct Surroundings<'a> {
    names: Names,
    /// Instances that are written once and referred to by name.
    named: &'a BTreeMap<String, pb::Endpoint>,
}

pub(super) fn endpoint_set(
    assignment: &pb::ClusterLoadAssignment,
    names: Names,
    at: &At<'_>,
) -> Result<EndpointSet, Fault> {
    let around = Surroundings { names, named: &assignment.named_endpoints };
    let localities = wire::list(&assignment.endpoints, &at.field("endpoints"), |place, at| {
        locality(place, around, at)
    })?;
    priorities_have_no_gap(&localities, at)?;
    let mut set = EndpointSet::new(assignment.cluster_name.clone(), localities);
    if let Some(policy) = &assignment.policy {
        let at = at.field("policy");
        if let Some(factor) = policy.overprovisioning_factor {
            let at = at.field("overprovisioning_factor");
            set.overprovisioning_factor = wire::non_zero(factor, &at)?;
        }
        set.weighted_health = policy.weighted_priority_health;
        set.drop = drop_overload(&policy.drop_overloads, &at.field("drop_overloads"))?;
        let at = at.field("endpoint_stale_after");
        set.stale_after = wire::limit(policy.endpoint_stale_after.as_ref(), None, &at)?;
    }
    Ok(set)
}

/// Requests that are refused on purpose: of one category at most, as in Envoy.
fn drop_overload(
    drops: &[pb::cluster_load_assignment::policy::DropOverload],
    at: &At<'_>,
) -> Result<Option<DropOverload>, Fault> {
    let drop = match drops {
        [] => return Ok(None),
        [drop] => drop,
        [_, ..] => return Err(at.invalid("has more than one entry", "write one category")),
    };
    let at = at.index(0);
    let at_share = at.field("drop_percentage");
    let share = drop.drop_percentage.as_ref().map(|share| {
        let share_of = wire::fraction(share, &at_share)?;
        if wire::exceeds_whole(share) {
            return Err(at_share.invalid("is more than everything", "write a share up to 100 %"));
        }
        Ok(share_of)
    });
    let share = share.transpose()?.unwrap_or(Percent::ZERO);
    Ok(Some(DropOverload { category: drop.category.clone(), share }))
}

/// Endpoints of priority 1 without any of priority 0 are a mistake that Envoy refuses too.
fn priorities_have_no_gap(localities: &[LocalityEndpoints], at: &At<'_>) -> Result<(), Fault> {
    let mut priorities: Vec<u32> = localities.iter().map(|locality| locality.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    for (expected, found) in (0..).zip(priorities) {
        if expected != found {
            let problem = format!("priority {found} is used, but {expected} is not");
            return Err(at
                .field("endpoints")
                .invalid(problem, "number priorities from 0 without a gap"));
        }
    }
    Ok(())
}

fn locality(
    place: &pb::LocalityLbEndpoints,
    around: Surroundings<'_>,
    at: &At<'_>,
) -> Result<LocalityEndpoints, Fault> {
    use pb::locality_lb_endpoints::LbConfig;
    let read = |one: &_, at: &At<'_>| endpoint(one, around, at);
    let endpoints = match &place.lb_config {
        // The list in its newer place; a set has one or the other.
        Some(LbConfig::LoadBalancerEndpoints(list)) if place.lb_endpoints.is_empty() => {
            let at = at.field("load_balancer_endpoints");
            wire::list(&list.lb_endpoints, &at.field("lb_endpoints"), read)?
        }
        Some(LbConfig::LoadBalancerEndpoints(_)) => {
            let help = "write the instances in one of the two";
            return Err(at.field("load_balancer_endpoints").invalid("is not the only list", help));
        }
        Some(LbConfig::LedsClusterLocalityConfig(_)) => {
            let help = "send the instances with the set";
            return Err(at.field("leds_cluster_locality_config").invalid("is not supported", help));
        }
        None => wire::list(&place.lb_endpoints, &at.field("lb_endpoints"), read)?,
    };
    let at_weight = at.field("load_balancing_weight");
    Ok(LocalityEndpoints {
        locality: place.locality.as_ref().map(locality_name).unwrap_or_default(),
        priority: place.priority,
        // Zero means the same as no weight: no share in locality-weighted balancing.
        weight: place
            .load_balancing_weight
            .filter(|weight| *weight > 0)
            .map(|weight| wire::non_zero(weight, &at_weight))
            .transpose()?,
        endpoints,
    })
}

pub(super) fn locality_name(locality: &core::Locality) -> Locality {
    Locality {
        region: locality.region.clone(),
        zone: locality.zone.clone(),
        sub_zone: locality.sub_zone.clone(),
    }
}

fn endpoint(
    one: &pb::LbEndpoint,
    around: Surroundings<'_>,
    at: &At<'_>,
) -> Result<Endpoint, Fault> {
    use pb::lb_endpoint::HostIdentifier;
    let endpoint = match &one.host_identifier {
        Some(HostIdentifier::Endpoint(endpoint)) => endpoint,
        Some(HostIdentifier::EndpointName(name)) => around.named.get(name).ok_or_else(|| {
            let problem = format!("`{name}` is not among named_endpoints");
            at.field("endpoint_name").invalid(problem, "add it there, or write an `endpoint`")
        })?,
        None => return Err(at.field("endpoint").missing("write an endpoint with its address")),
    };
    let at_endpoint = at.field("endpoint");
    let weight = one.load_balancing_weight.unwrap_or(1);
    Ok(Endpoint {
        address: address(endpoint.address.as_ref(), around.names, &at_endpoint.field("address"))?,
        additional_addresses: wire::list(
            &endpoint.additional_addresses,
            &at_endpoint.field("additional_addresses"),
            |one, at| wire::socket_address(one.address.as_ref(), &at.field("address")),
        )?,
        hostname: endpoint.hostname.clone(),
        health: health_status(one.health_status, &at.field("health_status"))?,
        weight: wire::non_zero(weight, &at.field("load_balancing_weight"))?,
        metadata: metadata::endpoint(one.metadata.as_ref()),
        check: health::of_endpoint(
            endpoint.health_check_config.as_ref(),
            &at_endpoint.field("health_check_config"),
        )?,
    })
}

fn address(
    address: Option<&core::Address>,
    names: Names,
    at: &At<'_>,
) -> Result<EndpointAddress, Fault> {
    use core::address::Address;
    match address.and_then(|address| address.address.as_ref()) {
        Some(Address::Pipe(pipe)) => Ok(EndpointAddress::Pipe(PathBuf::from(&pipe.path))),
        Some(Address::SocketAddress(socket)) => {
            let at = at.field("socket_address");
            if let Ok(address) = wire::ip_and_port(socket, &at) {
                return Ok(EndpointAddress::Socket(address));
            }
            if names == Names::Refused {
                return wire::ip_and_port(socket, &at).map(EndpointAddress::Socket);
            }
            let (name, port) = wire::host_and_port(socket, &at)?;
            Ok(EndpointAddress::Host { name: name.to_owned(), port })
        }
        Some(Address::EnvoyInternalAddress(internal)) => {
            let at = at.field("envoy_internal_address");
            let listener = wire::internal_listener(internal, &at)?.to_owned();
            Ok(EndpointAddress::Internal { listener, id: internal.endpoint_id.clone() })
        }
        None => wire::socket_address(address, at).map(EndpointAddress::Socket),
    }
}

pub(super) fn health_status(value: i32, at: &At<'_>) -> Result<HealthStatus, Fault> {
    Ok(match wire::known::<core::HealthStatus>(value, at)? {
        core::HealthStatus::Unknown => HealthStatus::Unknown,
        core::HealthStatus::Healthy => HealthStatus::Healthy,
        // Envoy treats an endpoint whose health check timed out as one that failed it.
        core::HealthStatus::Unhealthy | core::HealthStatus::Timeout => HealthStatus::Unhealthy,
        core::HealthStatus::Draining => HealthStatus::Draining,
        core::HealthStatus::Degraded => HealthStatus::Degraded,
    })
}
