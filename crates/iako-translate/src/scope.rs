//! For whom a plan is made.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use iako_proxy_config::Node;
use iako_registry::{GATEWAY_ANNOTATION, Workload, select::Subject};
use iako_resources::Labels;
use iako_types::{Locality, Namespace, ServiceAccount};
use serde_json::Value;

/// By how much local gateways shift ports below 1024, which need privileges.
const LOCAL_PORT_SHIFT: u16 = 8000;

/// The proxy that a plan is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyScope {
    /// What it does.
    pub role: ProxyRole,
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: Namespace,
    /// The pod's labels.
    pub labels: Labels,
    /// The account that it runs as.
    pub service_account: ServiceAccount,
    /// Its addresses, the first one first. Never empty.
    pub addresses: Vec<IpAddr>,
    /// Where the local application listens.
    pub app_address: IpAddr,
    /// How traffic gets to it.
    pub interception: Interception,
    /// Ports that the pod declares.
    pub ports: Vec<PodPort>,
    /// What made the pod, such as the Deployment's name; the pod's name when unknown.
    pub workload: String,
    /// Added to gateway ports below 1024; none when it may bind them.
    pub port_shift: Option<u16>,
    /// Where it runs.
    pub locality: Locality,
    /// The DNS domain of the cluster, such as `cluster.local`.
    pub domain: String,
}

/// What a proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyRole {
    /// It stands beside an application.
    Sidecar,
    /// It stands at the edge.
    Gateway,
}

/// How an application's traffic gets to its sidecar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Interception {
    /// Not at all: the application is told of an explicit HTTP proxy, and clients call the
    /// sidecar's address. Source: Istio `interceptionMode: NONE`.
    None,
    /// By rules of the kernel. Istio's default.
    #[default]
    Redirect,
}

/// A port that a pod declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodPort {
    /// Its name; may be empty.
    pub name: String,
    /// Its number.
    pub number: u16,
}

/// Why a node is nobody that a plan can be made for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// The id has another form.
    #[error("the node id {0:?} is not of the form type~address~pod.namespace~namespace.svc.domain")]
    Id(String),
    /// The type is neither `sidecar` nor `router`.
    #[error("the node type {0:?} is not known; expected sidecar or router")]
    Role(String),
    /// The address is none.
    #[error("the node id has no address but {0:?}")]
    Address(String),
    /// A name is not allowed.
    #[error("{name:?} is not allowed as a name of {what}")]
    Name {
        /// The name.
        name: String,
        /// Of what.
        what: &'static str,
    },
}

impl ProxyScope {
    /// Reads what a proxy says of itself when it connects.
    ///
    /// Id `sidecar~<address>~<pod>.<namespace>~<namespace>.svc.<domain>` (or `router~…`), metadata
    /// `NAMESPACE`, `LABELS`, `SERVICE_ACCOUNT`, `INSTANCE_IPS`, `INTERCEPTION_MODE`, `POD_PORTS`,
    /// `WORKLOAD_NAME` as Istio's agent sends them; ours are `IAKO_APP_ADDRESS` and
    /// `IAKO_PORT_SHIFT`. Whether the proxy may claim the namespace is not decided here.
    ///
    /// # Errors
    /// When the id has another form, or names what cannot exist.
    pub fn from_node(node: &Node) -> Result<Self, ScopeError> {
        let malformed = || ScopeError::Id(node.id.clone());
        let mut parts = node.id.split('~');
        let (Some(role), Some(address), Some(pod), Some(dns), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let role = match role {
            "sidecar" => ProxyRole::Sidecar,
            "router" => ProxyRole::Gateway,
            other => return Err(ScopeError::Role(other.to_owned())),
        };
        let (name, pod_namespace) = pod.rsplit_once('.').ok_or_else(malformed)?;
        let namespace = match node.text("NAMESPACE") {
            "" => pod_namespace,
            named => named,
        };
        let named = |name: &str, what| ScopeError::Name { name: name.to_owned(), what };
        let service_account = match node.text("SERVICE_ACCOUNT") {
            "" => ServiceAccount::default(),
            text => text.parse().map_err(|_invalid| named(text, "a service account"))?,
        };
        let workload = match node.text("WORKLOAD_NAME") {
            "" => name,
            named => named,
        };
        Ok(Self {
            role,
            name: name.to_owned(),
            namespace: namespace.parse().map_err(|_invalid| named(namespace, "a namespace"))?,
            labels: labels(node),
            service_account,
            addresses: addresses(node, address)?,
            app_address: node
                .text("IAKO_APP_ADDRESS")
                .parse()
                .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            interception: match node.text("INTERCEPTION_MODE") {
                "NONE" => Interception::None,
                _ => Interception::Redirect,
            },
            ports: pod_ports(node),
            workload: workload.to_owned(),
            port_shift: port_shift(node),
            locality: node.locality.clone(),
            domain: dns
                .split_once(".svc.")
                .map_or("cluster.local", |(_, domain)| domain)
                .to_owned(),
        })
    }

    /// The proxy of a workload that the snapshot knows; none while it has no address.
    ///
    /// What runs as a process of this machine (it has an address of its application's) is not
    /// captured; everything else is.
    #[must_use]
    pub fn from_workload(workload: &Workload, domain: &str) -> Option<Self> {
        let address = workload.address?;
        let gateway = workload.annotations.get(GATEWAY_ANNOTATION).is_some_and(|v| v == "true");
        let local = gateway || workload.app_address.is_some();
        Some(Self {
            role: if gateway { ProxyRole::Gateway } else { ProxyRole::Sidecar },
            name: workload.name.clone(),
            namespace: workload.namespace.clone(),
            labels: workload.labels.clone(),
            service_account: workload.service_account.clone(),
            addresses: vec![address],
            app_address: workload.app_address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            interception: if local { Interception::None } else { Interception::Redirect },
            ports: workload
                .ports
                .iter()
                .map(|port| PodPort { name: port.name.clone(), number: port.port })
                .collect(),
            workload: workload.owner.name.clone(),
            port_shift: gateway.then_some(LOCAL_PORT_SHIFT),
            locality: workload.locality.clone(),
            domain: domain.to_owned(),
        })
    }

    /// The workload as policies see it.
    #[must_use]
    pub const fn subject(&self) -> Subject<'_> {
        Subject { namespace: &self.namespace, labels: &self.labels }
    }

