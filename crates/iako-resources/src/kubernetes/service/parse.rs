//! Reads a `Service`.

use super::{ClusterIp, Service, ServicePort, TargetPort, Transport};
use crate::{
    Code,
    document::Context,
    istio::refer,
    reader::{Cursor, Fields},
    text::Value,
};

const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// Reads the object.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<Service> {
    let root = cursor.fields();
    let spec = root.get("spec");
    root.ignore_rest();
    let Some(spec) = spec else {
        cursor.report(Code::MissingField, "the field spec is missing");
        return None;
    };
    let fields = spec.fields();
    let is_external = fields.text("type").is_some_and(|word| word == "ExternalName");
    let external_name = fields.get("externalName").filter(|_| is_external);
    let external_name = external_name.and_then(|cursor| cursor.parsed(Code::BadHost));
    let cluster_ip = read_cluster_ip(&fields);
    let ports = read_ports(&fields);
    let selector = fields.get("selector").map(|cursor| refer::labels(&cursor)).unwrap_or_default();
    let publish_not_ready_addresses = fields.flag("publishNotReadyAddresses");
    fields.ignore_rest();
    if is_external && external_name.is_none() {
        spec.report(Code::MissingField, "a Service of type ExternalName needs externalName");
    }
    let export_to = context.annotations.get(EXPORT_TO).and_then(|text| {
        refer::visibility_of(text.split(',').map(str::trim), Some(cursor), context)
    });
    Some(Service {
        cluster_ip,
        external_name,
        ports,
        selector,
        publish_not_ready_addresses,
        export_to,
    })
}

fn read_cluster_ip(fields: &Fields<'_>) -> ClusterIp {
    let mut texts = fields.texts("clusterIPs");
    if texts.is_empty() {
        texts.extend(fields.text("clusterIP"));
    }
    if texts.first().is_some_and(|text| text == "None") {
        return ClusterIp::Headless;
    }
    let addresses: Vec<_> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    if addresses.len() < texts.len() {
        fields.cursor().report(Code::BadValue, "clusterIP is an address or None");
    }
    if addresses.is_empty() { ClusterIp::Unassigned } else { ClusterIp::Addresses(addresses) }
}

fn read_ports(fields: &Fields<'_>) -> Vec<ServicePort> {
    let ports = fields.list_of("ports", read_port);
    let ports: Vec<ServicePort> = ports.into_iter().flatten().collect();
    for (index, port) in ports.iter().enumerate() {
        let mut before = ports.iter().take(index);
        let same = |o: &&ServicePort| o.port == port.port && o.transport == port.transport;
        if before.any(|other| same(&other) || (other.name == port.name)) {
            let message = format!("the port {} stands twice, by number or by name", port.port);
            fields.cursor().report(Code::Duplicate, message);
        }
    }
    ports
}

fn read_port(cursor: &Cursor<'_>) -> Option<ServicePort> {
    let fields = cursor.fields();
    let port = fields.required("port").and_then(|cursor| cursor.port());
    let name = fields.text("name").unwrap_or_default();
    let target = fields.get("targetPort").and_then(|cursor| read_target(&cursor));
    let transport = read_transport(&fields);
    let app_protocol = fields.text("appProtocol");
    fields.ignore_rest();
    let port = port?;
    Some(ServicePort {
        name,
        port,
        target_port: target.unwrap_or(TargetPort::Number(port)),
        transport,
        app_protocol,
    })
}

fn read_target(cursor: &Cursor<'_>) -> Option<TargetPort> {
    if let Value::Text(text) = &cursor.node().value {
        return Some(match text.parse::<u16>() {
            Ok(number) => TargetPort::Number(number),
            Err(_) => TargetPort::Name(text.clone()),
        });
    }
    cursor.port().map(TargetPort::Number)
}

/// Reads `protocol`, the transport of a port.
pub(crate) fn read_transport(fields: &Fields<'_>) -> Transport {
    let Some(cursor) = fields.get("protocol") else { return Transport::Tcp };
    let word =
        cursor.word(&[("TCP", Transport::Tcp), ("UDP", Transport::Udp), ("SCTP", Transport::Sctp)]);
    word.unwrap_or_default()
}
