//! Clients, scopes and local replies of HTTP connection managers.

use crate::support::MessageSupport;

pub(super) const MESSAGES: &[MessageSupport] = &[
    MessageSupport {
        name: "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes",
        honoured: &[
            "name",
            "scope_key_builder",
            "rds_config_source",
            "scoped_route_configurations_list",
            "scoped_rds",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder",
        honoured: &["fragments"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder",
        honoured: &["header_value_extractor"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor",
        honoured: &["name", "element_separator", "index", "element"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor.KvElement",
        honoured: &["separator", "key"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRouteConfigurationsList",
        honoured: &["scoped_route_configurations"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRds",
        honoured: &["scoped_rds_config_source"],
        warned: &[],
        refused: &[("this proxy does not have it", &["srds_resources_locator"])],
    },
    MessageSupport {
        name: "envoy.config.route.v3.ScopedRouteConfiguration",
        honoured: &["on_demand", "name", "route_configuration_name", "route_configuration", "key"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.route.v3.ScopedRouteConfiguration.Key",
        honoured: &["fragments"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.route.v3.ScopedRouteConfiguration.Key.Fragment",
        honoured: &["string_key"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig",
        honoured: &["mappers", "body_format"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper",
        honoured: &["filter", "status_code", "body", "body_format_override", "headers_to_add"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ForwardClientCertConfig",
        honoured: &["forward_client_cert_details", "set_current_client_cert_details"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig",
        honoured: &["xff_num_trusted_hops", "xff_trusted_cidrs", "skip_xff_append"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.http.original_ip_detection.xff.v3.XffTrustedCidrs",
        honoured: &["cidrs"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig",
        honoured: &[
            "header_name",
            "allow_extension_to_set_address_as_trusted",
            "reject_with_status",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.type.v3.HttpStatus",
        honoured: &["code"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        honoured: &["mutations"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.common.mutation_rules.v3.HeaderMutation",
        honoured: &["remove", "append", "remove_on_match"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.common.mutation_rules.v3.HeaderMutation.RemoveOnMatch",
        honoured: &["key_matcher"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.SchemeHeaderTransformation",
        honoured: &["scheme_to_overwrite", "match_upstream"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords",
        honoured: &[],
        warned: &[],
        refused: &[],
    },
];
