//! A scenario that runs: a control plane, proxies, applications.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use iako_proxy::{Proxy, ProxyHandle, ProxySettings};
use iako_rt::Scope;
use iako_xds_codec::bootstrap;
use serde_json::{Value, json};
use tokio_rustls::rustls::ServerConfig;

use crate::{
    application, pki,
    plane::Plane,
    recording::{self, BEHIND, KINDS, Net, Placed},
};

/// Longest time until a proxy serves what it was told.
const READY: Duration = Duration::from_secs(20);
/// Names that gateways show.
const GATEWAY_NAMES: [&str; 3] = ["shop.example.com", "b.example.com", "raw.example.com"];

pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) root: pki::Root,
    pub(crate) plane: Plane,
    proxies: BTreeMap<String, (Placed, ProxyHandle)>,
    /// Ends everything with the world.
    _scope: Scope,
}

/// How proxies of a world talk to its control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talk {
    Delta,
    StateOfTheWorld,
}

impl World {
    /// Runs proxies for these workloads of a scenario, and applications at every endpoint that has
    /// none.
    pub(crate) async fn start(scenario: &str, workloads: &[&str]) -> Self {
        Self::start_by(scenario, workloads, Talk::Delta).await
    }

    pub(crate) async fn start_by(scenario: &str, workloads: &[&str], talk: Talk) -> Self {
        let recorded = recording::read(scenario);
        let net = claim_net();
        let scope = Scope::new();
        let root = pki::Root::new();
        let plane = Plane::start(&scope).await;
        let placed: Vec<(String, Placed)> = workloads
            .iter()
            .map(|name| ((*name).to_owned(), recording::place(&recorded[*name], net)))
            .collect();
        start_applications(&scope, &root, net, &placed).await;
        let mut proxies = BTreeMap::new();
        for (name, placed) in placed {
            let secrets = secrets(&root, &placed);
            let resources = KINDS.iter().map(|kind| (*kind, placed.resources[kind].as_slice()));
            let all = resources.chain([("secrets", secrets.as_slice())]);
            plane.tell(placed.node["id"].as_str().unwrap(), all);
            let handle = start_proxy(&placed, plane.address, talk).await;
            if tokio::time::timeout(READY, handle.ready()).await.is_err() {
                let (rejected, bound) = (plane.rejections(), handle.addresses());
                panic!("{scenario} {name} is not ready: {rejected:#?} {bound:#?}");
            }
            proxies.insert(name, (placed, handle));
        }
        Self { net, root, plane, proxies, _scope: scope }
    }

    /// Where the listener of a workload is that takes what its application sends to a port, or, of
    /// a gateway, what comes to it.
    pub(crate) fn out(&self, workload: &str, port: u64) -> SocketAddr {
        let port = u16::try_from(recording::port(port)).unwrap();
        let (_, handle) = &self.proxies[workload];
        let all = handle.addresses();
        let own = all.iter().filter(|(name, _)| name.starts_with("0.0.0.0_"));
        let found = own.flat_map(|(_, addresses)| addresses).find(|address| address.port() == port);
        *found.unwrap_or_else(|| panic!("nothing listens for {port}: {all:?}"))
    }

    /// Where a recorded address is.
    pub(crate) fn at(&self, recorded: &str, port: u64) -> SocketAddr {
        let port = recording::port(port);
        format!("{}:{port}", self.net.address(recorded)).parse().unwrap()
    }

    /// Where what an application sends to the address of a service is taken.
    pub(crate) fn service(&self, workload: &str, recorded: &str, port: u16) -> SocketAddr {
        let place = self.net.service(&self.proxies[workload].0.pod, recorded);
        format!("{place}:{port}").parse().unwrap()
    }

    /// Where clients of a workload connect to.
    pub(crate) fn inbound(&self, workload: &str, port: u64) -> SocketAddr {
        let pod = self.proxies[workload].0.pod.clone();
        self.at(&pod, port)
    }

    /// The name of the application behind the sidecar of a workload.
    pub(crate) fn behind(&self, workload: &str, port: u64) -> String {
        application_name(self.inbound(workload, port), BEHIND)
    }

    /// The names of the applications at the endpoints of a cluster.
    pub(crate) fn apps(&self, workload: &str, cluster: &str) -> BTreeSet<String> {
        let sets = &self.proxies[workload].0.resources["endpoints"];
        let set = sets.iter().find(|set| set["clusterName"] == cluster).unwrap();
        let mut addresses = Vec::new();
        recording::socket_addresses(set, &mut addresses);
        addresses.into_iter().map(|address| application_name(address, 0)).collect()
    }

