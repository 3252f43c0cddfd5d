//! Reads a `ServiceEntry` and a `WorkloadEntry`.

use std::collections::BTreeMap;

use iako_types::{AppProtocol, HostPattern};

use super::{
    EndpointAddress, Location, Resolution, ServiceEntry, ServiceEntryPort, WorkloadEntry, checks,
};
use crate::{
    Code, Severity,
    document::Context,
    istio::refer::{self, Hiding},
    reader::{Cursor, Fields},
};

/// Reads the specification of a `ServiceEntry`.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<ServiceEntry> {
    let fields = cursor.fields();
    let hosts = fields.list_of("hosts", |cursor| read_host(cursor));
    if !fields.has_elements("hosts") {
        fields.report("hosts", Code::MissingField, "a ServiceEntry needs at least one host");
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
    let endpoints = fields.list_of("endpoints", read_workload);
    let workload_selector = refer::workload_selector(&fields);
    let export_to = refer::visibility(&fields, context, Hiding::Allowed);
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
    checks::report(cursor, &entry, context);
    Some(entry)
}

fn read_host(cursor: &Cursor<'_>) -> Option<HostPattern> {
    let text = cursor.text()?;
    if text == "*" {
        cursor.report(Code::BadHost, "a ServiceEntry for every host would swallow the mesh");
        return None;
    }
    match text.parse() {
        Ok(host) => Some(host),
        Err(iako_types::HostError::Wildcard) if is_partial_wildcard(&text) => {
            let message = format!(
                "{text:?} has a star inside a label, which matches nothing; write *.example.com"
            );
            cursor.report_as(Severity::Warning, Code::BadHost, message);
            None
        }
        Err(error) => {
            cursor.report(Code::BadHost, format!("{text:?} is no host: {error}"));
            None
        }
    }
}

/// Whether the star is a part of the first label, as in `a*.example.com`.
fn is_partial_wildcard(text: &str) -> bool {
    let (first, rest) = text.split_once('.').unwrap_or((text, ""));
    let plain = first.replacen('*', "a", 1);
    !rest.contains('*')
        && !plain.contains('*')
        && format!("{plain}.{rest}").trim_end_matches('.').parse::<HostPattern>().is_ok()
}

fn read_resolution(cursor: &Cursor<'_>) -> Option<Resolution> {
    let resolution = cursor.word(&[
        ("NONE", Resolution::None),
        ("STATIC", Resolution::Static),
        ("DNS", Resolution::Dns),
        ("DNS_ROUND_ROBIN", Resolution::DnsRoundRobin),
        ("DYNAMIC_DNS", Resolution::DynamicDns),
    ])?;
    if resolution == Resolution::DynamicDns {
        let message = "DYNAMIC_DNS is read and checked, not yet applied: the whole object waits; use \
                       DNS with the hosts by name";
        cursor.report(Code::FieldIgnored, message);
    }
    Some(resolution)
}

fn read_port(cursor: &Cursor<'_>) -> Option<ServiceEntryPort> {
    let fields = cursor.fields();
    let number = fields.required("number").and_then(|cursor| cursor.port());
    let name = fields.required("name");
    let protocol = fields.get("protocol").map(|cursor| read_protocol(&cursor));
    let target_port = fields.get("targetPort").and_then(|cursor| cursor.port());
    let name = name.and_then(|cursor| {
        let text = cursor.text()?;
        check_ports(&cursor, &text);
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

/// Reads what a port speaks; an empty text says nothing.
pub(crate) fn read_protocol(cursor: &Cursor<'_>) -> Option<AppProtocol> {
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
    let address = fields.get("address").filter(|cursor| cursor.node().as_text() != Some(""));
    let ports = read_ports(&fields);
    let labels = fields.get("labels").map(|cursor| refer::labels(&cursor)).unwrap_or_default();
    let locality = fields.get("locality").and_then(|cursor| cursor.text());
    let weight = fields.get("weight").and_then(|cursor| cursor.number());
    let service_account =
        fields.get("serviceAccount").and_then(|cursor| cursor.parsed(Code::BadValue));
    let network = fields.text("network");
    let address = match (address, &network) {
        (Some(address), network) => {
            if network.is_some() {
                let message = "every endpoint is reached directly; several networks come later";
                fields.report("network", Code::FieldIgnored, message);
            }
            read_address(&address)?
        }
        (None, Some(network)) => {
            let message = "an entry without address is reached through the gateway of its network, \
                           which is read, not yet applied";
            fields.report("network", Code::FieldIgnored, message);
            EndpointAddress::Network(network.clone())
        }
        (None, None) => {
            fields.report("address", Code::MissingField, "the field address is missing");
            return None;
        }
    };
    if matches!(address, EndpointAddress::Socket(_)) && fields.has("ports") {
        let message = "an endpoint on a Unix socket has no ports";
        fields.report("ports", Code::Conflict, message);
    }
    Some(WorkloadEntry {
        network,
        address,
        ports,
        labels,
        locality: locality.and_then(|text| text.parse().ok()).unwrap_or_default(),
        weight: weight.filter(|weight| *weight != 0).unwrap_or(1),
        service_account,
    })
}

/// Reads `ports` of a workload: numbers by the name of the service port.
pub(crate) fn read_ports(fields: &Fields<'_>) -> BTreeMap<String, u16> {
    let entries = fields.get("ports").map(|cursor| cursor.entries()).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|(name, cursor)| {
            check_ports(&cursor, name);
            Some((name.to_owned(), cursor.port()?))
        })
        .collect()
}

/// Reports a name that no port of a service can have.
pub(crate) fn check_ports(cursor: &Cursor<'_>, name: &str) {
    if !refer::is_dns_label(&name.to_ascii_lowercase()) {
        cursor.report(Code::BadValue, format!("{name:?} is no name of a port"));
    }
}

/// Reads where a workload is.
pub(crate) fn read_address(cursor: &Cursor<'_>) -> Option<EndpointAddress> {
    let text = cursor.text()?;
    if let Some(path) = text.strip_prefix("unix://") {
        refer::check_socket(cursor, path);
        let message = "endpoints on Unix sockets are read and checked, not yet applied";
        cursor.report(Code::FieldIgnored, message);
        return Some(EndpointAddress::Socket(path.to_owned()));
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
