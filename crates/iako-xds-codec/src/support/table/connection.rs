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
        name: "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
        honoured: &[
            "stat_prefix",
            "grpc_service",
            "failure_mode_allow",
            "include_peer_certificate",
            "transport_api_version",
            "filter_enabled_metadata",
            "bootstrap_metadata_labels_key",
            "include_tls_session",
            "metadata_context_namespaces",
            "shadow_mode",
        ],
        warned: &[(
            "a client is told by the end of its connection alone",
            &["send_tls_alert_on_denial"],
        )],
        refused: &[("only untyped metadata is kept", &["typed_metadata_context_namespaces"])],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.ratelimit.v3.RateLimit",
        honoured: &[
            "stat_prefix",
            "domain",
            "descriptors",
            "timeout",
            "failure_mode_deny",
            "rate_limit_service",
        ],
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
