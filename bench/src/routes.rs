//! The large configuration: 5,000 prefix routes to 1,000 clusters of 10 endpoints, written as each
//! proxy wants them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::stand::HTTP_PORT;

const ROUTES: usize = 5_000;
const CLUSTERS: usize = 1_000;
/// The route that changes while the proxy runs.
const CHANGING: usize = ROUTES / 2;
/// The upstream listens on as many addresses.
pub(crate) const ENDPOINTS: u8 = 10;

/// A path that the last route matches.
pub(crate) fn last() -> String {
    format!("/r/{}/x", ROUTES - 1)
}

/// A path that the first route matches.
pub(crate) fn first() -> String {
    "/r/0/x".to_owned()
}

/// The address of one endpoint.
pub(crate) fn endpoint(number: u8) -> String {
    format!("127.31.0.{}", number + 1)
}

/// A path whose route is the one that changes.
pub(crate) fn changing() -> String {
    format!("/r/{CHANGING}/x")
}

/// Where the route that changes leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// To its cluster, as the others.
    Forwards,
    /// To an answer of the proxy, with 404.
    Refuses,
}

/// Writes the routes as Envoy and Iako read them, a `DiscoveryResponse` in protobuf, in one step.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(folder: &Path, version: Version) -> Result<()> {
    let mut host = Vec::new();
    field(&mut host, 1, b"all");
    field(&mut host, 2, b"*");
    for route in 0..ROUTES {
        field(&mut host, 3, &one(route, version));
    }
    let mut table = Vec::new();
    field(&mut table, 1, b"all");
    field(&mut table, 2, &host);
    let kind = b"type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
    let mut resource = Vec::new();
    field(&mut resource, 1, kind);
    field(&mut resource, 2, &table);
    let mut response = Vec::new();
    field(&mut response, 1, if version == Version::Forwards { b"1" } else { b"2" });
    field(&mut response, 2, &resource);
    field(&mut response, 4, kind);
    let fresh = folder.join("routes.pb.new");
    fs::write(&fresh, response)?;
    Ok(fs::rename(fresh, folder.join("routes.pb"))?)
}

/// One `envoy.config.route.v3.Route`.
fn one(route: usize, version: Version) -> Vec<u8> {
    let (mut rule, mut message) = (Vec::new(), Vec::new());
    field(&mut rule, 1, format!("/r/{route}/").as_bytes());
    field(&mut message, 1, &rule);
    if route == CHANGING && version == Version::Refuses {
        // `direct_response` with the status 404, a number of two bytes.
        field(&mut message, 7, &[1 << 3, 0x94, 0x03]);
    } else {
        let mut action = Vec::new();
        field(&mut action, 1, format!("c{}", route % CLUSTERS).as_bytes());
        field(&mut message, 2, &action);
    }
    message
}

/// Adds a field that has a length, as protobuf writes it.
fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = content.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
    out.extend_from_slice(content);
}

/// Values of the placeholders, and the routes of Envoy and Iako and HAProxy's map as files.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn values(folder: &Path) -> Result<Vec<(&'static str, String)>> {
    let mut map = String::new();
    let mut nginx = String::new();
    for route in 0..ROUTES {
        let cluster = route % CLUSTERS;
        writeln!(map, "/r/{route}/ c{cluster}")?;
        writeln!(nginx, "    location ^~ /r/{route}/ {{ proxy_pass http://c{cluster}; }}")?;
    }
    fs::write(folder.join("routes.map"), map)?;
    write(folder, Version::Forwards)?;
    let mut clusters = [String::new(), String::new(), String::new()];
    for cluster in 0..CLUSTERS {
        let [envoy, haproxy, nginx] = &mut clusters;
        write!(
            envoy,
            "    - {{ name: c{cluster}, type: STATIC, connect_timeout: 1s, load_assignment: \
             {{ cluster_name: c{cluster}, endpoints: [ {{ lb_endpoints: ["
        )?;
        writeln!(haproxy, "backend c{cluster}")?;
        write!(nginx, "  upstream c{cluster} {{ keepalive 256; ")?;
        for number in 0..ENDPOINTS {
            let address = endpoint(number);
            write!(
                envoy,
                "{{ endpoint: {{ address: {{ socket_address: {{ address: {address}, port_value: \
                 {HTTP_PORT} }} }} }} }}, "
            )?;
            writeln!(haproxy, "  server s{number} {address}:{HTTP_PORT}")?;
            write!(nginx, "server {address}:{HTTP_PORT}; ")?;
        }
        writeln!(envoy, "] }} ] }} }}")?;
        writeln!(nginx, "}}")?;
    }
    let [envoy_clusters, backends, upstreams] = clusters;
    Ok(vec![
        ("CLUSTERS", envoy_clusters),
        ("BACKENDS", backends),
        ("UPSTREAMS", upstreams),
        ("LOCATIONS", nginx),
    ])
}
