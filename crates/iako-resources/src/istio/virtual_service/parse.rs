//! Reads a `VirtualService`.

use iako_types::HostPattern;

use super::{GatewayRef, VirtualService, checks, http, stream};
use crate::{
    Code,
    document::Context,
    istio::refer,
    reader::{Cursor, Fields},
};

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<VirtualService> {
    let fields = cursor.fields();
    let hosts = read_hosts(&fields, context);
    let mut gateways = refer::gateways(&fields, context);
    if gateways.is_empty() {
        gateways.push(GatewayRef::Mesh);
    }
    let export_to = refer::visibility(&fields, context);
    let http = fields.list_of("http", |cursor| http::read_route(cursor, context));
    let tls = fields.list_of("tls", |cursor| stream::read_tls(cursor, context, &hosts));
    let tcp = fields.list_of("tcp", |cursor| stream::read_tcp(cursor, context));
    if http.is_empty() && tls.is_empty() && tcp.is_empty() {
        cursor.report(Code::MissingField, "one of http, tls and tcp is needed");
    }
    if let Some(cursor) = fields.get("http") {
        let routes: Vec<_> = http.iter().flatten().collect();
        checks::report_unreachable(&cursor, &routes);
    }
    Some(VirtualService {
        hosts,
        gateways,
        export_to,
        http: http.into_iter().flatten().collect(),
        tls: tls.into_iter().flatten().collect(),
        tcp: tcp.into_iter().flatten().collect(),
    })
}

fn read_hosts(fields: &Fields<'_>, context: &Context<'_>) -> Vec<HostPattern> {
    let Some(cursor) = fields.required("hosts") else { return Vec::new() };
    let list = cursor.list();
    if list.is_empty() {
        let message = "hosts is empty; only a delegate has no hosts, and delegation comes later";
        cursor.report(Code::EmptyValue, message);
    }
    let mut hosts: Vec<HostPattern> = Vec::new();
    for cursor in &list {
        let Some(host) = refer::host_pattern(cursor, context) else { continue };
        if hosts.contains(&host) {
            cursor.report(Code::Duplicate, format!("the host {host} stands here twice"));
        } else if let Some(other) = hosts.iter().find(|o| o.covers(&host) || host.covers(o)) {
            let message = format!("the hosts {other} and {host} overlap");
            cursor.report(Code::Conflict, message);
        }
        hosts.push(host);
    }
    hosts
}
