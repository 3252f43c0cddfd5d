//! Resources that are asked for when somebody needs them.

use std::time::Duration;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::http::on_demand::v3 as pb;
use iako_xds_api::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy as tcp_pb;

use super::{source, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{ConfigOrigin, OnDemand, OnDemandClusters};

pub(super) fn filter(config: &pb::OnDemand, at: &At<'_>) -> Result<OnDemand, Fault> {
    settings(config.odcds.as_ref(), at)
}

pub(super) fn for_route(config: &pb::PerRouteConfig, at: &At<'_>) -> Result<OnDemand, Fault> {
    settings(config.odcds.as_ref(), at)
}

fn settings(odcds: Option<&pb::OnDemandCds>, at: &At<'_>) -> Result<OnDemand, Fault> {
    let at = at.field("odcds");
    let read = |odcds: &pb::OnDemandCds| {
        locator(&odcds.resources_locator, &at.field("resources_locator"))?;
        let default = OnDemandClusters::REQUEST_TIMEOUT;
        let from = (odcds.source.as_ref(), at.field("source"));
        clusters(from, (odcds.timeout.as_ref(), default), &at)
    };
    Ok(OnDemand { clusters: odcds.map(read).transpose()? })
}

pub(super) fn of_tcp(config: &tcp_pb::OnDemand, at: &At<'_>) -> Result<OnDemandClusters, Fault> {
    locator(&config.resources_locator, &at.field("resources_locator"))?;
    let default = OnDemandClusters::CONNECTION_TIMEOUT;
    let from = (config.odcds_config.as_ref(), at.field("odcds_config"));
    clusters(from, (config.timeout.as_ref(), default), at)
}

fn clusters(
    (from, at_source): (Option<&core::ConfigSource>, At<'_>),
    (timeout, default): (Option<&prost_types::Duration>, Duration),
    at: &At<'_>,
) -> Result<OnDemandClusters, Fault> {
    let from = from.ok_or_else(|| at_source.missing("say who is asked for clusters"))?;
    let source = source::config_source(from, &at_source)?;
    match &source.origin {
        ConfigOrigin::File(_) => {
            let problem = "a file cannot be asked for single clusters";
            return Err(at_source.invalid(problem, "write `ads: {}` or `api_config_source`"));
        }
        ConfigOrigin::Ads | ConfigOrigin::Grpc(_) => {}
    }
    let timeout = wire::duration_or(timeout, default, &at.field("timeout"))?;
    Ok(OnDemandClusters { source, timeout })
}

/// Names of collections in the form of the xDS transport protocol are told apart from mistakes, and
/// refused either way: nothing here asks for collections.
fn locator(text: &str, at: &At<'_>) -> Result<(), Fault> {
    if text.is_empty() {
        return Ok(());
    }
    let Some(rest) = text.strip_prefix("xdstp://") else {
        let problem = format!("`{text}` is no locator");
        return Err(at.invalid(problem, "write `xdstp://authority/type/id`, or leave it out"));
    };
    let mut parts = rest.splitn(3, '/');
    let (_authority, kind, id) = (parts.next(), parts.next(), parts.next());
    match (kind, id) {
        (Some("envoy.config.cluster.v3.Cluster"), Some(_)) => {
            let problem = "collections of the xDS transport protocol are not asked for";
            Err(at.invalid(problem, "leave it out: clusters are then asked for by their names"))
        }
        (Some(_), Some(_)) => {
            let help = "write `xdstp://authority/envoy.config.cluster.v3.Cluster/id`";
            Err(at.invalid(format!("`{text}` does not locate clusters"), help))
        }
        (_, None) | (None, _) => Err(at.invalid(
            format!("`{text}` lacks the type of the resources"),
            "write `xdstp://authority/envoy.config.cluster.v3.Cluster/id`",
        )),
    }
}
