//! Reads `connectionPool`.

use iako_types::Percent;

use super::{ConnectionPool, H2Upgrade, Http2Keepalive, TcpKeepalive};
use crate::{Code, reader::Cursor};

/// Share of a retry budget when nobody says. Source: Envoy.
pub(super) fn twenty_percent() -> Percent {
    Percent::from_whole(20).unwrap_or_default()
}

/// Reads the block.
pub(crate) fn read_connection_pool(cursor: &Cursor<'_>) -> ConnectionPool {
    let fields = cursor.fields();
    let mut pool = ConnectionPool::default();
    let tcp = fields.get("tcp");
    let http = fields.get("http");
    if tcp.is_none() && http.is_none() {
        cursor.report(Code::EmptyValue, "a connection pool needs tcp or http");
    }
    if let Some(cursor) = tcp {
        read_tcp(&cursor, &mut pool);
    }
    if let Some(cursor) = http {
        read_http(&cursor, &mut pool);
    }
    pool
}

/// Zero means that nobody says, as in protobuf.
fn limit(cursor: &Cursor<'_>) -> Option<u32> {
    cursor.count().filter(|number| *number != 0)
}

fn read_tcp(cursor: &Cursor<'_>, pool: &mut ConnectionPool) {
    let fields = cursor.fields();
    pool.connections_max = fields.get("maxConnections").and_then(|cursor| limit(&cursor));
    pool.connect_timeout = fields.get("connectTimeout").and_then(|cursor| cursor.duration());
    pool.connection_duration_max =
        fields.get("maxConnectionDuration").and_then(|cursor| cursor.duration());
    pool.tcp_idle_timeout = fields.get("idleTimeout").and_then(|cursor| cursor.duration_or_zero());
    pool.tcp_keepalive = fields.get("tcpKeepalive").map(|cursor| {
        let fields = cursor.fields();
        TcpKeepalive {
            probes: fields.get("probes").and_then(|cursor| cursor.number()),
            time: fields.get("time").and_then(|cursor| cursor.duration()),
            interval: fields.get("interval").and_then(|cursor| cursor.duration()),
        }
    });
}

fn read_http(cursor: &Cursor<'_>, pool: &mut ConnectionPool) {
    let fields = cursor.fields();
    let number = |name: &'static str| fields.get(name).and_then(|cursor| limit(&cursor));
    pool.http1_pending_requests_max = number("http1MaxPendingRequests");
    pool.requests_max = number("http2MaxRequests");
    pool.requests_per_connection_max = number("maxRequestsPerConnection");
    pool.retries_max = number("maxRetries");
    pool.concurrent_streams_max = number("maxConcurrentStreams");
    pool.http_idle_timeout = fields.get("idleTimeout").and_then(|cursor| cursor.duration_or_zero());
    pool.use_client_protocol = fields.flag("useClientProtocol");
    let upgrade = fields.get("h2UpgradePolicy").and_then(|cursor| {
        cursor.word(&[
            ("DEFAULT", H2Upgrade::Default),
            ("DO_NOT_UPGRADE", H2Upgrade::No),
            ("UPGRADE", H2Upgrade::Yes),
        ])
    });
    pool.h2_upgrade = upgrade.unwrap_or_default();
    pool.http2_keepalive =
        fields.get("http2KeepAlive").and_then(|cursor| read_http2_keepalive(&cursor));
}

fn read_http2_keepalive(cursor: &Cursor<'_>) -> Option<Http2Keepalive> {
    let fields = cursor.fields();
    cursor.report(Code::FieldIgnored, "pings of HTTP/2 connections are read, not yet applied");
    let interval = fields.get("interval").and_then(|cursor| cursor.duration());
    let timeout = fields.required("timeout").and_then(|cursor| cursor.duration());
    Some(Http2Keepalive { interval, timeout: timeout? })
}
