//! What formats ask about an exchange beyond the facts of every line.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use iako_http::{BodyLength, Known, ResponseEdits, ResponseHead, Version, reason};
use iako_proxy_config::{Direction, EndpointAddress, Route, VirtualHost};
use iako_telemetry::access_log::further::{
    Area, FurtherFacts, MetadataOf, NodeFact, NumberFact, Side, TextFact, TimePoint, Validity, Way,
};
use iako_traffic::{Headers, RouteOutcome};
use iako_types::Locality;
use iako_xds_codec::carried::Carrier;
use serde_json::{Map, Value};

use super::{Finished, Record};
use crate::access_log::unique_id;
use crate::http::connection::HttpConnection;
use crate::http::request::{Request, ResponseView};

/// An exchange, finished or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeFacts<'a> {
    pub(crate) connection: &'a HttpConnection,
    pub(crate) record: &'a Record,
    pub(crate) request: &'a Request,
    pub(crate) finished: Option<&'a Finished<'a>>,
    /// When the line is written.
    pub(crate) now: Option<Instant>,
    /// Where the request was sent on.
    pub(crate) place: Place<'a>,
}

/// The route that a request takes, and whose it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place<'a> {
    /// None where no host is served.
    pub(crate) virtual_host: Option<&'a VirtualHost>,
    /// None where no route takes the request.
    pub(crate) route: Option<&'a Route>,
}

impl<'a> Place<'a> {
    /// What was found for a request.
    pub(crate) const fn of(outcome: &RouteOutcome<'a>) -> Self {
        match outcome {
            RouteOutcome::NoHost => Self { virtual_host: None, route: None },
            RouteOutcome::NoRoute(host) | RouteOutcome::TlsRequired(host) => {
                Self { virtual_host: Some(*host), route: None }
            }
            RouteOutcome::Matched(found) => {
                Self { virtual_host: Some(found.virtual_host), route: Some(found.route) }
            }
        }
    }
}

/// An endpoint that was tried, as logs show it.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(crate) address: EndpointAddress,
    pub(crate) hostname: String,
    pub(crate) connection: Option<u64>,
}

impl Tried {
    fn address(&self) -> String {
        shown(&self.address)
    }

    fn ip(&self) -> String {
        match &self.address {
            EndpointAddress::Socket(address) => address.ip().to_string(),
            EndpointAddress::Host { name, .. } => name.to_string(),
            EndpointAddress::Pipe(_) | EndpointAddress::Internal { .. } => self.address(),
        }
    }

    fn name(&self) -> String {
        if self.hostname.is_empty() { self.address() } else { self.hostname.clone() }
    }

    fn name_without_port(&self) -> String {
        let without = || Some(self.hostname.rsplit_once(':')?.0.to_owned());
        match self.hostname.as_str() {
            "" => self.ip(),
            name => without().unwrap_or_else(|| name.to_owned()),
        }
    }
}

/// An endpoint as Envoy shows it.
pub(crate) fn shown(address: &EndpointAddress) -> String {
    match address {
        EndpointAddress::Socket(address) => address.to_string(),
        EndpointAddress::Host { name, port } => format!("{name}:{port}"),
        EndpointAddress::Pipe(path) => path.display().to_string(),
        EndpointAddress::Internal { listener, id } => format!("envoy://{listener}/{id}"),
    }
}

impl<'a> ExchangeFacts<'a> {
    /// An exchange that is not finished.
    pub(crate) const fn of(
        connection: &'a HttpConnection,
        record: &'a Record,
        request: &'a Request,
    ) -> Self {
        let place = Place { virtual_host: None, route: None };
        Self { connection, record, request, finished: None, now: None, place }
    }
}

