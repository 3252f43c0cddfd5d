//! Network filters of protocols that pass through as bytes.

use std::sync::Arc;

use iako_xds_api::envoy::config::listener::v3 as listener;
use iako_xds_api::envoy::extensions::filters::network::{
    mongo_proxy::v3::MongoProxy, mysql_proxy::v3::MySqlProxy,
    postgres_proxy::v3alpha::PostgresProxy, rbac::v3::Rbac, redis_proxy::v3::RedisProxy,
};
use prost::Name as _;
use prost_types::Any;

use super::{connection_filter::stat_prefix, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{NetworkFilter, OpaqueKind, OpaqueProtocol, TcpProxy, TcpTarget, Terminal};

/// The filter of this type; none where the type is another one's.
pub(super) fn step(any: &Any, name: &str, at: &At<'_>) -> Result<Option<NetworkFilter>, Fault> {
    let (kind, prefix) = if name == MongoProxy::full_name() {
        (OpaqueKind::Mongo, wire::unpack::<MongoProxy>(any, at)?.stat_prefix)
    } else if name == MySqlProxy::full_name() {
        (OpaqueKind::Mysql, wire::unpack::<MySqlProxy>(any, at)?.stat_prefix)
    } else if name == PostgresProxy::full_name() {
        (OpaqueKind::Postgres, wire::unpack::<PostgresProxy>(any, at)?.stat_prefix)
    } else {
        return Ok(None);
    };
    at.warn("nothing of the protocol is read: bytes pass, and the first of them are counted");
    let stat_prefix = stat_prefix(&prefix, at)?;
    Ok(Some(NetworkFilter::Opaque(Box::new(OpaqueProtocol { kind, stat_prefix }))))
}

/// What carries connections of Redis, and the step that looks at them; none where the type is another
/// one's.
pub(super) fn redis(
    any: &Any,
    name: &str,
    at: &At<'_>,
) -> Result<Option<(NetworkFilter, Terminal)>, Fault> {
    if name != RedisProxy::full_name() {
        return Ok(None);
    }
    let config: RedisProxy = wire::unpack(any, at)?;
    let stat_prefix = stat_prefix(&config.stat_prefix, at)?;
    let at_routes = at.field("prefix_routes");
    let routes = config.prefix_routes.as_ref();
    let route = routes.and_then(|routes| routes.catch_all_route.as_ref());
    let Some(route) = route.filter(|route| !route.cluster.is_empty()) else {
        let help = "name the cluster of all keys: keys are not read";
        return Err(at_routes.field("catch_all_route").missing(help));
    };
    at.warn(
        "commands are not read: each connection goes whole to one instance, which holds all keys",
    );
    let tcp = TcpProxy {
        idle_timeout: None,
        ..TcpProxy::new(stat_prefix.clone(), TcpTarget::Cluster(route.cluster.clone()))
    };
    let step = OpaqueProtocol { kind: OpaqueKind::Redis, stat_prefix };
    Ok(Some((NetworkFilter::Opaque(Box::new(step)), Terminal::Tcp(Arc::new(tcp)))))
}

/// Names under which these filters leave facts in Envoy, which no rule can meet here.
const FACTS: [&str; 3] = [
    "envoy.filters.network.mongo_proxy",
    "envoy.filters.network.mysql_proxy",
    "envoy.filters.network.postgres_proxy",
];

/// Refuses rules that look at what nobody reads: they would let pass what they are to refuse.
pub(super) fn refuse_blind_rules(filters: &[listener::Filter], at: &At<'_>) -> Result<(), Fault> {
    use listener::filter::ConfigType;
    for (index, filter) in filters.iter().enumerate() {
        let Some(ConfigType::TypedConfig(any)) = &filter.config_type else { continue };
        if !any.type_url.ends_with(&Rbac::full_name()) {
            continue;
        }
        let names =
            |fact: &&&str| any.value.windows(fact.len()).any(|part| part == fact.as_bytes());
        if let Some(fact) = FACTS.iter().find(names) {
            let problem = format!("looks at facts of `{fact}`, which are not found out");
            let help = "remove these rules: nothing of the protocol is read";
            return Err(at.index(index).field("typed_config").invalid(problem, help));
        }
    }
    Ok(())
}
