//! Reads rules for connections: TLS by server name, and opaque ones.

use std::net::IpAddr;

use iako_types::HostPattern;

use super::{RouteDestination, StreamMatch, TcpRoute, TlsMatch, TlsRoute, destination};
use crate::{
    Code, Severity,
    document::Context,
    istio::refer,
    reader::{Cursor, Fields},
};

/// Reads a rule of `tls`; `hosts` are those of the object.
pub(super) fn read_tls(
    cursor: &Cursor<'_>,
    context: &Context<'_>,
    hosts: &[HostPattern],
) -> Option<TlsRoute> {
    let fields = cursor.fields();
    let matches = fields.list_of("match", |cursor| read_tls_match(cursor, context, hosts));
    let route = read_route(&fields, context);
    if matches.is_empty() {
        fields.report("match", Code::MissingField, "a rule of tls needs match with sniHosts");
    }
    Some(TlsRoute { matches: matches.into_iter().flatten().collect(), route, line: cursor.line() })
}

fn read_tls_match(
    cursor: &Cursor<'_>,
    context: &Context<'_>,
    hosts: &[HostPattern],
) -> Option<TlsMatch> {
    let fields = cursor.fields();
    if !fields.has_elements("sniHosts") {
        fields.report("sniHosts", Code::MissingField, "a match needs at least one server name");
    }
    let sni_hosts = fields.list_of("sniHosts", |cursor| {
        let text = cursor.text()?;
        if text.parse::<IpAddr>().is_ok() {
            let message = "a server name is never an address";
            cursor.report_as(Severity::Warning, Code::BadHost, message);
        }
        let pattern = match text.parse::<HostPattern>() {
            Ok(pattern) => pattern,
            Err(error) => {
                cursor.report(Code::BadHost, format!("{text:?} is no host name: {error}"));
                return None;
            }
        };
        // A short host of the object covers its short server name.
        let full = refer::full_name(&text, context).parse::<HostPattern>().ok();
        let covered = hosts.iter().any(|host| {
            host.covers(&pattern) || full.as_ref().is_some_and(|full| host.covers(full))
        });
        if !covered {
            let message =
                format!("the server name {text} is below none of the hosts of the object");
            cursor.report(Code::BadHost, message);
        }
        Some(pattern)
    });
    let stream = read_stream_fields(&fields, context);
    Some(TlsMatch { sni_hosts: sni_hosts.into_iter().flatten().collect(), stream })
}

/// Reads a rule of `tcp`.
pub(super) fn read_tcp(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<TcpRoute> {
    let fields = cursor.fields();
    let matches = fields.list_of("match", |cursor| read_stream_fields(&cursor.fields(), context));
    let route = read_route(&fields, context);
    Some(TcpRoute { matches, route, line: cursor.line() })
}

fn read_stream_fields(fields: &Fields<'_>, context: &Context<'_>) -> StreamMatch {
    let port = fields.get("port").and_then(|cursor| cursor.port());
    let destination_subnets = fields.list_of("destinationSubnets", refer::cidr);
    if fields.has_elements("destinationSubnets") {
        let message = "destinationSubnets is read and checked, not yet applied: connections are \
                       told apart by port and server name, so this match takes none";
        fields.report("destinationSubnets", Code::FieldIgnored, message);
    }
    let source_labels = fields.get("sourceLabels").map(|cursor| refer::labels(&cursor));
    let source_namespace =
        fields.get("sourceNamespace").and_then(|cursor| refer::namespace(&cursor));
    let gateways = refer::gateways(fields, context);
    StreamMatch {
        destination_subnets: destination_subnets.into_iter().flatten().collect(),
        port,
        source_labels: source_labels.unwrap_or_default(),
        source_namespace,
        gateways,
    }
}

fn read_route(fields: &Fields<'_>, context: &Context<'_>) -> Vec<RouteDestination> {
    let route = destination::read_weighted(fields, context);
    let given = fields.get("route").is_some_and(|cursor| !cursor.list().is_empty());
    if !given {
        fields.report("route", Code::MissingField, "the rule needs route with a destination");
    }
    route
}
