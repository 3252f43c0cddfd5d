//! `envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats`.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::endpoint::v3 as endpoint_pb;
use iako_xds_api::envoy::service::load_stats::v3 as pb;
use prost::Message as _;

use crate::encode;
use iako_proxy_config::{
    ClusterLoad, EndpointAddress, EndpointLoad, LoadDetail, LoadWish, LocalityLoad, Node,
    WishedClusters,
};

/// Where load is told.
pub const METHOD: &str = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats";
/// Says that a wish for all clusters is understood.
const ALL_CLUSTERS: &str = "envoy.lrs.supports_send_all_clusters";

/// Who tells, and what, as a `LoadStatsRequest`.
#[must_use]
pub fn report(node: &Node, clusters: &[ClusterLoad]) -> Vec<u8> {
    let mut node = encode::node(node);
    node.client_features.push(ALL_CLUSTERS.to_owned());
    let cluster_stats = clusters.iter().map(cluster).collect();
    pb::LoadStatsRequest { node: Some(node), cluster_stats }.encode_to_vec()
}

/// A `LoadStatsResponse` as a wish; none when the bytes are none, or name no interval.
#[must_use]
pub fn wish(bytes: &[u8]) -> Option<LoadWish> {
    let message = pb::LoadStatsResponse::decode(bytes).ok()?;
    let interval = message.load_reporting_interval?.try_into().ok()?;
    let clusters = if message.send_all_clusters {
        WishedClusters::All
    } else {
        WishedClusters::Named(message.clusters)
    };
    let detail = if message.report_endpoint_granularity {
        LoadDetail::Endpoints
    } else {
        LoadDetail::Localities
    };
    Some(LoadWish { clusters, interval, detail })
}

fn cluster(value: &ClusterLoad) -> endpoint_pb::ClusterStats {
    use endpoint_pb::cluster_stats::DroppedRequests;
    let dropped = value.dropped.iter().map(|(category, count)| DroppedRequests {
        category: category.clone(),
        dropped_count: *count,
    });
    endpoint_pb::ClusterStats {
        cluster_name: value.name.clone(),
        cluster_service_name: value.service.clone(),
        upstream_locality_stats: value.localities.iter().map(locality).collect(),
        total_dropped_requests: value.refused,
        dropped_requests: dropped.collect(),
        load_report_interval: value.interval.try_into().ok(),
    }
}

fn locality(value: &LocalityLoad) -> endpoint_pb::UpstreamLocalityStats {
    let LocalityLoad { locality, priority, load, endpoints } = value;
    endpoint_pb::UpstreamLocalityStats {
        locality: Some(core::Locality {
            region: locality.region.clone(),
            zone: locality.zone.clone(),
            sub_zone: locality.sub_zone.clone(),
        }),
        total_successful_requests: load.succeeded,
        total_requests_in_progress: load.active,
        total_error_requests: load.failed,
        total_issued_requests: load.issued,
        upstream_endpoint_stats: endpoints.iter().map(endpoint).collect(),
        priority: *priority,
        ..Default::default()
    }
}

fn endpoint(value: &(EndpointAddress, EndpointLoad)) -> endpoint_pb::UpstreamEndpointStats {
    let (address, load) = value;
    endpoint_pb::UpstreamEndpointStats {
        address: Some(encode::endpoint_address(address)),
        total_successful_requests: load.succeeded,
        total_requests_in_progress: load.active,
        total_error_requests: load.failed,
        total_issued_requests: load.issued,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn response(edit: impl FnOnce(&mut pb::LoadStatsResponse)) -> Vec<u8> {
        let interval = prost_types::Duration { seconds: 2, nanos: 500_000_000 };
        let mut message =
            pb::LoadStatsResponse { load_reporting_interval: Some(interval), ..Default::default() };
        edit(&mut message);
        message.encode_to_vec()
    }

    #[test]
    fn a_wish_names_clusters_or_wants_all() {
        let named = wish(&response(|message| message.clusters = vec!["a".to_owned()])).unwrap();
        assert_eq!(named.clusters, WishedClusters::Named(vec!["a".to_owned()]));
        assert_eq!(named.interval, Duration::from_millis(2500));
        assert_eq!(named.detail, LoadDetail::Localities);
        let all = wish(&response(|message| {
            message.send_all_clusters = true;
            message.report_endpoint_granularity = true;
        }))
        .unwrap();
        assert_eq!((all.clusters, all.detail), (WishedClusters::All, LoadDetail::Endpoints));
        assert_eq!(wish(&response(|message| message.load_reporting_interval = None)), None);
        assert_eq!(wish(b"\xff"), None);
    }

    #[test]
    fn a_report_tells_who_and_what() {
        let load = EndpointLoad { issued: 4, succeeded: 2, failed: 1, active: 1 };
        let address = EndpointAddress::Socket("192.0.2.1:80".parse().unwrap());
        let locality = LocalityLoad {
            locality: iako_types::Locality { region: "r".to_owned(), ..Default::default() },
            priority: 1,
            load,
            endpoints: vec![(address, load)],
        };
        let cluster = ClusterLoad {
            name: "c".to_owned(),
            service: "s".to_owned(),
            localities: vec![locality],
            refused: 5,
            dropped: Some(("why".to_owned(), 3)),
            interval: Duration::from_millis(1500),
        };
        let node = Node { id: "n".to_owned(), ..Node::default() };
        let message = pb::LoadStatsRequest::decode(&*report(&node, &[cluster])).unwrap();
        let node = message.node.unwrap();
        assert_eq!((&*node.id, &*node.client_features), ("n", &[ALL_CLUSTERS.to_owned()][..]));
        let told = &message.cluster_stats[0];
        assert_eq!((&*told.cluster_name, &*told.cluster_service_name), ("c", "s"));
        assert_eq!(told.total_dropped_requests, 5);
        assert_eq!(
            (&*told.dropped_requests[0].category, told.dropped_requests[0].dropped_count),
            ("why", 3)
        );
        let interval = told.load_report_interval.unwrap();
        assert_eq!((interval.seconds, interval.nanos), (1, 500_000_000));
        let place = &told.upstream_locality_stats[0];
        assert_eq!((place.priority, place.total_issued_requests), (1, 4));
        assert_eq!(place.upstream_endpoint_stats[0].total_error_requests, 1);
    }
}
