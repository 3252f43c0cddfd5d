//! Network filters that look at nothing but the connection.

use crate::support::MessageSupport;

/// Why something of a protocol is not done that passes as bytes.
const UNREAD: &str = "connections of this protocol pass as bytes, and nothing of it is read";

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
        name: "envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy",
        honoured: &["stat_prefix"],
        warned: &[(UNREAD, &["access_log", "commands", "max_bson_depth"])],
        refused: &[(UNREAD, &["delay", "emit_dynamic_metadata"])],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy",
        honoured: &["stat_prefix"],
        warned: &[(UNREAD, &["access_log"])],
        refused: &[(UNREAD, &["downstream_ssl"])],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.postgres_proxy.v3alpha.PostgresProxy",
        honoured: &["stat_prefix"],
        warned: &[(UNREAD, &["enable_sql_parsing"])],
        refused: &[(UNREAD, &["terminate_ssl", "upstream_ssl", "downstream_ssl"])],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
        honoured: &["stat_prefix", "prefix_routes"],
        warned: &[(
            UNREAD,
            &["settings", "latency_in_micros", "custom_commands", "protocol_version"],
        )],
        refused: &[(
            UNREAD,
            &[
                "downstream_auth_password",
                "downstream_auth_passwords",
                "downstream_auth_username",
                "external_auth_provider",
                "faults",
            ],
        )],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy.PrefixRoutes",
        honoured: &["catch_all_route"],
        warned: &[(UNREAD, &["case_insensitive"])],
        refused: &[(UNREAD, &["routes"])],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy.PrefixRoutes.Route",
        honoured: &["cluster"],
        warned: &[],
        refused: &[(
            UNREAD,
            &[
                "prefix",
                "remove_prefix",
                "request_mirror_policy",
                "key_formatter",
                "read_command_policy",
            ],
        )],
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
