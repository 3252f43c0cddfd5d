//! Network filters that look at nothing but the connection.

use std::time::Duration;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::{
    common::set_filter_state::v3 as state,
    network::{
        connection_limit::v3::ConnectionLimit as LimitMessage,
        local_ratelimit::v3::LocalRateLimit as RateMessage,
        set_filter_state::v3::Config as StateMessage,
        sni_cluster::v3::SniCluster,
        sni_dynamic_forward_proxy::v3::{FilterConfig as SniMessage, filter_config::PortSpecifier},
    },
};
use iako_xds_api::envoy::r#type::v3::TokenBucket;
use prost::Name as _;
use prost_types::Any;

use super::{access_log, discovery, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ConnectionLimit, ConnectionRateLimit, ConnectionTokens, FilterStateValue, Keyed, LogFormat,
    NetworkFilter, STATE_FACTORIES, SetConnectionState, SharedState, SniForward,
};

/// Port of a host that no port is written for. Envoy's.
const TLS_PORT: u16 = 443;
/// Shortest time between fills; Envoy refuses less.
const FILL_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// The filter of this type; none where the type is another one's.
pub(super) fn step(any: &Any, name: &str, at: &At<'_>) -> Result<Option<NetworkFilter>, Fault> {
    let found = if name == LimitMessage::full_name() {
        NetworkFilter::ConnectionLimit(Box::new(limit(&wire::unpack(any, at)?, at)?))
    } else if name == RateMessage::full_name() {
        NetworkFilter::RateLimit(Box::new(rate_limit(wire::unpack(any, at)?, at)?))
    } else if name == SniCluster::full_name() {
        NetworkFilter::SniCluster
    } else if name == SniMessage::full_name() {
        NetworkFilter::SniForward(Box::new(sni_forward(&wire::unpack(any, at)?, at)?))
    } else if name == StateMessage::full_name() {
        NetworkFilter::SetState(Box::new(set_state(&wire::unpack(any, at)?, at)?))
    } else {
        return Ok(None);
    };
    Ok(Some(found))
}

fn limit(config: &LimitMessage, at: &At<'_>) -> Result<ConnectionLimit, Fault> {
    let at_max = at.field("max_connections");
    let most =
        config.max_connections.ok_or_else(|| at_max.missing("write how many may be open"))?;
    Ok(ConnectionLimit {
        stat_prefix: stat_prefix(&config.stat_prefix, at)?,
        connections_max: wire::non_zero_long(most, &at_max)?,
        delay: wire::optional(config.delay.as_ref(), &at.field("delay"))?,
        enabled: enabled(config.runtime_enabled.as_ref()),
    })
}

fn rate_limit(config: RateMessage, at: &At<'_>) -> Result<ConnectionRateLimit, Fault> {
    let at_bucket = at.field("token_bucket");
    let bucket = config.token_bucket.ok_or_else(|| at_bucket.missing("write the tokens"))?;
    Ok(ConnectionRateLimit {
        stat_prefix: stat_prefix(&config.stat_prefix, at)?,
        tokens: tokens(&bucket, &at_bucket)?,
        enabled: enabled(config.runtime_enabled.as_ref()),
        share_key: config.share_key,
    })
}

/// What stands in the names of a filter's statistics.
pub(super) fn stat_prefix(prefix: &str, at: &At<'_>) -> Result<String, Fault> {
    if prefix.is_empty() {
        return Err(at.field("stat_prefix").missing("name the filter's statistics"));
    }
    Ok(prefix.to_owned())
}

/// Envoy: it counts where nothing is said.
fn enabled(flag: Option<&core::RuntimeFeatureFlag>) -> Keyed<bool> {
    flag.map_or(Keyed::fixed(true), |flag| {
        Keyed::new(flag.default_value.unwrap_or(true), &flag.runtime_key)
    })
}

/// Tokens that come back over time.
pub(super) fn tokens(bucket: &TokenBucket, at: &At<'_>) -> Result<ConnectionTokens, Fault> {
    let at_interval = at.field("fill_interval");
    let interval = wire::optional(bucket.fill_interval.as_ref(), &at_interval)?
        .ok_or_else(|| at_interval.missing("write the time from one fill to the next"))?;
    if interval < FILL_INTERVAL_MIN {
        return Err(at_interval.invalid("is below 50 ms", "write at least 0.05s"));
    }
    let per_fill = bucket.tokens_per_fill.unwrap_or(1);
    Ok(ConnectionTokens {
        max: wire::non_zero(bucket.max_tokens, &at.field("max_tokens"))?,
        per_fill: wire::non_zero(per_fill, &at.field("tokens_per_fill"))?,
        interval,
    })
}

fn sni_forward(config: &SniMessage, at: &At<'_>) -> Result<SniForward, Fault> {
    let at_cache = at.field("dns_cache_config");
    let cache = config.dns_cache_config.as_ref();
    let cache = cache.ok_or_else(|| at_cache.missing("write the cache with its name"))?;
    let (cache, dns) = discovery::dns_cache(cache, &at_cache)?;
    let port = match config.port_specifier {
        Some(PortSpecifier::PortValue(port)) => wire::port(port, &at.field("port_value"))?,
        None => TLS_PORT,
    };
    Ok(SniForward { cache, dns, port })
}

fn set_state(config: &StateMessage, at: &At<'_>) -> Result<SetConnectionState, Fault> {
    let values = |values: &[state::FilterStateValue], name| {
        wire::list(values, &at.field(name), filter_state)
    };
    Ok(SetConnectionState {
        on_connection: values(&config.on_new_connection, "on_new_connection")?,
        on_handshake: values(&config.on_downstream_tls_handshake, "on_downstream_tls_handshake")?,
        on_bytes: values(&config.on_downstream_data, "on_downstream_data")?,
    })
}

/// An object that a filter keeps.
pub(super) fn filter_state(
    config: &state::FilterStateValue,
    at: &At<'_>,
) -> Result<FilterStateValue, Fault> {
    use state::filter_state_value::{Key, SharedWithUpstream, Value};
    let at_key = at.field("object_key");
    let Some(Key::ObjectKey(key)) =
        config.key.as_ref().filter(|Key::ObjectKey(key)| !key.is_empty())
    else {
        return Err(at_key.missing("name the object"));
    };
    let factory = if config.factory_key.is_empty() { key } else { &config.factory_key };
    if !STATE_FACTORIES.contains(&factory.as_str()) {
        let help = "write `factory_key: envoy.string` for a name of your own";
        return Err(at.field("factory_key").invalid(format!("nothing makes a `{factory}`"), help));
    }
    let at_format = at.field("format_string");
    let Some(Value::FormatString(format)) = &config.value else {
        return Err(at_format.missing("write the text of the object"));
    };
    let format = access_log::log_format(Some(format), &at_format)?;
    if format == LogFormat::Default {
        return Err(at_format.missing("write the text of the object"));
    }
    let at_shared = at.field("shared_with_upstream");
    Ok(FilterStateValue {
        key: key.clone(),
        factory: config.factory_key.clone(),
        value: format,
        skips_empty: config.skip_if_empty,
        read_only: config.read_only,
        shared: match wire::known::<SharedWithUpstream>(config.shared_with_upstream, &at_shared)? {
            SharedWithUpstream::None => SharedState::No,
            SharedWithUpstream::Once => SharedState::Once,
            SharedWithUpstream::Transitive => SharedState::Transitive,
        },
    })
}
