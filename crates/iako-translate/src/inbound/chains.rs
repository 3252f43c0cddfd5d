//! Filter chains of a port by what the workload accepts and what the port speaks.
//!
//! Source: Istio's table of inbound chain matches for STRICT, PERMISSIVE and DISABLE.

use std::sync::Arc;

use iako_proxy_config::{
    Action, CertificateSource, ClusterTarget, Domain, DownstreamTls, DownstreamTransport,
    FilterChain, FilterChainMatch, RetryConditions, RetryOn, RetryPolicy, Route, RouteAction,
    RouteConfiguration, RouteMatch, RouteSource, RuleOrigin, TcpTarget, Terminal, TlsOptions,
    Trust, Validation, VirtualHost,
};
use iako_resources::istio::peer_authentication::MutualTlsMode;
use iako_types::AppProtocol;

use crate::{
    access_log::Side,
    filters::{PEER_EXCHANGE, connection_manager, network_filters, tcp_proxy},
    names::{IDENTITY_SECRET, ROOTS_SECRET},
    outlook::Outlook,
};

/// ALPN names by which the mesh's clients say that they speak HTTP inside mutual TLS.
const MESH_HTTP: &[&str] = &["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// ALPN names by which they say that they speak something else.
const MESH_TCP: &[&str] = &[PEER_EXCHANGE, "istio"];
/// All of them.
const MESH: &[&str] = &["istio", PEER_EXCHANGE, "istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// What the HTTP inspector calls plain HTTP.
const PLAIN_HTTP: &[&str] = &["http/1.0", "http/1.1", "h2c"];
/// Retries towards the local application. Source: Istio's inbound retry policy.
const RETRIES_MAX: u32 = 2;

/// What a port speaks, as far as chains care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PortKind {
    /// Requests.
    Http,
    /// Opaque bytes.
    Tcp,
    /// To be found out from the first bytes.
    Detect,
}

impl PortKind {
    pub(super) const fn of(protocol: AppProtocol) -> Self {
        if protocol.is_http() {
            Self::Http
        } else if protocol.is_tcp() {
            Self::Tcp
        } else {
            Self::Detect
        }
    }
}

/// Where a port's traffic goes.
#[derive(Debug)]
pub(super) struct LocalTarget {
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) kind: PortKind,
    pub(super) grpc: bool,
    pub(super) operation: String,
    pub(super) origin: Option<RuleOrigin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Http,
    Tcp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    /// Mutual TLS, ended here.
    Mutual,
    /// None of the mesh's.
    None,
}

/// One chain of the table: for which connections, and what it is.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// What stands in the chain's name after the port's.
    suffix: &'static str,
    transport: Option<&'static str>,
    alpn: &'static [&'static str],
    protection: Protection,
    carrier: Carrier,
}

const TLS: Option<&str> = Some("tls");
const RAW: Option<&str> = Some("raw_buffer");

const fn shape(
    suffix: &'static str,
    transport: Option<&'static str>,
    alpn: &'static [&'static str],
    protection: Protection,
    carrier: Carrier,
) -> Shape {
    Shape { suffix, transport, alpn, protection, carrier }
}

const HTTP_STRICT: &[Shape] = &[shape("mtls-http", TLS, &[], Protection::Mutual, Carrier::Http)];
const HTTP_PERMISSIVE: &[Shape] = &[
    shape("mtls-http", TLS, MESH, Protection::Mutual, Carrier::Http),
    shape("plain-http", RAW, &[], Protection::None, Carrier::Http),
];
const HTTP_DISABLE: &[Shape] = &[shape("plain-http", RAW, &[], Protection::None, Carrier::Http)];
const TCP_STRICT: &[Shape] = &[shape("mtls-tcp", TLS, &[], Protection::Mutual, Carrier::Tcp)];
const TCP_PERMISSIVE: &[Shape] = &[
    shape("mtls-tcp", TLS, MESH, Protection::Mutual, Carrier::Tcp),
    shape("opaque-tls", TLS, &[], Protection::None, Carrier::Tcp),
    shape("plain-tcp", RAW, &[], Protection::None, Carrier::Tcp),
];
// The application's own TLS counts as plain bytes here, so that no transport is asked for.
const TCP_DISABLE: &[Shape] = &[shape("plain-tcp", None, &[], Protection::None, Carrier::Tcp)];
const DETECT_STRICT: &[Shape] = &[
    shape("mtls-http", TLS, MESH_HTTP, Protection::Mutual, Carrier::Http),
    shape("mtls-tcp", TLS, &[], Protection::Mutual, Carrier::Tcp),
];
const DETECT_PERMISSIVE: &[Shape] = &[
    shape("mtls-http", TLS, MESH_HTTP, Protection::Mutual, Carrier::Http),
    shape("plain-http", RAW, PLAIN_HTTP, Protection::None, Carrier::Http),
    shape("mtls-tcp", TLS, MESH_TCP, Protection::Mutual, Carrier::Tcp),
    shape("plain-tcp", RAW, &[], Protection::None, Carrier::Tcp),
    shape("opaque-tls", TLS, &[], Protection::None, Carrier::Tcp),
];
const DETECT_DISABLE: &[Shape] = &[
    shape("plain-http", RAW, PLAIN_HTTP, Protection::None, Carrier::Http),
    shape("plain-tcp", None, &[], Protection::None, Carrier::Tcp),
];

