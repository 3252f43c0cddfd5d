//! Statistics of listeners, of what carries bytes, of configuration, and of the process.

stats! {
    "listener.<address>" {
        Counter "downstream_rx_datagram_dropped" "datagrams of clients too large to be taken";
        Counter "downstream_cx_total" "connections accepted";
        Gauge "downstream_cx_active" "connections open";
        Counter "downstream_cx_destroy" "connections closed";
        Counter "downstream_cx_overflow" "connections refused at a limit";
        Counter "downstream_global_cx_overflow" "connections refused at the limit of the whole proxy";
        Counter "downstream_cx_overload_reject" "connections closed at once because the proxy is overloaded";
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
    "listener.<address>.worker_<number>" {
        Counter "downstream_cx_total" "connections that this worker carried";
        Gauge "downstream_cx_active" "of these, open";
    }
    "listener.<address>.http.<stat_prefix>" {
        Counter "downstream_rq_completed" "requests answered at this listener";
        Counter "downstream_rq_<class>xx" "answers by the first digit of their status";
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
        Counter "listener_create_failure" "addresses that could not be bound";
        Counter "listener_stopped" "listeners that were stopped by a drain";
        Gauge "workers_started" "1 once workers serve";
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
    "load_reporter" {
        Counter "requests" "wishes of the service that hears of load";
        Counter "responses" "messages to it";
        Counter "errors" "calls that ended";
        Counter "retries" "calls after the first";
    }
    "tracing.<provider>" {
        Counter "spans_sent" "spans that were sent to a collector";
        Counter "spans_dropped" "spans dropped because too many waited";
        Counter "timer_flushed" "batches that were sent because it was time, not because there were enough";
        Counter "reports_sent" "batches that a collector took";
        Counter "reports_dropped" "batches that it did not take";
        Counter "reports_failed" "batches without an answer";
        Counter "reports_skipped_no_cluster" "batches that nobody got because the collector's cluster does not exist";
    }
    "overload" {
        Histogram "refresh_interval_delay" "time between two looks at the resources";
    }
    "overload.<resource>" {
        Gauge "pressure" "percent of the resource that are used";
        Counter "failed_updates" "looks that brought no number";
        Counter "skipped_updates" "looks that came too early, always 0";
    }
    "overload.<action>" {
        Gauge "active" "1 while the action is taken in full";
        Gauge "scale_percent" "how much of it is taken; of places of load shedding too";
        Counter "shed_load_count" "times that work was turned away at this place";
        Counter "count" "streams that were reset; of `envoy.overload_actions.reset_high_memory_stream`, without `overload.`";
        Counter "shrink_count" "times that memory was given back";
    }
    "ext_authz.<stat_prefix>" {
        Counter "total" "connections that an authorization service was asked about";
        Gauge "active" "of these, not answered yet";
        Counter "ok" "connections that it let pass";
        Counter "denied" "connections that it refused";
        Counter "error" "connections that it did not answer about";
        Counter "failure_mode_allowed" "of these, let pass";
        Counter "cx_closed" "connections closed for that";
        Counter "disabled" "connections that it was not asked about, each once";
    }
    "ratelimit.<stat_prefix>" {
        Counter "total" "connections that a service of rate limits was asked about";
        Gauge "active" "of these, not answered yet";
        Counter "ok" "connections that it let pass";
        Counter "over_limit" "connections that were too many";
        Counter "error" "connections that it did not answer about";
        Counter "failure_mode_allowed" "of these, let pass";
        Counter "cx_closed" "connections closed for that";
    }
    "<mongo, mysql, postgres or redis>.<stat_prefix>" {
        Counter "opaque_cx_total" "connections of a protocol that passes as bytes; nothing of it is read, so that Envoy's numbers of commands are not here";
        Counter "opaque_client_first_byte" "of these, whose client sent something";
        Counter "opaque_server_first_byte" "of these, whose server sent something";
        Histogram "opaque_client_first_byte_ms" "time from accepting to the client's first byte";
        Histogram "opaque_server_first_byte_ms" "time from accepting to the server's first byte";
    }
    "server" {
        Gauge "live" "1 while the proxy is not draining";
        Gauge "state" "0 live, 1 draining, 2 before start, 3 starting";
        Counter "panics" "mistakes of the program; each ended one connection or step";
        Counter "worker_recoveries" "times that a worker went on after one that was not of a connection";
        Gauge "uptime" "seconds since the start";
        Gauge "concurrency" "workers";
        Gauge "memory_allocated" "bytes that the process holds for itself";
        Gauge "memory_heap_size" "bytes of address space for data";
        Gauge "memory_physical_size" "resident bytes";
        Histogram "initialization_time_ms" "time from the start to the first readiness";
        Gauge "total_connections" "connections from clients, those that a process before this one still serves among them";
        Gauge "parent_connections" "of these, those of the process that this one took over from";
        Gauge "hot_restart_epoch" "processes that this one took over from, one after the other";
        Gauge "days_until_first_cert_expiring" "days that the first certificate to expire still lives";
    }
    "access_logs.grpc_access_log" {
        Counter "logs_dropped" "entries that found no room, or that their service did not take";
        Counter "logs_written" "entries kept to be sent";
    }
    "access_log" {
        Counter "dropped" "lines dropped because the buffer was full or the sink could not be written";
        Counter "written_bytes" "bytes written";
    }
}
