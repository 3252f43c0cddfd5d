//! What logs ask about a client's connection.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use iako_proxy_config::FilterMetadata;
use iako_rt::clock;
use iako_telemetry::access_log::further::{
    FurtherFacts, MetadataOf, Side, TextFact, TimePoint, Validity,
};
use iako_traffic::ConnectionInfo;
use iako_xds_codec::carried::Carrier;
use serde_json::{Map, Value};

use crate::snapshot::Chain;
use crate::transport::TlsDetails;

/// A client's connection, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientSide<'a> {
    /// What decisions look at.
    pub(crate) info: &'a ConnectionInfo,
    /// What its handshake established.
    pub(crate) tls: Option<&'a TlsDetails>,
    /// Its filter chain, once there is one.
    pub(crate) chain: Option<&'a Chain>,
    /// What is said of its listener, for logs; that of the chain's when absent.
    pub(crate) listener: Option<&'a FilterMetadata>,
    /// When it was accepted.
    pub(crate) accepted: Option<Instant>,
}

impl<'a> ClientSide<'a> {
    /// Whose metadata it is; none where there is nobody who could have any.
    fn carrier(&self, of: MetadataOf) -> Option<Carrier<'a>> {
        match of {
            MetadataOf::Listener => {
                let of_chain = self.chain.map(|chain| &chain.of_listener);
                self.listener.or(of_chain).map(Carrier::Plain)
            }
            MetadataOf::FilterChain => self.chain.map(|chain| Carrier::Plain(&chain.metadata)),
            MetadataOf::Dynamic
            | MetadataOf::Cluster
            | MetadataOf::Route
            | MetadataOf::Endpoint
            | MetadataOf::VirtualHost => None,
        }
    }
}

impl FurtherFacts for ClientSide<'_> {
    fn text(&self, fact: TextFact) -> Option<Cow<'_, str>> {
        match fact {
            TextFact::Certificate(Side::Downstream, holder, fact) => {
                self.tls?.certificate(holder, fact)
            }
            TextFact::Tls(Side::Downstream, fact) => self.tls?.agreed(fact),
            TextFact::FilterChain => Some(Cow::Borrowed(self.chain.map_or("", |it| &it.name))),
            TextFact::CloseType(_) => Some(Cow::Borrowed("Normal")),
            TextFact::UniqueId | TextFact::StreamId => Some(Cow::Owned(super::unique_id())),
            TextFact::Certificate(Side::Upstream, ..)
            | TextFact::Tls(Side::Upstream, _)
            | TextFact::UpstreamHost
            | TextFact::HostsAttempted
            | TextFact::HostIpsAttempted
            | TextFact::HostNamesAttempted
            | TextFact::HostNamesAttemptedWithoutPort
            | TextFact::ConnectionIdsAttempted
            | TextFact::EndpointId(_)
            | TextFact::UpstreamLocalCloseReason
            | TextFact::Ja3
            | TextFact::Ja4
            | TextFact::SpanId
            | TextFact::VirtualHost
            | TextFact::Locality(_)
            | TextFact::Node(_)
            | TextFact::CustomFlags => None,
        }
    }

    fn time_point(&self, point: TimePoint) -> Option<Instant> {
        match point {
            TimePoint::DownstreamReceiveBegin | TimePoint::ConnectionBegin => self.accepted,
            TimePoint::ConnectionEnd => Some(clock::now()),
            TimePoint::DownstreamHandshakeEnd => self.tls.map(|tls| tls.done),
            TimePoint::DownstreamReceiveEnd
            | TimePoint::ConnectBegin
            | TimePoint::ConnectEnd
            | TimePoint::HandshakeEnd
            | TimePoint::UpstreamSendBegin
            | TimePoint::UpstreamSendEnd
            | TimePoint::UpstreamReceiveBegin
            | TimePoint::UpstreamContentBegin
            | TimePoint::UpstreamReceiveEnd
            | TimePoint::DownstreamSendBegin
            | TimePoint::DownstreamSendEnd
            | TimePoint::TryBegin => None,
        }
    }

    fn validity(&self, side: Side, end: Validity) -> Option<SystemTime> {
        match side {
            Side::Downstream => self.tls?.validity(end),
            Side::Upstream => None,
        }
    }

    fn metadata(&self, of: MetadataOf, namespace: &str) -> Option<Cow<'_, Map<String, Value>>> {
        match of {
            MetadataOf::Dynamic => self.info.metadata.all(namespace).map(Cow::Borrowed),
            MetadataOf::Cluster
            | MetadataOf::Route
            | MetadataOf::Endpoint
            | MetadataOf::Listener
            | MetadataOf::FilterChain
            | MetadataOf::VirtualHost => self.carrier(of)?.of(namespace),
        }
    }

    fn namespaces(&self, of: MetadataOf) -> Option<Vec<String>> {
        self.carrier(of).map(Carrier::namespaces)
    }

    fn dynamic_metadata(&self) -> Vec<(String, Map<String, Value>)> {
        let left = self.info.metadata.iter();
        left.map(|(name, facts)| (name.to_owned(), facts.clone())).collect()
    }

    fn state(&self, side: Side, key: &str) -> Option<Cow<'_, str>> {
        match side {
            Side::Downstream => self.info.metadata.state(key).map(Cow::Borrowed),
            Side::Upstream => None,
        }
    }
}
