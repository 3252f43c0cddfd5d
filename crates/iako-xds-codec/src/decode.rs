//! Messages as values that cannot be wrong.
//!
//! Each public function takes a resource as it was sent, walks it once against the support table,
//! and builds the value. What is wrong is said with the path of the field; the whole resource is
//! then refused, and whoever holds the last good one keeps it.

mod access_log;
mod admission;
mod answer;
mod attempt;
mod bootstrap;
mod callout;
mod cluster;
mod cluster_connecting;
mod cluster_http;
mod cluster_limits;
mod cluster_specifier;
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
mod fault;
mod global_limit;
mod head;
mod header;
mod health;
mod http;
mod http_client;
pub(super) mod http_filter;
mod json_facts;
mod jwt;
mod lb;
mod limiting;
mod listener;
mod listener_filter;
mod listener_socket;
mod local_limit;
mod local_reply;
mod match_tree;
mod matcher;
mod metadata;
mod network_filter;
mod oauth2;
mod on_demand;
mod opaque;
mod overlap;
mod overload;
mod protocol;
mod proxy_protocol;
mod rate_limit;
mod rbac;
mod request_step;
mod retry;
mod route;
pub(super) mod route_action;
mod route_match;
mod runtime;
mod scoped;
mod secret;
mod session;
mod shared;
mod source;
mod stored;
mod tcp_proxy;
mod tracing;
mod transport;
pub(super) mod typed_struct;
mod udp_proxy;
mod validation;
mod wire;

use std::cell::RefCell;
use std::sync::Arc;

use iako_xds_api::envoy::config as pb;
use iako_xds_api::envoy::extensions::transport_sockets::tls::v3 as tls_pb;
use prost::Name as _;
use prost_types::Any;

use super::problem::{At, Fault, Invalid, Note, Warning};
use super::{pool, support};
pub(crate) use bootstrap::bootstrap;
pub(crate) use http_filter::{ALPN_NAMES, PEER_METADATA};
use iako_proxy_config::{
    Cluster, EndpointSet, HttpFilterKind, Listener, ListenerFilterKind, LoadReport, NetworkFilter,
    Node, RouteConfiguration, RuntimeResource, RuntimeValue, Scope, Secret, VirtualHost,
};
pub(crate) use listener::CHAIN_NAME;
pub(crate) use listener_socket::{CONNECTIONS_MAX, OWN_METADATA};
pub(crate) use match_tree::plain_inputs;
pub(crate) use metadata::FALLBACK_LIST;
pub(crate) use route_action::WHOLE_PATH;
pub(crate) use validation::SYSTEM_ROOTS;

/// A resource that was taken, and what its author should know.
pub type Decoded<T> = Result<(T, Vec<Warning>), Invalid>;

/// Reads an `envoy.config.listener.v3.Listener`.
///
/// # Errors
/// When the bytes are no such message, a field has a value that it cannot have, or a field is set
/// whose effect we do not have and cannot leave out.
pub fn listener(resource: &Any) -> Decoded<Listener> {
    let name = |message: &pb::listener::v3::Listener| message.name.clone();
    decode(resource, "listener", name, listener::listener)
}

/// Reads an `envoy.config.route.v3.RouteConfiguration`.
///
/// # Errors
/// As [`listener`].
pub fn route_configuration(resource: &Any) -> Decoded<RouteConfiguration> {
    let kind = "route configuration";
    let name = |message: &pb::route::v3::RouteConfiguration| message.name.clone();
    let of_that_type =
        pool::full_name(&resource.type_url) == pb::route::v3::RouteConfiguration::full_name();
    let Some(split) = shared::split_table(&resource.value).filter(|_| of_that_type) else {
        // Says what is wrong with it.
        return decode(resource, kind, name, route::route_configuration);
    };
    let rest = Any { type_url: resource.type_url.clone(), value: split.rest().to_vec() };
    decode(&rest, kind, name, |message, at| {
        let specifiers = cluster_specifier::Specifiers::read(message, at)?;
        let table = route::Table::of(message, &specifiers);
        let hosts = shared::virtual_hosts(&split, table, &at.field("virtual_hosts"))?;
        route::with_hosts(message, hosts, at)
    })
}

