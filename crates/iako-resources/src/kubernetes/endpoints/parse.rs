//! Reads `Endpoints` and `EndpointSlice`.

use super::{EndpointSlice, Endpoints, SliceAddress, SlicePort};
use crate::{
    Code,
    document::Context,
    kubernetes::service::read_transport,
    reader::{Cursor, Fields},
};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Reads an `Endpoints` object.
pub(crate) fn parse_endpoints(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<Endpoints> {
    let fields = cursor.fields();
    let subsets = fields.list_of("subsets", |cursor| {
        let fields = cursor.fields();
        let ready = fields.list_of("addresses", |cursor| read_address(cursor));
        let waiting = fields.list_of("notReadyAddresses", |cursor| read_address(cursor));
        let waiting = waiting.into_iter().flatten();
        let waiting = waiting.map(|address| SliceAddress { ready: false, ..address });
        let ports = read_ports(&fields);
        fields.ignore_rest();
        EndpointSlice {
            service: context.name.to_owned(),
            addresses: ready.into_iter().flatten().chain(waiting).collect(),
            ports,
        }
    });
    fields.ignore_rest();
    Some(Endpoints { subsets })
}

fn read_address(cursor: &Cursor<'_>) -> Option<SliceAddress> {
    let fields = cursor.fields();
    let address = fields.required("ip").and_then(|cursor| cursor.parsed(Code::BadValue));
    let pod = fields.get("targetRef").and_then(|cursor| read_pod(&cursor));
    fields.ignore_rest();
    Some(SliceAddress { address: address?, ready: true, pod })
}

fn read_pod(cursor: &Cursor<'_>) -> Option<String> {
    let fields = cursor.fields();
    let is_pod = fields.text("kind").is_some_and(|kind| kind == "Pod");
    let name = fields.text("name");
    fields.ignore_rest();
    name.filter(|_| is_pod)
}

fn read_ports(fields: &Fields<'_>) -> Vec<SlicePort> {
    let ports = fields.list_of("ports", |cursor| {
        let fields = cursor.fields();
        let port = fields.get("port").and_then(|cursor| cursor.port());
        let name = fields.text("name").unwrap_or_default();
        let transport = read_transport(&fields);
        fields.ignore_rest();
        Some(SlicePort { name, port: port?, transport })
    });
    ports.into_iter().flatten().collect()
}

/// Reads an `EndpointSlice` object.
pub(crate) fn parse_slice(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<EndpointSlice> {
    let fields = cursor.fields();
    let groups = fields.list_of("endpoints", |cursor| {
        let fields = cursor.fields();
        let addresses = fields.list_of("addresses", |cursor| cursor.parsed(Code::BadValue));
        let conditions = fields.get("conditions").map(|cursor| {
            let fields = cursor.fields();
            let ready = fields.get("ready").and_then(|cursor| cursor.boolean());
            fields.ignore_rest();
            ready.unwrap_or(true)
        });
        let pod = fields.get("targetRef").and_then(|cursor| read_pod(&cursor));
        fields.ignore_rest();
        let ready = conditions.unwrap_or(true);
        let found = addresses.into_iter().flatten();
        let found = found.map(|address| SliceAddress { address, ready, pod: pod.clone() });
        found.collect::<Vec<_>>()
    });
    let ports = read_ports(&fields);
    fields.ignore_rest();
    let Some(service) = context.labels.get(SERVICE_NAME) else {
        cursor.report(Code::BadMetadata, format!("the label {SERVICE_NAME} is missing"));
        return None;
    };
    Some(EndpointSlice {
        service: service.clone(),
        addresses: groups.into_iter().flatten().collect(),
        ports,
    })
}
