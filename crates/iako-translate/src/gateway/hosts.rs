//! Virtual hosts of a gateway: what its servers and the VirtualServices bound to them have in
//! common.

use std::sync::Arc;

use iako_proxy_config::{Domain, Route, RouteConfiguration, TlsRequirement, VirtualHost};
use iako_registry::select;
use iako_resources::{Kind, Object, VirtualService};
use iako_types::{HostPattern, Namespace};

use super::BoundServer;
use crate::{
    origin::object_origin,
    outlook::Outlook,
    route::{Place, is_catch_all, routes_of},
};

/// The VirtualServices bound to the Gateway of a server, oldest first.
pub(super) fn virtual_services<'a>(
    outlook: &Outlook<'a>,
    server: &BoundServer<'a>,
) -> Vec<&'a Object<VirtualService>> {
    let namespace = &outlook.scope.namespace;
    select::virtual_services_for_gateway(outlook.snapshot, server.bound.gateway, namespace)
        .into_iter()
        .map(AsRef::as_ref)
        .collect()
}

/// What a server and a host of a VirtualService have in common: the narrower of each pair.
pub(super) fn served(
    server: &BoundServer<'_>,
    namespace: &Namespace,
    host: &HostPattern,
) -> Vec<HostPattern> {
    let mut common = Vec::new();
    for own in &server.bound.server.hosts {
        if own.namespace.as_ref().is_some_and(|named| named != namespace) {
            continue;
        }
        if own.host.covers(host) {
            common.push(host.clone());
        } else if host.covers(&own.host) {
            common.push(own.host.clone());
        }
    }
    common.sort();
    common.dedup();
    common
}

/// A host of a table while it is put together.
#[derive(Debug)]
struct Draft<'a> {
    host: HostPattern,
    /// Where its rules come from, in no order yet.
    sources: Vec<(BoundServer<'a>, &'a Object<VirtualService>)>,
    require_tls: TlsRequirement,
    /// The port that the Gateway object names.
    port: u16,
}

/// The table of the servers that share one name.
pub(super) fn route_table(
    outlook: &Outlook<'_>,
    name: String,
    servers: &[BoundServer<'_>],
) -> RouteConfiguration {
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    for server in servers {
        add_server(outlook, server, &mut drafts);
    }
    let hosts: Vec<_> = drafts.into_iter().map(|draft| virtual_host(outlook, draft)).collect();
    let mut table = RouteConfiguration::new(name, hosts);
    table.ignore_port_in_host = true;
    table
}

fn add_server<'a>(outlook: &Outlook<'a>, server: &BoundServer<'a>, drafts: &mut Vec<Draft<'a>>) {
    let redirect = server.bound.server.tls.as_ref().is_some_and(|tls| tls.https_redirect);
    let require_tls = if redirect { TlsRequirement::All } else { TlsRequirement::None };
    for object in virtual_services(outlook, server) {
        if object.spec.http.is_empty() {
            continue;
        }
        let hosts = object.spec.hosts.iter();
        for host in hosts.flat_map(|host| served(server, &object.meta.namespace, host)) {
            let draft = draft_of(drafts, host, server);
            draft.require_tls = stricter(draft.require_tls, require_tls);
            let known = draft.sources.iter().any(|(_, other)| std::ptr::eq(*other, object));
            if !known {
                draft.sources.push((*server, object));
            }
        }
    }
    if redirect {
        // Hosts without rules are sent to HTTPS too.
        for own in &server.bound.server.hosts {
            draft_of(drafts, own.host.clone(), server).require_tls = TlsRequirement::All;
        }
    }
}

fn draft_of<'d, 'a>(
    drafts: &'d mut Vec<Draft<'a>>,
    host: HostPattern,
    server: &BoundServer<'a>,
) -> &'d mut Draft<'a> {
    let place = drafts.iter().position(|draft| draft.host == host).unwrap_or_else(|| {
        let port = server.bound.server.port;
        let require_tls = TlsRequirement::None;
        drafts.push(Draft { host, sources: Vec::new(), require_tls, port });
        drafts.len().saturating_sub(1)
    });
    #[expect(clippy::indexing_slicing, reason = "found or pushed in the lines above")]
    &mut drafts[place]
}

const fn stricter(a: TlsRequirement, b: TlsRequirement) -> TlsRequirement {
    match (a, b) {
        (TlsRequirement::All, _) | (_, TlsRequirement::All) => TlsRequirement::All,
        (TlsRequirement::ExternalOnly, _) | (_, TlsRequirement::ExternalOnly) => {
            TlsRequirement::ExternalOnly
        }
        (TlsRequirement::None, TlsRequirement::None) => TlsRequirement::None,
    }
}

/// The rules of all objects for one host: oldest object first, what takes every request last.
fn virtual_host(outlook: &Outlook<'_>, mut draft: Draft<'_>) -> VirtualHost {
    let age = |object: &Object<VirtualService>| {
        let all = outlook.snapshot.virtual_services.iter();
        all.enumerate().find(|(_, other)| std::ptr::eq(other.as_ref(), object)).map(|(at, _)| at)
    };
    draft.sources.sort_by_key(|(_, object)| age(object));
    let mut routes: Vec<Route> = Vec::new();
    for (server, object) in &draft.sources {
        let place =
            Place { outlook, gateway: server.gateway_ref(), port: server.bound.server.port };
        routes.extend(routes_of(&place, object));
    }
    let (catch_all, mut ordered): (Vec<Route>, Vec<Route>) =
        routes.into_iter().partition(is_catch_all);
    // Only the first of those that take everything can ever be reached.
    ordered.extend(catch_all.into_iter().take(1));
    let domain = match &draft.host {
        HostPattern::Any => Domain::Any,
        HostPattern::Below(domain) => Domain::Suffix(format!(".{domain}")),
        HostPattern::Exact(host) => Domain::Exact(host.to_string()),
    };
    VirtualHost {
        name: format!("{}:{}", draft.host, draft.port),
        domains: vec![domain],
        routes: ordered.into_iter().map(Arc::new).collect(),
        require_tls: draft.require_tls,
        include_attempt_count: true,
        origin: draft
            .sources
            .first()
            .map(|(_, object)| object_origin(Kind::VirtualService, object)),
        ..VirtualHost::default()
    }
}
