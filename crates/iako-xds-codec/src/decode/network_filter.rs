//! Network filters: what is done to a connection, and what carries it.

use std::sync::Arc;

use iako_xds_api::envoy::config::listener::v3 as pb;
use iako_xds_api::envoy::extensions::filters::network;
use iako_xds_api::envoy::tcp::metadataexchange::config::MetadataExchange;
use prost::Name as _;
use prost_types::Any;

use super::typed_struct::{self, Extension};
use super::{
    connection_filter, connection_service, discovered, http, http_filter, opaque, rbac, tcp_proxy,
    wire,
};
use crate::problem::{At, Fault};
use iako_proxy_config::{NetworkFilter, Terminal};

/// The filters of a chain: all but the last are steps, the last one carries the connection.
pub(super) fn filters(
    filters: &[pb::Filter],
    at: &At<'_>,
) -> Result<(Vec<NetworkFilter>, Terminal), Fault> {
    let Some((last, steps)) = filters.split_last() else {
        return Err(at.missing("end the list with http_connection_manager or tcp_proxy"));
    };
    opaque::refuse_blind_rules(filters, at)?;
    let mut steps = wire::list(steps, at, step)?;
    let (further, terminal) = terminal(last, &at.index(filters.len().saturating_sub(1)))?;
    steps.extend(further);
    Ok((steps, terminal))
}

fn extension(filter: &pb::Filter, at: &At<'_>) -> Result<Extension, Fault> {
    use pb::filter::ConfigType;
    match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) => typed_struct::unwrap(any, &at.field("typed_config")),
        Some(ConfigType::ConfigDiscovery(_)) => {
            let problem = "is not supported for the filter that carries the connection";
            Err(at.field("config_discovery").invalid(problem, "write `typed_config`"))
        }
        None => Err(at.field("typed_config").missing("write the filter's settings with `@type`")),
    }
}

fn unsupported(filter: &pb::Filter, extension: &Extension, at: &At<'_>) -> Fault {
    let problem = format!(
        "the network filter `{}` ({}) is not supported",
        filter.name,
        extension.type_name()
    );
    at.field("typed_config")
        .invalid(problem, "remove the filter; docs/xds-support.md lists those there are")
}

fn step(filter: &pb::Filter, at: &At<'_>) -> Result<NetworkFilter, Fault> {
    if let Some(pb::filter::ConfigType::ConfigDiscovery(source)) = &filter.config_type {
        let at = at.field("config_discovery");
        let found = discovered::discovered(&filter.name, source, settings, &at)?;
        return Ok(NetworkFilter::Discovered(Box::new(found)));
    }
    let extension = extension(filter, at)?;
    let read = kind(&extension, &at.field("typed_config"))?;
    read.ok_or_else(|| unsupported(filter, &extension, at))
}

/// Settings that are sent on their own.
pub(super) fn settings(any: &Any, at: &At<'_>) -> Result<NetworkFilter, Fault> {
    let extension = typed_struct::unwrap(any, at)?;
    kind(&extension, at)?.ok_or_else(|| {
        let problem = format!("the network filter {} is not supported", extension.type_name());
        at.invalid(problem, "send settings of a filter that docs/xds-support.md lists")
    })
}

fn kind(extension: &Extension, at_config: &At<'_>) -> Result<Option<NetworkFilter>, Fault> {
    let Extension::Message(any) = extension else { return Ok(None) };
    let name = extension.type_name();
    if name == network::rbac::v3::Rbac::full_name() {
        let config: network::rbac::v3::Rbac = wire::unpack(any, at_config)?;
        return Ok(Some(NetworkFilter::Rbac(Box::new(rbac::network(&config, at_config)?))));
    }
    if name == MetadataExchange::full_name() {
        let config: MetadataExchange = wire::unpack(any, at_config)?;
        return Ok(Some(NetworkFilter::MetadataExchange { protocol: config.protocol }));
    }
    if name == iako_xds_api::stats::PluginConfig::full_name() {
        let stats = http_filter::stats(&wire::unpack(any, at_config)?);
        return Ok(Some(NetworkFilter::Stats(stats)));
    }
    if let Some(found) = connection_service::step(any, name, at_config)? {
        return Ok(Some(found));
    }
    if let Some(found) = opaque::step(any, name, at_config)? {
        return Ok(Some(found));
    }
    connection_filter::step(any, name, at_config)
}

/// What carries the connection, and a step of it before that where it has one.
fn terminal(filter: &pb::Filter, at: &At<'_>) -> Result<(Option<NetworkFilter>, Terminal), Fault> {
    use network::http_connection_manager::v3::HttpConnectionManager;
    use network::tcp_proxy::v3::TcpProxy;
    let extension = extension(filter, at)?;
    let Extension::Message(any) = &extension else {
        return Err(unsupported(filter, &extension, at));
    };
    let at_config = at.field("typed_config");
    let name = extension.type_name();
    if name == HttpConnectionManager::full_name() {
        let config: HttpConnectionManager = wire::unpack(any, &at_config)?;
        return Ok((None, Terminal::Http(Arc::new(http::manager(&config, &at_config)?))));
    }
    if name == TcpProxy::full_name() {
        let config: TcpProxy = wire::unpack(any, &at_config)?;
        return Ok((None, Terminal::Tcp(Arc::new(tcp_proxy::tcp_proxy(&config, &at_config)?))));
    }
    if name == network::direct_response::v3::Config::full_name() {
        let config: network::direct_response::v3::Config = wire::unpack(any, &at_config)?;
        let at_response = at_config.field("response");
        let response = config.response.map(|source| wire::data_source(&source, &at_response));
        let bytes = response.transpose()?.unwrap_or_default().into();
        return Ok((None, Terminal::Direct(bytes)));
    }
    if name == network::echo::v3::Echo::full_name() {
        return Ok((None, Terminal::Echo));
    }
    if let Some((step, terminal)) = opaque::redis(any, name, &at_config)? {
        return Ok((Some(step), terminal));
    }
    Err(unsupported(filter, &extension, at))
}
