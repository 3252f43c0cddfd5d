//! Entries for log services.

use std::collections::BTreeMap;
use std::time::Duration;

use iako_proxy_config::{GrpcLogFields, GrpcLogKind};
use iako_telemetry::access_log::further::{
    CertificateFact, Holder, NumberFact, Side, TextFact, TimePoint, TlsFact, Way,
};
use iako_telemetry::{AccessRecord, HeaderLookup, ResponseFlag};
use iako_xds_codec::service::log::{
    LogCertificate, LogEntry, LogExchange, LogTimes, LogTls, http_entry, tcp_entry,
};

use crate::tags;

/// An entry as bytes.
pub(super) fn encode(
    record: &AccessRecord<'_>,
    kind: GrpcLogKind,
    fields: &GrpcLogFields,
) -> Vec<u8> {
    let entry = entry(record, fields);
    match kind {
        GrpcLogKind::Http => http_entry(&entry, &exchange(record, fields)),
        GrpcLogKind::Tcp => tcp_entry(&entry, record.bytes_received, record.bytes_sent),
    }
}

fn entry(record: &AccessRecord<'_>, fields: &GrpcLogFields) -> LogEntry {
    let further = record.further;
    let wire = |side, way| further.number(NumberFact::Wire(side, way));
    let states = fields
        .states
        .iter()
        .filter_map(|key| Some((key.clone(), further.state(Side::Downstream, key)?.into_owned())));
    LogEntry {
        downstream_remote: record.downstream.remote_address,
        downstream_direct_remote: record.downstream.direct_remote_address,
        downstream_local: record.downstream.local_address,
        upstream_remote: record.upstream.host,
        upstream_local: record.upstream.local_address,
        tls: tls(record),
        start: record.start_time,
        times: times(record),
        // Told with the endpoint, as Envoy tells it.
        cluster: owned(record.upstream.cluster.filter(|_| has_endpoint(record))),
        route: owned(record.route_name),
        flags: record.flags.iter().map(ResponseFlag::short_name).collect(),
        metadata: further.dynamic_metadata(),
        states: states.collect(),
        tags: fields
            .tags
            .iter()
            .filter_map(|tag| Some((tag.name.clone(), tags::value(&tag.value, record)?)))
            .filter(|(_, value)| !value.is_empty())
            .collect(),
        upstream_failure: owned(record.upstream.transport_failure_reason),
        downstream_failure: owned(record.downstream.transport_failure_reason),
        attempts: record.upstream.attempts,
        termination: owned(record.connection_termination_details),
        stream_id: further.text(TextFact::StreamId).unwrap_or_default().into_owned(),
        wire: [
            wire(Side::Downstream, Way::Sent),
            wire(Side::Downstream, Way::Received),
            wire(Side::Upstream, Way::Sent),
            wire(Side::Upstream, Way::Received),
        ],
        log_type: record.log_type.number(),
        is_intermediate: !record.log_type.is_last(),
    }
}

/// Whether an endpoint was picked.
fn has_endpoint(record: &AccessRecord<'_>) -> bool {
    record.upstream.host.is_some()
        || record.upstream.host_name.is_some()
        || record.further.text(TextFact::UpstreamHost).is_some()
}

fn owned(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

fn times(record: &AccessRecord<'_>) -> LogTimes {
    let start = record.further.time_point(TimePoint::DownstreamReceiveBegin);
    let since = |point| -> Option<Duration> {
        record.further.time_point(point)?.checked_duration_since(start?)
    };
    LogTimes {
        request_received: since(TimePoint::DownstreamReceiveEnd),
        request_begun: since(TimePoint::UpstreamSendBegin),
        request_sent: since(TimePoint::UpstreamSendEnd),
        response_begun: since(TimePoint::UpstreamReceiveBegin),
        response_received: since(TimePoint::UpstreamReceiveEnd),
        answer_begun: since(TimePoint::DownstreamSendBegin),
        answer_sent: since(TimePoint::DownstreamSendEnd),
        // Of what is over.
        whole: record.duration.filter(|_| record.log_type.is_last()),
    }
}

fn tls(record: &AccessRecord<'_>) -> Option<LogTls> {
    let text = |fact| record.further.text(fact).unwrap_or_default().into_owned();
    let version = text(TextFact::Tls(Side::Downstream, TlsFact::Version));
    if version.is_empty() {
        return None;
    }
    let certificate = |holder| {
        let text = |fact| text(TextFact::Certificate(Side::Downstream, holder, fact));
        let list = |fact| -> Vec<String> {
            text(fact).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        LogCertificate {
            uris: list(CertificateFact::Uris),
            dns: list(CertificateFact::Dns),
            subject: text(CertificateFact::Subject),
            issuer: if holder == Holder::Peer {
                text(CertificateFact::Issuer)
            } else {
                String::new()
            },
        }
    };
    Some(LogTls {
        version,
        server_name: owned(record.downstream.server_name),
        own: certificate(Holder::Own),
        peer: certificate(Holder::Peer),
    })
}

fn exchange(record: &AccessRecord<'_>, fields: &GrpcLogFields) -> LogExchange {
    let request = |name: &str| header(record.request_headers, name).unwrap_or_default();
    let number = |fact| record.further.number(fact);
    let head = |side, way| number(NumberFact::Headers(side, way));
    LogExchange {
        protocol: owned(record.protocol),
        method: request(":method"),
        scheme: request(":scheme"),
        authority: request(":authority"),
        path: request(":path"),
        user_agent: request("user-agent"),
        referer: request("referer"),
        forwarded_for: request("x-forwarded-for"),
        request_id: request("x-request-id"),
        original_path: request("x-envoy-original-path"),
        request_headers: picked(record.request_headers, &fields.request_headers),
        response_headers: picked(record.response_headers, &fields.response_headers),
        response_trailers: picked(record.response_trailers, &fields.response_trailers),
        request_bytes: [number(NumberFact::RequestHeaders), record.bytes_received],
        response_bytes: [number(NumberFact::ResponseHeaders), record.bytes_sent],
        head_bytes: [
            head(Side::Downstream, Way::Received),
            head(Side::Upstream, Way::Sent),
            head(Side::Upstream, Way::Received),
            head(Side::Downstream, Way::Sent),
        ],
        status: record.response_code,
        details: owned(record.response_code_details),
    }
}

fn header(headers: &dyn HeaderLookup, name: &str) -> Option<String> {
    headers.first_value(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

fn picked(headers: &dyn HeaderLookup, names: &[String]) -> BTreeMap<String, String> {
    names.iter().filter_map(|name| Some((name.clone(), header(headers, name)?))).collect()
}
