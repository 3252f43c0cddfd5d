//! What carries datagrams.

use std::num::NonZeroU16;
use std::time::Duration;

use iako_xds_api::envoy::config::core::v3::UdpSocketConfig;
use iako_xds_api::envoy::config::listener::v3 as listener_pb;
use iako_xds_api::envoy::extensions::filters::udp::udp_proxy::v3 as pb;
use iako_xds_api::xds::r#type::matcher::v3 as matcher_pb;
use prost::Name as _;

use super::{access_log, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{UdpHash, UdpProxy};

/// The only filter that a listener of datagrams has.
pub(super) fn of_listener(
    listener: &listener_pb::Listener,
    at: &At<'_>,
) -> Result<UdpProxy, Fault> {
    use listener_pb::listener_filter::ConfigType;
    let help = "write one listener filter of the type UdpProxyConfig";
    if !listener.filter_chains.is_empty() || listener.default_filter_chain.is_some() {
        let at = at.field("filter_chains");
        return Err(at.invalid("are not for datagrams", help));
    }
    let at_filters = at.field("listener_filters");
    let [filter] = listener.listener_filters.as_slice() else {
        return Err(at_filters.invalid("must be exactly one for datagrams", help));
    };
    let at_filter = at_filters.index(0);
    let at_config = at_filter.field("typed_config");
    let Some(ConfigType::TypedConfig(any)) = &filter.config_type else {
        return Err(at_config.missing("write the filter's settings with `@type`"));
    };
    if pool::full_name(&any.type_url) != pb::UdpProxyConfig::full_name() {
        let problem = format!("the listener filter `{}` is not supported here", filter.name);
        return Err(at_config.invalid(problem, help));
    }
    let mut value = proxy(&wire::unpack(any, &at_config)?, &at_config)?;
    let settings = listener.udp_listener_config.as_ref();
    if let Some(socket) = settings.and_then(|config| config.downstream_socket_config.as_ref()) {
        let at = at.field("udp_listener_config");
        let at = at.field("downstream_socket_config");
        value.datagram_bytes_max = datagram_bytes(socket, value.datagram_bytes_max, &at)?;
    }
    Ok(value)
}

fn proxy(config: &pb::UdpProxyConfig, at: &At<'_>) -> Result<UdpProxy, Fault> {
    let mut value = UdpProxy::new(config.stat_prefix.clone(), cluster(config, at)?);
    if config.stat_prefix.is_empty() {
        return Err(at.field("stat_prefix").missing("name its statistics"));
    }
    let at_idle = at.field("idle_timeout");
    let idle = wire::duration_or(config.idle_timeout.as_ref(), Duration::from_secs(60), &at_idle)?;
    value.idle_timeout = wire::positive(idle, &at_idle)?;
    value.hash = hash(config, &at.field("hash_policies"))?;
    value.per_datagram = config.use_per_packet_load_balancing;
    if let Some(socket) = &config.upstream_socket_config {
        let at = at.field("upstream_socket_config");
        value.reply_bytes_max = datagram_bytes(socket, value.reply_bytes_max, &at)?;
    }
    value.access_log = access_log::logs(&config.access_log, &at.field("access_log"))?;
    value.proxy_access_log =
        access_log::logs(&config.proxy_access_log, &at.field("proxy_access_log"))?;
    Ok(value)
}

fn cluster(config: &pb::UdpProxyConfig, at: &At<'_>) -> Result<String, Fault> {
    use pb::udp_proxy_config::RouteSpecifier;
    let name = match &config.route_specifier {
        Some(RouteSpecifier::Cluster(name)) => name.clone(),
        Some(RouteSpecifier::Matcher(matcher)) => route(matcher, &at.field("matcher"))?,
        None => String::new(),
    };
    if name.is_empty() {
        return Err(at.field("cluster").missing("name the cluster"));
    }
    Ok(name)
}

/// The route of a matcher that has one for everything.
fn route(matcher: &matcher_pb::Matcher, at: &At<'_>) -> Result<String, Fault> {
    use matcher_pb::matcher::on_match::OnMatch;
    let at_rest = at.field("on_no_match");
    let help = "write only `on_no_match` with an action of the type Route";
    if matcher.matcher_type.is_some() {
        return Err(at.invalid("chooses by conditions, which is not supported", help));
    }
    let rest = matcher.on_no_match.as_deref().ok_or_else(|| at_rest.missing(help))?;
    let Some(OnMatch::Action(action)) = &rest.on_match else {
        return Err(at_rest.invalid("is no action", help));
    };
    let at_action = at_rest.field("action");
    let at_config = at_action.field("typed_config");
    let any = action.typed_config.as_ref().ok_or_else(|| at_config.missing(help))?;
    if pool::full_name(&any.type_url) != pb::Route::full_name() {
        return Err(at_config.invalid("is no route of datagrams", help));
    }
    let route: pb::Route = wire::unpack(any, &at_config)?;
    Ok(route.cluster)
}

fn hash(config: &pb::UdpProxyConfig, at: &At<'_>) -> Result<Option<UdpHash>, Fault> {
    use pb::udp_proxy_config::hash_policy::PolicySpecifier;
    // Envoy takes one at most.
    let [policy] = config.hash_policies.as_slice() else {
        return if config.hash_policies.is_empty() {
            Ok(None)
        } else {
            Err(at.invalid("has more than one policy", "write one"))
        };
    };
    let at = at.index(0);
    match &policy.policy_specifier {
        Some(PolicySpecifier::SourceIp(true)) => Ok(Some(UdpHash::SourceIp)),
        Some(PolicySpecifier::SourceIp(false)) => {
            Err(at.field("source_ip").invalid("is false", "write `source_ip: true`"))
        }
        Some(PolicySpecifier::Key(key)) if !key.is_empty() => Ok(Some(UdpHash::Key(key.clone()))),
        Some(PolicySpecifier::Key(_)) | None => Err(at.missing("write `source_ip: true` or `key`")),
    }
}

fn datagram_bytes(
    config: &UdpSocketConfig,
    default: NonZeroU16,
    at: &At<'_>,
) -> Result<NonZeroU16, Fault> {
    let Some(bytes) = config.max_rx_datagram_size else { return Ok(default) };
    let known = u16::try_from(bytes).ok().and_then(NonZeroU16::new);
    known.ok_or_else(|| {
        at.field("max_rx_datagram_size").invalid("is out of range", "write 1 to 65535 bytes")
    })
}