    /// Ends proxies and everything else.
    pub(crate) async fn stop(self) {
        assert_eq!(self.plane.rejections(), Vec::<String>::new());
        for (_, (_, handle)) in self.proxies {
            handle.shutdown().await;
        }
    }
}

/// Worlds run beside each other, each in three networks of its own.
fn claim_net() -> Net {
    static NEXT: AtomicU8 = AtomicU8::new(10);
    Net(NEXT.fetch_add(3, Ordering::Relaxed))
}

fn application_name(mut address: SocketAddr, further: u64) -> String {
    address.set_port(address.port() + u16::try_from(further).unwrap());
    address.to_string()
}

async fn start_applications(
    scope: &Scope,
    root: &pki::Root,
    net: Net,
    placed: &[(String, Placed)],
) {
    let sidecars: BTreeSet<String> = placed.iter().map(|(_, one)| net.address(&one.pod)).collect();
    let mut all: BTreeMap<SocketAddr, Option<Arc<ServerConfig>>> = BTreeMap::new();
    for (_, one) in placed {
        for (address, identity) in recording::applications(one) {
            if sidecars.contains(&address.ip().to_string()) {
                continue;
            }
            let names = identity.unwrap_or_else(|| "app.example".to_owned());
            all.entry(address).or_insert_with(|| Some(Arc::new(root.server(&[&names]))));
        }
        for address in behind(one) {
            all.insert(address, None);
        }
    }
    for (address, tls) in all {
        application::start(scope, address, address.to_string(), tls).await;
    }
}

/// Where the application of a workload listens, behind its sidecar.
fn behind(placed: &Placed) -> Vec<SocketAddr> {
    let listeners = &placed.resources["listeners"];
    let inbound = listeners.iter().find(|one| one["name"] == "virtualInbound");
    let mut addresses = Vec::new();
    if let Some(inbound) = inbound {
        recording::socket_addresses(&inbound["address"], &mut addresses);
        recording::socket_addresses(&inbound["additionalAddresses"], &mut addresses);
    }
    let mut behind: Vec<SocketAddr> = addresses
        .into_iter()
        .filter(|address| address.port() != 15006)
        .map(|address| application_name(address, BEHIND).parse().unwrap())
        .collect();
    behind.sort();
    behind.dedup();
    behind
}

fn secrets(root: &pki::Root, placed: &Placed) -> Vec<Value> {
    let metadata = &placed.node["metadata"];
    let text = |name: &str| metadata[name].as_str().unwrap_or_default();
    let own =
        format!("spiffe://cluster.local/ns/{}/sa/{}", text("NAMESPACE"), text("SERVICE_ACCOUNT"));
    let certificate = |name: &str, names: &[&str]| {
        let pair = root.issue(names);
        json!({"name": name, "tlsCertificate": {
            "certificateChain": {"inlineString": pair.chain},
            "privateKey": {"inlineString": pair.key},
        }})
    };
    let roots = |name: &str| {
        let root = json!({"inlineString": root.pem()});
        json!({"name": name, "validationContext": {"trustedCa": root}})
    };
    let mut secrets = vec![certificate("default", &[&own]), roots("ROOTCA")];
    let told: String = placed.resources["listeners"].iter().map(Value::to_string).collect();
    let named: BTreeSet<&str> =
        told.split('"').filter(|text| text.starts_with("kubernetes://")).collect();
    for name in named {
        secrets.push(match name.ends_with("-cacert") {
            true => roots(name),
            false => certificate(name, &GATEWAY_NAMES),
        });
    }
    secrets
}

async fn start_proxy(placed: &Placed, plane: SocketAddr, talk: Talk) -> ProxyHandle {
    let cluster = |name: &str| {
        let address = json!({"address": plane.ip().to_string(), "port_value": plane.port()});
        let protocols = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
        json!({
            "name": name,
            "type": "STATIC",
            "typed_extension_protocol_options": protocols,
            "load_assignment": {"cluster_name": name, "endpoints": [{
                "lb_endpoints": [{"endpoint": {"address": {"socket_address": address}}}],
            }]},
        })
    };
    let ads = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
    let api_type = if talk == Talk::Delta { "DELTA_GRPC" } else { "GRPC" };
    let text = json!({
        "node": placed.node,
        "static_resources": {"clusters": [cluster("xds-grpc"), cluster("sds-grpc")]},
        "dynamic_resources": {
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": api_type,
                "set_node_on_first_message_only": true,
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
    });
    let (bootstrap, _) = bootstrap::parse("bootstrap.json", &text.to_string()).unwrap();
    let settings = ProxySettings {
        concurrency: Some(1),
        drain_time: Duration::from_millis(200),
        ..ProxySettings::new(bootstrap)
    };
    Proxy::start(settings).await.unwrap()
}
