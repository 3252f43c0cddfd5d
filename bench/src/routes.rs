//! The large configuration: 5,000 prefix routes to 1,000 clusters of 10 endpoints, written as each
//! proxy wants them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::stand::HTTP_PORT;

const ROUTES: usize = 5_000;
const CLUSTERS: usize = 1_000;
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

/// Values of the placeholders, and HAProxy's map as a file.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn values(folder: &Path) -> Result<Vec<(&'static str, String)>> {
    let mut map = String::new();
    let (mut envoy, mut nginx) = (String::new(), String::new());
    for route in 0..ROUTES {
        let cluster = route % CLUSTERS;
        writeln!(map, "/r/{route}/ c{cluster}")?;
        writeln!(
            envoy,
            "                        - {{ match: {{ prefix: /r/{route}/ }}, route: {{ cluster: c{cluster} }} }}"
        )?;
        writeln!(nginx, "    location ^~ /r/{route}/ {{ proxy_pass http://c{cluster}; }}")?;
    }
    fs::write(folder.join("routes.map"), map)?;
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
        ("ROUTES", envoy),
        ("CLUSTERS", envoy_clusters),
        ("BACKENDS", backends),
        ("UPSTREAMS", upstreams),
        ("LOCATIONS", nginx),
    ])
}
