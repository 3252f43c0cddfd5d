//! What expressions ask about an exchange.
//!
//! Source: Envoy "Attributes".
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each function knows a part of the attributes; any other is another's"
)]

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iako_cel::{Attribute, Facts, HeadersOf, MetadataOf, StateOf, Value};
use serde_json::{Map, Value as Json};

use super::further::{
    self, Area, CertificateFact, Holder, NodeFact, NumberFact, Side, TextFact, TimePoint, TlsFact,
};
use super::grpc;
use super::record::AccessRecord;
use crate::headers::HeaderLookup;

impl Facts for AccessRecord<'_> {
    fn attribute(&self, attribute: Attribute) -> Option<Value<'_>> {
        of_request(self, attribute)
            .or_else(|| of_response(self, attribute))
            .or_else(|| of_connections(self, attribute))
            .or_else(|| of_configuration(self, attribute))
    }

    fn header(&self, of: HeadersOf, name: &str) -> Option<Cow<'_, str>> {
        let headers = headers(self, of);
        let first = String::from_utf8_lossy(headers.first_value(name)?);
        // A name that stands once is shown as it is.
        let Some(second) = headers.nth_value(name, 1) else { return Some(first) };
        let mut all = first.into_owned();
        let further = (2..).map_while(|nth| headers.nth_value(name, nth));
        for value in std::iter::once(second).chain(further) {
            all.push(',');
            all.push_str(&String::from_utf8_lossy(value));
        }
        Some(Cow::Owned(all))
    }

    fn headers(&self, of: HeadersOf) -> Vec<(String, String)> {
        let headers = headers(self, of);
        let mut found: Vec<(String, String)> = Vec::new();
        for name in [":authority", ":method", ":path", ":scheme", ":status"] {
            if let Some(value) = headers.first_value(name) {
                found.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
            }
        }
        headers.each_value(&mut |name, value| {
            let value = String::from_utf8_lossy(value);
            match found.iter_mut().find(|(own, _)| own == name) {
                Some((_, known)) => {
                    known.push(',');
                    known.push_str(&value);
                }
                None => found.push((name.to_owned(), value.into_owned())),
            }
        });
        found
    }

    fn metadata(&self, of: MetadataOf, namespace: &str) -> Option<Cow<'_, Map<String, Json>>> {
        self.further.metadata(holder(of), namespace)
    }

    fn namespaces(&self, of: MetadataOf) -> Vec<String> {
        if of == MetadataOf::Dynamic {
            let left = self.further.dynamic_metadata();
            return left.into_iter().map(|(name, _)| name).collect();
        }
        self.further.namespaces(holder(of)).unwrap_or_default()
    }

    fn state(&self, of: StateOf, key: &str) -> Option<Cow<'_, str>> {
        let side = match of {
            StateOf::Downstream => Side::Downstream,
            StateOf::Upstream => Side::Upstream,
        };
        self.further.state(side, key)
    }
}

const fn holder(of: MetadataOf) -> further::MetadataOf {
    match of {
        MetadataOf::Dynamic => further::MetadataOf::Dynamic,
        MetadataOf::Cluster => further::MetadataOf::Cluster,
        MetadataOf::Route => further::MetadataOf::Route,
        MetadataOf::Endpoint => further::MetadataOf::Endpoint,
        MetadataOf::Listener => further::MetadataOf::Listener,
        MetadataOf::VirtualHost => further::MetadataOf::VirtualHost,
    }
}

fn headers<'a>(record: &'a AccessRecord<'_>, of: HeadersOf) -> &'a dyn HeaderLookup {
    match of {
        HeadersOf::Request => record.request_headers,
        HeadersOf::Response => record.response_headers,
        HeadersOf::Trailers => record.response_trailers,
    }
}

fn header<'a>(record: &'a AccessRecord<'_>, name: &str) -> Option<Value<'a>> {
    record
        .request_headers
        .first_value(name)
        .map(|value| Value::Text(String::from_utf8_lossy(value)))
}

