//! Bounds on what servers, and services that filters ask, can cost.

use iako_proxy_config::{Cluster, Discovery, EndpointSet, Thresholds};

use super::{Row, bytes, time};
use crate::callout;
use crate::http::METHODS_MAX;
use crate::http::{filters::authz, pump};
use crate::on_demand;
use crate::spans::SPANS_MAX;
use crate::transport::dial;
use crate::upstream::pool::table::HOST_POOLS_MAX;

/// What services that filters ask may say and see.
pub(super) fn services() -> Vec<Row> {
    vec![
        Row {
            limit: "a message of a gRPC service that a filter asks",
            envoy: "`max_receive_message_length`",
            default: bytes(callout::grpc::MESSAGE_BYTES_MAX),
            beyond: "the service counts as failed",
            counter: "",
        },
        Row {
            limit: "an answer of an authorization service by HTTP",
            envoy: "the cluster's `per_connection_buffer_limit_bytes`, 1 MiB",
            default: bytes(authz::ANSWER_BYTES_MAX),
            beyond: "the service counts as failed",
            counter: "`http.<prefix>.ext_authz.error`",
        },
        Row {
            limit: "spans of one collector that wait in a worker",
            envoy: "`max_cache_size` of OpenTelemetry, 1024",
            default: SPANS_MAX.to_string(),
            beyond: "further ones are dropped",
            counter: "`tracing.<provider>.spans_dropped`",
        },
        Row {
            limit: "content of a request or response that a service or a JSON filter sees as a whole",
            envoy: "`per_connection_buffer_limit_bytes`, 1 MiB",
            default: bytes(pump::KEPT_BYTES_MAX),
            beyond: "413 for requests, 500 for responses; a part is shown in mode BUFFERED_PARTIAL",
            counter: "`http.<prefix>.downstream_rq_too_large`, `http.<prefix>.rs_too_large`",
        },
        Row {
            limit: "gRPC methods that one filter counts apart",
            envoy: "none",
            default: METHODS_MAX.to_string(),
            beyond: "calls are counted with those of all other methods",
            counter: "`cluster.<name>.grpc.total`",
        },
    ]
}

pub(super) fn servers() -> Vec<Row> {
    let thresholds = Thresholds::default();
    let cluster = Cluster::new("", Discovery::Static(EndpointSet::new("", Vec::new())));
    vec![
        Row {
            limit: "connections to a cluster",
            envoy: "`circuit_breakers` `max_connections`",
            default: thresholds.connections_max.to_string(),
            beyond: "requests wait for one that is open",
            counter: "`cluster.<name>.upstream_cx_overflow`",
        },
        Row {
            limit: "requests that wait for a connection",
            envoy: "`max_pending_requests`",
            default: thresholds.pending_requests_max.to_string(),
            beyond: "503 `UO`",
            counter: "`cluster.<name>.upstream_rq_pending_overflow`",
        },
        Row {
            limit: "requests under way",
            envoy: "`max_requests`",
            default: thresholds.requests_max.to_string(),
            beyond: "503 `UO`",
            counter: "`cluster.<name>.upstream_rq_pending_overflow`",
        },
        Row {
            limit: "retries under way",
            envoy: "`max_retries`",
            default: thresholds.retries_max.to_string(),
            beyond: "no retry, `UO`",
            counter: "`cluster.<name>.upstream_rq_retry_overflow`",
        },
        Row {
            limit: "making a connection, TLS included; whoever waits for one has as long",
            envoy: "`connect_timeout`",
            default: time(Some(cluster.connect_timeout)),
            beyond: "503 `UF`",
            counter: "`cluster.<name>.upstream_cx_connect_timeout`",
        },
        Row {
            limit: "hosts that connections are opened for, where the server name is a request's",
            envoy: "none",
            default: HOST_POOLS_MAX.to_string(),
            beyond: "503 `UO`",
            counter: "`cluster.<name>.upstream_rq_pending_overflow`",
        },
        Row {
            limit: "requests and connections that wait for a cluster or host that is asked for",
            envoy: "none",
            default: on_demand::WAITING_MAX.to_string(),
            beyond: "they go on without: 503 `NC`, 404",
            counter: "",
        },
        Row {
            limit: "names that are asked for on demand, of clusters and of each table's hosts",
            envoy: "none",
            default: on_demand::NAMES_MAX.to_string(),
            beyond: "further ones are not asked for",
            counter: "",
        },
        Row {
            limit: "addresses of one endpoint that are tried",
            envoy: "none",
            default: dial::ADDRESSES_MAX.to_string(),
            beyond: "the others are not",
            counter: "",
        },
    ]
}
