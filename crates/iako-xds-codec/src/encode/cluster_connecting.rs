//! When connections to instances are opened, to which of their addresses, and who shares them.

use iako_xds_api::envoy::config::cluster::v3 as pb;

use super::wire;
use iako_proxy_config::{AddressOrder, Cluster, FirstFamily, Preconnect};

/// Writes the fields of a cluster that differ from the defaults.
pub(super) fn apply(value: &Cluster, message: &mut pb::Cluster) {
    message.preconnect_policy = preconnect(value.connecting.ahead);
    message.upstream_connection_options = options(value);
    message.connection_pool_per_downstream_connection = value.connecting.per_client;
    message.close_connections_on_host_health_failure = value.connecting.close_on_failure;
}

fn preconnect(value: Preconnect) -> Option<pb::cluster::PreconnectPolicy> {
    (value != Preconnect::default()).then(|| pb::cluster::PreconnectPolicy {
        per_upstream_preconnect_ratio: Some(value.per_instance),
        ..Default::default()
    })
}

fn options(value: &Cluster) -> Option<pb::UpstreamConnectionOptions> {
    let tcp_keepalive = value.tcp_keepalive.as_ref().map(wire::keepalive);
    let happy_eyeballs_config = addresses(value.connecting.addresses);
    let is_empty = tcp_keepalive.is_none() && happy_eyeballs_config.is_none();
    (!is_empty).then(|| pb::UpstreamConnectionOptions {
        tcp_keepalive,
        happy_eyeballs_config,
        ..Default::default()
    })
}

fn addresses(value: AddressOrder) -> Option<pb::upstream_connection_options::HappyEyeballsConfig> {
    use pb::upstream_connection_options::FirstAddressFamilyVersion as Family;
    let family = match value.first {
        FirstFamily::OfFirst => Family::Default,
        FirstFamily::V4 => Family::V4,
        FirstFamily::V6 => Family::V6,
    };
    (value != AddressOrder::default()).then(|| {
        pb::upstream_connection_options::HappyEyeballsConfig {
            first_address_family_version: family.into(),
            first_address_family_count: Some(value.count.get()),
        }
    })
}
