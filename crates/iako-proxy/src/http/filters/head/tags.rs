//! Tags by the addresses of clients, compiled.

use std::net::IpAddr;
use std::sync::OnceLock;

use iako_http::{FieldName, FieldValue, Known};
use iako_proxy_config::{IpTagging, TaggedRequests};
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::IpTags;

use crate::http::request::Request;

/// A filter that tags requests, compiled.
#[derive(Debug)]
pub(crate) struct TagStep {
    settings: IpTagging,
    tags: IpTags,
    /// In the order of the tags.
    hits: Vec<OnceLock<Counter>>,
    no_hit: OnceLock<Counter>,
    total: OnceLock<Counter>,
    scope: StatsScope,
}

impl TagStep {
    pub(super) fn compile(settings: &IpTagging, http: &StatsScope) -> Self {
        Self {
            tags: IpTags::compile(&settings.tags),
            hits: settings.tags.iter().map(|_| OnceLock::new()).collect(),
            no_hit: OnceLock::new(),
            total: OnceLock::new(),
            scope: http.part("ip_tagging"),
            settings: settings.clone(),
        }
    }

    /// The names of the tags that an address has, counted.
    fn names(&self, address: IpAddr) -> String {
        let found = self.tags.of(address);
        // What never happens is never shown, as in Envoy.
        self.total.get_or_init(|| self.scope.counter("total")).inc();
        if found.is_empty() {
            self.no_hit.get_or_init(|| self.scope.counter("no_hit")).inc();
        }
        let mut names = Vec::new();
        for place in found {
            if let (Some(hit), Some(tag)) = (self.hits.get(place), self.settings.tags.get(place)) {
                let name = || self.scope.part(&tag.name).counter("hit");
                hit.get_or_init(name).inc();
                names.push(tag.name.as_str());
            }
        }
        names.join(",")
    }

    /// Tags a request; whether its head is another one now.
    pub(super) fn tag(&self, request: &mut Request) -> bool {
        let wanted = match self.settings.requests {
            TaggedRequests::Both => true,
            TaggedRequests::Internal => request.internal,
            TaggedRequests::External => !request.internal,
        };
        if !wanted {
            return false;
        }
        let names = self.names(request.client);
        let Some(header) = &self.settings.header else {
            return append(request, Known::XEnvoyIpTags.as_str(), &names);
        };
        let Ok(name) = FieldName::parse(header.name.as_str().as_bytes()) else { return false };
        let fields = &mut request.edits.fields;
        if !header.sanitizes {
            return append(request, header.name.as_str(), &names);
        }
        if !names.is_empty() {
            fields.set(name, FieldValue::sanitized(names));
            return true;
        }
        let was_there = fields.get(request.head.fields(), name.as_str()).is_some();
        fields.remove(name);
        was_there
    }
}

fn append(request: &mut Request, name: &str, names: &str) -> bool {
    if names.is_empty() {
        return false;
    }
    if request.edits.fields.get(request.head.fields(), name).is_some() {
        request.append_to_field(name, names.as_bytes());
    } else {
        request.add_field(name, names.as_bytes().to_vec());
    }
    true
}