fn path<'a>(record: &'a AccessRecord<'_>) -> Option<Cow<'a, str>> {
    record.request_headers.first_value(":path").map(String::from_utf8_lossy)
}

/// A part of the path, without copying what is text already.
fn part<'a>(path: Cow<'a, str>, of: impl Fn(&str) -> &str) -> Value<'a> {
    Value::Text(match path {
        Cow::Borrowed(path) => Cow::Borrowed(of(path)),
        Cow::Owned(path) => Cow::Owned(of(&path).to_owned()),
    })
}

fn query(path: &str) -> &str {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    query.split('#').next().unwrap_or_default()
}

fn number<'a>(value: u64) -> Value<'a> {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn duration<'a>(value: Duration) -> Value<'a> {
    Value::Duration(i128::try_from(value.as_nanos()).unwrap_or(i128::MAX))
}

fn moment(time: SystemTime) -> Value<'static> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Value::Timestamp(i128::try_from(since.as_nanos()).unwrap_or(i128::MAX))
}

fn of_request<'a>(record: &'a AccessRecord<'_>, attribute: Attribute) -> Option<Value<'a>> {
    let head = || record.further.number(NumberFact::RequestHeaders);
    match attribute {
        Attribute::RequestPath => header(record, ":path"),
        Attribute::RequestUrlPath => {
            path(record).map(|path| part(path, |path| path.split('?').next().unwrap_or(path)))
        }
        Attribute::RequestQuery => path(record).map(|path| part(path, query)),
        Attribute::RequestHost => header(record, ":authority"),
        Attribute::RequestScheme => header(record, ":scheme"),
        Attribute::RequestMethod => header(record, ":method"),
        Attribute::RequestReferer => header(record, "referer"),
        Attribute::RequestUserAgent => header(record, "user-agent"),
        Attribute::RequestId => header(record, "x-request-id"),
        Attribute::RequestProtocol => record.protocol.map(Value::text),
        Attribute::RequestTime => Some(moment(record.start_time)),
        Attribute::RequestDuration => record.duration.map(duration),
        Attribute::RequestHeadersBytes => Some(number(head())),
        Attribute::RequestSize => match record.request_headers.first_value("content-length") {
            Some(told) => std::str::from_utf8(told).ok()?.trim().parse().ok().map(Value::Int),
            None => Some(number(record.bytes_received)),
        },
        Attribute::RequestTotalSize => Some(number(record.bytes_received.saturating_add(head()))),
        _ => None,
    }
}

fn of_response<'a>(record: &'a AccessRecord<'_>, attribute: Attribute) -> Option<Value<'a>> {
    let bytes = |fact| record.further.number(fact);
    match attribute {
        Attribute::ResponseCode => record.response_code.map(|code| Value::Int(i64::from(code))),
        Attribute::ResponseCodeDetails => record.response_code_details.map(Value::text),
        Attribute::ResponseFlags => Some(number(record.flags.mask())),
        Attribute::ResponseGrpcStatus => grpc::code(record).map(number),
        Attribute::ResponseHeadersBytes => Some(number(bytes(NumberFact::ResponseHeaders))),
        Attribute::ResponseSize => Some(number(record.bytes_sent)),
        Attribute::ResponseTotalSize => {
            let heads = bytes(NumberFact::ResponseHeaders)
                .saturating_add(bytes(NumberFact::ResponseTrailers));
            Some(number(record.bytes_sent.saturating_add(heads)))
        }
        Attribute::BackendLatency => {
            let from = record.further.time_point(TimePoint::UpstreamSendBegin)?;
            let to = record.further.time_point(TimePoint::UpstreamReceiveEnd)?;
            to.checked_duration_since(from).map(duration)
        }
        _ => None,
    }
}

fn address<'a>(address: Option<SocketAddr>) -> Option<Value<'a>> {
    address.map(|address| Value::Text(Cow::Owned(address.to_string())))
}

fn port<'a>(address: Option<SocketAddr>) -> Option<Value<'a>> {
    address.map(|address| Value::Int(i64::from(address.port())))
}

