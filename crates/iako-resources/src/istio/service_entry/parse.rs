//! Reads a `ServiceEntry` and a `WorkloadEntry`.

use std::collections::BTreeMap;

use iako_types::AppProtocol;

use super::{
    EndpointAddress, Location, Resolution, ServiceEntry, ServiceEntryPort, WorkloadEntry, checks,
};
use crate::{
    Code,
    document::Context,
    istio::refer,
    reader::{Cursor, Fields},
};

/// Reads the specification of a `ServiceEntry`.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<ServiceEntry> {
    let fields = cursor.fields();
    let hosts = fields.list_of("hosts", |cursor| read_host(cursor));
    if !fields.has("hosts") || (hosts.is_empty() && fields.get("hosts").is_some()) {
        cursor.report(Code::MissingField, "a ServiceEntry needs at least one host");
    }
    let addresses = fields.list_of("addresses", refer::cidr);
    let ports = fields.list_of("ports", read_port);
    let location = fields.get("location").and_then(|cursor| {
        cursor.word(&[
            ("MESH_EXTERNAL", Location::MeshExternal),
            ("MESH_INTERNAL", Location::MeshInternal),
        ])
    });
    let resolution = fields.get("resolution").map(|cursor| read_resolution(&cursor));
    let endpoints = fields.list_of("endpoints", |cursor| read_workload(cursor));
    let workload_selector = refer::workload_selector(&fields);
    let export_to = refer::visibility(&fields, context);
    let subject_alt_names = fields.texts("subjectAltNames");
    let entry = ServiceEntry {
        hosts: hosts.into_iter().flatten().collect(),
        addresses: addresses.into_iter().flatten().collect(),
        ports: ports.into_iter().flatten().collect(),
        location: location.unwrap_or_default(),
        resolution: resolution.unwrap_or(Some(Resolution::None))?,
        endpoints: endpoints.into_iter().flatten().collect(),
        workload_selector,
        export_to,
        subject_alt_names,
    };
    checks::report(cursor, &entry);
    Some(entry)
}

fn read_host(cursor: &Cursor<'_>) -> Option<iako_types::HostPattern> {
    let text = cursor.text()?;
    if text == "*" {
        cursor.report(Code::BadHost, "a ServiceEntry for every host would swallow the mesh");
        return None;
    }
    match text.parse() {
        Ok(host) => Some(host),
        Err(error) => {
            cursor.report(Code::BadHost, format!("{text:?} is no host: {error}"));
            None
        }
    }
}

fn read_resolution(cursor: &Cursor<'_>) -> Option<Resolution> {
    let resolution = cursor.word(&[
        ("NONE", Some(Resolution::None)),
        ("STATIC", Some(Resolution::Static)),
        ("DNS", Some(Resolution::Dns)),
        ("DNS_ROUND_ROBIN", Some(Resolution::DnsRoundRobin)),
        ("DYNAMIC_DNS", None),
    ])?;
    if resolution.is_none() {
        let message = "DYNAMIC_DNS is not carried yet; use DNS with the hosts by name";
        cursor.report(Code::FieldRefused, message);
    }
    resolution
}

fn read_port(cursor: &Cursor<'_>) -> Option<ServiceEntryPort> {
    let fields = cursor.fields();
    let number = fields.required("number").and_then(|cursor| cursor.port());
    let name = fields.required("name");
    let protocol = fields.get("protocol").map(|cursor| read_protocol(&cursor));
    let target_port = fields.get("targetPort").and_then(|cursor| cursor.port());
    let name = name.and_then(|cursor| {
        let text = cursor.text()?;
        if !refer::is_dns_label(&text.to_ascii_lowercase()) {
            cursor.report(Code::BadValue, format!("{text:?} is no name of a port"));
        }
        Some(text)
    });
    let name = name?;
    Some(ServiceEntryPort {
        number: number?,
        protocol: protocol.unwrap_or(Some(AppProtocol::Unknown))?,
        name,
        target_port,
    })
}

fn read_protocol(cursor: &Cursor<'_>) -> Option<AppProtocol> {
    let text = cursor.text()?;
    if text.is_empty() {
        return Some(AppProtocol::Unknown);
    }
    let protocol = AppProtocol::from_word(&text);
    if protocol.is_none() {
        let message = format!(
            "{text:?} is no protocol; use HTTP, HTTP2, GRPC, GRPC-WEB, HTTPS, TLS, TCP, MONGO, \
             REDIS or MYSQL"
        );
        cursor.report(Code::UnknownEnum, message);
    }
    protocol
}

/// Reads the specification of a `WorkloadEntry`.
pub(crate) fn parse_workload_entry(
    cursor: &Cursor<'_>,
    _context: &Context<'_>,
) -> Option<WorkloadEntry> {
    read_workload(cursor)
}

fn read_workload(cursor: &Cursor<'_>) -> Option<WorkloadEntry> {
    let fields = cursor.fields();
    let address = fields.get("address");
    let ports = read_ports(&fields);
    let labels = fields.get("labels").map(|cursor| refer::labels(&cursor)).unwrap_or_default();
    let locality = fields.get("locality").and_then(|cursor| cursor.text());
    let weight = fields.get("weight").and_then(|cursor| cursor.number());
    let service_account =
        fields.get("serviceAccount").and_then(|cursor| cursor.parsed(Code::BadValue));
    let Some(address) = address else {
        let message = if fields.has("network") {
            "an entry without address is reached through the gateway of its network, which comes \
             later"
        } else {
            "the field address is missing"
        };
        cursor.report(Code::MissingField, message);
        return None;
    };
    let address = read_address(&address)?;
    Some(WorkloadEntry {
        address,
        ports,
        labels,
        locality: locality.and_then(|text| text.parse().ok()).unwrap_or_default(),
        weight: weight.filter(|weight| *weight != 0).unwrap_or(1),
        service_account,
    })
}

fn read_ports(fields: &Fields<'_>) -> BTreeMap<String, u16> {
    let entries = fields.get("ports").map(|cursor| cursor.entries()).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|(name, cursor)| Some((name.to_owned(), cursor.port()?)))
        .collect()
}

fn read_address(cursor: &Cursor<'_>) -> Option<EndpointAddress> {
    let text = cursor.text()?;
    if text.starts_with("unix:") {
        cursor.report(Code::FieldRefused, "endpoints on Unix sockets are not carried yet");
        return None;
    }
    if let Ok(address) = text.parse() {
        return Some(EndpointAddress::Ip(address));
    }
    match text.parse() {
        Ok(host) => Some(EndpointAddress::Host(host)),
        Err(error) => {
            let message = format!("{text:?} is no address and no host name: {error}");
            cursor.report(Code::BadValue, message);
            None
        }
    }
}
