//! The steps on the way of requests and connections, in Istio's order.

use iako_proxy_config::{
    ClientCertDetails, EscapedSlashes, Fault, ForwardClientCert, HttpConnectionManager, HttpFilter,
    HttpFilterKind, NetworkFilter, PeerDiscovery, PeerMetadata, Rbac, RouteSource, Router,
    TcpProxy, TcpTarget, UpgradeConfig,
};
use iako_registry::select;
use iako_resources::{AuthorizationPolicy, Object, istio::mesh_config::PathNormalization};

use crate::{
    access_log::{Side, access_logs, stats, tracing},
    authz::{Layer, rbac_filters},
    jwt,
    outlook::Outlook,
};

/// The name under which routes refer to the filter of faults.
pub(crate) const FAULT_FILTER: &str = "envoy.filters.http.fault";
/// The name under which routes refer to the filter of cross-origin policies.
pub(crate) const CORS_FILTER: &str = "envoy.filters.http.cors";
/// The ALPN name by which proxies agree to exchange metadata on opaque connections.
pub(crate) const PEER_EXCHANGE: &str = "istio-peer-exchange";

/// Settings of an HTTP listener on one side.
pub(crate) fn connection_manager(
    outlook: &Outlook<'_>,
    side: Side,
    stat_prefix: String,
    routes: RouteSource,
) -> HttpConnectionManager {
    let mut settings = HttpConnectionManager::new(stat_prefix, routes);
    settings.filters = http_filters(outlook, side);
    settings.access_log = access_logs(outlook, side);
    settings.tracing = tracing(outlook, side);
    settings.stream_idle_timeout = None;
    settings.proxy_100_continue = true;
    settings.upgrades = vec![UpgradeConfig { protocol: "websocket".to_owned(), enabled: true }];
    match outlook.mesh().path_normalization {
        PathNormalization::None => {}
        PathNormalization::Base => settings.normalize_path = true,
        PathNormalization::MergeSlashes => {
            settings.normalize_path = true;
            settings.merge_slashes = true;
        }
        PathNormalization::DecodeAndMergeSlashes => {
            settings.normalize_path = true;
            settings.merge_slashes = true;
            settings.escaped_slashes = EscapedSlashes::UnescapeAndForward;
        }
    }
    match side {
        Side::Outbound => {}
        Side::Inbound => {
            "istio-envoy".clone_into(&mut settings.server_name);
            settings.forward_client_cert = ForwardClientCert::AppendForward;
            settings.client_cert_details =
                ClientCertDetails { subject: true, dns: true, uri: true, ..Default::default() };
        }
        Side::Gateway => {
            "istio-envoy".clone_into(&mut settings.server_name);
            settings.use_remote_address = true;
            settings.xff_trusted_hops = outlook.mesh().trusted_proxies;
            settings.forward_client_cert = ForwardClientCert::SanitizeSet;
            settings.client_cert_details =
                ClientCertDetails { subject: true, cert: true, dns: true, uri: true, chain: false };
        }
    }
    settings
}

fn http_filters(outlook: &Outlook<'_>, side: Side) -> Vec<HttpFilter> {
    let mut filters =
        vec![filter("istio.metadata_exchange", HttpFilterKind::PeerMetadata(peer_metadata(side)))];
    if side != Side::Outbound {
        filters.extend(jwt::authentication(outlook, side).map(|jwt| {
            filter("envoy.filters.http.jwt_authn", HttpFilterKind::JwtAuthn(Box::new(jwt)))
        }));
        filters.extend(
            access_rules(outlook, Layer::Http).into_iter().map(|rbac| {
                filter("envoy.filters.http.rbac", HttpFilterKind::Rbac(Box::new(rbac)))
            }),
        );
    }
    filters.push(filter("istio.grpc_stats", HttpFilterKind::GrpcStats(Box::default())));
    if side != Side::Inbound {
        filters.push(filter("istio.alpn", HttpFilterKind::Alpn));
    }
    filters.push(filter(FAULT_FILTER, HttpFilterKind::Fault(Box::<Fault>::default())));
    filters.push(filter(CORS_FILTER, HttpFilterKind::Cors));
    filters.extend(
        stats(outlook, side).map(|stats| filter("istio.stats", HttpFilterKind::Stats(stats))),
    );
    filters.push(filter("envoy.filters.http.router", HttpFilterKind::Router(Router::default())));
    filters
}

fn filter(name: &str, kind: HttpFilterKind) -> HttpFilter {
    HttpFilter { name: name.to_owned(), disabled: false, kind }
}

/// Sidecars tell each other who they are. A gateway tells servers, and nobody outside.
fn peer_metadata(side: Side) -> PeerMetadata {
    let ways = || vec![PeerDiscovery::IstioHeaders, PeerDiscovery::WorkloadDiscovery];
    match side {
        Side::Inbound => PeerMetadata {
            downstream_discovery: ways(),
            downstream_propagation: true,
            ..PeerMetadata::default()
        },
        Side::Outbound | Side::Gateway => PeerMetadata {
            upstream_discovery: ways(),
            upstream_propagation: true,
            skip_external: true,
            ..PeerMetadata::default()
        },
    }
}

fn access_rules(outlook: &Outlook<'_>, layer: Layer) -> Vec<Rbac> {
    let policies = select::authorization_policies(outlook.snapshot, outlook.scope.subject());
    let policies: Vec<&Object<AuthorizationPolicy>> =
        policies.into_iter().map(AsRef::as_ref).collect();
    rbac_filters(&policies, layer, outlook.mesh())
}

/// The steps on the way of an opaque connection.
pub(crate) fn network_filters(outlook: &Outlook<'_>, side: Side) -> Vec<NetworkFilter> {
    let mut filters = Vec::new();
    if side != Side::Gateway {
        filters.push(NetworkFilter::MetadataExchange { protocol: PEER_EXCHANGE.to_owned() });
    }
    if side != Side::Outbound {
        let rules = access_rules(outlook, Layer::Tcp);
        filters.extend(rules.into_iter().map(|rbac| NetworkFilter::Rbac(Box::new(rbac))));
    }
    filters.extend(stats(outlook, side).map(NetworkFilter::Stats));
    filters
}

/// Carries bytes to a target, with the logs of one side.
pub(crate) fn tcp_proxy(outlook: &Outlook<'_>, side: Side, target: TcpTarget) -> TcpProxy {
    let stat_prefix = match &target {
        TcpTarget::Cluster(name) => name.clone(),
        TcpTarget::Weighted(targets) => {
            targets.first().map(|target| target.cluster.clone()).unwrap_or_default()
        }
    };
    let mut proxy = TcpProxy::new(stat_prefix, target);
    proxy.access_log = access_logs(outlook, side);
    proxy
}
