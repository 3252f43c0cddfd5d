//! What a proxy starts with.

use crate::support::MessageSupport;

pub(super) const MESSAGES: &[MessageSupport] = &[
    MessageSupport {
        name: "envoy.config.bootstrap.v3.Bootstrap",
        honoured: &[
            "node",
            "static_resources",
            "dynamic_resources",
            "admin",
            "cluster_manager",
            "layered_runtime",
            "tracing",
            "overload_manager",
            "stats_config",
        ],
        warned: &[
            (
                "only prometheus and admin statistics are written",
                &[
                    "stats_sinks",
                    "deferred_stat_options",
                    "stats_flush_interval",
                    "stats_flush_on_admin",
                    "stats_eviction_interval",
                    "enable_dispatcher_stats",
                    "stats_server_version_override",
                ],
            ),
            (
                "the process watches over itself",
                &[
                    "watchdog",
                    "watchdogs",
                    "fatal_actions",
                    "perf_tracing_file_path",
                    "application_log_config",
                    "grpc_async_client_manager_config",
                    "memory_allocator_manager",
                    "enable_worker_cpu_affinity",
                ],
            ),
            ("there is no runtime to change it", &["flags_path"]),
            (
                "names are resolved by the proxy itself",
                &["use_tcp_for_dns_lookups", "dns_resolution_config", "typed_dns_resolver_config"],
            ),
            (
                "extensions of the process do not exist here",
                &[
                    "bootstrap_extensions",
                    "default_socket_interface",
                    "inline_headers",
                    "default_regex_engine",
                    "xds_config_tracker_extension",
                ],
            ),
            ("node parameters are sent whole", &["node_context_params"]),
        ],
        refused: &[(
            "this proxy does not have it",
            &[
                "hds_config",
                "header_prefix",
                "config_sources",
                "default_config_source",
                "certificate_provider_instances",
                "xds_delegate_extension",
                "listener_manager",
            ],
        )],
    },
    MessageSupport {
        name: "envoy.config.metrics.v3.StatsConfig",
        honoured: &["histogram_bucket_settings"],
        warned: &[
            (
                "Prometheus is told the labels that Envoy takes out of names",
                &["stats_tags", "use_all_default_tags", "allow_default_tag_overrides"],
            ),
            ("all statistics are kept, and chosen when they are asked for", &["stats_matcher"]),
        ],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.metrics.v3.HistogramBucketSettings",
        honoured: &["match", "buckets"],
        warned: &[("the finest buckets are always the same", &["bins"])],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.bootstrap.v3.ClusterManager",
        honoured: &["local_cluster_name", "load_stats_config", "outlier_detection"],
        warned: &[
            ("clusters bind themselves", &["upstream_bind_config"]),
            ("clusters are made at once", &["enable_deferred_cluster_creation"]),
        ],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.bootstrap.v3.ClusterManager.OutlierDetection",
        honoured: &["event_log_path"],
        warned: &[("events are written to files", &["event_service"])],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.bootstrap.v3.Bootstrap.StaticResources",
        honoured: &["listeners", "clusters", "secrets"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.bootstrap.v3.Bootstrap.DynamicResources",
        honoured: &["lds_config", "cds_config", "ads_config"],
        warned: &[],
        refused: &[(
            "this proxy does not have it",
            &["lds_resources_locator", "cds_resources_locator"],
        )],
    },
    MessageSupport {
        name: "envoy.config.bootstrap.v3.Admin",
        honoured: &["address"],
        warned: &[
            ("the admin endpoint is not logged", &["access_log", "access_log_path"]),
            ("profiles are not written", &["profile_path"]),
            ("there is no global limit of connections", &["ignore_global_conn_limit"]),
        ],
        refused: &[("this proxy does not have it", &["socket_options", "allow_paths"])],
    },
    MessageSupport {
        name: "envoy.config.core.v3.Node",
        honoured: &["id", "cluster", "metadata", "locality"],
        warned: &[(
            "the proxy says of itself what it is",
            &[
                "dynamic_parameters",
                "user_agent_name",
                "user_agent_version",
                "user_agent_build_version",
                "extensions",
                "client_features",
                "listening_addresses",
            ],
        )],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.bootstrap.v3.LayeredRuntime",
        honoured: &["layers"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.bootstrap.v3.RuntimeLayer",
        honoured: &["name", "static_layer", "disk_layer", "admin_layer", "rtds_layer"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.bootstrap.v3.RuntimeLayer.DiskLayer",
        honoured: &["symlink_root", "subdirectory", "append_service_cluster"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.bootstrap.v3.RuntimeLayer.AdminLayer",
        honoured: &[],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.bootstrap.v3.RuntimeLayer.RtdsLayer",
        honoured: &["name", "rtds_config"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.service.runtime.v3.Runtime",
        honoured: &["name", "layer"],
        warned: &[],
        refused: &[],
    },
];