const fn shapes(kind: PortKind, mode: MutualTlsMode) -> &'static [Shape] {
    match (kind, mode) {
        (PortKind::Http, MutualTlsMode::Strict) => HTTP_STRICT,
        (PortKind::Http, MutualTlsMode::Permissive) => HTTP_PERMISSIVE,
        (PortKind::Http, MutualTlsMode::Disable) => HTTP_DISABLE,
        (PortKind::Tcp, MutualTlsMode::Strict) => TCP_STRICT,
        (PortKind::Tcp, MutualTlsMode::Permissive) => TCP_PERMISSIVE,
        (PortKind::Tcp, MutualTlsMode::Disable) => TCP_DISABLE,
        (PortKind::Detect, MutualTlsMode::Strict) => DETECT_STRICT,
        (PortKind::Detect, MutualTlsMode::Permissive) => DETECT_PERMISSIVE,
        (PortKind::Detect, MutualTlsMode::Disable) => DETECT_DISABLE,
    }
}

/// The chains of a port.
pub(super) fn of_port(
    outlook: &Outlook<'_>,
    target: &LocalTarget,
    mode: MutualTlsMode,
    destination_port: Option<u16>,
) -> Vec<FilterChain> {
    let build = |shape: &Shape| chain(outlook, target, shape, destination_port);
    shapes(target.kind, mode).iter().map(build).collect()
}

fn chain(
    outlook: &Outlook<'_>,
    target: &LocalTarget,
    shape: &Shape,
    destination_port: Option<u16>,
) -> FilterChain {
    let (terminal, filters) = match shape.carrier {
        Carrier::Http => {
            let prefix = target.name.replace('|', "_");
            let routes = RouteSource::Inline(Arc::new(routes(target)));
            let settings = connection_manager(outlook, Side::Inbound, prefix, routes);
            (Terminal::Http(settings.into()), Vec::new())
        }
        Carrier::Tcp => {
            let cluster = TcpTarget::Cluster(target.cluster.clone());
            let proxy = tcp_proxy(outlook, Side::Inbound, cluster);
            (Terminal::Tcp(proxy.into()), network_filters(outlook, Side::Inbound))
        }
    };
    FilterChain {
        name: format!("{} {}", target.name, shape.suffix),
        matcher: FilterChainMatch {
            destination_port,
            transport_protocol: shape.transport.map(str::to_owned),
            application_protocols: shape.alpn.iter().map(|&name| name.to_owned()).collect(),
            ..FilterChainMatch::default()
        },
        transport: match shape.protection {
            Protection::Mutual => DownstreamTransport::Tls(Box::new(mesh_tls(shape.carrier))),
            Protection::None => DownstreamTransport::Raw,
        },
        handshake_timeout: None,
        filters,
        terminal,
        metadata: iako_proxy_config::FilterMetadata::default(),
    }
}

/// Mutual TLS with the workload's own identity; every client must prove one of the mesh.
fn mesh_tls(carrier: Carrier) -> DownstreamTls {
    let alpn: &[&str] = match carrier {
        Carrier::Http => &["h2", "http/1.1"],
        Carrier::Tcp => &[PEER_EXCHANGE, "h2", "http/1.1"],
    };
    DownstreamTls {
        options: TlsOptions {
            alpn: alpn.iter().map(|&name| name.to_owned()).collect(),
            certificates: vec![CertificateSource::Sds(IDENTITY_SECRET.into())],
            validation: Validation {
                trust: Trust::Sds(ROOTS_SECRET.into()),
                ..Validation::default()
            },
            ..TlsOptions::default()
        },
        require_client_certificate: true,
        require_sni: false,
        ..DownstreamTls::default()
    }
}

/// Everything goes to the application.
fn routes(target: &LocalTarget) -> RouteConfiguration {
    let mut action = RouteAction::to(ClusterTarget::Cluster(target.cluster.clone()));
    action.timeout = None;
    if !target.grpc {
        action.retry = Some(RetryPolicy {
            conditions: RetryConditions::default().with(RetryOn::ResetBeforeRequest),
            retries_max: RETRIES_MAX,
            ..RetryPolicy::default()
        });
    }
    let mut route = Route::new(RouteMatch::any(), Action::Forward(Box::new(action)));
    crate::route::DEFAULT_ROUTE.clone_into(&mut route.name);
    if !target.operation.is_empty() {
        route.decorator = Some(crate::route::decorator(target.operation.clone()));
    }
    route.origin.clone_from(&target.origin);
    let host = VirtualHost {
        name: format!("{} http", target.name),
        domains: vec![Domain::Any],
        routes: vec![Arc::new(route)],
        ..VirtualHost::default()
    };
    RouteConfiguration::new(target.name.clone(), vec![host])
}