fn of_connections<'a>(record: &'a AccessRecord<'_>, attribute: Attribute) -> Option<Value<'a>> {
    let (down, up) = (&record.downstream, &record.upstream);
    let has_upstream = up.host.is_some() || up.remote.is_some() || up.host_name.is_some();
    match attribute {
        Attribute::ConnectionId => down.connection_id.map(Value::Uint),
        Attribute::ConnectionMtls => {
            let shown =
                certificate(record, Side::Downstream, Holder::Peer, CertificateFact::Sha256);
            Some(Value::Bool(shown.is_some()))
        }
        Attribute::ServerName => Some(Value::text(down.server_name.unwrap_or_default())),
        Attribute::TerminationDetails => record.connection_termination_details.map(Value::text),
        Attribute::DownstreamTransportFailure => down.transport_failure_reason.map(Value::text),
        Attribute::SourceAddress => address(down.remote_address),
        Attribute::SourcePort => port(down.remote_address),
        Attribute::DestinationAddress => address(down.local_address),
        Attribute::DestinationPort => port(down.local_address),
        Attribute::UpstreamAddress => match record.further.text(TextFact::UpstreamHost) {
            Some(host) if up.host.is_none() && up.remote.is_none() => Some(Value::Text(host)),
            Some(_) | None => address(up.host.or(up.remote)),
        },
        Attribute::UpstreamPort => port(up.host.or(up.remote)),
        Attribute::UpstreamLocalAddress => address(up.local_address),
        Attribute::UpstreamTransportFailure if has_upstream => {
            Some(Value::text(up.transport_failure_reason.unwrap_or_default()))
        }
        Attribute::AttemptCount => Some(Value::Uint(u64::from(up.attempts))),
        Attribute::NumEndpoints => {
            up.cluster.map(|_| Value::Uint(record.further.number(NumberFact::Endpoints)))
        }
        Attribute::PoolReadyDuration => {
            let point = |point| record.further.time_point(point);
            let (from, to) = (point(TimePoint::TryBegin), point(TimePoint::UpstreamSendBegin));
            let took = from.zip(to).and_then(|(from, to)| to.checked_duration_since(from));
            // Where no connection came of it, it took all the time that there was.
            took.or_else(|| record.duration.filter(|_| up.attempts > 0)).map(duration)
        }
        Attribute::UpstreamLocality if has_upstream => {
            Some(locality(|area| record.further.text(TextFact::Locality(area))))
        }
        other => of_certificates(record, other),
    }
}

/// Region, zone and the part of it.
fn locality<'a>(text: impl Fn(Area) -> Option<Cow<'a, str>>) -> Value<'a> {
    let named = [("region", Area::Region), ("zone", Area::Zone), ("sub_zone", Area::SubZone)];
    let named = named.map(|(name, area)| (name, Value::Text(text(area).unwrap_or_default())));
    Value::Record(Arc::new(named.to_vec()))
}

fn certificate<'a>(
    record: &'a AccessRecord<'_>,
    side: Side,
    holder: Holder,
    fact: CertificateFact,
) -> Option<Cow<'a, str>> {
    let text = record.further.text(TextFact::Certificate(side, holder, fact));
    text.filter(|text| !text.is_empty())
}

