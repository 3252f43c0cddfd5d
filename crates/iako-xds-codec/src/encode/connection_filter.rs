//! Network filters that look at nothing but the connection.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::{
    common::set_filter_state::v3 as state,
    network::{
        connection_limit::v3::ConnectionLimit as LimitMessage,
        local_ratelimit::v3::LocalRateLimit as RateMessage,
        set_filter_state::v3::Config as StateMessage,
        sni_dynamic_forward_proxy::v3::{FilterConfig as SniMessage, filter_config::PortSpecifier},
    },
};
use iako_xds_api::envoy::r#type::v3::TokenBucket;

use super::{access_log, discovery, wire};
use iako_proxy_config::{
    ConnectionLimit, ConnectionRateLimit, ConnectionTokens, FilterStateValue, Keyed,
    SetConnectionState, SharedState, SniForward,
};

pub(super) fn limit(value: &ConnectionLimit) -> LimitMessage {
    LimitMessage {
        stat_prefix: value.stat_prefix.clone(),
        max_connections: Some(value.connections_max.get()),
        delay: value.delay.map(wire::duration),
        runtime_enabled: enabled(&value.enabled),
    }
}

pub(super) fn rate_limit(value: &ConnectionRateLimit) -> RateMessage {
    RateMessage {
        stat_prefix: value.stat_prefix.clone(),
        token_bucket: Some(tokens(&value.tokens)),
        runtime_enabled: enabled(&value.enabled),
        share_key: value.share_key.clone(),
    }
}

/// Tokens that come back over time.
pub(super) fn tokens(value: &ConnectionTokens) -> TokenBucket {
    TokenBucket {
        max_tokens: value.max.get(),
        tokens_per_fill: Some(value.per_fill.get()),
        fill_interval: Some(wire::duration(value.interval)),
    }
}

fn enabled(value: &Keyed<bool>) -> Option<core::RuntimeFeatureFlag> {
    (*value != Keyed::fixed(true)).then(|| wire::runtime_flag(value))
}

pub(super) fn sni_forward(value: &SniForward) -> SniMessage {
    SniMessage {
        dns_cache_config: Some(discovery::dns_cache(&value.cache, &value.dns)),
        port_specifier: Some(PortSpecifier::PortValue(value.port.into())),
        save_upstream_address: false,
    }
}

pub(super) fn set_state(value: &SetConnectionState) -> StateMessage {
    let values = |values: &[FilterStateValue]| values.iter().map(filter_state).collect();
    StateMessage {
        on_new_connection: values(&value.on_connection),
        on_downstream_tls_handshake: values(&value.on_handshake),
        on_downstream_data: values(&value.on_bytes),
    }
}

/// An object that a filter keeps.
pub(super) fn filter_state(value: &FilterStateValue) -> state::FilterStateValue {
    use state::filter_state_value::{Key, SharedWithUpstream, Value};
    let shared = match value.shared {
        SharedState::No => SharedWithUpstream::None,
        SharedState::Once => SharedWithUpstream::Once,
        SharedState::Transitive => SharedWithUpstream::Transitive,
    };
    state::FilterStateValue {
        key: Some(Key::ObjectKey(value.key.clone())),
        factory_key: value.factory.clone(),
        read_only: value.read_only,
        shared_with_upstream: shared.into(),
        skip_if_empty: value.skips_empty,
        value: access_log::log_format(&value.value).map(Value::FormatString),
    }
}
