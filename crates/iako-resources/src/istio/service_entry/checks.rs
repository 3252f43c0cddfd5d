//! What hosts, ports, resolution and endpoints say about each other.

use iako_types::{AppProtocol, HostPattern};

use super::{EndpointAddress, Resolution, ServiceEntry};
use crate::{Code, document::Context, reader::Cursor};

/// A label by which an object opts out of (or into) addresses that the mesh makes up.
const AUTO_ALLOCATE: &str = "networking.istio.io/enable-autoallocate-ip";

/// Reports what does not go together.
pub(super) fn report(cursor: &Cursor<'_>, entry: &ServiceEntry, context: &Context<'_>) {
    report_ports(cursor, entry);
    report_addresses(cursor, entry, context);
    if entry.workload_selector.is_some() && !entry.endpoints.is_empty() {
        let message = "endpoints are listed or selected by workloadSelector, not both";
        cursor.at("endpoints").report(Code::Conflict, message);
    }
    match entry.resolution {
        Resolution::None => {
            if !entry.endpoints.is_empty() {
                let message =
                    "with resolution NONE the client's address counts, so endpoints have no use";
                cursor.at("endpoints").report(Code::Conflict, message);
            }
            if entry.workload_selector.is_some() {
                let message = "with resolution NONE the client's address counts, so workloads are \
                               selected for nothing";
                cursor.at("workloadSelector").report(Code::NoEffect, message);
            }
        }
        Resolution::Static => report_static(cursor, entry),
        Resolution::Dns | Resolution::DnsRoundRobin => report_dns(cursor, entry),
        Resolution::DynamicDns => report_dynamic(cursor, entry),
    }
    let is_opaque = |protocol: AppProtocol| !protocol.is_http() && !protocol.is_tls();
    let opaque = entry.ports.iter().any(|port| is_opaque(port.protocol));
    if opaque && entry.hosts.len() > 1 && entry.resolution != Resolution::None {
        let message = "opaque connections carry no host name, so a TCP port serves one host only";
        cursor.at("hosts").report(Code::Conflict, message);
    }
}

fn report_static(cursor: &Cursor<'_>, entry: &ServiceEntry) {
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        if let EndpointAddress::Host(host) = &endpoint.address {
            let message =
                format!("with resolution STATIC endpoints are addresses; {host} needs DNS");
            cursor.at(&format!("endpoints[{index}].address")).report(Code::Conflict, message);
        }
        let on_socket = matches!(endpoint.address, EndpointAddress::Socket(_));
        if on_socket && entry.ports.len() != 1 {
            let message = "an endpoint on a Unix socket needs an entry with exactly one port";
            cursor.at("ports").report(Code::Conflict, message);
        }
    }
}

fn report_dns(cursor: &Cursor<'_>, entry: &ServiceEntry) {
    let wildcard = entry.hosts.iter().position(|host| !matches!(host, HostPattern::Exact(_)));
    if let (Some(index), true) = (wildcard, entry.endpoints.is_empty()) {
        let message = "a wildcard cannot be resolved; list endpoints, or use resolution NONE";
        cursor.at(&format!("hosts[{index}]")).report(Code::Conflict, message);
    }
    if entry.resolution == Resolution::DnsRoundRobin && entry.endpoints.len() > 1 {
        let message = "DNS_ROUND_ROBIN takes at most one endpoint";
        cursor.at("endpoints").report(Code::Conflict, message);
    }
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        if matches!(endpoint.address, EndpointAddress::Socket(_)) {
            let message = "a Unix socket is no name to resolve; use resolution STATIC";
            cursor.at(&format!("endpoints[{index}].address")).report(Code::Conflict, message);
        }
    }
}

fn report_dynamic(cursor: &Cursor<'_>, entry: &ServiceEntry) {
    for (index, host) in entry.hosts.iter().enumerate() {
        if matches!(host, HostPattern::Exact(_)) {
            let message =
                format!("with resolution DYNAMIC_DNS hosts are wildcards; {host} is none");
            cursor.at(&format!("hosts[{index}]")).report(Code::Conflict, message);
        }
    }
    if !entry.addresses.is_empty() {
        let message = "with resolution DYNAMIC_DNS the name that is asked for counts, no address";
        cursor.at("addresses").report(Code::Conflict, message);
    }
    if !entry.endpoints.is_empty() {
        let message =
            "with resolution DYNAMIC_DNS every name is resolved, so endpoints have no use";
        cursor.at("endpoints").report(Code::Conflict, message);
    }
    for (index, port) in entry.ports.iter().enumerate() {
        let names_host = matches!(
            port.protocol,
            AppProtocol::Http | AppProtocol::Http2 | AppProtocol::Grpc | AppProtocol::Tls
        );
        if !names_host {
            let message = "with resolution DYNAMIC_DNS ports speak HTTP, HTTP2, GRPC or TLS";
            cursor.at(&format!("ports[{index}].protocol")).report(Code::Conflict, message);
        }
    }
}

/// Reports ranges where one address is meant, and opaque ports that no address tells apart.
fn report_addresses(cursor: &Cursor<'_>, entry: &ServiceEntry, context: &Context<'_>) {
    let by_client = matches!(entry.resolution, Resolution::None | Resolution::Static);
    for index in (0..entry.addresses.len()).filter(|_| !by_client) {
        let place = cursor.at(&format!("addresses[{index}]"));
        if place.node().as_text().is_some_and(|text| text.contains('/')) {
            let message = "ranges of addresses go with resolution NONE and STATIC only";
            place.report(Code::Conflict, message);
        }
    }
    let opted_out =
        context.labels.get(AUTO_ALLOCATE).is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let opaque = entry
        .ports
        .iter()
        .any(|port| matches!(port.protocol, AppProtocol::Tcp | AppProtocol::Unknown));
    if opted_out && opaque && entry.addresses.is_empty() {
        let message = format!(
            "without addresses, and with {AUTO_ALLOCATE}: \"false\", nothing tells connections to \
             a TCP port apart"
        );
        cursor.at("addresses").report(Code::NoEffect, message);
    }
}

fn report_ports(cursor: &Cursor<'_>, entry: &ServiceEntry) {
    for (index, port) in entry.ports.iter().enumerate() {
        let mut before = entry.ports.iter().take(index);
        if before.any(|other| other.number == port.number) {
            let message = format!("the port {} stands here twice", port.number);
            cursor.at(&format!("ports[{index}].number")).report(Code::Duplicate, message);
        }
        let mut before = entry.ports.iter().take(index);
        if before.any(|other| other.name == port.name) {
            let message = format!("the port name {} stands here twice", port.name);
            cursor.at(&format!("ports[{index}].name")).report(Code::Duplicate, message);
        }
    }
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        for name in endpoint.ports.keys() {
            if !entry.ports.iter().any(|port| &port.name == name) {
                let message = format!("an endpoint names the port {name}, which the entry has not");
                cursor
                    .at(&format!("endpoints[{index}].ports.{name}"))
                    .report(Code::BadValue, message);
            }
        }
    }
}
