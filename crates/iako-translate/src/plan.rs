//! The plan of one proxy.

use std::collections::BTreeSet;

use iako_proxy_config::{Cluster, EndpointSet, Listener, RouteConfiguration};
use iako_registry::MeshSnapshot;
use iako_resources::Diagnostic;

use crate::{
    ProxyRole, ProxyScope, cluster, endpoint, gateway, inbound, jwt, outbound, outlook::Outlook,
};

/// Everything that one proxy is told, each list in the order of its names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Listeners, for LDS.
    pub listeners: Vec<Listener>,
    /// Route tables that listeners refer to by name, for RDS.
    pub routes: Vec<RouteConfiguration>,
    /// Clusters, for CDS.
    pub clusters: Vec<Cluster>,
    /// Instances of the clusters that get them by name, for EDS.
    pub endpoints: Vec<EndpointSet>,
    /// Names of secrets that it refers to, for SDS; the workload's own identity (`default`,
    /// `ROOTCA`) is not among them.
    pub secrets: BTreeSet<String>,
    /// What the objects ask for and this proxy cannot be told.
    pub diagnostics: Vec<Diagnostic>,
}

impl Plan {
    /// The route table of this name.
    #[must_use]
    pub fn route_table(&self, name: &str) -> Option<&RouteConfiguration> {
        self.routes.iter().find(|table| table.name == name)
    }

    /// The cluster of this name.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }

    /// The instances sent under this name.
    #[must_use]
    pub fn endpoint_set(&self, name: &str) -> Option<&EndpointSet> {
        self.endpoints.iter().find(|set| set.name == name)
    }

    /// The listener of this name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.name == name)
    }
}

/// Plans one proxy.
#[must_use]
pub fn plan(snapshot: &MeshSnapshot, scope: &ProxyScope) -> Plan {
    let outlook = Outlook::new(snapshot, scope);
    let mut plan = Plan::default();
    cluster::add_clusters(&outlook, &mut plan);
    endpoint::add_endpoints(&outlook, &mut plan);
    match scope.role {
        ProxyRole::Sidecar => {
            outbound::add(&outlook, &mut plan);
            inbound::add(&outlook, &mut plan);
        }
        ProxyRole::Gateway => gateway::add(&outlook, &mut plan),
    }
    jwt::add_key_clusters(&outlook, &mut plan);
    plan.listeners.sort_by(|a, b| a.name.cmp(&b.name));
    plan.routes.sort_by(|a, b| a.name.cmp(&b.name));
    plan.clusters.sort_by(|a, b| a.name.cmp(&b.name));
    plan.endpoints.sort_by(|a, b| a.name.cmp(&b.name));
    plan
}
