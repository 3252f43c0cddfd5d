//! `envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iako_proxy_config::{GrpcLogKind, Node};
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::data::accesslog::v3 as pb;
use iako_xds_api::envoy::service::accesslog::v3::stream_access_logs_message::Identifier;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Map, Value};

use super::value;
use crate::encode;

/// Where entries are streamed to.
pub const METHOD: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/// What every entry holds.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// The client, as far as it is known.
    pub downstream_remote: Option<SocketAddr>,
    /// The other end of the client's connection.
    pub downstream_direct_remote: Option<SocketAddr>,
    /// What the client connected to.
    pub downstream_local: Option<SocketAddr>,
    /// The server.
    pub upstream_remote: Option<SocketAddr>,
    /// Our end of the connection to it.
    pub upstream_local: Option<SocketAddr>,
    /// TLS with the client.
    pub tls: Option<LogTls>,
    /// When it began.
    pub start: SystemTime,
    /// Times since then.
    pub times: LogTimes,
    /// The name of the cluster.
    pub cluster: String,
    /// The name of the route.
    pub route: String,
    /// Short names of flags, such as `UF`.
    pub flags: Vec<&'static str>,
    /// What filters left, by namespace.
    pub metadata: Vec<(String, Map<String, Value>)>,
    /// Objects that filters keep, as texts.
    pub states: Vec<(String, String)>,
    /// Tags by name.
    pub tags: BTreeMap<String, String>,
    /// Why the transport to the server failed.
    pub upstream_failure: String,
    /// Why TLS with the client failed.
    pub downstream_failure: String,
    /// Tries that were made.
    pub attempts: u32,
    /// Why the connection ended.
    pub termination: String,
    /// The name of the stream.
    pub stream_id: String,
    /// Bytes sent to and received from the client, then the server.
    pub wire: [u64; 4],
    /// A number of `AccessLogType`.
    pub log_type: i32,
    /// Whether more entries follow.
    pub is_intermediate: bool,
}

/// Times since the beginning.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogTimes {
    /// The whole request was there.
    pub request_received: Option<Duration>,
    /// The request began to be sent.
    pub request_begun: Option<Duration>,
    /// The whole request was sent.
    pub request_sent: Option<Duration>,
    /// The response began.
    pub response_begun: Option<Duration>,
    /// The whole response was there.
    pub response_received: Option<Duration>,
    /// The response began to be sent.
    pub answer_begun: Option<Duration>,
    /// The whole response was sent.
    pub answer_sent: Option<Duration>,
    /// All of it.
    pub whole: Option<Duration>,
}

/// TLS with the client.
#[derive(Debug, Clone, Default)]
pub struct LogTls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// The server name.
    pub server_name: String,
    /// Our certificate.
    pub own: LogCertificate,
    /// The client's certificate.
    pub peer: LogCertificate,
}

/// A certificate.
#[derive(Debug, Clone, Default)]
pub struct LogCertificate {
    /// Alternative names that are URIs.
    pub uris: Vec<String>,
    /// Alternative names of DNS.
    pub dns: Vec<String>,
    /// Its subject.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
}

/// What an entry about a request holds.
#[derive(Debug, Clone, Default)]
pub struct LogExchange {
    /// `HTTP/1.1`, for example.
    pub protocol: String,
    /// In upper case.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The host.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// `user-agent`.
    pub user_agent: String,
    /// `referer`.
    pub referer: String,
    /// `x-forwarded-for`.
    pub forwarded_for: String,
    /// `x-request-id`.
    pub request_id: String,
    /// `x-envoy-original-path`.
    pub original_path: String,
    /// Headers of the request that were asked for.
    pub request_headers: BTreeMap<String, String>,
    /// Headers of the response that were asked for.
    pub response_headers: BTreeMap<String, String>,
    /// Trailers of the response that were asked for.
    pub response_trailers: BTreeMap<String, String>,
    /// Bytes of the request's head and content.
    pub request_bytes: [u64; 2],
    /// Bytes of the response's head and content.
    pub response_bytes: [u64; 2],
    /// Bytes of the heads that came from the client, went to the server, came from it, and went to
    /// the client.
    pub head_bytes: [u64; 4],
    /// The status.
    pub status: Option<u16>,
    /// Envoy's response code details.
    pub details: String,
}

