//! When connections to instances are opened, to which of their addresses, and who shares them.

use iako_xds_api::envoy::config::cluster::v3 as pb;

use super::wire;
use crate::problem::{At, Fault};
use iako_proxy_config::{AddressOrder, Connecting, FirstFamily, Preconnect};

/// As Envoy's bounds.
const RATIO: std::ops::RangeInclusive<f64> = 1.0..=3.0;

pub(super) fn connecting(cluster: &pb::Cluster, at: &At<'_>) -> Result<Connecting, Fault> {
    let options = cluster.upstream_connection_options.as_ref();
    let happy = options.and_then(|options| options.happy_eyeballs_config.as_ref());
    let at_options = at.field("upstream_connection_options");
    let at_happy = at_options.field("happy_eyeballs_config");
    Ok(Connecting {
        ahead: preconnect(cluster.preconnect_policy.as_ref(), &at.field("preconnect_policy"))?,
        addresses: happy.map(|happy| addresses(happy, &at_happy)).transpose()?.unwrap_or_default(),
        per_client: cluster.connection_pool_per_downstream_connection,
        close_on_failure: cluster.close_connections_on_host_health_failure,
    })
}

fn preconnect(
    policy: Option<&pb::cluster::PreconnectPolicy>,
    at: &At<'_>,
) -> Result<Preconnect, Fault> {
    let default = Preconnect::default();
    let Some(policy) = policy else { return Ok(default) };
    let at = at.field("per_upstream_preconnect_ratio");
    match policy.per_upstream_preconnect_ratio {
        None => Ok(default),
        Some(per_instance) if RATIO.contains(&per_instance) => Ok(Preconnect { per_instance }),
        Some(value) => {
            Err(at.invalid(format!("{value} is not allowed"), "write a number from 1 to 3"))
        }
    }
}

fn addresses(
    config: &pb::upstream_connection_options::HappyEyeballsConfig,
    at: &At<'_>,
) -> Result<AddressOrder, Fault> {
    use pb::upstream_connection_options::FirstAddressFamilyVersion as Family;
    let at_first = at.field("first_address_family_version");
    let at_count = at.field("first_address_family_count");
    let default = AddressOrder::default();
    Ok(AddressOrder {
        first: match wire::known::<Family>(config.first_address_family_version, &at_first)? {
            Family::Default => FirstFamily::OfFirst,
            Family::V4 => FirstFamily::V4,
            Family::V6 => FirstFamily::V6,
            Family::Pipe | Family::Internal => {
                return Err(at_first.invalid("is not supported", "use V4, V6 or DEFAULT"));
            }
        },
        count: match config.first_address_family_count {
            None => default.count,
            Some(count) => wire::non_zero(count, &at_count)?,
        },
    })
}
