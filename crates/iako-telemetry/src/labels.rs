//! The parts that metric labels are made of, each built once and recognised by a number.
//!
//! A request brings together parts that live much longer than it does: the workload on this side,
//! the peer of the connection, the service, the two principals. Each part carries a 64-bit
//! fingerprint of its content, so that a set of labels is found by comparing a few numbers instead
//! of twenty strings, and a peer that reconnects is the same peer.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

/// What a label says when the fact is not known. Source: Istio standard metrics.
pub const UNKNOWN: &str = "unknown";

/// Keyed at random at start, so that nobody outside can make two workloads look the same.
static FINGERPRINTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn fingerprint(content: impl Hash) -> u64 {
    FINGERPRINTS.hash_one(content)
}

fn or_unknown(text: &str) -> Arc<str> {
    Arc::from(if text.is_empty() { UNKNOWN } else { text })
}

/// Facts about a workload as it describes itself; empty text means not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WorkloadFacts {
    /// The Deployment, StatefulSet or other owner: `WORKLOAD_NAME` of the node metadata.
    pub workload: String,
    /// Its namespace: `NAMESPACE` of the node metadata.
    pub namespace: String,
    /// The Kubernetes cluster: `CLUSTER_ID` of the node metadata.
    pub cluster: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// Label `service.istio.io/canonical-name`, else `app.kubernetes.io/name`, else `app`, else
    /// the workload's name.
    pub canonical_service: String,
    /// Label `service.istio.io/canonical-revision`, else `app.kubernetes.io/version`, else
    /// `version`, else `latest`.
    pub canonical_revision: String,
    /// The instance: `NAME` of the node metadata. Not a label of any metric.
    pub instance: String,
}

impl WorkloadFacts {
    /// Derives app, version and the canonical names from Kubernetes labels, by Istio's rules.
    #[must_use]
    pub fn with_labels<'a>(mut self, label: impl Fn(&str) -> Option<&'a str>) -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| label(name).filter(|value| !value.is_empty()))
        };
        self.app = first(&["app"]).unwrap_or_default().to_owned();
        self.version = first(&["version"]).unwrap_or_default().to_owned();
        self.canonical_service =
            first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"])
                .map_or_else(|| self.workload.clone(), str::to_owned);
        self.canonical_revision =
            first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"])
                .unwrap_or("latest")
                .to_owned();
        self
    }
}

/// What metrics say about one workload, in the form of `source_*` and `destination_*` labels.
#[derive(Clone, Debug)]
pub struct WorkloadLabels {
    /// `*_workload`.
    pub workload: Arc<str>,
    /// `*_workload_namespace`.
    pub namespace: Arc<str>,
    /// `*_app`.
    pub app: Arc<str>,
    /// `*_version`.
    pub version: Arc<str>,
    /// `*_canonical_service`.
    pub canonical_service: Arc<str>,
    /// `*_canonical_revision`.
    pub canonical_revision: Arc<str>,
    /// `*_cluster`.
    pub cluster: Arc<str>,
    id: u64,
}

impl WorkloadLabels {
    /// Labels from facts; what is empty is shown as `unknown`.
    #[must_use]
    pub fn new(facts: &WorkloadFacts) -> Self {
        // The instance is no label: two pods of one Deployment are one workload here.
        let id = fingerprint((
            "workload",
            (&facts.workload, &facts.namespace, &facts.cluster, &facts.app),
            (&facts.version, &facts.canonical_service, &facts.canonical_revision),
        ));
        Self {
            workload: or_unknown(&facts.workload),
            namespace: or_unknown(&facts.namespace),
            app: or_unknown(&facts.app),
            version: or_unknown(&facts.version),
            canonical_service: or_unknown(&facts.canonical_service),
            canonical_revision: or_unknown(&facts.canonical_revision),
            cluster: or_unknown(&facts.cluster),
            id,
        }
    }

    /// A peer that said nothing about itself.
    #[must_use]
    pub fn unknown() -> Self {
        Self::new(&WorkloadFacts::default())
    }

    /// Labels of a proxy's own workload, from the metadata of its node in Istio's form
    /// (`WORKLOAD_NAME`, `NAMESPACE`, `CLUSTER_ID`, `LABELS`).
    #[must_use]
    pub fn from_node_metadata(metadata: &Value) -> Self {
        Self::new(&facts_from_node_metadata(metadata))
    }

    /// Labels from Istio's endpoint metadata `istio.workload`:
    /// `workload;namespace;canonical service;canonical revision;cluster`.
    #[must_use]
    pub fn from_endpoint_metadata(text: &str) -> Self {
        let mut parts = text.split(';').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        let (workload, namespace) = (part(), part());
        let (canonical_service, canonical_revision, cluster) = (part(), part(), part());
        Self::new(&WorkloadFacts {
            app: canonical_service.clone(),
            version: canonical_revision.clone(),
            instance: String::new(),
            workload,
            namespace,
            cluster,
            canonical_service,
            canonical_revision,
        })
    }

    pub(crate) const fn id(&self) -> u64 {
        self.id
    }
}

