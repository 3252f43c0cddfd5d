//! Facts that configuration carries for logs, tags and expressions.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

/// What is said of a route, cluster, endpoint or listener by namespace, besides what has a field of
/// its own there. Shared by versions of what it belongs to; nothing costs a pointer.
/// Source: `envoy.config.core.v3.Metadata.filter_metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterMetadata(Option<Arc<Namespaces>>);

/// Facts by namespace.
type Namespaces = BTreeMap<String, Map<String, Value>>;

impl FilterMetadata {
    /// Nothing where there are no namespaces. A namespace may be empty.
    #[must_use]
    pub fn new(namespaces: Namespaces) -> Self {
        Self((!namespaces.is_empty()).then(|| Arc::new(namespaces)))
    }

    /// Whether nothing is said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What is said under a namespace.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Option<&Map<String, Value>> {
        self.0.as_ref()?.get(namespace)
    }

    /// All of it, in the order of the namespaces.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        let all = self.0.iter().flat_map(|namespaces| namespaces.iter());
        all.map(|(namespace, facts)| (namespace.as_str(), facts))
    }
}
