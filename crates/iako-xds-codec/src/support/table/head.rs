//! HTTP filters that look at heads and change them, or leave facts for others.

use crate::support::MessageSupport;

pub(super) const MESSAGES: &[MessageSupport] = &[
    MessageSupport {
        name: "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        honoured: &["mutations", "most_specific_header_mutations_wins"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
        honoured: &["mutations"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.header_mutation.v3.Mutations",
        honoured: &["request_mutations", "query_parameter_mutations", "response_mutations"],
        warned: &[],
        refused: &[(
            "trailers go as they come",
            &["response_trailers_mutations", "request_trailers_mutations"],
        )],
    },
    MessageSupport {
        name: "envoy.config.core.v3.KeyValueMutation",
        honoured: &["append", "remove"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.KeyValueAppend",
        honoured: &["record", "action"],
        warned: &[],
        refused: &[("write `record`", &["entry"])],
    },
    MessageSupport {
        name: "envoy.config.core.v3.KeyValuePair",
        honoured: &["key", "value"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.set_metadata.v3.Config",
        honoured: &["metadata_namespace", "value", "metadata"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.set_metadata.v3.Metadata",
        honoured: &["metadata_namespace", "allow_overwrite", "value"],
        warned: &[],
        refused: &[("write `value`", &["typed_value"])],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.header_to_metadata.v3.Config",
        honoured: &["request_rules", "response_rules"],
        warned: &[("statistics only", &["stat_prefix"])],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.header_to_metadata.v3.Config.Rule",
        honoured: &["header", "cookie", "on_header_present", "on_header_missing", "remove"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.http.header_to_metadata.v3.Config.KeyValuePair",
        honoured: &["metadata_namespace", "key", "value", "regex_value_rewrite", "type", "encode"],
        warned: &[],
        refused: &[],
    },
];