/// Reads what a node says about itself; fields that are absent stay empty.
#[must_use]
pub fn facts_from_node_metadata(metadata: &Value) -> WorkloadFacts {
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
    let labels = metadata.get("LABELS");
    WorkloadFacts {
        workload: text("WORKLOAD_NAME").to_owned(),
        namespace: text("NAMESPACE").to_owned(),
        cluster: text("CLUSTER_ID").to_owned(),
        instance: text("NAME").to_owned(),
        ..WorkloadFacts::default()
    }
    .with_labels(|name| labels.and_then(|labels| labels.get(name)).and_then(Value::as_str))
}

/// The service that a request was for: the `destination_service*` labels.
#[derive(Clone, Debug)]
pub struct ServiceLabels {
    /// `destination_service`: the host, such as `cart.shop.svc.cluster.local`.
    pub host: Arc<str>,
    /// `destination_service_name`: the short name, such as `cart`.
    pub name: Arc<str>,
    /// `destination_service_namespace`.
    pub namespace: Arc<str>,
    id: u64,
}

impl ServiceLabels {
    /// A service known to the mesh; empty text is shown as `unknown`.
    #[must_use]
    pub fn new(host: &str, name: &str, namespace: &str) -> Self {
        Self {
            host: or_unknown(host),
            name: or_unknown(name),
            namespace: or_unknown(namespace),
            id: fingerprint(("service", host, name, namespace)),
        }
    }

    /// A service of which only the host is known. A Kubernetes host
    /// (`name.namespace.svc.…`) gives its name and namespace.
    #[must_use]
    pub fn from_host(host: &str) -> Self {
        let mut parts = host.splitn(3, '.');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(namespace), Some(rest)) if rest.starts_with("svc") => {
                Self::new(host, name, namespace)
            }
            _ => Self::new(host, host, ""),
        }
    }

    /// No service is known: passthrough, or no route.
    #[must_use]
    pub fn unknown() -> Self {
        Self::new("", "", "")
    }

    pub(crate) const fn id(&self) -> u64 {
        self.id
    }
}

/// Who a peer proved to be: the `*_principal` labels, a SPIFFE id or `unknown`.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The label's value.
    pub text: Arc<str>,
    id: u64,
}

impl Principal {
    /// A proven identity such as `spiffe://cluster.local/ns/shop/sa/cart`; empty means unknown.
    #[must_use]
    pub fn new(identity: &str) -> Self {
        Self { text: or_unknown(identity), id: fingerprint(("principal", identity)) }
    }

    /// No identity was proven.
    #[must_use]
    pub fn unknown() -> Self {
        Self::new("")
    }

    pub(crate) const fn id(&self) -> u64 {
        self.id
    }
}

/// Which side of the call a proxy saw: the `reporter` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reporter {
    /// The client's sidecar, or a gateway.
    Source,
    /// The server's sidecar.
    Destination,
}

impl Reporter {
    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// How the connection was secured: the `connection_security_policy` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecurityPolicy {
    /// Client side: Istio reports `unknown` there.
    Unknown,
    /// Server side, mutual TLS.
    MutualTls,
    /// Server side, anything else.
    None,
}

impl SecurityPolicy {
    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::MutualTls => "mutual_tls",
            Self::None => "none",
        }
    }
}

/// What was spoken: the `request_protocol` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestProtocol {
    /// HTTP/1 or HTTP/2 without gRPC.
    Http,
    /// gRPC, recognised by its content type.
    Grpc,
    /// Bytes.
    Tcp,
}

impl RequestProtocol {
    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names_follow_the_labels_then_the_workload() {
        let labels = WorkloadLabels::from_node_metadata(&serde_json::json!({
            "WORKLOAD_NAME": "cart-v2", "NAMESPACE": "shop", "CLUSTER_ID": "Kubernetes",
            "LABELS": {"app": "cart", "version": "v2", "app.kubernetes.io/name": "basket"},
        }));
        assert_eq!(&*labels.canonical_service, "basket");
        assert_eq!(&*labels.canonical_revision, "v2");
        assert_eq!(&*labels.app, "cart");
        let bare = WorkloadLabels::from_node_metadata(&serde_json::json!({"WORKLOAD_NAME": "job"}));
        assert_eq!(&*bare.canonical_service, "job");
        assert_eq!(&*bare.canonical_revision, "latest");
        assert_eq!(&*bare.namespace, "unknown");
    }

    #[test]
    fn two_instances_of_one_workload_are_the_same_labels() {
        let facts = |instance: &str| WorkloadFacts {
            workload: "cart".into(),
            instance: instance.into(),
            ..WorkloadFacts::default()
        };
        let [one, two] = ["a", "b"].map(|instance| WorkloadLabels::new(&facts(instance)).id());
        assert_eq!(one, two);
        assert_ne!(one, WorkloadLabels::unknown().id());
    }

    #[test]
    fn a_kubernetes_host_names_its_service_and_namespace() {
        let service = ServiceLabels::from_host("cart.shop.svc.cluster.local");
        assert_eq!((&*service.name, &*service.namespace), ("cart", "shop"));
        let external = ServiceLabels::from_host("api.example.com");
        assert_eq!((&*external.name, &*external.namespace), ("api.example.com", "unknown"));
    }
}