/// An entry about a request.
#[must_use]
pub fn http_entry(entry: &LogEntry, exchange: &LogExchange) -> Vec<u8> {
    use pb::http_access_log_entry::HttpVersion;
    let protocol = match exchange.protocol.as_str() {
        "HTTP/1.0" => HttpVersion::Http10,
        "HTTP/1.1" => HttpVersion::Http11,
        "HTTP/2" => HttpVersion::Http2,
        _ => HttpVersion::ProtocolUnspecified,
    };
    let [received, to_server, from_server, sent] = exchange.head_bytes;
    let message = pb::HttpAccessLogEntry {
        common_properties: Some(common(entry)),
        protocol_version: protocol.into(),
        request: Some(pb::HttpRequestProperties {
            request_method: method(&exchange.method).into(),
            scheme: exchange.scheme.clone(),
            authority: exchange.authority.clone(),
            port: None,
            path: exchange.path.clone(),
            user_agent: exchange.user_agent.clone(),
            referer: exchange.referer.clone(),
            forwarded_for: exchange.forwarded_for.clone(),
            request_id: exchange.request_id.clone(),
            original_path: exchange.original_path.clone(),
            request_headers_bytes: exchange.request_bytes[0],
            request_body_bytes: exchange.request_bytes[1],
            request_headers: exchange.request_headers.clone(),
            upstream_header_bytes_sent: to_server,
            downstream_header_bytes_received: received,
        }),
        response: Some(pb::HttpResponseProperties {
            response_code: exchange.status.map(u32::from),
            response_headers_bytes: exchange.response_bytes[0],
            response_body_bytes: exchange.response_bytes[1],
            response_headers: exchange.response_headers.clone(),
            response_trailers: exchange.response_trailers.clone(),
            response_code_details: exchange.details.clone(),
            upstream_header_bytes_received: from_server,
            downstream_header_bytes_sent: sent,
        }),
    };
    message.encode_to_vec()
}

/// An entry about a connection, with the bytes that came and went.
#[must_use]
pub fn tcp_entry(entry: &LogEntry, received: u64, sent: u64) -> Vec<u8> {
    let message = pb::TcpAccessLogEntry {
        common_properties: Some(common(entry)),
        connection_properties: Some(pb::ConnectionProperties {
            received_bytes: received,
            sent_bytes: sent,
        }),
    };
    message.encode_to_vec()
}

/// A message of the stream: entries, and in its first one who sends them and how the log is called.
#[must_use]
pub fn message(
    kind: GrpcLogKind,
    identifier: Option<(&Node, &str)>,
    entries: &[Vec<u8>],
) -> Vec<u8> {
    let mut message = Vec::new();
    if let Some((node, name)) = identifier {
        let identifier = Identifier { node: Some(encode::node(node)), log_name: name.to_owned() };
        put(1, &identifier.encode_to_vec(), &mut message);
    }
    let mut list = Vec::new();
    entries.iter().for_each(|entry| put(1, entry, &mut list));
    put(if kind == GrpcLogKind::Http { 2 } else { 3 }, &list, &mut message);
    message
}

/// A field that is a message.
pub(super) fn put(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn method(name: &str) -> core::RequestMethod {
    match name {
        "GET" => core::RequestMethod::Get,
        "HEAD" => core::RequestMethod::Head,
        "POST" => core::RequestMethod::Post,
        "PUT" => core::RequestMethod::Put,
        "DELETE" => core::RequestMethod::Delete,
        "CONNECT" => core::RequestMethod::Connect,
        "OPTIONS" => core::RequestMethod::Options,
        "TRACE" => core::RequestMethod::Trace,
        "PATCH" => core::RequestMethod::Patch,
        _ => core::RequestMethod::MethodUnspecified,
    }
}

fn duration(value: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or(0),
    }
}