/// Reads an `envoy.config.route.v3.ScopedRouteConfiguration`.
///
/// # Errors
/// As [`listener`].
pub fn scope(resource: &Any) -> Decoded<Scope> {
    let name = |message: &pb::route::v3::ScopedRouteConfiguration| message.name.clone();
    decode(resource, "scoped route configuration", name, scoped::scope)
}

/// Reads an `envoy.config.cluster.v3.Cluster`.
///
/// # Errors
/// As [`listener`].
pub fn cluster(resource: &Any) -> Decoded<Cluster> {
    let name = |message: &pb::cluster::v3::Cluster| message.name.clone();
    decode(resource, "cluster", name, cluster::cluster)
}

/// Reads an `envoy.config.endpoint.v3.ClusterLoadAssignment`.
///
/// # Errors
/// As [`listener`].
pub fn endpoints(resource: &Any) -> Decoded<EndpointSet> {
    let name = |message: &pb::endpoint::v3::ClusterLoadAssignment| message.cluster_name.clone();
    decode(resource, "endpoints", name, |message, at| {
        if message.cluster_name.is_empty() {
            return Err(at.field("cluster_name").missing("write the name that clusters ask for"));
        }
        endpoint::endpoint_set(message, endpoint::Names::Refused, at)
    })
}

/// Reads an `envoy.service.runtime.v3.Runtime`.
///
/// # Errors
/// As [`listener`].
pub fn runtime(resource: &Any) -> Decoded<RuntimeResource> {
    let name = |message: &iako_xds_api::envoy::service::runtime::v3::Runtime| message.name.clone();
    decode(resource, "runtime layer", name, runtime::resource)
}

/// Reads one value of the runtime as it stands in a file or in the query of `/runtime_modify`: a
/// number, a switch, a fraction, or any other text, written as YAML.
///
/// # Errors
/// When it is no YAML.
pub fn runtime_value(written: &str) -> Result<RuntimeValue, String> {
    runtime::of_text(written)
}

/// Reads an `envoy.extensions.transport_sockets.tls.v3.Secret`.
///
/// # Errors
/// As [`listener`].
pub fn secret(resource: &Any) -> Decoded<Secret> {
    let name = |message: &tls_pb::Secret| message.name.clone();
    decode(resource, "secret", name, secret::secret)
}

/// Reads a virtual host that is sent on its own, an `envoy.config.route.v3.VirtualHost`.
///
/// # Errors
/// As [`listener`].
pub fn virtual_host(resource: &Any) -> Decoded<VirtualHost> {
    let name = |message: &pb::route::v3::VirtualHost| message.name.clone();
    // They are held to the usual limits, and nothing is named that they could refer to.
    let usual = pb::route::v3::RouteConfiguration::default();
    let specifiers = cluster_specifier::Specifiers::default();
    let table = route::Table::of(&usual, &specifiers);
    decode(resource, "virtual host", name, |message, at| {
        let routes = route::routes(&message.routes, table, &at.field("routes"))?;
        route::virtual_host(message, routes, table, at)
    })
}

/// A table with further virtual hosts, which are told apart from its own by nothing any more.
///
/// # Errors
/// When a domain stands in two of them.
pub fn with_virtual_hosts(
    table: &RouteConfiguration,
    further: impl IntoIterator<Item = Arc<VirtualHost>>,
) -> Result<RouteConfiguration, Invalid> {
    let notes = RefCell::new(Vec::new());
    let mut table = table.clone();
    table.virtual_hosts.extend(further);
    let at = At::root(&notes);
    let checked = route::domains_stand_once(&table.virtual_hosts, &at.field("virtual_hosts"));
    checked.map_err(|fault| fault.of(format!("route configuration `{}`", table.name)))?;
    Ok(table)
}

/// Reads settings of an HTTP filter that are sent on their own, an
/// `envoy.config.core.v3.TypedExtensionConfig`: the full name of their type, and what they say.
///
/// # Errors
/// As [`listener`].
pub fn http_extension(resource: &Any) -> Decoded<(String, HttpFilterKind)> {
    extension(resource, http_filter::settings)
}

