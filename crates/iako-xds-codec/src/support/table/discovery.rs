//! Kinds of clusters that are extensions, and how names are resolved.

use crate::support::MessageSupport;

const WITHOUT: &str = "this proxy does not have it";

pub(super) const MESSAGES: &[MessageSupport] = &[
    MessageSupport {
        name: "envoy.config.cluster.v3.Cluster.CustomClusterType",
        honoured: &["name", "typed_config"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.cluster.v3.Cluster.RefreshRate",
        honoured: &["base_interval", "max_interval"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.DnsResolutionConfig",
        honoured: &["resolvers", "dns_resolver_options"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.DnsResolverOptions",
        honoured: &["use_tcp_for_dns_lookups", "no_default_search_domain"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.ExtraSourceAddress",
        honoured: &["address"],
        warned: &[],
        refused: &[(WITHOUT, &["socket_options"])],
    },
    MessageSupport {
        name: "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        honoured: &["resolvers", "dns_resolver_options", "query_timeout_seconds", "query_tries"],
        warned: &[
            (
                "the proxy's own resolver asks as it does",
                &[
                    "filter_unroutable_families",
                    "udp_max_queries",
                    "rotate_nameservers",
                    "edns0_max_payload_size",
                    "max_udp_channel_duration",
                    "reinit_channel_on_timeout",
                ],
            ),
            ("answers are not cached beside the cluster", &["qcache_max_ttl"]),
            ("the servers that are named are asked", &["use_resolvers_as_fallback"]),
        ],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig",
        honoured: &[],
        warned: &[(
            "the system's servers are asked by the proxy itself",
            &["num_retries", "num_resolver_threads"],
        )],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.clusters.dns.v3.DnsCluster",
        honoured: &[
            "dns_refresh_rate",
            "dns_failure_refresh_rate",
            "respect_dns_ttl",
            "dns_jitter",
            "typed_dns_resolver_config",
            "dns_lookup_family",
            "all_addresses_in_single_endpoint",
            "dns_min_refresh_rate",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate",
        honoured: &["base_interval", "max_interval"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.clusters.aggregate.v3.ClusterConfig",
        honoured: &["clusters"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.clusters.original_dst.v3.OriginalDstCluster",
        honoured: &[
            "use_http_header",
            "http_header_name",
            "upstream_port_override",
            "metadata_key",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
        honoured: &["dns_cache_config"],
        warned: &[
            (
                "server names and their checks are as the transport says",
                &["allow_insecure_cluster_options"],
            ),
            ("every host has connections of its own", &["allow_coalesced_connections"]),
        ],
        refused: &[("write a dns_cache_config", &["sub_clusters_config"])],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
        honoured: &[
            "dns_cache_config",
            "allow_dynamic_host_from_filter_state",
            "save_upstream_address",
        ],
        warned: &[],
        refused: &[("write a dns_cache_config", &["sub_cluster_config"])],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig",
        honoured: &["host_rewrite_literal", "host_rewrite_header"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig",
        honoured: &[
            "name",
            "dns_lookup_family",
            "dns_refresh_rate",
            "dns_min_refresh_rate",
            "host_ttl",
            "max_hosts",
            "dns_failure_refresh_rate",
            "dns_cache_circuit_breaker",
            "use_tcp_for_dns_lookups",
            "dns_resolution_config",
            "typed_dns_resolver_config",
            "dns_query_timeout",
        ],
        warned: &[
            ("names are resolved when they are asked for", &["preresolve_hostnames"]),
            (
                "a name that failed is asked for again with the next request",
                &["disable_dns_refresh_on_failure"],
            ),
            ("names are not kept over restarts", &["key_value_config"]),
        ],
        refused: &[(WITHOUT, &["resolved_address_filter"])],
    },
    MessageSupport {
        name: "envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheCircuitBreakers",
        honoured: &["max_pending_requests"],
        warned: &[],
        refused: &[],
    },
];
