//! Who sends a request.

use std::{collections::BTreeSet, convert::Infallible, net::IpAddr, str::FromStr, sync::Arc};

use iako_registry::{GATEWAY_ANNOTATION, MeshSnapshot, Workload};
use iako_resources::selects;

use super::ExplainError;

/// The client of a request, as a user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// Somebody outside of the mesh, who comes in by a gateway.
    Outside,
    /// An address; outside of the mesh unless a workload has it.
    Address(IpAddr),
    /// A pod, what made it (a Deployment), its service account, or a service that it belongs to.
    Name {
        /// The namespace; any when absent, if the name is found in one only.
        namespace: Option<String>,
        /// The name.
        name: String,
    },
}

impl FromStr for Client {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text == "outside" {
            return Ok(Self::Outside);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, text),
        };
        Ok(Self::Name { namespace, name: name.to_owned() })
    }
}

/// The client of a request, found in the mesh.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// A workload with a sidecar.
    Sidecar(Arc<Workload>),
    /// A workload without one.
    Plain(Arc<Workload>),
    /// A gateway: somebody outside calls it.
    Gateway(Arc<Workload>),
    /// Somebody outside, at this address if one was given.
    Outside(Option<IpAddr>),
}

/// Finds the client.
pub(crate) fn resolve(snapshot: &MeshSnapshot, client: &Client) -> Result<Caller, ExplainError> {
    match client {
        Client::Outside => Ok(Caller::Outside(None)),
        Client::Address(address) => {
            // An application calls from its own address, its sidecar from the pod's.
            let by_app =
                || snapshot.workloads.iter().find(|found| found.app_address == Some(*address));
            let found = snapshot.workload_at(*address).or_else(by_app);
            Ok(found.map_or(Caller::Outside(Some(*address)), of_workload))
        }
        Client::Name { namespace, name } => named(snapshot, namespace.as_deref(), name),
    }
}

fn of_workload(workload: &Arc<Workload>) -> Caller {
    let workload = Arc::clone(workload);
    if is_gateway(&workload) {
        Caller::Gateway(workload)
    } else if workload.mutual_tls {
        Caller::Sidecar(workload)
    } else {
        Caller::Plain(workload)
    }
}

fn is_gateway(workload: &Workload) -> bool {
    workload.annotations.get(GATEWAY_ANNOTATION).is_some_and(|value| value == "true")
}

/// What a name may mean of a workload.
type Meaning<'a> = dyn Fn(&Workload) -> bool + 'a;

fn named(
    snapshot: &MeshSnapshot,
    namespace: Option<&str>,
    name: &str,
) -> Result<Caller, ExplainError> {
    let near = |workload: &&Arc<Workload>| {
        namespace.is_none_or(|namespace| workload.namespace.as_str() == namespace)
    };
    // The narrowest meaning of a name comes first.
    let meanings: [&Meaning<'_>; 4] = [
        &|workload| workload.name == name,
        &|workload| workload.owner.name == name,
        &|workload| workload.service_account.as_str() == name,
        &|workload| {
            let services = snapshot.services_of(workload);
            services.iter().any(|(service, _, _)| service.name == name)
        },
    ];
    for meaning in meanings {
        let found: Vec<_> =
            snapshot.workloads.iter().filter(near).filter(|workload| meaning(workload)).collect();
        let namespaces: BTreeSet<&str> =
            found.iter().map(|workload| workload.namespace.as_str()).collect();
        if namespaces.len() > 1 {
            let namespaces = namespaces.into_iter().collect::<Vec<_>>().join(", ");
            return Err(ExplainError::AmbiguousClient { name: name.to_owned(), namespaces });
        }
        if let Some(workload) = found.first() {
            return Ok(of_workload(workload));
        }
    }
    let full = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
    Err(ExplainError::UnknownClient(full))
}

/// Workloads that Gateway objects select.
pub(crate) fn gateways(snapshot: &MeshSnapshot) -> Vec<Arc<Workload>> {
    let selected = |workload: &&Arc<Workload>| {
        is_gateway(workload)
            || snapshot.gateways.iter().any(|gateway| {
                !gateway.spec.selector.is_empty()
                    && selects(&gateway.spec.selector, &workload.labels)
            })
    };
    snapshot.workloads.iter().filter(selected).cloned().collect()
}