fn common(entry: &LogEntry) -> pb::AccessLogCommon {
    let address = |address: Option<SocketAddr>| address.map(encode::wire::address);
    let since = entry.start.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = duration(since);
    let times = entry.times;
    let [downstream_sent, downstream_received, upstream_sent, upstream_received] = entry.wire;
    let filter_metadata =
        entry.metadata.iter().map(|(name, facts)| (name.clone(), value::struct_of(facts)));
    let metadata =
        core::Metadata { filter_metadata: filter_metadata.collect(), ..core::Metadata::default() };
    pb::AccessLogCommon {
        sample_rate: 0.0,
        downstream_remote_address: address(entry.downstream_remote),
        downstream_local_address: address(entry.downstream_local),
        tls_properties: entry.tls.as_ref().map(tls),
        start_time: Some(prost_types::Timestamp { seconds: since.seconds, nanos: since.nanos }),
        time_to_last_rx_byte: times.request_received.map(duration),
        time_to_first_upstream_tx_byte: times.request_begun.map(duration),
        time_to_last_upstream_tx_byte: times.request_sent.map(duration),
        time_to_first_upstream_rx_byte: times.response_begun.map(duration),
        time_to_last_upstream_rx_byte: times.response_received.map(duration),
        time_to_first_downstream_tx_byte: times.answer_begun.map(duration),
        time_to_last_downstream_tx_byte: times.answer_sent.map(duration),
        upstream_remote_address: address(entry.upstream_remote),
        upstream_local_address: address(entry.upstream_local),
        upstream_cluster: entry.cluster.clone(),
        response_flags: flags(&entry.flags),
        metadata: (!entry.metadata.is_empty()).then_some(metadata),
        upstream_transport_failure_reason: entry.upstream_failure.clone(),
        route_name: entry.route.clone(),
        downstream_direct_remote_address: address(entry.downstream_direct_remote),
        filter_state_objects: entry.states.iter().map(state).collect(),
        custom_tags: entry.tags.clone(),
        duration: times.whole.map(duration),
        upstream_request_attempt_count: entry.attempts,
        connection_termination_details: entry.termination.clone(),
        stream_id: entry.stream_id.clone(),
        intermediate_log_entry: entry.is_intermediate,
        downstream_transport_failure_reason: entry.downstream_failure.clone(),
        downstream_wire_bytes_sent: downstream_sent,
        downstream_wire_bytes_received: downstream_received,
        upstream_wire_bytes_sent: upstream_sent,
        upstream_wire_bytes_received: upstream_received,
        access_log_type: entry.log_type,
    }
}

/// An object as a text in an `Any`.
fn state((name, text): &(String, String)) -> (String, prost_types::Any) {
    let mut value = Vec::new();
    put(1, text.as_bytes(), &mut value);
    let type_url = "type.googleapis.com/google.protobuf.StringValue".to_owned();
    (name.clone(), prost_types::Any { type_url, value })
}

fn tls(value: &LogTls) -> pb::TlsProperties {
    use pb::tls_properties::TlsVersion;
    let version = match value.version.as_str() {
        "TLSv1.2" => TlsVersion::TlSv12,
        "TLSv1.3" => TlsVersion::TlSv13,
        _ => TlsVersion::VersionUnspecified,
    };
    pb::TlsProperties {
        tls_version: version.into(),
        tls_sni_hostname: value.server_name.clone(),
        local_certificate_properties: Some(certificate(&value.own)),
        peer_certificate_properties: Some(certificate(&value.peer)),
        ..pb::TlsProperties::default()
    }
}

fn certificate(value: &LogCertificate) -> pb::tls_properties::CertificateProperties {
    use pb::tls_properties::certificate_properties::{SubjectAltName, subject_alt_name::San};
    let uris = value.uris.iter().map(|name| San::Uri(name.clone()));
    let names = uris.chain(value.dns.iter().map(|name| San::Dns(name.clone())));
    pb::tls_properties::CertificateProperties {
        subject_alt_name: names.map(|san| SubjectAltName { san: Some(san) }).collect(),
        subject: value.subject.clone(),
        issuer: value.issuer.clone(),
    }
}

