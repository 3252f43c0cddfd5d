//! Reads a `VirtualService`.

use iako_types::HostPattern;

use super::{
    GatewayRef, VirtualService, checks,
    http::{self, Owner},
    stream,
};
use crate::{
    Code,
    document::Context,
    istio::refer::{self, Hiding},
    reader::{Cursor, Fields},
};

/// Reads the specification.
pub(crate) fn parse(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<VirtualService> {
    let fields = cursor.fields();
    let hosts = read_hosts(&fields, context);
    let owner = if fields.has_elements("hosts") { Owner::Root } else { Owner::Delegate };
    if owner == Owner::Delegate {
        report_delegate(&fields);
    }
    let mut gateways = refer::gateways(&fields, context);
    if gateways.is_empty() {
        gateways.push(GatewayRef::Mesh);
    }
    let export_to = refer::visibility(&fields, context, Hiding::Refused);
    let http = fields.list_of("http", |cursor| {
        Some((cursor.clone(), http::read_route(cursor, context, owner)?))
    });
    let has_rules = ["http", "tls", "tcp"].iter().any(|name| fields.has_elements(name));
    let tls = fields.list_of("tls", |cursor| stream::read_tls(cursor, context, &hosts));
    let tcp = fields.list_of("tcp", |cursor| stream::read_tcp(cursor, context));
    if !has_rules {
        cursor.report(Code::MissingField, "one of http, tls and tcp is needed");
    }
    let http: Vec<_> = http.into_iter().flatten().collect();
    checks::report_unreachable(&http);
    Some(VirtualService {
        hosts,
        gateways,
        export_to,
        http: http.into_iter().map(|(_, route)| route).collect(),
        tls: tls.into_iter().flatten().collect(),
        tcp: tcp.into_iter().flatten().collect(),
    })
}

/// Reports what an object without hosts cannot have: only its rules for requests are taken over.
fn report_delegate(fields: &Fields<'_>) {
    if fields.has_elements("tls") || fields.has_elements("tcp") {
        let message = "the object has no hosts, so it is a delegate; a delegate has http alone";
        fields.report("hosts", Code::MissingField, message);
    }
    if fields.has_elements("gateways") {
        let message = "a delegate has no gateways: it counts where the object counts that names it";
        fields.report("gateways", Code::Conflict, message);
    }
    if !["http", "tls", "tcp"].iter().any(|name| fields.has_elements(name)) {
        fields.report("hosts", Code::MissingField, "the field hosts is missing");
    }
}

fn read_hosts(fields: &Fields<'_>, context: &Context<'_>) -> Vec<HostPattern> {
    let list = fields.get("hosts").map(|cursor| cursor.list()).unwrap_or_default();
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
