//! How HTTP is spoken to a cluster.

use std::time::Duration;

use iako_xds_api::envoy::config::cluster::v3 as cluster_pb;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::upstreams::http::v3 as pb;
use prost::Name as _;

use super::{protocol, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{Cluster, ClusterHttp, HeaderName, HttpProtocol, UpstreamTransport};

/// Reads the protocol options of a cluster, in their extension or in the old fields beside it.
pub(super) fn apply(
    cluster: &cluster_pb::Cluster,
    value: &mut Cluster,
    at: &At<'_>,
) -> Result<(), Fault> {
    let at_options = at.field("typed_extension_protocol_options");
    let mut read = false;
    for (name, any) in &cluster.typed_extension_protocol_options {
        let at = at_options.key(name);
        let type_name = pool::full_name(&any.type_url);
        if type_name != pb::HttpProtocolOptions::full_name() {
            let problem = format!("`{type_name}` is not supported");
            return Err(
                at.invalid(problem, "use envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
            );
        }
        value.http = typed(&wire::unpack::<pb::HttpProtocolOptions>(any, &at)?, value, &at)?;
        read = true;
    }
    if !read {
        old_fields(cluster, value, at)?;
    }
    Ok(())
}

fn typed(
    options: &pb::HttpProtocolOptions,
    value: &mut Cluster,
    at: &At<'_>,
) -> Result<ClusterHttp, Fault> {
    use pb::http_protocol_options::UpstreamProtocolOptions as Kind;
    let mut http = ClusterHttp::default();
    match &options.upstream_protocol_options {
        None => {}
        Some(Kind::ExplicitHttpConfig(config)) => {
            explicit(config, &mut http, &at.field("explicit_http_config"))?;
        }
        Some(Kind::UseDownstreamProtocolConfig(config)) => {
            http.protocol = HttpProtocol::Downstream;
            let at = at.field("use_downstream_protocol_config");
            versions(
                config.http_protocol_options.as_ref(),
                config.http2_protocol_options.as_ref(),
                &mut http,
                &at,
            )?;
        }
        Some(Kind::AutoConfig(config)) => {
            http.protocol = HttpProtocol::Auto;
            let at = at.field("auto_config");
            versions(
                config.http_protocol_options.as_ref(),
                config.http2_protocol_options.as_ref(),
                &mut http,
                &at,
            )?;
        }
    }
    if let Some(common) = &options.common_http_protocol_options {
        common_options(common, &mut http, &at.field("common_http_protocol_options"))?;
    }
    if let Some(tls) = &options.upstream_http_protocol_options {
        automatic_names(tls, value);
        http.server_name_header =
            server_name_header(tls, &at.field("upstream_http_protocol_options"))?;
    }
    Ok(http)
}

fn explicit(
    config: &pb::http_protocol_options::ExplicitHttpConfig,
    http: &mut ClusterHttp,
    at: &At<'_>,
) -> Result<(), Fault> {
    use pb::http_protocol_options::explicit_http_config::ProtocolConfig;
    match &config.protocol_config {
        Some(ProtocolConfig::HttpProtocolOptions(options)) => {
            http.protocol = HttpProtocol::Http1;
            versions(Some(options), None, http, at)
        }
        Some(ProtocolConfig::Http2ProtocolOptions(options)) => {
            http.protocol = HttpProtocol::Http2;
            versions(None, Some(options), http, at)
        }
        Some(ProtocolConfig::Http3ProtocolOptions(_)) => Err(at
            .field("http3_protocol_options")
            .invalid("is not supported", "use HTTP/1.1 or HTTP/2")),
        None => Err(at.missing("write `http_protocol_options` or `http2_protocol_options`")),
    }
}

fn versions(
    http1: Option<&core::Http1ProtocolOptions>,
    http2: Option<&core::Http2ProtocolOptions>,
    http: &mut ClusterHttp,
    at: &At<'_>,
) -> Result<(), Fault> {
    if let Some(options) = http1 {
        let http1 = protocol::http1(options, &at.field("http_protocol_options"))?;
        http.name_case = http1.name_case;
        http.http1_trailers = http1.trailers;
    }
    if let Some(options) = http2 {
        http.http2 = protocol::http2(options, &at.field("http2_protocol_options"))?;
    }
    Ok(())
}

fn common_options(
    common: &core::HttpProtocolOptions,
    http: &mut ClusterHttp,
    at: &At<'_>,
) -> Result<(), Fault> {
    http.idle_timeout = wire::limit(
        common.idle_timeout.as_ref(),
        Some(Duration::from_secs(3600)),
        &at.field("idle_timeout"),
    )?;
    http.connection_duration_max = wire::limit(
        common.max_connection_duration.as_ref(),
        None,
        &at.field("max_connection_duration"),
    )?;
    http.connection_duration_jitter = common
        .max_connection_duration_jitter
        .map(|jitter| wire::percent(jitter.value, &at.field("max_connection_duration_jitter")))
        .transpose()?;
    let at_stream = at.field("max_stream_duration");
    http.stream_duration_max = wire::limit(common.max_stream_duration.as_ref(), None, &at_stream)?;
    // Zero means without limit, as absence does.
    http.requests_per_connection_max =
        common.max_requests_per_connection.and_then(std::num::NonZeroU32::new);
    for (set, field) in [
        (common.max_headers_count.is_some(), "max_headers_count"),
        (common.headers_with_underscores_action != 0, "headers_with_underscores_action"),
    ] {
        if set {
            at.field(field).warn("has no effect towards upstreams");
        }
    }
    Ok(())
}

/// Takes server names from requests, and holds servers to them.
pub(super) fn names_from_requests(value: &mut Cluster) {
    let options = core::UpstreamHttpProtocolOptions {
        auto_sni: true,
        auto_san_validation: true,
        ..Default::default()
    };
    automatic_names(&options, value);
}

/// Server names taken from requests: a property of every TLS transport of the cluster.
fn automatic_names(options: &core::UpstreamHttpProtocolOptions, value: &mut Cluster) {
    let matches = value.transport_matches.iter_mut().map(|entry| &mut entry.transport);
    for transport in matches.chain([&mut value.transport]) {
        if let UpstreamTransport::Tls(tls) = transport {
            tls.auto_sni |= options.auto_sni;
            tls.auto_san_validation |= options.auto_san_validation;
        }
    }
}

/// The header that names the server in place of the host.
fn server_name_header(
    options: &core::UpstreamHttpProtocolOptions,
    at: &At<'_>,
) -> Result<Option<HeaderName>, Fault> {
    let name = Some(options.override_auto_sni_header.as_str()).filter(|name| !name.is_empty());
    name.map(|name| wire::header_name(name, &at.field("override_auto_sni_header"))).transpose()
}

/// Fields of the cluster itself that the extension has replaced.
fn old_fields(
    cluster: &cluster_pb::Cluster,
    value: &mut Cluster,
    at: &At<'_>,
) -> Result<(), Fault> {
    let mut http = ClusterHttp::default();
    if let Some(options) = &cluster.http2_protocol_options {
        http.protocol = HttpProtocol::Http2;
        http.http2 = protocol::http2(options, &at.field("http2_protocol_options"))?;
    }
    if let Some(options) = &cluster.http_protocol_options {
        let http1 = protocol::http1(options, &at.field("http_protocol_options"))?;
        http.name_case = http1.name_case;
        http.http1_trailers = http1.trailers;
    }
    if let Some(common) = &cluster.common_http_protocol_options {
        common_options(common, &mut http, &at.field("common_http_protocol_options"))?;
    }
    if let Some(requests) = cluster.max_requests_per_connection {
        http.requests_per_connection_max = std::num::NonZeroU32::new(requests);
    }
    if let Some(tls) = &cluster.upstream_http_protocol_options {
        automatic_names(tls, value);
        http.server_name_header =
            server_name_header(tls, &at.field("upstream_http_protocol_options"))?;
    }
    value.http = http;
    Ok(())
}
