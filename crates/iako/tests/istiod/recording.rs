//! A recorded scenario, and what it becomes on loopback.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

/// How far below 1024 a port is moved up: nobody needs rights to bind it there.
const PRIVILEGED: u64 = 20_000;
/// How far from its port the application of a sidecar listens, where the sidecar has the port.
pub(crate) const BEHIND: u64 = 10_000;

/// A port of every workload that belongs to no service.
pub(crate) const UNREGISTERED: u64 = 9002;

/// Where recordings are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/istiod/recordings")
}

/// Every workload of a scenario, by `<app>.<namespace>`.
pub(crate) fn read(scenario: &str) -> BTreeMap<String, Value> {
    let file = std::fs::File::open(folder().join(format!("{scenario}.json.gz"))).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Where a scenario takes place: a part of `127.0.0.0/8` of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Net(pub(crate) u8);

impl Net {
    /// The address that stands for a recorded one. What is local stays.
    pub(crate) fn address(self, recorded: &str) -> String {
        let Ok(address) = recorded.parse::<Ipv4Addr>() else { return recorded.to_owned() };
        let [a, _, c, d] = address.octets();
        let net = match a {
            127 | 0 => return recorded.to_owned(),
            10 if address.octets()[1] == 96 => self.0 + 1,
            10 => self.0,
            _ => self.0 + 2,
        };
        Ipv4Addr::new(127, net, c, d).to_string()
    }

    /// Where a workload's listeners for its own clients are bound.
    fn outbound(self, pod: &str) -> String {
        let pod: Ipv4Addr = pod.parse().unwrap();
        Ipv4Addr::new(127, self.0 + 2, 200, pod.octets()[3]).to_string()
    }

    /// Where connections of a workload to the address of a service are taken. Other workloads have
    /// listeners for the same service.
    pub(crate) fn service(self, pod: &str, recorded: &str) -> String {
        let [_, _, c, d] = recorded.parse::<Ipv4Addr>().unwrap().octets();
        let pod: Ipv4Addr = pod.parse().unwrap();
        let short = (c.wrapping_mul(7) ^ d).max(1);
        Ipv4Addr::new(127, self.0 + 1, pod.octets()[3], short).to_string()
    }

    /// Where an external host is.
    pub(crate) fn external(self, host: &str) -> String {
        let sum = host.bytes().fold(0_u8, u8::wrapping_add);
        Ipv4Addr::new(127, self.0 + 2, 100, sum.max(1)).to_string()
    }
}

pub(crate) fn port(recorded: u64) -> u64 {
    if recorded < 1024 && recorded > 0 { recorded + PRIVILEGED } else { recorded }
}

/// A workload's configuration on loopback.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) node: Value,
    /// By their kind: `listeners`, `clusters`, `routes`, `endpoints`.
    pub(crate) resources: BTreeMap<&'static str, Vec<Value>>,
    /// Its pod's recorded address.
    pub(crate) pod: String,
}

pub(crate) const KINDS: [&str; 4] = ["listeners", "clusters", "routes", "endpoints"];

/// Puts a recorded workload on loopback.
pub(crate) fn place(recorded: &Value, net: Net) -> Placed {
    let id = recorded["node"]["id"].as_str().unwrap();
    let pod = id.split('~').nth(1).unwrap().to_owned();
    let is_gateway = id.starts_with("router~");
    let mut resources = BTreeMap::new();
    for kind in KINDS {
        let mut all: Vec<Value> = recorded[kind].as_array().cloned().unwrap_or_default();
        for resource in &mut all {
            if kind == "listeners" {
                bind_directly(resource, net, &pod, is_gateway);
            }
            if kind == "clusters" {
                reach_locally(resource, net);
            }
            localize(resource, net);
        }
        resources.insert(kind, all);
    }
    Placed { node: recorded["node"].clone(), resources, pod }
}

/// Binds a listener where the connections that are captured for it would have gone.
#[expect(clippy::fn_params_excessive_bools, reason = "a test's own")]
fn bind_directly(listener: &mut Value, net: Net, pod: &str, is_gateway: bool) {
    let name = listener["name"].as_str().unwrap().to_owned();
    let fields = listener.as_object_mut().unwrap();
    fields.remove("bindToPort");
    fields.remove("additionalAddresses");
    let any = fields["address"]["socketAddress"]["address"] == "0.0.0.0";
    let at = |address: String, port: u64| json!({"socketAddress": {"address": address, "portValue": port}});
    if name == "virtualInbound" {
        let chains = fields["filterChains"].as_array().unwrap();
        let port_of = |chain: &Value| chain["filterChainMatch"]["destinationPort"].as_u64();
        let of_services = chains.iter().filter_map(port_of);
        let ports: BTreeSet<u64> = of_services.chain([UNREGISTERED]).collect();
        let mut addresses: Vec<Value> =
            ports.into_iter().map(|port| at(pod.to_owned(), port)).collect();
        fields.insert("address".to_owned(), addresses.remove(0));
        let more = addresses.into_iter().map(|address| json!({"address": address}));
        fields.insert("additionalAddresses".to_owned(), more.collect());
    } else if any {
        let port = fields["address"]["socketAddress"]["portValue"].as_u64().unwrap();
        let place = if is_gateway { pod.to_owned() } else { net.outbound(pod) };
        fields.insert("address".to_owned(), at(place, port));
    } else if name != "virtualOutbound" {
        // A service may have the address of one of its instances.
        let own = fields["address"]["socketAddress"]["address"].as_str().unwrap();
        let place = net.service(pod, own);
        fields["address"]["socketAddress"]["address"] = Value::from(place);
    }
}

