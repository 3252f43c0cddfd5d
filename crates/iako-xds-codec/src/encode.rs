//! Values as messages, the way Envoy expects them: what we send can drive an Envoy too.
//!
//! Encoding cannot fail: a value is valid. `decode(encode(value))` gives the value back, but for
//! what the wire has no place for: the file and line of a rule inside an RBAC policy, and the order
//! of keys in a JSON log format.
//!
//! The same value always gives the same bytes, so that a version can be a hash of them.

mod access_log;
mod admission;
mod answer;
mod attempt;
mod callout;
mod cluster;
mod cluster_connecting;
mod cluster_http;
mod composite;
mod concurrency;
mod connection_filter;
mod connection_service;
mod content;
mod credential;
mod discovered;
mod discovery;
mod endpoint;
mod expression;
mod ext_authz;
mod ext_proc;
mod global_limit;
mod head;
mod header;
mod health;
mod http;
mod http_client;
mod http_filter;
mod json_facts;
mod jwt;
mod lb;
mod listener;
mod listener_filter;
mod local_limit;
mod local_reply;
mod match_tree;
mod matcher;
pub(crate) mod metadata;
mod network_filter;
mod oauth2;
mod opaque;
mod proxy_protocol;
mod rate_limit;
mod rbac;
mod request_step;
mod route;
mod route_action;
mod scoped;
mod session;
mod source;
mod stored;
mod tcp_proxy;
mod tracing;
mod transport;
mod udp_proxy;
pub(crate) mod wire;

pub(crate) use ext_proc::mode as processing_mode;
pub(crate) use wire::address as socket;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::transport_sockets::tls::v3 as tls_pb;
use prost_types::Any;

use super::text;
use iako_proxy_config::{
    Cluster, EndpointAddress, EndpointSet, Listener, Node, RouteConfiguration, Scope, Secret,
    SecretKind,
};

/// An `envoy.config.listener.v3.Listener`.
pub fn listener(value: &Listener) -> Any {
    wire::any(&listener::listener(value))
}

/// An `envoy.config.route.v3.RouteConfiguration`.
pub fn route_configuration(value: &RouteConfiguration) -> Any {
    wire::any(&route::route_configuration(value))
}

/// An `envoy.config.route.v3.ScopedRouteConfiguration`.
pub fn scope(value: &Scope) -> Any {
    wire::any(&scoped::scope(value))
}

/// An `envoy.config.cluster.v3.Cluster`.
pub fn cluster(value: &Cluster) -> Any {
    wire::any(&cluster::cluster(value))
}

/// An `envoy.config.endpoint.v3.ClusterLoadAssignment`.
pub fn endpoints(value: &EndpointSet) -> Any {
    wire::any(&endpoint::endpoint_set(value))
}

/// Where an instance listens.
pub(crate) fn endpoint_address(value: &EndpointAddress) -> core::Address {
    endpoint::address(value)
}

/// Who a proxy says it is, for the first message of a stream.
pub fn node(value: &Node) -> core::Node {
    core::Node {
        id: value.id.clone(),
        cluster: value.cluster.clone(),
        metadata: (!value.metadata.is_empty()).then(|| text::struct_from_json(&value.metadata)),
        locality: (!value.locality.is_empty()).then(|| endpoint::locality_name(&value.locality)),
        ..Default::default()
    }
}

/// An `envoy.extensions.transport_sockets.tls.v3.Secret`. Holds the private key in clear.
pub fn secret(value: &Secret) -> Any {
    use tls_pb::secret::Type;
    let kind = match &value.kind {
        SecretKind::Certificate { chain, key, staple } => {
            Type::TlsCertificate(transport::certificate_pair(chain, key, staple.as_ref()))
        }
        SecretKind::Trust(validation) => {
            Type::ValidationContext(transport::validation_context(validation))
        }
        SecretKind::TicketKeys(keys) => Type::SessionTicketKeys(transport::ticket_keys(keys)),
        SecretKind::Generic(secret) => Type::GenericSecret(tls_pb::GenericSecret {
            secret: Some(wire::bytes_source(&bytes::Bytes::copy_from_slice(secret.expose()))),
            ..Default::default()
        }),
    };
    wire::any(&tls_pb::Secret { name: value.name.clone(), r#type: Some(kind) })
}
