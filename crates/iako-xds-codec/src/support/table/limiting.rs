//! Filters of this proxy's own that hold requests back by how many there are.

use crate::support::MessageSupport;

pub(super) const MESSAGES: &[MessageSupport] = &[
    MessageSupport {
        name: "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        honoured: &[
            "stat_prefix",
            "status",
            "token_bucket",
            "filter_enabled",
            "filter_enforced",
            "request_headers_to_add_when_not_enforced",
            "response_headers_to_add",
            "descriptors",
            "stage",
            "local_rate_limit_per_downstream_connection",
            "local_cluster_rate_limit",
            "enable_x_ratelimit_headers",
            "vh_rate_limits",
            "always_consume_default_token_bucket",
            "rate_limited_as_resource_exhausted",
            "rate_limits",
            "max_dynamic_descriptors",
        ],
        warned: &[],
        refused: &[("this proxy does not have it", &["enable_retry_after_header"])],
    },
    MessageSupport {
        name: "envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor",
        honoured: &["entries", "token_bucket", "shadow_mode"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry",
        honoured: &["key", "value"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.common.ratelimit.v3.LocalClusterRateLimit",
        honoured: &[],
        warned: &[],
        refused: &[],
    },
];
