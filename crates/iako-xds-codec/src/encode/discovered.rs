//! Filters whose settings are sent on their own, and resources that are asked for when needed.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::http::on_demand::v3 as pb;
use iako_xds_api::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy as tcp_pb;
use prost_types::Any;

use super::{source, wire};
use iako_proxy_config::{Discovered, OnDemand, OnDemandClusters};

/// The source of settings; `write` writes settings.
pub(super) fn discovered<Kind>(
    value: &Discovered<Kind>,
    write: impl Fn(&Kind) -> Any,
) -> core::ExtensionConfigSource {
    let url = |name: &String| format!("type.googleapis.com/{name}");
    core::ExtensionConfigSource {
        config_source: Some(source::config_source(value.name.source())),
        default_config: value.default.as_deref().map(write),
        apply_default_config_without_warming: value.serves_at_once,
        type_urls: value.type_names.iter().map(url).collect(),
    }
}

pub(super) fn on_demand(value: &OnDemand) -> pb::OnDemand {
    pb::OnDemand { odcds: odcds(value) }
}

pub(super) fn on_demand_of_route(value: &OnDemand) -> pb::PerRouteConfig {
    pb::PerRouteConfig { odcds: odcds(value) }
}

fn odcds(value: &OnDemand) -> Option<pb::OnDemandCds> {
    value.clusters.as_ref().map(|clusters| pb::OnDemandCds {
        source: Some(source::config_source(&clusters.source)),
        resources_locator: String::new(),
        timeout: Some(wire::duration(clusters.timeout)),
    })
}

pub(super) fn of_tcp(value: &OnDemandClusters) -> tcp_pb::OnDemand {
    tcp_pb::OnDemand {
        odcds_config: Some(source::config_source(&value.source)),
        resources_locator: String::new(),
        timeout: Some(wire::duration(value.timeout)),
    }
}