impl ExchangeFacts<'_> {
    fn tried(&self, text: impl Fn(&Tried) -> Option<String>) -> Option<Cow<'_, str>> {
        let mut texts: Vec<String> = Vec::new();
        for one in &self.record.tried {
            texts.extend(text(one).filter(|text| !texts.contains(text)));
        }
        (!texts.is_empty()).then(|| Cow::Owned(texts.join(",")))
    }

    /// Whose metadata it is; none where there is nobody who could have any.
    fn carrier(&self, of: MetadataOf) -> Option<Carrier<'_>> {
        match of {
            MetadataOf::Dynamic => None,
            MetadataOf::Cluster => {
                self.record.cluster.as_ref().map(|it| Carrier::Cluster(&it.config.metadata))
            }
            MetadataOf::Route => self.place.route.map(Carrier::Route),
            MetadataOf::Endpoint => {
                let (balancer, place) = self.record.endpoint.as_ref()?;
                let endpoint = balancer.endpoints().get(usize::try_from(*place).ok()?)?;
                Some(Carrier::Endpoint(&endpoint.endpoint.metadata))
            }
            MetadataOf::Listener => Some(Carrier::Plain(&self.connection.chain.of_listener)),
            MetadataOf::FilterChain => Some(Carrier::Plain(&self.connection.chain.metadata)),
            MetadataOf::VirtualHost => self.place.virtual_host.map(Carrier::VirtualHost),
        }
    }

    /// Bytes of the heads of a side, with so many bytes around each field.
    fn head_bytes(&self, side: Side, way: Way) -> u64 {
        let Some(finished) = self.finished else { return 0 };
        // A field that comes is counted without the end of its line, one that goes with it.
        let around = if way == Way::Received { 3 } else { 4 };
        let request = self.request;
        match (side, way) {
            (Side::Downstream, Way::Received) => {
                let fields = request.head.fields().iter();
                let host = length(b"host", request.head.authority().as_bytes(), around);
                fields
                    .map(|field| length(field.name, field.value, around))
                    .fold(host, u64::saturating_add)
            }
            (Side::Downstream, Way::Sent) | (Side::Upstream, Way::Received) => {
                let Some((head, edits)) = finished.response else { return 0 };
                if side == Side::Upstream {
                    if self.record.response_at.is_none() {
                        return 0;
                    }
                    let fields = head.fields().iter();
                    return fields.map(|field| length(field.name, field.value, around)).sum();
                }
                summed(&ResponseView { head, edits }, around)
                    .saturating_add(framing(head, edits, around))
            }
            (Side::Upstream, Way::Sent) => {
                if self.record.upstream.is_none() {
                    return 0;
                }
                let host = length(b"host", request.authority().as_bytes(), around);
                host.saturating_add(summed(&request.view(), around))
            }
        }
    }

    /// The same with the line ahead of it and the content behind it.
    fn wire_bytes(&self, side: Side, way: Way) -> u64 {
        let Some(finished) = self.finished else { return 0 };
        let head = self.head_bytes(side, way);
        let version = |version: Version| version.as_str().len() as u64;
        let (line, fields, content) = match (side, way) {
            (Side::Downstream, Way::Received) => {
                let head = &self.request.head;
                let line = head.method().as_str().len() + head.path().len() + 4;
                let line = line as u64 + version(head.version());
                (line, 1 + head.fields().iter().count() as u64, finished.upload.bytes)
            }
            (Side::Upstream, Way::Sent) if head > 0 => {
                let method = self.request.edits.method(&self.request.head);
                let line = method.as_str().len() + self.request.path().len() + 4;
                (line as u64 + 8, 0, finished.upload.bytes)
            }
            (Side::Downstream, Way::Sent) if finished.response.is_some() => {
                let line =
                    finished.response.map_or(0, |(head, _)| reason(head.status()).len() as u64);
                let content = finished.download.bytes.saturating_add(self.record.reply_bytes);
                (line + 15, 0, content)
            }
            (Side::Upstream, Way::Received) if head > 0 => {
                let (line, count) = finished.response.map_or((0, 0), |(head, _)| {
                    (reason(head.status()).len() as u64, head.fields().iter().count() as u64)
                });
                (line + 15, count, finished.download.bytes)
            }
            (Side::Upstream, Way::Sent | Way::Received) | (Side::Downstream, Way::Sent) => {
                return 0;
            }
        };
        [line, head, fields, 2, content].into_iter().fold(0, u64::saturating_add)
    }
}

/// A part of a place; empty where it is not told.
fn area_of(locality: &Locality, area: Area) -> &str {
    match area {
        Area::Region => &locality.region,
        Area::Zone => &locality.zone,
        Area::SubZone => &locality.sub_zone,
    }
}

/// What is written to say how long a response of ours is, where its fields do not.
fn framing(head: &ResponseHead, edits: &ResponseEdits, around: u64) -> u64 {
    let is_said = edits.fields.get(head.fields(), Known::ContentLength).is_some();
    let BodyLength::Exact(bytes) = head.length() else { return 0 };
    if is_said {
        return 0;
    }
    length(b"content-length", bytes.to_string().as_bytes(), around)
}

fn length(name: &[u8], value: &[u8], around: u64) -> u64 {
    (name.len() as u64).saturating_add(value.len() as u64).saturating_add(around)
}

