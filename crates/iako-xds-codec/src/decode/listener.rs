//! Listeners and their filter chains.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use iako_xds_api::envoy::config::core::v3::{Address, TrafficDirection};
use iako_xds_api::envoy::config::listener::v3 as pb;
use prost_types::Any;

use super::{
    access_log, listener_filter, listener_socket, match_tree, metadata, network_filter, overlap,
    transport, udp_proxy, wire,
};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    Direction, FilterChain, FilterChainMatch, Listener, ListenerFilter, ListenerFilterKind,
    ListenerKind, SourceType,
};

/// The message in which Envoy is told the name of a chain.
pub(crate) const CHAIN_NAME: &str = "google.protobuf.StringValue";

pub(super) fn listener(listener: &pb::Listener, at: &At<'_>) -> Result<Listener, Fault> {
    let mut value = addressed(listener, at)?;
    if is_for_datagrams(listener) {
        value.kind = ListenerKind::Udp(Arc::new(udp_proxy::of_listener(listener, at)?));
        value.access_log = access_log::logs(&listener.access_log, &at.field("access_log"))?;
        value.bind = bind(listener);
        return Ok(value);
    }
    value.stat_prefix.clone_from(&listener.stat_prefix);
    value.bind = bind(listener);
    value.use_original_dst = listener.use_original_dst.unwrap_or(false);
    let at_direction = at.field("traffic_direction");
    value.direction =
        match wire::known::<TrafficDirection>(listener.traffic_direction, &at_direction)? {
            TrafficDirection::Unspecified => Direction::Unspecified,
            TrafficDirection::Inbound => Direction::Inbound,
            TrafficDirection::Outbound => Direction::Outbound,
        };
    value.inspectors =
        listener_filter::filters(&listener.listener_filters, &at.field("listener_filters"))?;
    value.inspect_timeout = wire::limit(
        listener.listener_filters_timeout.as_ref(),
        Some(Duration::from_secs(15)),
        &at.field("listener_filters_timeout"),
    )?;
    value.continue_on_inspect_timeout = listener.continue_on_listener_filters_timeout;
    value.transparent = listener.transparent.unwrap_or(false);
    value.freebind = listener.freebind.unwrap_or(false);
    if let Some(backlog) = listener.tcp_backlog_size {
        value.backlog = wire::non_zero(backlog, &at.field("tcp_backlog_size"))?;
    }
    value.socket = listener_socket::settings(listener, at)?;
    value.connections_max = listener_socket::connections_max(listener);
    value.metadata = metadata::of_listener(listener.metadata.as_ref(), value.connections_max);
    value.ignores_global_limit = listener.ignore_global_conn_limit;
    value.ignores_overload = listener.bypass_overload_manager;
    // None at all is none that a listener has of its own.
    value.kept_bytes_max = listener.per_connection_buffer_limit_bytes.and_then(NonZeroU32::new);
    value.access_log = access_log::logs(&listener.access_log, &at.field("access_log"))?;
    chains(listener, &mut value, at)?;
    add_inspectors(&mut value);
    Ok(value)
}

/// A listener with its name and where it listens.
fn addressed(listener: &pb::Listener, at: &At<'_>) -> Result<Listener, Fault> {
    if let Some(pb::listener::ListenerSpecifier::InternalListener(_)) = &listener.listener_specifier
    {
        if listener.name.is_empty() {
            return Err(at.field("name").missing("name the listener: connections are made to it"));
        }
        if listener.address.is_some() || !listener.additional_addresses.is_empty() {
            let help = "remove it: an internal listener is reached by its name";
            return Err(at.field("address").invalid("is not for an internal listener", help));
        }
        return Ok(Listener::internal(listener.name.clone()));
    }
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut value = Listener::new(listener.name.clone(), nowhere);
    if is_for_datagrams(listener) {
        listener_socket::addresses(listener, &mut value, wire::datagram_address, at)?;
    } else {
        listener_socket::addresses(listener, &mut value, wire::socket_address, at)?;
    }
    if value.name.is_empty() {
        // A listener without a name gets one in Envoy too.
        let pipe = || value.pipes.first().map(|pipe| pipe.path.display().to_string());
        let first = value.addresses.first().map(ToString::to_string);
        value.name = first.or_else(pipe).unwrap_or_default();
    }
    Ok(value)
}

/// As in Envoy, the protocol of the address decides.
fn is_for_datagrams(listener: &pb::Listener) -> bool {
    use iako_xds_api::envoy::config::core::v3::{address::Address, socket_address::Protocol};
    let address = listener.address.as_ref().and_then(|address| address.address.as_ref());
    matches!(address, Some(Address::SocketAddress(socket)) if socket.protocol() == Protocol::Udp)
}

/// A listener that hands connections over has to know where they were meant to go; Envoy adds the
/// filter by itself, too.
fn add_inspectors(value: &mut Listener) {
    let has_original_dst =
        value.inspectors.iter().any(|filter| filter.kind == ListenerFilterKind::OriginalDst);
    if value.use_original_dst && !has_original_dst {
        value.inspectors.insert(0, ListenerFilter::original_dst());
    }
}

/// Whether a socket is bound. The old field says the same.
fn bind(listener: &pb::Listener) -> bool {
    let old = listener.deprecated_v1.as_ref().and_then(|old| old.bind_to_port);
    listener.bind_to_port.or(old).unwrap_or(true)
}

