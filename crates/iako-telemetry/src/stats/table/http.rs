//! Statistics of connections that carry HTTP, and of its filters.

stats! {
    "http.<stat_prefix>" {
        Counter "downstream_cx_total" "connections that speak HTTP";
        Gauge "downstream_cx_active" "of these, open";
        Counter "downstream_cx_http1_total" "connections that speak HTTP/1";
        Counter "downstream_cx_http2_total" "connections that speak HTTP/2";
        Gauge "downstream_cx_http1_active" "connections that speak HTTP/1, open";
        Gauge "downstream_cx_http2_active" "connections that speak HTTP/2, open";
        Counter "downstream_cx_ssl_total" "connections that carry HTTP over TLS";
        Gauge "downstream_cx_ssl_active" "of these, open";
        Counter "downstream_cx_destroy" "connections closed";
        Counter "downstream_cx_destroy_local" "of these, by us";
        Counter "downstream_cx_destroy_remote" "of these, by the client";
        Counter "downstream_cx_destroy_active_rq" "connections closed while a request was under way";
        Counter "downstream_cx_destroy_local_active_rq" "of these, by us";
        Counter "downstream_cx_destroy_remote_active_rq" "of these, by the client";
        Counter "downstream_cx_idle_timeout" "connections closed because nothing was asked for too long";
        Counter "downstream_cx_max_duration_reached" "connections closed because they were too old";
        Counter "downstream_cx_max_requests_reached" "connections closed because they had carried enough requests";
        Counter "downstream_cx_drain_close" "connections closed because their listener drains";
        Counter "downstream_cx_rx_bytes_total" "bytes received, without TLS";
        Counter "downstream_cx_tx_bytes_total" "bytes sent, without TLS";
        Histogram "downstream_cx_length_ms" "time that connections were open";
        Counter "downstream_cx_protocol_error" "connections closed because the client broke the protocol";
        Counter "downstream_rq_total" "requests received";
        Counter "downstream_rq_http1_total" "of these, by HTTP/1";
        Counter "downstream_rq_http2_total" "of these, by HTTP/2";
        Gauge "downstream_rq_active" "requests without a complete answer";
        Counter "downstream_rq_completed" "requests answered";
        Counter "downstream_rq_<class>xx" "answers of the class 1xx to 5xx";
        Counter "downstream_rq_rx_reset" "requests whose stream was reset, by either side";
        Counter "downstream_rq_tx_reset" "of these, responses that could not be completed";
        Counter "downstream_rq_timeout" "requests that did not arrive in time";
        Counter "downstream_rq_header_timeout" "requests whose head took too long";
        Counter "downstream_rq_max_duration_reached" "requests that took longer than allowed";
        Counter "downstream_rq_failed_path_normalization" "requests refused for their path";
        Counter "downstream_rq_ws_on_non_ws_route" "upgrades that no route allows";
        Counter "downstream_rq_idle_timeout" "requests on which nothing moved for too long";
        Counter "downstream_rq_too_many_premature_resets" "connections closed for streams that were reset early";
        Counter "downstream_rq_overload_close" "requests turned away because the proxy is overloaded";
        Counter "downstream_cx_overload_disable_keepalive" "connections ended after a response because of that";
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
        Counter "rq_overload_local_reply" "requests refused by the router because the proxy is overloaded";
        Counter "rs_too_large" "responses with more content than a filter gathers";
        Counter "ip_tagging.total" "requests whose client's address was looked up";
        Counter "ip_tagging.no_hit" "of these, those without a tag";
        Counter "ip_tagging.<tag>.hit" "of these, those with this tag";
        Counter "credential_injector.injected" "requests that a credential was written into";
        Counter "credential_injector.already_exists" "requests that had one";
        Counter "credential_injector.failed" "requests for which there was none";
        Counter "oauth_unauthorized_rq" "browsers that were sent to log in";
        Counter "oauth_failure" "requests refused in or without a login";
        Counter "oauth_success" "requests with a session, and logins";
        Counter "oauth_passthrough" "requests that a login does not look at";
        Counter "oauth_allow_failed_passthrough" "requests that passed without a session";
        Counter "oauth_refreshtoken_success" "sessions that were renewed";
        Counter "oauth_refreshtoken_failure" "sessions that were not";
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
        Counter "tracing.client_enabled" "requests traced because the client asked";
        Counter "tracing.service_forced" "requests traced because an internal service asked";
        Counter "tracing.random_sampling" "requests traced by chance";
        Counter "tracing.not_traceable" "requests not traced";
        Counter "tracing.health_check" "health checks that were not traced";
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
        Counter "ext_proc.server_half_closed" "calls that it ended";
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
    "http.<stat_prefix>.admission_control" {
        Counter "rq_rejected" "requests that were turned away because others failed";
        Counter "rq_success" "requests that count as successes";
        Counter "rq_failure" "requests that count as failures";
    }
    "http.<stat_prefix>.adaptive_concurrency.gradient_controller" {
        Counter "rq_blocked" "requests that were turned away because too many were under way";
        Gauge "concurrency_limit" "requests that may be under way";
        Gauge "gradient" "thousandfold of how the bound changed last";
        Gauge "burst_queue_size" "what was added to it for bursts";
        Gauge "min_rtt_calculation_active" "1 while the least time of requests is measured";
        Gauge "min_rtt_msecs" "the least time, in milliseconds";
        Gauge "sample_rtt_msecs" "the time that stood for all lately, in milliseconds";
    }
    "http.<stat_prefix>.composite" {
        Counter "filter_delegation_success" "requests that chose what is done for them";
        Counter "filter_delegation_error" "requests that chose what could not be done: none";
    }
    "<stat_prefix>.http_local_rate_limit" {
        Counter "enabled" "requests that took tokens of this proxy's own";
        Counter "ok" "requests that had their tokens";
        Counter "rate_limited" "requests without a token";
        Counter "enforced" "requests that were refused for that";
        Counter "shadow_mode" "requests that a bucket would have refused that only counts";
    }
    "json_to_metadata" {
        Counter "rq.success" "requests whose JSON was read";
        Counter "rq.mismatched_content_type" "requests that were not read for their media type";
        Counter "rq.no_body" "requests without content";
        Counter "rq.invalid_json_body" "requests whose content is no JSON";
        Counter "resp.success" "responses whose JSON was read";
        Counter "resp.mismatched_content_type" "responses that were not read for their media type";
        Counter "resp.no_body" "responses without content";
        Counter "resp.invalid_json_body" "responses whose content is no JSON";
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
        Counter "rx_reset" "RST_STREAM frames received for open streams";
        Counter "tx_reset" "RST_STREAM frames sent";
        Counter "goaway_sent" "GOAWAY frames sent for the last time, without an error";
        Counter "trailers" "trailers received";
        Counter "rx_messaging_error" "streams and connections lost because the client broke the protocol";
        Counter "header_overflow" "heads and trailers with more fields or bytes than allowed";
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
}
