//! HTTP filters that count, tag, or answer what is asked of the proxy itself.

use crate::support::MessageSupport;

pub(super) const MESSAGES: &[MessageSupport] = &[
    MessageSupport {
        name: "envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata",
        honoured: &["request_rules", "response_rules"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata.MatchRules",
        honoured: &[
            "rules",
            "allow_content_types",
            "allow_empty_content_type",
            "allow_content_types_regex",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata.Rule",
        honoured: &["selectors", "on_present", "on_missing", "on_error"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata.Selector",
        honoured: &["key"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata.KeyValuePair",
        honoured: &[
            "metadata_namespace",
            "key",
            "value",
            "type",
            "preserve_existing_metadata_value",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.set_filter_state.v3.Config",
        honoured: &["on_request_headers", "clear_route_cache"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        honoured: &[
            "emit_filter_state",
            "individual_method_stats_allowlist",
            "stats_for_all_methods",
            "enable_upstream_stats",
            "replace_dots_in_grpc_service_name",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.GrpcMethodList",
        honoured: &["services"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.GrpcMethodList.Service",
        honoured: &["name", "method_names"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.health_check.v3.HealthCheck",
        honoured: &[
            "pass_through_mode",
            "cache_time",
            "cluster_min_healthy_percentages",
            "headers",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.ip_tagging.v3.IPTagging",
        honoured: &["request_type", "ip_tags", "ip_tag_header", "ip_tags_datasource"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.ip_tagging.v3.IPTagging.IPTag",
        honoured: &["ip_tag_name", "ip_list"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.ip_tagging.v3.IPTagging.IPTags",
        honoured: &["ip_tags"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.ip_tagging.v3.IPTagging.IpTagHeader",
        honoured: &["header", "action"],
        warned: &[],
        refused: &[],
    },
];