fn chains(listener: &pb::Listener, value: &mut Listener, at: &At<'_>) -> Result<(), Fault> {
    value.chains = wire::list(&listener.filter_chains, &at.field("filter_chains"), chain)?;
    let at_default = at.field("default_filter_chain");
    value.default_chain = listener
        .default_filter_chain
        .as_ref()
        .map(|default| chain(default, &at_default))
        .transpose()?;
    if value.chains.is_empty() && value.default_chain.is_none() {
        return Err(at.field("filter_chains").missing("write at least one filter chain"));
    }
    let at_matcher = at.field("filter_chain_matcher");
    let matcher = listener.filter_chain_matcher.as_ref();
    value.chain_matcher =
        matcher.map(|tree| match_tree::tree(tree, &at_matcher, &chain_name)).transpose()?;
    let at_chains = at.field("filter_chains");
    if value.chain_matcher.is_some() {
        names(value, &at_chains)
    } else {
        overlap::check(&value.chains, &at_chains)
    }
}

/// The name of a chain, as Envoy is told it: an action of a tree.
fn chain_name(any: &Any, at: &At<'_>) -> Result<String, Fault> {
    if pool::full_name(&any.type_url) != CHAIN_NAME {
        let help = "write a google.protobuf.StringValue with the chain's name";
        return Err(at.invalid("does not name a filter chain", help));
    }
    prost::Message::decode(any.value.as_slice())
        .map_err(|_broken| at.invalid("is no text", "write the chain's name"))
}

/// Chains that are chosen by name have one each, and no conditions of their own.
fn names(value: &Listener, at: &At<'_>) -> Result<(), Fault> {
    let mut seen = std::collections::BTreeSet::new();
    for (index, chain) in value.chains.iter().enumerate() {
        let at = at.index(index);
        if chain.name.is_empty() || !seen.insert(chain.name.as_str()) {
            let help = "give each chain its own name: filter_chain_matcher chooses by it";
            return Err(at.field("name").invalid("is missing or used twice", help));
        }
        if chain.matcher != FilterChainMatch::default() {
            let help = "remove it: filter_chain_matcher chooses";
            return Err(at.field("filter_chain_match").invalid("has no effect here", help));
        }
    }
    Ok(())
}

fn chain(chain: &pb::FilterChain, at: &At<'_>) -> Result<FilterChain, Fault> {
    let (filters, terminal) = network_filter::filters(&chain.filters, &at.field("filters"))?;
    let at_match = at.field("filter_chain_match");
    let matcher = match &chain.filter_chain_match {
        Some(matcher) => chain_match(matcher, &at_match)?,
        None => FilterChainMatch::default(),
    };
    Ok(FilterChain {
        name: chain.name.clone(),
        matcher,
        transport: transport::downstream(
            chain.transport_socket.as_ref(),
            &at.field("transport_socket"),
        )?,
        handshake_timeout: wire::limit(
            chain.transport_socket_connect_timeout.as_ref(),
            None,
            &at.field("transport_socket_connect_timeout"),
        )?,
        filters,
        terminal,
        metadata: metadata::of_listener(chain.metadata.as_ref(), None),
    })
}

fn chain_match(matcher: &pb::FilterChainMatch, at: &At<'_>) -> Result<FilterChainMatch, Fault> {
    use pb::filter_chain_match::ConnectionSourceType;
    let at_port = at.field("destination_port");
    let at_source = at.field("source_type");
    Ok(FilterChainMatch {
        destination_port: matcher
            .destination_port
            .map(|port| wire::port(port, &at_port))
            .transpose()?,
        destination_ranges: wire::cidrs(&matcher.prefix_ranges, &at.field("prefix_ranges"))?,
        server_names: wire::list(&matcher.server_names, &at.field("server_names"), server_name)?,
        transport_protocol: match matcher.transport_protocol.as_str() {
            "" => None,
            "tls" | "raw_buffer" => Some(matcher.transport_protocol.clone()),
            other => {
                let at = at.field("transport_protocol");
                return Err(
                    at.invalid(format!("`{other}` is not supported"), "write tls or raw_buffer")
                );
            }
        },
        application_protocols: matcher.application_protocols.clone(),
        direct_source_ranges: wire::cidrs(
            &matcher.direct_source_prefix_ranges,
            &at.field("direct_source_prefix_ranges"),
        )?,
        source_type: match wire::known::<ConnectionSourceType>(matcher.source_type, &at_source)? {
            ConnectionSourceType::Any => SourceType::Any,
            ConnectionSourceType::SameIpOrLoopback => SourceType::SameIpOrLoopback,
            ConnectionSourceType::External => SourceType::External,
        },
        source_ranges: wire::cidrs(
            &matcher.source_prefix_ranges,
            &at.field("source_prefix_ranges"),
        )?,
        source_ports: wire::list(&matcher.source_ports, &at.field("source_ports"), |port, at| {
            wire::port(*port, at)
        })?,
    })
}

fn server_name(name: &String, at: &At<'_>) -> Result<String, Fault> {
    let lower = name.to_ascii_lowercase();
    if lower.strip_prefix("*.").unwrap_or(&lower).contains('*') {
        return Err(at.invalid(
            format!("`{name}` is not a server name"),
            "write a.example.com or *.example.com",
        ));
    }
    Ok(lower)
}

/// Where an admin endpoint listens.
pub(super) fn admin_address(
    address: Option<&Address>,
    at: &At<'_>,
) -> Result<iako_proxy_config::AdminAddress, Fault> {
    use iako_xds_api::envoy::config::core::v3::address::Address as Kind;
    if let Some(Kind::Pipe(pipe)) = address.and_then(|address| address.address.as_ref()) {
        return Ok(iako_proxy_config::AdminAddress::Pipe(pipe.path.clone().into()));
    }
    wire::socket_address(address, at).map(iako_proxy_config::AdminAddress::Socket)
}