/// Lets a cluster find its hosts without a resolver, and without a capture that lets its own
/// connections pass.
fn reach_locally(cluster: &mut Value, net: Net) {
    let name = cluster["name"].as_str().unwrap().to_owned();
    let fields: &mut Map<String, Value> = cluster.as_object_mut().unwrap();
    match fields.get("type").and_then(Value::as_str) {
        Some("STRICT_DNS" | "LOGICAL_DNS") => {
            fields.insert("type".to_owned(), json!("STATIC"));
            for field in [
                "dnsLookupFamily",
                "dnsRefreshRate",
                "respectDnsTtl",
                "dnsJitter",
                "typedDnsResolverConfig",
            ] {
                fields.remove(field);
            }
            name_to_address(&mut fields["loadAssignment"], net);
        }
        Some("ORIGINAL_DST") => {
            let port = name.split('|').nth(1).and_then(|port| port.parse().ok()).unwrap_or(9);
            let behind = crate::recording::port(port) + BEHIND;
            fields
                .insert("originalDstLbConfig".to_owned(), json!({"upstreamPortOverride": behind}));
        }
        _ => {}
    }
}

fn name_to_address(value: &mut Value, net: Net) {
    match value {
        Value::Object(fields) if fields.contains_key("portValue") => {
            let host = fields["address"].as_str().unwrap();
            if host.parse::<Ipv4Addr>().is_err() {
                let address = net.external(host);
                fields.insert("address".to_owned(), Value::from(address));
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(|it| name_to_address(it, net)),
        Value::Array(items) => items.iter_mut().for_each(|it| name_to_address(it, net)),
        _ => {}
    }
}

/// Addresses and ports of a resource as they are on loopback.
fn localize(value: &mut Value, net: Net) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match (name.as_str(), &*field) {
                    ("address" | "addressPrefix", Value::String(text)) => {
                        *field = Value::from(net.address(text));
                    }
                    ("portValue" | "destinationPort", Value::Number(number)) => {
                        *field = Value::from(port(number.as_u64().unwrap()));
                    }
                    _ => localize(field, net),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| localize(item, net)),
        _ => {}
    }
}

/// Where applications have to be, each with the identity that its clients expect of it.
pub(crate) fn applications(placed: &Placed) -> BTreeMap<SocketAddr, Option<String>> {
    let mut found = BTreeMap::new();
    let clusters = &placed.resources["clusters"];
    for set in &placed.resources["endpoints"] {
        let name = set["clusterName"].as_str().unwrap();
        let cluster = clusters.iter().find(|one| one["name"] == name);
        let identity = cluster.and_then(expected_identity);
        let mut addresses = Vec::new();
        socket_addresses(set, &mut addresses);
        for address in addresses {
            let entry = found.entry(address).or_insert(None);
            *entry = entry.take().or_else(|| identity.clone());
        }
    }
    for cluster in clusters {
        let mut addresses = Vec::new();
        socket_addresses(&cluster["loadAssignment"], &mut addresses);
        addresses.into_iter().for_each(|address| {
            found.entry(address).or_insert(None);
        });
    }
    found
}

fn expected_identity(cluster: &Value) -> Option<String> {
    let text = cluster.to_string();
    let start = text.find("\"spiffe://")? + 1;
    let end = text[start..].find('"')?;
    Some(text[start..start + end].to_owned())
}

/// Every socket address in a value.
pub(crate) fn socket_addresses(value: &Value, found: &mut Vec<SocketAddr>) {
    match value {
        Value::Object(fields) if fields.contains_key("portValue") => {
            let address = fields["address"].as_str().unwrap().parse::<Ipv4Addr>().unwrap();
            let port = u16::try_from(fields["portValue"].as_u64().unwrap()).unwrap();
            found.push((address, port).into());
        }
        Value::Object(fields) => fields.values().for_each(|it| socket_addresses(it, found)),
        Value::Array(items) => items.iter().for_each(|it| socket_addresses(it, found)),
        _ => {}
    }
}
