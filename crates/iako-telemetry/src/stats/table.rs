//! The statistics that the proxy keeps, with their meaning: the second half of `docs/metrics.md`.

use super::Stat;
use crate::metrics::MetricKind;

macro_rules! stats {
    ($($scope:literal { $($kind:ident $leaf:literal $meaning:literal;)* })*) => {
        /// Every statistic with a fixed name, by prefix.
        pub static STATS: &[Stat] = &[$($(Stat {
            scope: $scope,
            leaf: $leaf,
            kind: MetricKind::$kind,
            meaning: $meaning,
        },)*)*];
    };
}

stats! {
    "cluster.<name>" {
        Counter "upstream_cx_total" "connections made";
        Gauge "upstream_cx_active" "connections open";
        Counter "upstream_cx_http1_total" "connections made that speak HTTP/1";
        Counter "upstream_cx_http2_total" "connections made that speak HTTP/2";
        Counter "upstream_cx_connect_fail" "connections that could not be made";
        Counter "upstream_cx_connect_timeout" "of these, for lack of an answer in time";
        Counter "upstream_cx_connect_attempts_exceeded" "TCP connections given up after the last try";
        Counter "upstream_cx_overflow" "times the breaker on connections was full";
        Counter "upstream_cx_destroy" "connections closed";
        Counter "upstream_cx_destroy_local" "of these, by the proxy";
        Counter "upstream_cx_destroy_remote" "of these, by the server";
        Counter "upstream_cx_destroy_with_active_rq" "connections closed with a request on them";
        Counter "upstream_cx_destroy_local_with_active_rq" "of these, by the proxy";
        Counter "upstream_cx_destroy_remote_with_active_rq" "of these, by the server";
        Histogram "upstream_cx_length_ms" "time from the making of a connection to its end";
        Counter "upstream_cx_max_requests" "connections closed after as many requests as they may carry";
        Counter "upstream_cx_close_notify" "connections closed because the server said so with a response";
        Counter "upstream_cx_idle_timeout" "connections closed for want of requests";
        Counter "upstream_cx_protocol_error" "connections on which the server broke the protocol";
        Counter "udp.sess_rx_datagrams" "datagrams received";
        Counter "udp.sess_rx_datagrams_dropped" "of these, too large to be carried";
        Counter "udp.sess_rx_errors" "datagrams that could not be received";
        Counter "udp.sess_tx_datagrams" "datagrams sent";
        Counter "udp.sess_tx_errors" "datagrams that could not be sent";
        Counter "upstream_cx_rx_bytes_total" "bytes received";
        Counter "upstream_cx_tx_bytes_total" "bytes sent";
        Histogram "upstream_cx_connect_ms" "time to make a connection";
        Counter "assignment_timeout_received" "sets of endpoints that have to be sent again in time";
        Counter "assignment_stale" "of these, forgotten because they were not";
        Counter "upstream_rq_total" "requests sent, every attempt counted";
        Gauge "upstream_rq_active" "requests without a complete answer";
        Counter "upstream_rq_completed" "requests with a complete answer";
        Counter "upstream_rq_<class>xx" "answers of the class 1xx to 5xx; each status has one of its own, too";
        Counter "internal.upstream_rq_<class>xx" "answers to internal clients, also by status and in all";
        Counter "external.upstream_rq_<class>xx" "answers to other clients, also by status and in all";
        Counter "retry.upstream_rq_<class>xx" "answers in whose place another attempt was made, also by status and in all";
        Gauge "upstream_rq_pending_active" "requests that wait for a connection";
        Counter "upstream_rq_pending_failure_eject" "requests whose connection could not be made";
        Counter "upstream_rq_pending_total" "requests that had to wait for a connection";
        Counter "upstream_rq_pending_overflow" "requests refused because too many wait";
        Counter "upstream_rq_maintenance_mode" "requests refused because an operator has the cluster in maintenance";
        Counter "upstream_rq_timeout" "requests without an answer in time";
        Counter "upstream_rq_per_try_timeout" "attempts without an answer in time";
        Counter "upstream_rq_rx_reset" "requests that the upstream reset";
        Counter "upstream_rq_retry" "second and later attempts";
        Counter "upstream_rq_retry_success" "of these, with an answer that was not to be retried";
        Counter "upstream_rq_retry_overflow" "attempts that the breaker on retries forbade";
        Counter "upstream_rq_retry_limit_exceeded" "requests out of attempts";
        Counter "upstream_rq_retry_backoff_exponential" "retries that waited as the policy says";
        Counter "upstream_rq_retry_backoff_ratelimited" "retries that waited as the upstream asked";
        Counter "upstream_rq_per_try_idle_timeout" "attempts on which nothing moved for too long";
        Counter "ext_authz.ok" "requests that an authorization service let pass";
        Counter "ext_authz.denied" "requests that it refused";
        Counter "ext_authz.error" "requests about which it could not be asked";
        Counter "ext_authz.failure_mode_allowed" "of these, requests that passed nevertheless";
        Counter "ratelimit.ok" "requests that a service did not count as one too many";
        Counter "ratelimit.over_limit" "requests that it counted as one too many";
        Counter "ratelimit.error" "requests about which it could not be asked";
        Counter "ratelimit.failure_mode_allowed" "of these, requests that passed nevertheless";
        Counter "retry_or_shadow_abandoned" "requests too large to be kept for another attempt or a copy";
        Counter "upstream_internal_redirect_succeeded_total" "redirects of the upstream that were followed";
        Counter "upstream_internal_redirect_failed_total" "redirects of the upstream that were passed on";
        Counter "upstream_cx_pool_overflow" "times the breaker on pools of connections was full";
        Gauge "circuit_breakers.<priority>.cx_open" "1 while the breaker on connections is full";
        Gauge "circuit_breakers.<priority>.cx_pool_open" "1 while the breaker on pools is full";
        Gauge "circuit_breakers.<priority>.rq_pending_open" "1 while the breaker on waiting requests is full";
        Gauge "circuit_breakers.<priority>.rq_open" "1 while the breaker on requests is full";
        Gauge "circuit_breakers.<priority>.rq_retry_open" "1 while the breaker on retries is full";
        Gauge "circuit_breakers.<priority>.remaining_cx" "connections left, where that is tracked";
        Gauge "circuit_breakers.<priority>.remaining_cx_pools" "pools left, where that is tracked";
        Gauge "circuit_breakers.<priority>.remaining_pending" "waiting requests left, where that is tracked";
        Gauge "circuit_breakers.<priority>.remaining_rq" "requests left, where that is tracked";
        Gauge "circuit_breakers.<priority>.remaining_retries" "retries left, where that is tracked";
        Counter "upstream_cx_none_healthy" "requests for which no endpoint was healthy";
        Counter "lb_healthy_panic" "choices among all endpoints, because too few were healthy";
        Counter "lb_zone_routing_all_directly" "choices in the proxy's own place, as all are";
        Counter "lb_zone_routing_sampled" "choices in the proxy's own place, as a part is";
        Counter "lb_zone_routing_cross_zone" "choices in another place, where there is room";
        Counter "lb_zone_no_capacity_left" "choices in any place, because no place had room";
        Counter "lb_subsets_selected" "choices in a subset";
        Counter "lb_subsets_fallback" "choices by the fallback of subsets";
        Counter "lb_subsets_fallback_panic" "choices among all, because the fallback had nobody";
        Gauge "membership_total" "endpoints known";
        Gauge "membership_healthy" "endpoints that take their full share";
        Gauge "membership_degraded" "endpoints that take traffic when the healthy ones are not enough";
        Gauge "membership_excluded" "endpoints that do not count when panic is decided";
        Counter "membership_change" "changes of the endpoints";
        Counter "health_check.attempt" "active checks begun";
        Counter "health_check.success" "active checks passed";
        Counter "health_check.failure" "active checks failed, and endpoints that asked to be left alone";
        Counter "health_check.passive_failure" "endpoints that asked to be left alone";
        Counter "health_check.network_failure" "active checks without an answer";
        Counter "health_check.verify_cluster" "checks whose answer had to name the cluster";
        Gauge "health_check.healthy" "endpoints that pass their active checks";
        Gauge "health_check.degraded" "endpoints whose checks say that they are degraded";
        Gauge "outlier_detection.ejections_active" "endpoints ejected now";
        Counter "outlier_detection.ejections_total" "ejections for server errors in a row and for success rate";
        Counter "outlier_detection.ejections_enforced_total" "ejections that took effect";
        Counter "outlier_detection.ejections_overflow" "outliers kept because too many are ejected";
        Counter "outlier_detection.ejections_consecutive_5xx" "outliers found for server errors in a row";
        Counter "outlier_detection.ejections_success_rate" "outliers found for their success rate";
        Counter "outlier_detection.ejections_detected_consecutive_5xx" "outliers found for server errors in a row";
        Counter "outlier_detection.ejections_enforced_consecutive_5xx" "of these, ejected";
        Counter "outlier_detection.ejections_detected_consecutive_gateway_failure" "outliers found for gateway failures in a row";
        Counter "outlier_detection.ejections_enforced_consecutive_gateway_failure" "of these, ejected";
        Counter "outlier_detection.ejections_detected_consecutive_local_origin_failure" "outliers found for failures to reach them in a row";
        Counter "outlier_detection.ejections_enforced_consecutive_local_origin_failure" "of these, ejected";
        Counter "outlier_detection.ejections_detected_success_rate" "outliers found for far fewer good answers than the others";
        Counter "outlier_detection.ejections_enforced_success_rate" "of these, ejected";
        Counter "outlier_detection.ejections_detected_local_origin_success_rate" "outliers found for far more failures to reach them than the others";
        Counter "outlier_detection.ejections_enforced_local_origin_success_rate" "of these, ejected";
        Counter "outlier_detection.ejections_detected_failure_percentage" "outliers found for too many bad answers";
        Counter "outlier_detection.ejections_enforced_failure_percentage" "of these, ejected";
        Counter "outlier_detection.ejections_detected_local_origin_failure_percentage" "outliers found for too many failures to reach them";
        Counter "outlier_detection.ejections_enforced_local_origin_failure_percentage" "of these, ejected";
        Counter "ssl.handshake" "TLS handshakes that succeeded";
        Counter "ssl.fail_verify_san" "handshakes refused for the name in the certificate";
        Counter "ssl.connection_error" "handshakes that failed otherwise";
        Counter "update_attempt" "times that endpoints were asked for, read or resolved";
        Counter "update_success" "updates of the endpoints that were accepted";
        Counter "update_failure" "files that could not be read, servers that were lost, resolutions that failed";
        Counter "update_rejected" "endpoints that were refused";
        Counter "update_empty" "answers that held nothing";
        Counter "config_reload" "endpoints that changed something";
        Counter "init_fetch_timeout" "first endpoints that were not waited for any longer";
        Gauge "version" "a hash of the version in use";
        Counter "update_no_rebuild" "updates that changed nothing";
        Counter "original_dst_host_invalid" "requests whose header named no address";
    }
    "cluster.<name>.http2" {
        Counter "rx_messaging_error" "streams and connections lost because the upstream broke the protocol";
        Counter "keepalive_timeout" "connections closed because a probe was not answered";
        Counter "outbound_flood" "connections closed because too many frames waited to be written";
        Counter "outbound_control_flood" "connections closed because too many answers to control frames waited";
        Counter "inbound_empty_frames_flood" "connections closed for frames in a row that held nothing";
        Counter "inbound_priority_frames_flood" "connections closed for PRIORITY frames";
        Counter "inbound_window_update_frames_flood" "connections closed for WINDOW_UPDATE frames";
        Counter "inbound_settings_frames_flood" "connections closed for SETTINGS frames";
        Counter "premature_reset_flood" "connections closed for streams that were reset early";
        Counter "inbound_continuation_frames_flood" "connections closed for CONTINUATION frames";
        Counter "inbound_tiny_frames_flood" "connections closed for tiny frames that nobody took yet";
    }
    "vhost.<name>.vcluster.<virtual cluster>" {
        Counter "upstream_rq_total" "requests sent, every attempt counted";
        Counter "upstream_rq_completed" "requests with an answer, ours included";
        Counter "upstream_rq_<class>xx" "answers of the class 1xx to 5xx";
        Counter "upstream_rq_<code>" "answers with this status, from the first on";
        Counter "upstream_rq_timeout" "attempts without an answer in time";
        Counter "upstream_rq_retry" "second and later attempts";
        Counter "upstream_rq_retry_success" "of these, with an answer that was not to be retried";
        Counter "upstream_rq_retry_overflow" "attempts that the breaker on retries forbade";
        Counter "upstream_rq_retry_limit_exceeded" "requests out of attempts";
        Histogram "upstream_rq_time" "time from the end of the request to that of its answer";
    }
    "vhost.<name>.route.<stat_prefix>" {
        Counter "upstream_rq_total" "requests sent, every attempt counted";
        Counter "upstream_rq_completed" "requests with an answer, ours included";
        Counter "upstream_rq_<class>xx" "answers of the class 1xx to 5xx";
        Counter "upstream_rq_<code>" "answers with this status, from the first on";
        Counter "upstream_rq_timeout" "attempts without an answer in time";
        Counter "upstream_rq_retry" "second and later attempts";
        Counter "upstream_rq_retry_success" "of these, with an answer that was not to be retried";
        Counter "upstream_rq_retry_overflow" "attempts that the breaker on retries forbade";
        Counter "upstream_rq_retry_limit_exceeded" "requests out of attempts";
        Histogram "upstream_rq_time" "time from the end of the request to that of its answer";
    }
    "listener.<address>" {
        Counter "downstream_rx_datagram_dropped" "datagrams of clients too large to be taken";
        Counter "downstream_cx_total" "connections accepted";
        Gauge "downstream_cx_active" "connections open";
        Counter "downstream_cx_destroy" "connections closed";
        Counter "downstream_cx_overflow" "connections refused at a limit";
        Counter "downstream_global_cx_overflow" "connections refused at the limit of the whole proxy";
        Counter "downstream_cx_transport_socket_connect_timeout" "TLS handshakes that took too long";
        Counter "downstream_pre_cx_timeout" "connections of which too little was found out in time";
        Counter "downstream_listener_filter_error" "connections closed by a listener filter";
        Counter "downstream_listener_filter_remote_close" "connections that ended before enough was found out";
        Counter "extension_config_missing" "connections closed because settings of a listener filter have not arrived";
        Counter "network_extension_config_missing" "connections closed because settings of a network filter have not arrived";
        Counter "no_filter_chain_match" "connections closed because no filter chain matches";
        Counter "ssl.handshake" "TLS handshakes that succeeded";
        Counter "ssl.connection_error" "TLS handshakes that failed";
        Counter "ssl.fail_verify_error" "handshakes refused because the client's certificate did not verify";
        Counter "ssl.fail_verify_no_cert" "handshakes refused because the client showed no certificate";
        Counter "ssl.fail_verify_san" "handshakes refused because of the names in the client's certificate";
        Counter "ssl.fail_verify_cert_hash" "handshakes refused because the client's certificate is not pinned";
        Counter "ssl.no_certificate" "handshakes without a client certificate";
        Counter "ssl.session_reused" "handshakes that took up an earlier session";
    }
    "http.<stat_prefix>" {
        Counter "downstream_cx_total" "connections that speak HTTP";
        Gauge "downstream_cx_active" "of these, open";
        Counter "downstream_cx_http1_total" "connections that speak HTTP/1";
        Counter "downstream_cx_http2_total" "connections that speak HTTP/2";
        Counter "downstream_cx_protocol_error" "connections closed because the client broke the protocol";
        Counter "downstream_rq_total" "requests received";
        Counter "downstream_rq_http1_total" "of these, by HTTP/1";
        Counter "downstream_rq_http2_total" "of these, by HTTP/2";
        Gauge "downstream_rq_active" "requests without a complete answer";
        Counter "downstream_rq_completed" "requests answered";
        Counter "downstream_rq_<class>xx" "answers of the class 1xx to 5xx";
        Counter "downstream_rq_rx_reset" "requests that the client reset";
        Counter "downstream_rq_timeout" "requests that did not arrive in time";
        Counter "downstream_rq_idle_timeout" "requests on which nothing moved for too long";
        Histogram "downstream_rq_time" "time from the request to the complete answer";
        Counter "passthrough_internal_redirect_bad_location" "redirects passed on: their location is no URL";
        Counter "passthrough_internal_redirect_unsafe_scheme" "redirects passed on: to another scheme";
        Counter "passthrough_internal_redirect_too_many_redirects" "redirects passed on: one too many";
        Counter "passthrough_internal_redirect_no_route" "redirects passed on: no route takes them";
        Counter "passthrough_internal_redirect_predicate" "redirects passed on: a predicate says so";
        Counter "no_route" "requests that match no route";
        Counter "no_cluster" "requests whose route names an unknown cluster";
        Counter "rq_direct_response" "requests that a route answered itself";
        Counter "rq_redirect" "requests that a route redirected";
        Counter "rq_total" "requests that reached the router";
        Counter "fault.aborts_injected" "requests that a fault aborted";
        Counter "fault.delays_injected" "requests that a fault delayed";
        Counter "fault.response_rl_injected" "responses whose content a fault held back";
        Counter "downstream_rq_too_large" "requests with more content than a filter gathers";
        Counter "csrf.request_valid" "requests of the host's own pages, or of those that may";
        Counter "csrf.request_invalid" "requests of pages of other origins";
        Counter "csrf.missing_source_origin" "of these, requests that do not say of which";
        Counter "rbac.allowed" "requests allowed";
        Counter "rbac.denied" "requests denied";
        Counter "rbac.shadow_allowed" "requests that rules in a dry run would allow";
        Counter "rbac.shadow_denied" "requests that rules in a dry run would deny";
        Counter "set_metadata.overwrite_denied" "facts that were not left because others were there under their name";
        Counter "cors.origin_valid" "requests of pages of other origins that may";
        Counter "cors.origin_invalid" "requests of pages of other origins that may not";
        Gauge "fault.active_faults" "requests with a fault under way";
        Counter "fault.faults_overflow" "requests without a fault because too many were under way";
        Counter "jwt_authn.allowed" "requests whose token was accepted or not needed (a prefix of the filter stands before the last part)";
        Counter "jwt_authn.denied" "requests refused for their token";
        Counter "jwt_authn.cors_preflight_bypassed" "of those allowed, cross-origin preflights that were not looked at";
        Counter "jwt_authn.jwks_fetch_success" "key sets fetched";
        Counter "jwt_authn.jwks_fetch_failed" "key sets that could not be fetched";
        Counter "ext_authz.ok" "requests that an authorization service let pass (a prefix of the filter stands before the last part)";
        Counter "ext_authz.denied" "requests that it refused";
        Counter "ext_authz.error" "requests about which it could not be asked";
        Counter "ext_authz.disabled" "requests about which it was not meant to be asked";
        Counter "ext_authz.failure_mode_allowed" "of the errors, requests that passed nevertheless";
        Counter "ext_authz.invalid" "requests that it wanted to change in a way that cannot be";
        Counter "ext_proc.streams_started" "calls to a service that sees requests and responses";
        Counter "ext_proc.streams_closed" "calls that ended";
        Counter "ext_proc.streams_failed" "calls that the service failed";
        Counter "ext_proc.stream_msgs_sent" "parts that were shown to it";
        Counter "ext_proc.stream_msgs_received" "its answers";
        Counter "ext_proc.failure_mode_allowed" "requests that went on after it failed";
        Counter "ext_proc.message_timeouts" "answers that took too long";
        Counter "ext_proc.spurious_msgs_received" "answers to what was not asked";
        Counter "ext_proc.rejected_header_mutations" "changes of headers that it may not make";
        Counter "ext_proc.override_message_timeout_received" "times that it asked for more time";
        Counter "ext_proc.override_message_timeout_ignored" "of these, times that it got none";
        Counter "ext_proc.clear_route_cache_disabled" "times that it wanted another route and may not";
        Counter "ext_proc.immediate_responses_sent" "requests that were answered by it, or for its failure";
    }
    "http.<stat_prefix>.compressor.<library>.<coding>.<direction>" {
        Counter "compressed" "messages that were compressed";
        Counter "not_compressed" "messages that were not";
        Counter "content_length_too_small" "of these, those with too little content";
        Counter "total_uncompressed_bytes" "bytes before";
        Counter "total_compressed_bytes" "bytes after";
    }
    "http.<stat_prefix>.compressor.<library>.<coding>" {
        Counter "no_accept_header" "responses to clients that did not say what they accept";
        Counter "header_identity" "responses to clients that want content as it is";
        Counter "header_compressor_used" "responses to clients that want this coding";
        Counter "header_compressor_overshadowed" "responses to clients that want another one more";
        Counter "header_wildcard" "responses to clients that take any coding";
        Counter "header_not_valid" "responses to clients that accept nothing that there is";
        Counter "not_compressed_etag" "responses that were spared for their validator";
    }
    "http.<stat_prefix>.decompressor.<library>.<coding>.<direction>" {
        Counter "decompressed" "messages that were decompressed";
        Counter "not_decompressed" "messages that were not";
        Counter "total_compressed_bytes" "bytes before";
        Counter "total_uncompressed_bytes" "bytes after";
    }
    "<stat_prefix>.http_local_rate_limit" {
        Counter "enabled" "requests that took tokens of this proxy's own";
        Counter "ok" "requests that had their tokens";
        Counter "rate_limited" "requests without a token";
        Counter "enforced" "requests that were refused for that";
        Counter "shadow_mode" "requests that a bucket would have refused that only counts";
    }
    "<stat_prefix>.http_bandwidth_limit" {
        Counter "request_enabled" "requests that were held to the limit";
        Counter "request_enforced" "times that content of requests had to wait";
        Gauge "request_pending" "requests whose content passes";
        Counter "request_incoming_total_size" "bytes of requests that came";
        Counter "request_allowed_total_size" "bytes of requests that went on";
        Counter "response_enabled" "responses that were held to the limit";
        Counter "response_enforced" "times that content of responses had to wait";
        Gauge "response_pending" "responses whose content passes";
        Counter "response_incoming_total_size" "bytes of responses that came";
        Counter "response_allowed_total_size" "bytes of responses that went on";
    }
    "http2" {
        Counter "rx_messaging_error" "streams and connections lost because the client broke the protocol";
        Counter "keepalive_timeout" "connections closed because a probe was not answered";
        Counter "outbound_flood" "connections closed because too many frames waited to be written";
        Counter "outbound_control_flood" "connections closed because too many answers to control frames waited";
        Counter "inbound_empty_frames_flood" "connections closed for frames in a row that held nothing";
        Counter "inbound_priority_frames_flood" "connections closed for PRIORITY frames";
        Counter "inbound_window_update_frames_flood" "connections closed for WINDOW_UPDATE frames";
        Counter "inbound_settings_frames_flood" "connections closed for SETTINGS frames";
        Counter "premature_reset_flood" "connections closed for streams that were reset early";
        Counter "inbound_continuation_frames_flood" "connections closed for CONTINUATION frames";
        Counter "inbound_tiny_frames_flood" "connections closed for tiny frames that nobody took yet";
    }
    "tcp.<stat_prefix>" {
        Counter "downstream_cx_total" "connections relayed";
        Counter "downstream_cx_rx_bytes_total" "bytes received from clients";
        Counter "downstream_cx_tx_bytes_total" "bytes sent to clients";
        Counter "downstream_cx_no_route" "connections for which no cluster was found";
        Counter "idle_timeout" "connections on which nothing moved for too long";
        Counter "max_downstream_connection_duration" "connections closed at their age";
        Counter "on_demand_cluster_attempt" "connections that waited for a cluster that was not known";
        Counter "on_demand_cluster_success" "of these, those whose cluster came";
        Counter "on_demand_cluster_missing" "of these, those whose cluster does not exist";
        Counter "on_demand_cluster_timeout" "of these, those whose cluster did not come in time";
    }
    "udp.<stat_prefix>" {
        Counter "downstream_sess_total" "sessions of datagrams begun";
        Gauge "downstream_sess_active" "of these, not ended";
        Counter "downstream_sess_no_route" "datagrams for which no cluster was found";
        Counter "downstream_sess_rx_bytes" "bytes received from clients";
        Counter "downstream_sess_rx_datagrams" "datagrams received from clients";
        Counter "downstream_sess_rx_errors" "datagrams of clients that were not taken";
        Counter "downstream_sess_tx_bytes" "bytes sent to clients";
        Counter "downstream_sess_tx_datagrams" "datagrams sent to clients";
        Counter "downstream_sess_tx_errors" "datagrams that could not be sent to clients";
        Counter "idle_timeout" "sessions on which nothing moved for too long";
    }
    "cluster_manager" {
        Counter "cluster_added" "clusters added";
        Counter "cluster_modified" "clusters changed";
        Counter "cluster_removed" "clusters removed";
        Gauge "active_clusters" "clusters in use";
        Gauge "warming_clusters" "clusters that wait for what they need";
    }
    "cluster_manager.cds" {
        Counter "update_attempt" "times that clusters were asked for or read";
        Counter "update_success" "lists of clusters that were taken";
        Counter "update_failure" "lists that could not be read, or servers that were lost";
        Counter "update_rejected" "lists of which something was refused";
        Counter "update_empty" "lists that held nothing";
        Counter "config_reload" "lists that changed something";
        Counter "init_fetch_timeout" "first lists that were not waited for any longer";
        Gauge "version" "a hash of the version in use";
    }
    "tls_inspector" {
        Counter "tls_found" "connections that began with TLS";
        Counter "tls_not_found" "connections that began with something else";
        Counter "client_hello_too_large" "connections closed because their first message of TLS is too large";
        Counter "sni_found" "first messages of TLS with a server name";
        Counter "sni_not_found" "first messages of TLS without a server name";
        Counter "alpn_found" "first messages of TLS with application protocols";
        Counter "alpn_not_found" "first messages of TLS without application protocols";
    }
    "http_inspector" {
        Counter "http10_found" "connections that began with HTTP/1.0";
        Counter "http11_found" "connections that began with HTTP/1.1";
        Counter "http2_found" "connections that began with HTTP/2";
        Counter "http_not_found" "connections that began with something else";
    }
    "proxy_proto" {
        Counter "not_found_allowed" "connections without a PROXY protocol header that passed";
        Counter "not_found_disallowed" "connections closed for lack of one";
        Counter "versions.v1.found" "headers of version 1";
        Counter "versions.v1.disallowed" "connections closed because version 1 is not allowed";
        Counter "versions.v1.error" "connections closed because a header of version 1 is malformed";
        Counter "versions.v2.found" "headers of version 2";
        Counter "versions.v2.disallowed" "connections closed because version 2 is not allowed";
        Counter "versions.v2.error" "connections closed because a header of version 2 is malformed";
    }
    "listener_manager" {
        Counter "listener_added" "listeners added";
        Counter "listener_modified" "listeners changed";
        Counter "listener_removed" "listeners removed";
        Counter "listener_create_success" "listeners given to workers, once for each worker";
        Counter "listener_in_place_updated" "listeners of which only filter chains changed";
        Gauge "total_listeners_active" "listeners in use";
        Gauge "total_listeners_warming" "listeners that wait for what they need";
        Gauge "total_listeners_draining" "removed listeners whose connections may go on";
        Gauge "total_filter_chains_draining" "removed filter chains whose connections may go on";
    }
    "listener_manager.lds" {
        Counter "update_attempt" "times that listeners were asked for or read";
        Counter "update_success" "lists of listeners that were taken";
        Counter "update_failure" "lists that could not be read, or servers that were lost";
        Counter "update_rejected" "lists of which something was refused";
        Counter "update_empty" "lists that held nothing";
        Counter "config_reload" "lists that changed something";
        Counter "init_fetch_timeout" "first lists that were not waited for any longer";
        Gauge "version" "a hash of the version in use";
    }
    "http.<stat_prefix>.rds.<route_config_name>" {
        Counter "update_attempt" "times that the routes were asked for or read";
        Counter "update_success" "routes that were taken";
        Counter "update_failure" "files that could not be read, or servers that were lost";
        Counter "update_rejected" "routes that were refused";
        Counter "update_empty" "answers that held nothing";
        Counter "config_reload" "routes that changed something";
        Counter "init_fetch_timeout" "first routes that were not waited for any longer";
        Gauge "version" "a hash of the version in use";
    }
    "http.<stat_prefix>.rds.vhds.<route_config_name>" {
        Counter "update_attempt" "times that virtual hosts were asked for or read";
        Counter "update_success" "answers that were taken";
        Counter "update_failure" "answers that could not be read, or servers that were lost";
        Counter "update_rejected" "answers of which something was refused";
        Counter "update_empty" "answers that held nothing";
        Counter "config_reload" "answers that changed something";
        Counter "init_fetch_timeout" "first answers that were not waited for any longer";
        Gauge "version" "a hash of the version in use";
    }
    "cluster_manager.odcds" {
        Counter "update_attempt" "times that clusters that a request needed were asked for or read";
        Counter "update_success" "answers that were taken";
        Counter "update_failure" "answers that could not be read, or servers that were lost";
        Counter "update_rejected" "answers of which something was refused";
        Counter "update_empty" "answers that held nothing";
        Counter "config_reload" "answers that changed something";
        Counter "init_fetch_timeout" "first answers that were not waited for any longer";
        Gauge "version" "a hash of the version in use";
    }
    "extension_config_discovery.http_filter.<name>" {
        Counter "update_attempt" "times that settings of an HTTP filter were asked for or read";
        Counter "update_success" "answers that were taken";
        Counter "update_failure" "answers that could not be read, or servers that were lost";
        Counter "update_rejected" "answers of which something was refused";
        Counter "update_empty" "answers that held nothing";
        Counter "config_reload" "answers that changed something";
        Counter "init_fetch_timeout" "first answers that were not waited for any longer";
        Counter "config_fail" "settings that were refused or did not come";
        Counter "config_conflict" "settings that do not fit a listener that came later";
        Gauge "version" "a hash of the version in use";
    }
    "extension_config_discovery.network_filter.<name>" {
        Counter "update_attempt" "times that settings of a network filter were asked for or read";
        Counter "update_success" "answers that were taken";
        Counter "update_failure" "answers that could not be read, or servers that were lost";
        Counter "update_rejected" "answers of which something was refused";
        Counter "update_empty" "answers that held nothing";
        Counter "config_reload" "answers that changed something";
        Counter "init_fetch_timeout" "first answers that were not waited for any longer";
        Counter "config_fail" "settings that were refused or did not come";
        Counter "config_conflict" "settings that do not fit a listener that came later";
        Gauge "version" "a hash of the version in use";
    }
    "extension_config_discovery.tcp_listener_filter.<name>" {
        Counter "update_attempt" "times that settings of a listener filter were asked for or read";
        Counter "update_success" "answers that were taken";
        Counter "update_failure" "answers that could not be read, or servers that were lost";
        Counter "update_rejected" "answers of which something was refused";
        Counter "update_empty" "answers that held nothing";
        Counter "config_reload" "answers that changed something";
        Counter "init_fetch_timeout" "first answers that were not waited for any longer";
        Counter "config_fail" "settings that were refused or did not come";
        Counter "config_conflict" "settings that do not fit a listener that came later";
        Gauge "version" "a hash of the version in use";
    }
    "control_plane" {
        Gauge "connected_state" "1 while the proxy is connected to its control plane";
    }
    "server" {
        Gauge "live" "1 while the proxy is not draining";
        Gauge "state" "0 live, 1 draining, 2 before start, 3 starting";
        Counter "panics" "mistakes of the program; each ended one connection or step";
        Counter "worker_recoveries" "times that a worker went on after one that was not of a connection";
        Gauge "uptime" "seconds since the start";
        Gauge "concurrency" "workers";
        Gauge "memory_allocated" "resident bytes";
        Gauge "total_connections" "connections from clients, those that a process before this one still serves among them";
        Gauge "parent_connections" "of these, those of the process that this one took over from";
        Gauge "hot_restart_epoch" "processes that this one took over from, one after the other";
        Gauge "days_until_first_cert_expiring" "days that the first certificate to expire still lives";
    }
    "access_log" {
        Counter "dropped" "lines dropped because the buffer was full or the sink could not be written";
        Counter "written_bytes" "bytes written";
    }
}
