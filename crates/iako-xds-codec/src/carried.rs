//! Metadata of what is configured, as logs, tags and expressions ask for it: facts that the model has
//! fields for stand in it again beside all others.

use std::borrow::Cow;

use iako_proxy_config::{
    ClusterMetadata, EndpointMetadata, FilterMetadata, Listener, Route, VirtualHost,
};
use iako_xds_api::envoy::config::core::v3::Metadata;
use serde_json::{Map, Value};

use crate::{encode::metadata, text};

/// Whose metadata is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Carrier<'a> {
    /// A route's.
    Route(&'a Route),
    /// A virtual host's.
    VirtualHost(&'a VirtualHost),
    /// A cluster's.
    Cluster(&'a ClusterMetadata),
    /// An endpoint's.
    Endpoint(&'a EndpointMetadata),
    /// A listener's, or anybody's that has no facts with fields of their own.
    Plain(&'a FilterMetadata),
}

/// Namespaces of facts that the model has fields for.
const WITH_FIELDS: [&str; 3] = ["envoy.lb", "envoy.transport_socket_match", "istio"];
/// The namespace in which our control plane tells a rule's file and line, which are for explanations.
const OF_OURS: &str = "iako";

impl<'a> Carrier<'a> {
    /// That of a listener.
    #[must_use]
    pub const fn listener(listener: &'a Listener) -> Self {
        Self::Plain(&listener.metadata)
    }

    const fn rest(self) -> &'a FilterMetadata {
        match self {
            Self::Route(route) => &route.metadata,
            Self::VirtualHost(host) => &host.metadata,
            Self::Cluster(facts) => &facts.rest,
            Self::Endpoint(facts) => &facts.rest,
            Self::Plain(metadata) => metadata,
        }
    }

    fn whole(self) -> Option<Metadata> {
        match self {
            Self::Route(route) => metadata::of_rule(route.origin.as_ref(), &route.metadata),
            Self::VirtualHost(host) => metadata::of_rule(host.origin.as_ref(), &host.metadata),
            Self::Cluster(facts) => metadata::of_cluster(facts),
            Self::Endpoint(facts) => metadata::of_endpoint(facts),
            Self::Plain(_) => None,
        }
    }

    /// What is said under a namespace.
    #[must_use]
    pub fn of(self, namespace: &str) -> Option<Cow<'a, Map<String, Value>>> {
        if !WITH_FIELDS.contains(&namespace) || matches!(self, Self::Plain(_)) {
            return self.rest().of(namespace).map(Cow::Borrowed);
        }
        let whole = self.whole()?;
        let section = whole.filter_metadata.get(namespace)?;
        Some(Cow::Owned(text::struct_to_json(section)))
    }

    /// The namespaces under which something is said, in their order.
    #[must_use]
    pub fn namespaces(self) -> Vec<String> {
        if let Self::Plain(metadata) = self {
            return metadata.iter().map(|(namespace, _)| namespace.to_owned()).collect();
        }
        let own = self.rest().of(OF_OURS).is_some();
        let whole = self.whole().unwrap_or_default().filter_metadata.into_keys();
        whole.filter(|namespace| own || namespace != OF_OURS).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn facts_with_and_without_fields_are_told_together() {
        let Value::Object(istio) = json!({"priority": 7}) else { unreachable!() };
        let facts = ClusterMetadata {
            subset: "v1".to_owned(),
            alpn_override: true,
            rest: FilterMetadata::new(BTreeMap::from([("istio".to_owned(), istio)])),
            ..ClusterMetadata::default()
        };
        let carrier = Carrier::Cluster(&facts);
        assert_eq!(carrier.namespaces(), ["istio"]);
        let told = carrier.of("istio").map(|facts| Value::Object(facts.into_owned()));
        assert_eq!(told, Some(json!({"subset": "v1", "priority": 7})));
        assert!(carrier.of("envoy.lb").is_none());
    }
}