fn of_certificates<'a>(record: &'a AccessRecord<'_>, attribute: Attribute) -> Option<Value<'a>> {
    use CertificateFact as Of;
    use Side::{Downstream, Upstream};
    let (side, holder, fact) = match attribute {
        Attribute::TlsVersion => return version(record, Downstream),
        Attribute::UpstreamTlsVersion => return version(record, Upstream),
        Attribute::SubjectLocal => (Downstream, Holder::Own, Of::Subject),
        Attribute::SubjectPeer => (Downstream, Holder::Peer, Of::Subject),
        Attribute::UriSanLocal => (Downstream, Holder::Own, Of::Uris),
        Attribute::UriSanPeer => (Downstream, Holder::Peer, Of::Uris),
        Attribute::DnsSanLocal => (Downstream, Holder::Own, Of::Dns),
        Attribute::DnsSanPeer => (Downstream, Holder::Peer, Of::Dns),
        Attribute::Sha256Peer => (Downstream, Holder::Peer, Of::Sha256),
        Attribute::PeerCertificate => (Downstream, Holder::Peer, Of::Pem),
        Attribute::UpstreamSubjectLocal => (Upstream, Holder::Own, Of::Subject),
        Attribute::UpstreamSubjectPeer => (Upstream, Holder::Peer, Of::Subject),
        Attribute::UpstreamUriSanLocal => (Upstream, Holder::Own, Of::Uris),
        Attribute::UpstreamUriSanPeer => (Upstream, Holder::Peer, Of::Uris),
        Attribute::UpstreamDnsSanLocal => (Upstream, Holder::Own, Of::Dns),
        Attribute::UpstreamDnsSanPeer => (Upstream, Holder::Peer, Of::Dns),
        Attribute::UpstreamSha256Peer => (Upstream, Holder::Peer, Of::Sha256),
        Attribute::UpstreamPeerCertificate => (Upstream, Holder::Peer, Of::Pem),
        _ => return None,
    };
    let found = certificate(record, side, holder, fact);
    match (fact, found) {
        // A certificate without a subject, or none at all, has an empty one.
        (Of::Subject, None) => version(record, side).map(|_| Value::text("")),
        (Of::Uris | Of::Dns, Some(names)) => {
            Some(part(names, |names| names.split(',').next().unwrap_or(names)))
        }
        (_, found) => found.map(Value::Text),
    }
}

fn version<'a>(record: &'a AccessRecord<'_>, side: Side) -> Option<Value<'a>> {
    let version = record.further.text(TextFact::Tls(side, TlsFact::Version))?;
    (!version.is_empty()).then_some(Value::Text(version))
}

fn of_configuration<'a>(record: &'a AccessRecord<'_>, attribute: Attribute) -> Option<Value<'a>> {
    let further = record.further;
    let whole = |of: MetadataOf| further.namespaces(holder(of)).map(|_| Value::Metadata(of));
    match attribute {
        Attribute::Node => Some(node(record)),
        Attribute::ClusterName => record.upstream.cluster.map(Value::text),
        Attribute::ClusterMetadata => whole(MetadataOf::Cluster),
        Attribute::RouteName => {
            let is_there = further.namespaces(further::MetadataOf::Route).is_some();
            let name = record.route_name.or_else(|| is_there.then_some(""));
            name.map(Value::text)
        }
        Attribute::RouteMetadata => whole(MetadataOf::Route),
        Attribute::VirtualHostName => further.text(TextFact::VirtualHost).map(Value::Text),
        Attribute::VirtualHostMetadata => whole(MetadataOf::VirtualHost),
        Attribute::UpstreamHostMetadata => {
            let found = further.namespaces(further::MetadataOf::Endpoint)?;
            // An endpoint without metadata has none rather than an empty one.
            Some(if found.is_empty() { Value::Null } else { Value::Metadata(MetadataOf::Endpoint) })
        }
        Attribute::LocalityMetadata => {
            further.namespaces(further::MetadataOf::Endpoint).map(|_| Value::Null)
        }
        Attribute::FilterChainName => {
            Some(Value::Text(further.text(TextFact::FilterChain).unwrap_or_default()))
        }
        Attribute::ListenerMetadata => whole(MetadataOf::Listener),
        Attribute::ListenerDirection => Some(number(further.number(NumberFact::Direction))),
        _ => None,
    }
}

fn node<'a>(record: &'a AccessRecord<'_>) -> Value<'a> {
    let text = |fact| record.further.text(TextFact::Node(fact));
    let metadata = record.further.node_metadata().map_or_else(
        || Value::Struct(Cow::Owned(Map::new())),
        |metadata| Value::Struct(Cow::Borrowed(metadata)),
    );
    Value::Record(Arc::new(vec![
        ("id", Value::Text(text(NodeFact::Id).unwrap_or_default())),
        ("cluster", Value::Text(text(NodeFact::Cluster).unwrap_or_default())),
        ("metadata", metadata),
        ("locality", locality(|area| text(NodeFact::Locality(area)))),
    ]))
}
