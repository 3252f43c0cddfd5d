//! Network filters of protocols that pass through as bytes.

use iako_xds_api::envoy::extensions::filters::network::{
    mongo_proxy::v3::MongoProxy,
    mysql_proxy::v3::MySqlProxy,
    postgres_proxy::v3alpha::PostgresProxy,
    redis_proxy::v3::{
        RedisProxy,
        redis_proxy::{PrefixRoutes, prefix_routes::Route},
    },
};
use prost_types::Any;

use super::wire;
use iako_proxy_config::{NetworkFilter, OpaqueKind, OpaqueProtocol, TcpTarget, Terminal};

/// The name of a filter, and its settings. Those of Redis say where connections go besides, and are
/// written by [`redis`].
pub(super) fn step(value: &OpaqueProtocol) -> Option<(&'static str, Any)> {
    let stat_prefix = value.stat_prefix.clone();
    match value.kind {
        OpaqueKind::Mongo => {
            let config = MongoProxy { stat_prefix, ..Default::default() };
            Some(("envoy.filters.network.mongo_proxy", wire::any(&config)))
        }
        OpaqueKind::Mysql => {
            let config = MySqlProxy { stat_prefix, ..Default::default() };
            Some(("envoy.filters.network.mysql_proxy", wire::any(&config)))
        }
        OpaqueKind::Postgres => {
            let config = PostgresProxy { stat_prefix, ..Default::default() };
            Some(("envoy.filters.network.postgres_proxy", wire::any(&config)))
        }
        OpaqueKind::Redis => None,
    }
}

/// The settings of the filter that carries connections of Redis, where that is what carries them.
pub(super) fn redis(steps: &[NetworkFilter], terminal: &Terminal) -> Option<Any> {
    let (Some(NetworkFilter::Opaque(step)), Terminal::Tcp(tcp)) = (steps.last(), terminal) else {
        return None;
    };
    let (OpaqueKind::Redis, TcpTarget::Cluster(cluster)) = (step.kind, &tcp.target) else {
        return None;
    };
    let route = Route { cluster: cluster.clone(), ..Default::default() };
    Some(wire::any(&RedisProxy {
        stat_prefix: step.stat_prefix.clone(),
        prefix_routes: Some(PrefixRoutes { catch_all_route: Some(route), ..Default::default() }),
        ..Default::default()
    }))
}
