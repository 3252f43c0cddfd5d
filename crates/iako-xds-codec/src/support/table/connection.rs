//! Network filters that look at nothing but the connection.

use crate::support::MessageSupport;

pub(super) const MESSAGES: &[MessageSupport] = &[
    MessageSupport {
        name: "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
        honoured: &["stat_prefix", "max_connections", "delay", "runtime_enabled"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
        honoured: &["stat_prefix", "token_bucket", "runtime_enabled", "share_key"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.direct_response.v3.Config",
        honoured: &["response"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.echo.v3.Echo",
        honoured: &[],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.sni_cluster.v3.SniCluster",
        honoured: &[],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig",
        honoured: &["dns_cache_config", "port_value"],
        warned: &[("telemetry knows the address by itself", &["save_upstream_address"])],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.set_filter_state.v3.Config",
        honoured: &["on_new_connection", "on_downstream_tls_handshake", "on_downstream_data"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue",
        honoured: &["object_key", "factory_key", "format_string", "skip_if_empty"],
        warned: &[
            ("what is kept later counts, as in Envoy", &["read_only"]),
            ("upstreams share what their client's connection has", &["shared_with_upstream"]),
        ],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.type.v3.TokenBucket",
        honoured: &["max_tokens", "tokens_per_fill", "fill_interval"],
        warned: &[],
        refused: &[],
    },
];