/// Nothing where there is no flag, as in Envoy's entries.
fn flags(names: &[&'static str]) -> Option<pb::ResponseFlags> {
    use pb::response_flags::{Unauthorized, unauthorized::Reason};
    if names.is_empty() {
        return None;
    }
    let has = |name: &str| names.contains(&name);
    Some(pb::ResponseFlags {
        failed_local_healthcheck: has("LH"),
        no_healthy_upstream: has("UH"),
        upstream_request_timeout: has("UT"),
        local_reset: has("LR"),
        upstream_remote_reset: has("UR"),
        upstream_connection_failure: has("UF"),
        upstream_connection_termination: has("UC"),
        upstream_overflow: has("UO"),
        no_route_found: has("NR"),
        delay_injected: has("DI"),
        fault_injected: has("FI"),
        rate_limited: has("RL"),
        unauthorized_details: has("UAEX")
            .then(|| Unauthorized { reason: Reason::ExternalService.into() }),
        rate_limit_service_error: has("RLSE"),
        downstream_connection_termination: has("DC"),
        upstream_retry_limit_exceeded: has("URX"),
        stream_idle_timeout: has("SI"),
        invalid_envoy_request_headers: has("IH"),
        downstream_protocol_error: has("DPE"),
        upstream_max_stream_duration_reached: has("UMSDR"),
        response_from_cache_filter: has("RFCF"),
        no_filter_config_found: has("NFCF"),
        duration_timeout: has("DT"),
        upstream_protocol_error: has("UPE"),
        no_cluster_found: has("NC"),
        overload_manager: has("OM"),
        dns_resolution_failure: has("DF"),
        downstream_remote_reset: has("DR"),
    })
}

#[cfg(test)]
mod tests {
    use iako_xds_api::envoy::service::accesslog::v3::{
        StreamAccessLogsMessage, stream_access_logs_message::LogEntries,
    };

    use super::*;

    fn entry() -> LogEntry {
        LogEntry {
            downstream_remote: Some("127.0.0.3:9".parse().unwrap()),
            downstream_direct_remote: None,
            downstream_local: None,
            upstream_remote: None,
            upstream_local: None,
            tls: None,
            start: UNIX_EPOCH + Duration::from_millis(1_500),
            times: LogTimes { whole: Some(Duration::from_millis(2)), ..LogTimes::default() },
            cluster: "be".into(),
            route: String::new(),
            flags: vec!["UF", "UAEX"],
            metadata: Vec::new(),
            states: vec![("a".into(), "b".into())],
            tags: BTreeMap::from([("t".into(), "v".into())]),
            upstream_failure: String::new(),
            downstream_failure: String::new(),
            attempts: 2,
            termination: String::new(),
            stream_id: String::new(),
            wire: [1, 2, 3, 4],
            log_type: 6,
            is_intermediate: false,
        }
    }

    #[test]
    fn a_message_holds_its_entries_and_the_first_one_who_sends_it() {
        let http =
            LogExchange { method: "GET".into(), status: Some(503), ..LogExchange::default() };
        let entries = [http_entry(&entry(), &http), http_entry(&entry(), &http)];
        let node = Node { id: "n".into(), ..Node::default() };
        let bytes = message(GrpcLogKind::Http, Some((&node, "log")), &entries);
        let read = StreamAccessLogsMessage::decode(bytes.as_slice()).unwrap();
        let identifier = read.identifier.unwrap();
        assert_eq!((identifier.node.unwrap().id, identifier.log_name), ("n".into(), "log".into()));
        let Some(LogEntries::HttpLogs(logs)) = read.log_entries else { panic!("no HTTP") };
        assert_eq!(logs.log_entry.len(), 2);
        let common = logs.log_entry[0].common_properties.clone().unwrap();
        let flags = common.response_flags.unwrap();
        assert!(flags.upstream_connection_failure && flags.unauthorized_details.is_some());
        assert_eq!(common.start_time.unwrap().nanos, 500_000_000);
        assert_eq!(common.upstream_wire_bytes_received, 4);
        assert_eq!(logs.log_entry[0].response.as_ref().unwrap().response_code, Some(503));
        let again = message(GrpcLogKind::Tcp, None, &[tcp_entry(&entry(), 5, 6)]);
        let read = StreamAccessLogsMessage::decode(again.as_slice()).unwrap();
        assert!(read.identifier.is_none());
        let Some(LogEntries::TcpLogs(logs)) = read.log_entries else { panic!("no TCP") };
        assert_eq!(logs.log_entry[0].connection_properties.unwrap().sent_bytes, 6);
    }
}