/// Reads settings of a network filter that are sent on their own, as [`http_extension`].
///
/// # Errors
/// As [`listener`].
pub fn network_extension(resource: &Any) -> Decoded<(String, NetworkFilter)> {
    extension(resource, network_filter::settings)
}

/// Reads settings of a listener filter that are sent on their own, as [`http_extension`].
///
/// # Errors
/// As [`listener`].
pub fn listener_extension(resource: &Any) -> Decoded<(String, ListenerFilterKind)> {
    extension(resource, listener_filter::settings)
}

fn extension<T>(
    resource: &Any,
    read: impl Fn(&Any, &At<'_>) -> Result<T, Fault>,
) -> Decoded<(String, T)> {
    let name = |message: &pb::core::v3::TypedExtensionConfig| message.name.clone();
    decode(resource, "extension", name, |message, at| {
        let at = at.field("typed_config");
        let any = message.typed_config.as_ref();
        let any = any.ok_or_else(|| at.missing("write the filter's settings with `@type`"))?;
        let type_name = typed_struct::unwrap(any, &at)?.type_name().to_owned();
        Ok((type_name, read(any, &at)?))
    })
}

/// Reads what an instance reports of its load, an `xds.data.orca.v3.OrcaLoadReport`. None when the
/// bytes are no such message.
#[must_use]
pub fn load_report(bytes: &[u8]) -> Option<LoadReport> {
    use prost::Message as _;
    let report = iako_xds_api::xds::data::orca::v3::OrcaLoadReport::decode(bytes).ok()?;
    Some(LoadReport {
        cpu_utilization: report.cpu_utilization,
        mem_utilization: report.mem_utilization,
        application_utilization: report.application_utilization,
        rps_fractional: report.rps_fractional,
        eps: report.eps,
        utilization: report.utilization,
        request_cost: report.request_cost,
        named_metrics: report.named_metrics,
    })
}

/// Reads who a proxy says it is. Every text is a possible name: this cannot fail.
pub fn node(message: &pb::core::v3::Node) -> Node {
    bootstrap::node(message)
}

fn decode<M: prost::Message + prost::Name + Default, T>(
    resource: &Any,
    kind: &str,
    name: impl Fn(&M) -> String,
    read: impl Fn(&M, &At<'_>) -> Result<T, Fault>,
) -> Decoded<T> {
    let notes = RefCell::new(Vec::new());
    let at = At::root(&notes);
    let sent = pool::full_name(&resource.type_url);
    if sent != M::full_name() {
        let problem = format!("is a `{sent}`, not a `{}`", M::full_name());
        return Err(at.invalid(problem, "send resources of the type that was asked for").of(kind));
    }
    let message: M = wire::unpack(resource, &at).map_err(|fault| fault.of(kind))?;
    let resource_name = format!("{kind} `{}`", name(&message));
    let checked = support::check(&resource.type_url, &resource.value, &mut notes.borrow_mut());
    let value =
        checked.and_then(|()| read(&message, &at)).map_err(|fault| fault.of(&resource_name))?;
    Ok((value, warnings(notes.into_inner(), &resource_name)))
}

/// The warnings of one resource. The same thing in many places is said once, with their number:
/// a control plane that sets a field sets it everywhere.
pub(crate) fn warnings(notes: Vec<Note>, resource: &str) -> Vec<Warning> {
    let mut warnings: Vec<(Warning, usize)> = Vec::new();
    for (path, message) in notes {
        let last = path.steps().last().cloned();
        let same = |(warning, _): &&mut (Warning, usize)| {
            warning.message == message && warning.path.steps().last() == last.as_ref()
        };
        if let Some((_, places)) = warnings.iter_mut().find(same) {
            *places = places.saturating_add(1);
        } else {
            warnings.push((Warning { resource: resource.to_owned(), path, message }, 0));
        }
    }
    let counted = warnings.into_iter().map(|(mut warning, places)| {
        if places > 0 {
            warning.message = format!("{} (and in {places} more places)", warning.message);
        }
        warning
    });
    counted.collect()
}