fn summed(fields: &dyn Headers, around: u64) -> u64 {
    let mut sum: u64 = 0;
    fields.each(&mut |name, value| {
        sum = sum.saturating_add(length(name.as_bytes(), value, around));
    });
    sum
}

impl FurtherFacts for ExchangeFacts<'_> {
    fn text(&self, fact: TextFact) -> Option<Cow<'_, str>> {
        let upstream = || self.record.upstream.as_ref()?.tls.as_deref();
        match fact {
            TextFact::Certificate(Side::Upstream, holder, fact) => {
                upstream()?.certificate(holder, fact)
            }
            TextFact::Tls(Side::Upstream, fact) => upstream()?.agreed(fact),
            TextFact::Certificate(Side::Downstream, holder, fact) => {
                self.connection.tls.as_ref()?.certificate(holder, fact)
            }
            TextFact::Tls(Side::Downstream, fact) => self.connection.tls.as_ref()?.agreed(fact),
            TextFact::UpstreamHost => self.record.host.as_ref().map(|host| shown(host).into()),
            TextFact::HostsAttempted => self.tried(|one| Some(one.address())),
            TextFact::HostIpsAttempted => self.tried(|one| Some(one.ip())),
            TextFact::HostNamesAttempted => self.tried(|one| Some(one.name())),
            TextFact::HostNamesAttemptedWithoutPort => {
                self.tried(|one| Some(one.name_without_port()))
            }
            TextFact::ConnectionIdsAttempted => {
                self.tried(|one| one.connection.map(|id| id.to_string()))
            }
            TextFact::EndpointId(Side::Upstream) => match self.record.host.as_ref()? {
                EndpointAddress::Internal { id, .. } => Some(Cow::Borrowed(id)),
                EndpointAddress::Socket(_)
                | EndpointAddress::Host { .. }
                | EndpointAddress::Pipe(_) => None,
            },
            TextFact::CloseType(Side::Upstream) => {
                self.record.host.as_ref().map(|_| Cow::Borrowed("Normal"))
            }
            TextFact::FilterChain => Some(Cow::Borrowed(&self.connection.chain.name)),
            TextFact::StreamId => {
                let id = self.request.text(Known::XRequestId)?;
                Some(Cow::Borrowed(id))
            }
            TextFact::UniqueId => Some(Cow::Owned(unique_id())),
            TextFact::CloseType(Side::Downstream) => Some(Cow::Borrowed("Normal")),
            TextFact::Locality(area) => {
                let (balancer, place) = self.record.endpoint.as_ref()?;
                let endpoint = balancer.endpoints().get(usize::try_from(*place).ok()?)?;
                Some(Cow::Borrowed(area_of(&endpoint.locality, area)))
            }
            TextFact::Node(fact) => {
                let node = &self.connection.worker.shared.node.node;
                Some(Cow::Borrowed(match fact {
                    NodeFact::Id => &node.id,
                    NodeFact::Cluster => &node.cluster,
                    NodeFact::Locality(area) => area_of(&node.locality, area),
                }))
            }
            TextFact::VirtualHost => Some(Cow::Borrowed(&self.place.virtual_host?.name)),
            TextFact::EndpointId(Side::Downstream)
            | TextFact::UpstreamLocalCloseReason
            | TextFact::Ja3
            | TextFact::Ja4
            | TextFact::SpanId
            | TextFact::CustomFlags => None,
        }
    }

    fn number(&self, fact: NumberFact) -> u64 {
        let response = self.finished.and_then(|finished| finished.response);
        match fact {
            NumberFact::RequestHeaders => {
                let request = self.request;
                let pseudo = [
                    (":method", request.edits.method(&request.head).as_str()),
                    (":path", request.path()),
                    (":authority", request.authority()),
                    (":scheme", request.scheme.as_str()),
                ];
                let pseudo = pseudo.iter().filter(|(_, value)| !value.is_empty());
                let pseudo = pseudo.map(|(name, value)| (name.len() + value.len()) as u64);
                pseudo.sum::<u64>().saturating_add(summed(&request.view(), 0))
            }
            NumberFact::ResponseHeaders => response.map_or(0, |(head, edits)| {
                // `:status` and its three digits.
                let fields = summed(&ResponseView { head, edits }, 0);
                // That there is nothing is said by who writes the head.
                let is_empty = head.length() == BodyLength::Exact(0);
                let framing = if is_empty { 0 } else { framing(head, edits, 0) };
                fields.saturating_add(10).saturating_add(framing)
            }),
            NumberFact::ResponseTrailers => {
                let trailers = self.finished.and_then(|it| it.download.trailers.as_deref());
                trailers.map_or(0, |trailers| {
                    trailers.iter().map(|field| length(field.name, field.value, 0)).sum()
                })
            }
            NumberFact::UpstreamConnection => {
                self.record.upstream.as_ref().map_or(0, |facts| facts.id)
            }
            NumberFact::Endpoints => self
                .record
                .endpoint
                .as_ref()
                .map_or(0, |(balancer, _)| balancer.endpoints().len() as u64),
            NumberFact::Direction => match self.connection.direction {
                Direction::Unspecified => 0,
                Direction::Inbound => 1,
                Direction::Outbound => 2,
            },
            NumberFact::Headers(side, way) | NumberFact::PlainHeaders(side, way) => {
                self.head_bytes(side, way)
            }
            NumberFact::Wire(side, way) => self.wire_bytes(side, way),
        }
    }

    fn time_point(&self, point: TimePoint) -> Option<Instant> {
        let record = self.record;
        let upstream = record.upstream.as_ref();
        let came = self.finished.is_some_and(|it| it.download.is_told_whole());
        match point {
            TimePoint::DownstreamReceiveBegin => Some(record.start),
            TimePoint::DownstreamReceiveEnd => {
                // What has no content was read with its head.
                let length = self.request.head.length();
                let at_once = matches!(length, BodyLength::Empty | BodyLength::Exact(0));
                record.request_at.or_else(|| at_once.then_some(record.start))
            }
            TimePoint::TryBegin => record.sent_at.map(|_| record.start),
            TimePoint::ConnectBegin => upstream.map(|facts| facts.began),
            TimePoint::ConnectEnd => upstream.map(|facts| facts.accepted),
            TimePoint::HandshakeEnd => upstream?.tls.as_ref().map(|tls| tls.done),
            TimePoint::UpstreamSendBegin => record.sent_at,
            TimePoint::UpstreamSendEnd => record.sent_at?.max(record.request_at?).into(),
            TimePoint::UpstreamReceiveBegin => record.response_at,
            TimePoint::UpstreamContentBegin => {
                record.response_at.filter(|_| self.finished.is_some_and(|it| it.download.bytes > 0))
            }
            TimePoint::UpstreamReceiveEnd => record.response_at.and(self.now).filter(|_| came),
            TimePoint::DownstreamSendBegin => {
                let sent = self.finished.is_some_and(|it| it.response.is_some());
                record.response_at.or(self.now).filter(|_| sent)
            }
            TimePoint::DownstreamSendEnd => {
                let own = self.finished.is_some_and(|it| it.response.is_some());
                self.now.filter(|_| came || (own && record.response_at.is_none()))
            }
            TimePoint::ConnectionBegin => Some(self.connection.accepted),
            // Of the connection; a request tells it no end.
            TimePoint::ConnectionEnd | TimePoint::DownstreamHandshakeEnd => None,
        }
    }

    fn validity(&self, side: Side, end: Validity) -> Option<SystemTime> {
        match side {
            Side::Downstream => self.connection.tls.as_ref()?.validity(end),
            Side::Upstream => self.record.upstream.as_ref()?.tls.as_ref()?.validity(end),
        }
    }

    fn metadata(&self, of: MetadataOf, namespace: &str) -> Option<Cow<'_, Map<String, Value>>> {
        if of == MetadataOf::Dynamic {
            let left = self.request.metadata.all(namespace);
            let left = left.or_else(|| self.connection.info.metadata.all(namespace));
            return left.map(Cow::Borrowed);
        }
        self.carrier(of)?.of(namespace)
    }

    fn namespaces(&self, of: MetadataOf) -> Option<Vec<String>> {
        self.carrier(of).map(Carrier::namespaces)
    }

    fn node_metadata(&self) -> Option<&Map<String, Value>> {
        Some(&self.connection.worker.shared.node.node.metadata)
    }

    fn dynamic_metadata(&self) -> Vec<(String, Map<String, Value>)> {
        let own = self.request.metadata.iter();
        let before = self.connection.info.metadata.iter();
        let before = before.filter(|(name, _)| self.request.metadata.all(name).is_none());
        own.chain(before).map(|(name, facts)| (name.to_owned(), facts.clone())).collect()
    }

    fn state(&self, side: Side, key: &str) -> Option<Cow<'_, str>> {
        if side == Side::Upstream {
            return None;
        }
        let own = self.request.metadata.state(key);
        own.or_else(|| self.connection.info.metadata.state(key)).map(Cow::Borrowed)
    }
}
