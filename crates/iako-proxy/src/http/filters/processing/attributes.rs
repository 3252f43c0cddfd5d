//! What a service is told with a part: metadata, and facts about the exchange.

use iako_proxy_config::{ProcessPart, ProcessedFact};
use serde_json::{Map, Value};

use super::Shared;
use crate::http::exchange::Exchange;

/// What facts can be told of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen<'r> {
    Request,
    Response(&'r iako_http::ResponseHead),
}

/// Metadata by name, as it was when a service was shown the head.
pub(super) type Told = Vec<(String, Map<String, Value>)>;

impl Exchange<'_> {
    /// A head as it is sent, with the facts that belong to it.
    pub(super) fn head_message(
        &self,
        shared: &Shared,
        part: ProcessPart<'_>,
        known: Seen<'_>,
    ) -> Vec<u8> {
        let mut processing = shared.borrow_mut();
        let facts = match known {
            Seen::Request => &processing.request_facts[..],
            Seen::Response(_) => &processing.response_facts,
        };
        let attributes = self.attributes(facts, known);
        let told = self.told_metadata(&processing.forwarded);
        processing.message(part, &told, attributes)
    }

    /// Content or trailers as they are sent.
    pub(super) fn part_message(&self, shared: &Shared, part: ProcessPart<'_>) -> Vec<u8> {
        let mut processing = shared.borrow_mut();
        let told = self.told_metadata(&processing.forwarded);
        processing.message(part, &told, Map::new())
    }

    /// The metadata that a service is told.
    pub(super) fn told_metadata(&self, forwarded: &[String]) -> Told {
        let told = self.request.metadata.iter();
        let told = told.filter(|(name, _)| forwarded.iter().any(|own| own == name));
        told.map(|(name, fields)| (name.to_owned(), fields.clone())).collect()
    }

    fn attributes(&self, facts: &[ProcessedFact], known: Seen<'_>) -> Map<String, Value> {
        let told = facts
            .iter()
            .filter_map(|fact| Some((fact.name().to_owned(), self.attribute(*fact, known)?)));
        told.collect()
    }

    fn attribute(&self, fact: ProcessedFact, known: Seen<'_>) -> Option<Value> {
        let view = self.request.view();
        let head = self.request.head(&view);
        let info = &self.connection.info;
        let header = |name: &str| head.text(name).map(|text| Value::from(text.into_owned()));
        Some(match fact {
            ProcessedFact::Path => Value::from(head.path_and_query),
            ProcessedFact::UrlPath => Value::from(head.path()),
            ProcessedFact::Query => Value::from(head.query()),
            ProcessedFact::Host => Value::from(head.authority),
            ProcessedFact::Scheme => Value::from(head.scheme),
            ProcessedFact::Method => Value::from(head.method),
            ProcessedFact::Protocol => Value::from(self.request.head.version().as_str()),
            ProcessedFact::Id => header("x-request-id")?,
            ProcessedFact::UserAgent => header("user-agent")?,
            ProcessedFact::Referer => header("referer")?,
            ProcessedFact::Size => Value::from(self.upload.bytes),
            ProcessedFact::SourceAddress => Value::from(info.remote.to_string()),
            ProcessedFact::SourcePort => Value::from(info.remote.port()),
            ProcessedFact::DestinationAddress => Value::from(info.original_destination.to_string()),
            ProcessedFact::DestinationPort => Value::from(info.original_destination.port()),
            ProcessedFact::Mtls => Value::from(info.peer().is_some()),
            ProcessedFact::ServerName => Value::from(info.server_name.as_str()),
            ProcessedFact::Cluster => Value::from(&*self.record.cluster.as_ref()?.name),
            ProcessedFact::Route => Value::from(self.record.route.as_str()),
            ProcessedFact::Code => match known {
                Seen::Request => return None,
                Seen::Response(head) => Value::from(head.status()),
            },
        })
    }
}
