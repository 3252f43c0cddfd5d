//! What carries bytes and datagrams, and what goes ahead of them.

use crate::support::MessageSupport;

pub(super) const MESSAGES: &[MessageSupport] = &[
    MessageSupport {
        name: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        honoured: &[
            "stat_prefix",
            "cluster",
            "weighted_clusters",
            "metadata_match",
            "idle_timeout",
            "access_log",
            "access_log_flush_interval",
            "flush_access_log_on_connected",
            "access_log_options",
            "max_connect_attempts",
            "backoff_options",
            "hash_policy",
            "tunneling_config",
            "max_downstream_connection_duration",
            "max_downstream_connection_duration_jitter_percentage",
            "on_demand",
        ],
        warned: &[
            ("connections drain with their listener", &["check_drain_close"]),
            (
                "no Envoy has them either; use idle_timeout, which both sides share",
                &["downstream_idle_timeout", "upstream_idle_timeout"],
            ),
        ],
        refused: &[(
            "this proxy does not have it",
            &[
                "proxy_protocol_tlvs",
                "proxy_protocol_tlv_merge_policy",
                "upstream_connect_mode",
                "max_early_data_bytes",
            ],
        )],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.OnDemand",
        honoured: &["odcds_config", "resources_locator", "timeout"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster",
        honoured: &["clusters"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight",
        honoured: &["name", "weight", "metadata_match"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions",
        honoured: &[
            "access_log_flush_interval",
            "flush_access_log_on_connected",
            "flush_access_log_on_start",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig",
        honoured: &["hostname", "use_post", "post_path", "headers_to_add"],
        warned: &[
            (
                "no filter reads what a tunnel answers",
                &["propagate_response_headers", "propagate_response_trailers"],
            ),
            ("commands of formatters are written as they are known here", &["formatters"]),
        ],
        refused: &[(
            "write the header in headers_to_add",
            &["request_id_extension", "request_id_header", "request_id_metadata_key"],
        )],
    },
    MessageSupport {
        name: "envoy.config.core.v3.BackoffStrategy",
        honoured: &["base_interval", "max_interval"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.type.v3.HashPolicy",
        honoured: &["source_ip"],
        warned: &[],
        refused: &[("use source_ip", &["filter_state"])],
    },
    MessageSupport {
        name: "envoy.type.v3.HashPolicy.SourceIp",
        honoured: &[],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        honoured: &["config", "transport_socket"],
        warned: &[
            ("a header always tells addresses", &["allow_unspecified_address"]),
            ("connections are shared only by requests of one client", &["tlv_as_pool_key"]),
        ],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.ProxyProtocolConfig",
        honoured: &["version", "pass_through_tlvs", "added_tlvs"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.ProxyProtocolPassThroughTLVs",
        honoured: &["match_type", "tlv_type"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.TlvEntry",
        honoured: &["type", "value"],
        warned: &[],
        refused: &[("write the value itself", &["format_string"])],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
        honoured: &["transport_socket"],
        warned: &[("a listener within the proxy is told no metadata", &["passthrough_metadata"])],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.EnvoyInternalAddress",
        honoured: &["server_listener_name", "endpoint_id"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.listener.v3.Listener.InternalListenerConfig",
        honoured: &[],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.listener.v3.UdpListenerConfig",
        honoured: &["downstream_socket_config"],
        warned: &[(
            "datagrams are written by the proxy itself",
            &["udp_packet_packet_writer_config"],
        )],
        refused: &[("this proxy does not speak QUIC", &["quic_options"])],
    },
    MessageSupport {
        name: "envoy.config.core.v3.UdpSocketConfig",
        honoured: &["max_rx_datagram_size"],
        warned: &[("an optimization of the operating system", &["prefer_gro"])],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
        honoured: &[
            "stat_prefix",
            "cluster",
            "matcher",
            "idle_timeout",
            "hash_policies",
            "upstream_socket_config",
            "use_per_packet_load_balancing",
            "access_log",
            "proxy_access_log",
        ],
        warned: &[("lines are written when a session ends", &["access_log_options"])],
        refused: &[(
            "this proxy does not have it",
            &["use_original_src_ip", "session_filters", "tunneling_config"],
        )],
    },
    MessageSupport {
        name: "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig.HashPolicy",
        honoured: &["source_ip", "key"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.udp.udp_proxy.v3.Route",
        honoured: &["cluster"],
        warned: &[],
        refused: &[],
    },
];
