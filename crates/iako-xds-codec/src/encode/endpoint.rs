//! Where the instances of a service are.

use iako_types::Locality;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::endpoint::v3 as pb;

use super::{health, metadata, wire};
use iako_proxy_config::{
    DropOverload, Endpoint, EndpointAddress, EndpointSet, HealthStatus, LocalityEndpoints,
};

/// Envoy's default.
const OVERPROVISIONING_FACTOR: u32 = 140;

pub(super) fn endpoint_set(value: &EndpointSet) -> pb::ClusterLoadAssignment {
    let factor = value.overprovisioning_factor.get();
    let policy = pb::cluster_load_assignment::Policy {
        overprovisioning_factor: Some(factor),
        weighted_priority_health: value.weighted_health,
        drop_overloads: value.drop.iter().map(drop_overload).collect(),
        endpoint_stale_after: value.stale_after.map(wire::duration),
    };
    let is_default = factor == OVERPROVISIONING_FACTOR
        && !value.weighted_health
        && value.drop.is_none()
        && value.stale_after.is_none();
    pb::ClusterLoadAssignment {
        cluster_name: value.name.clone(),
        endpoints: value.localities.iter().map(locality).collect(),
        policy: (!is_default).then_some(policy),
        ..Default::default()
    }
}

fn drop_overload(value: &DropOverload) -> pb::cluster_load_assignment::policy::DropOverload {
    pb::cluster_load_assignment::policy::DropOverload {
        category: value.category.clone(),
        drop_percentage: Some(wire::fraction(value.share)),
    }
}

fn locality(value: &LocalityEndpoints) -> pb::LocalityLbEndpoints {
    pb::LocalityLbEndpoints {
        locality: (!value.locality.is_empty()).then(|| locality_name(&value.locality)),
        lb_endpoints: value.endpoints.iter().map(endpoint).collect(),
        load_balancing_weight: value.weight.map(std::num::NonZeroU32::get),
        priority: value.priority,
        ..Default::default()
    }
}

pub(super) fn locality_name(value: &Locality) -> core::Locality {
    core::Locality {
        region: value.region.clone(),
        zone: value.zone.clone(),
        sub_zone: value.sub_zone.clone(),
    }
}

fn endpoint(value: &Endpoint) -> pb::LbEndpoint {
    let health_status = match value.health {
        HealthStatus::Unknown => core::HealthStatus::Unknown,
        HealthStatus::Healthy => core::HealthStatus::Healthy,
        HealthStatus::Unhealthy => core::HealthStatus::Unhealthy,
        HealthStatus::Draining => core::HealthStatus::Draining,
        HealthStatus::Degraded => core::HealthStatus::Degraded,
    };
    let weight = value.weight.get();
    pb::LbEndpoint {
        health_status: health_status.into(),
        metadata: metadata::of_endpoint(&value.metadata),
        load_balancing_weight: (weight != 1).then_some(weight),
        host_identifier: Some(pb::lb_endpoint::HostIdentifier::Endpoint(pb::Endpoint {
            address: Some(address(&value.address)),
            hostname: value.hostname.clone(),
            health_check_config: health::of_endpoint(&value.check),
            additional_addresses: value
                .additional_addresses
                .iter()
                .map(|address| pb::endpoint::AdditionalAddress {
                    address: Some(wire::address(*address)),
                })
                .collect(),
            ..Default::default()
        })),
    }
}

pub(super) fn address(value: &EndpointAddress) -> core::Address {
    match value {
        EndpointAddress::Socket(address) => wire::address(*address),
        EndpointAddress::Pipe(path) => wire::pipe(path),
        EndpointAddress::Internal { listener, id } => {
            use core::envoy_internal_address::AddressNameSpecifier;
            let internal = core::EnvoyInternalAddress {
                endpoint_id: id.clone(),
                address_name_specifier: Some(AddressNameSpecifier::ServerListenerName(
                    listener.clone(),
                )),
            };
            core::Address { address: Some(core::address::Address::EnvoyInternalAddress(internal)) }
        }
        EndpointAddress::Host { name, port } => core::Address {
            address: Some(core::address::Address::SocketAddress(wire::host_and_port(name, *port))),
        },
    }
}
