//! Parts of a `ServiceEntry` that do not go together.

use iako_types::HostPattern;

use super::{EndpointAddress, Resolution, ServiceEntry};
use crate::{Code, reader::Cursor};

/// Reports contradictions.
pub(super) fn report(cursor: &Cursor<'_>, entry: &ServiceEntry) {
    report_ports(cursor, entry);
    if entry.workload_selector.is_some() && !entry.endpoints.is_empty() {
        let message = "endpoints are listed or selected by workloadSelector, not both";
        cursor.report(Code::Conflict, message);
    }
    let has_wildcard = entry.hosts.iter().any(|host| !matches!(host, HostPattern::Exact(_)));
    match entry.resolution {
        Resolution::None if !entry.endpoints.is_empty() => {
            let message =
                "with resolution NONE the client's address counts, so endpoints have no use";
            cursor.report(Code::Conflict, message);
        }
        Resolution::None => {}
        Resolution::Static => {
            let by_name =
                entry.endpoints.iter().find(|e| matches!(e.address, EndpointAddress::Host(_)));
            if let Some(endpoint) = by_name {
                let message = format!(
                    "with resolution STATIC endpoints are addresses; {} needs DNS",
                    endpoint.address
                );
                cursor.report(Code::Conflict, message);
            }
        }
        Resolution::Dns | Resolution::DnsRoundRobin => {
            if has_wildcard && entry.endpoints.is_empty() {
                let message =
                    "a wildcard cannot be resolved; list endpoints, or use resolution NONE";
                cursor.report(Code::Conflict, message);
            }
            if entry.resolution == Resolution::DnsRoundRobin && entry.endpoints.len() > 1 {
                cursor.report(Code::Conflict, "DNS_ROUND_ROBIN takes at most one endpoint");
            }
        }
    }
    let has_tcp = entry.ports.iter().any(|port| port.protocol.is_tcp() && !port.protocol.is_tls());
    if has_tcp && entry.hosts.len() > 1 && entry.resolution != Resolution::None {
        let message = "opaque connections carry no host name, so a TCP port serves one host only";
        cursor.report(Code::Conflict, message);
    }
}

fn report_ports(cursor: &Cursor<'_>, entry: &ServiceEntry) {
    for (index, port) in entry.ports.iter().enumerate() {
        let mut before = entry.ports.iter().take(index);
        if before.any(|other| other.number == port.number) {
            cursor.report(Code::Duplicate, format!("the port {} stands here twice", port.number));
        }
        let mut before = entry.ports.iter().take(index);
        if before.any(|other| other.name == port.name) {
            cursor
                .report(Code::Duplicate, format!("the port name {} stands here twice", port.name));
        }
    }
    for endpoint in &entry.endpoints {
        for name in endpoint.ports.keys() {
            if !entry.ports.iter().any(|port| &port.name == name) {
                let message = format!("an endpoint names the port {name}, which the entry has not");
                cursor.report(Code::BadValue, message);
            }
        }
    }
}