    /// Its first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Numbers of the ports that the pod declares, in order.
    pub(crate) fn port_numbers(&self) -> BTreeSet<u16> {
        self.ports.iter().map(|port| port.number).collect()
    }
}

fn labels(node: &Node) -> Labels {
    let Some(Value::Object(labels)) = node.metadata.get("LABELS") else { return Labels::new() };
    labels
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn addresses(node: &Node, first: &str) -> Result<Vec<IpAddr>, ScopeError> {
    let wrong = || ScopeError::Address(first.to_owned());
    let mut addresses: Vec<IpAddr> = vec![first.parse().map_err(|_invalid| wrong())?];
    for text in node.text("INSTANCE_IPS").split(',') {
        if let Ok(address) = text.trim().parse()
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// `POD_PORTS` is a list of Kubernetes container ports, or the same as a JSON text.
fn pod_ports(node: &Node) -> Vec<PodPort> {
    let parsed;
    let list = match node.metadata.get("POD_PORTS") {
        Some(Value::Array(list)) => list,
        Some(Value::String(text)) => {
            parsed = serde_json::from_str::<Vec<Value>>(text).unwrap_or_default();
            &parsed
        }
        Some(_) | None => return Vec::new(),
    };
    let is_tcp = |port: &&Value| {
        port.get("protocol")
            .and_then(Value::as_str)
            .is_none_or(|name| name.eq_ignore_ascii_case("tcp"))
    };
    list.iter()
        .filter(is_tcp)
        .filter_map(|port| {
            let number = u16::try_from(port.get("containerPort")?.as_u64()?).ok()?;
            let name = port.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            Some(PodPort { name, number })
        })
        .collect()
}

fn port_shift(node: &Node) -> Option<u16> {
    match node.metadata.get("IAKO_PORT_SHIFT")? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => u16::try_from(number.as_u64()?).ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
    .filter(|&shift| shift > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, metadata: &Value) -> Node {
        let metadata = metadata.as_object().cloned().unwrap_or_default();
        Node { id: id.to_owned(), metadata, ..Node::default() }
    }

    #[test]
    fn a_sidecar_is_read_from_what_it_says() {
        let metadata = serde_json::json!({
            "NAMESPACE": "shop", "LABELS": {"app": "cart"}, "SERVICE_ACCOUNT": "cart",
            "INSTANCE_IPS": "127.15.1.3,fd00::3", "INTERCEPTION_MODE": "NONE",
            "POD_PORTS": "[{\"name\":\"http\",\"containerPort\":8080},{\"containerPort\":53,\"protocol\":\"UDP\"}]",
            "IAKO_APP_ADDRESS": "127.15.129.3",
        });
        let node = node("sidecar~127.15.1.3~cart-v1-0.shop~shop.svc.example.org", &metadata);
        let scope = ProxyScope::from_node(&node).unwrap();
        assert_eq!((scope.name.as_str(), scope.domain.as_str()), ("cart-v1-0", "example.org"));
        assert_eq!(scope.addresses.len(), 2);
        assert_eq!(scope.port_numbers(), [8080].into());
        assert_eq!(scope.app_address.to_string(), "127.15.129.3");
        assert_eq!(scope.interception, Interception::None);
    }

    #[test]
    fn a_wrong_id_says_what_was_expected() {
        let empty = Value::Null;
        assert!(matches!(ProxyScope::from_node(&node("x", &empty)), Err(ScopeError::Id(_))));
        let ztunnel = node("ztunnel~1.2.3.4~a.b~b.svc.c", &empty);
        assert!(matches!(ProxyScope::from_node(&ztunnel), Err(ScopeError::Role(_))));
    }
}
