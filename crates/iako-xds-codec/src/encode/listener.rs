//! Listeners and their filter chains.

use std::num::NonZeroU32;

use iako_xds_api::envoy::config::core::v3::{self as core, TrafficDirection};
use iako_xds_api::envoy::config::listener::v3 as pb;
use prost::Message as _;
use prost_types::Any;

use super::{
    access_log, listener_filter, match_tree, metadata, network_filter, transport, udp_proxy, wire,
};
use crate::decode::CHAIN_NAME;
use iako_proxy_config::{
    ConnectionBalance, Direction, FilterChain, FilterChainMatch, Listener, ListenerKind,
    PipeAddress, SocketOption, SocketOptionValue, SocketSettings, SocketState, SourceType,
};

/// What the operating system is asked for when nobody says otherwise.
const BACKLOG: u32 = 4096;

pub(super) fn listener(value: &Listener) -> pb::Listener {
    let direction = match value.direction {
        Direction::Unspecified => TrafficDirection::Unspecified,
        Direction::Inbound => TrafficDirection::Inbound,
        Direction::Outbound => TrafficDirection::Outbound,
    };
    let sockets = value.addresses.iter().copied().map(wire::address);
    let pipes = value.pipes.iter().map(pipe);
    let mut addresses = sockets.chain(pipes);
    let first = addresses.next();
    let additional =
        |address| pb::AdditionalAddress { address: Some(address), ..Default::default() };
    let mut message = pb::Listener {
        name: value.name.clone(),
        address: first,
        additional_addresses: addresses.map(additional).collect(),
        stat_prefix: value.stat_prefix.clone(),
        filter_chains: value.chains.iter().map(chain).collect(),
        filter_chain_matcher: value
            .chain_matcher
            .as_ref()
            .map(|tree| match_tree::tree(tree, &chain_name)),
        default_filter_chain: value.default_chain.as_ref().map(chain),
        use_original_dst: value.use_original_dst.then_some(true),
        listener_filters: listener_filter::filters(&value.inspectors),
        listener_filters_timeout: wire::limit(value.inspect_timeout),
        continue_on_listener_filters_timeout: value.continue_on_inspect_timeout,
        transparent: value.transparent.then_some(true),
        freebind: value.freebind.then_some(true),
        traffic_direction: direction.into(),
        access_log: access_log::logs(&value.access_log),
        tcp_backlog_size: Some(value.backlog.get()).filter(|backlog| *backlog != BACKLOG),
        bind_to_port: (!value.bind).then_some(false),
        ignore_global_conn_limit: value.ignores_global_limit,
        bypass_overload_manager: value.ignores_overload,
        per_connection_buffer_limit_bytes: value.kept_bytes_max.map(NonZeroU32::get),
        metadata: metadata::of_listener(value.connections_max, &value.metadata),
        ..Default::default()
    };
    socket(&value.socket, &mut message);
    match &value.kind {
        ListenerKind::Stream => {}
        ListenerKind::Internal => {
            let internal = pb::listener::InternalListenerConfig {};
            message.listener_specifier =
                Some(pb::listener::ListenerSpecifier::InternalListener(internal));
        }
        ListenerKind::Udp(proxy) => udp_proxy::into_listener(proxy, &mut message),
    }
    message
}

fn pipe(value: &PipeAddress) -> core::Address {
    let path = value.path.to_string_lossy().into_owned();
    let pipe = core::Pipe { path, mode: value.mode };
    core::Address { address: Some(core::address::Address::Pipe(pipe)) }
}

fn socket(value: &SocketSettings, message: &mut pb::Listener) {
    use pb::listener::connection_balance_config::{BalanceType, ExactBalance};
    message.enable_reuse_port = (!value.reuse_port).then_some(false);
    message.connection_balance_config = match value.balance {
        ConnectionBalance::Fair => None,
        ConnectionBalance::Exact => Some(pb::listener::ConnectionBalanceConfig {
            balance_type: Some(BalanceType::ExactBalance(ExactBalance {})),
        }),
    };
    message.tcp_keepalive = value.keepalive.as_ref().map(wire::keepalive);
    message.tcp_fast_open_queue_length = value.fast_open_queue;
    message.enable_mptcp = value.multipath;
    message.socket_options = value.options.iter().map(socket_option).collect();
}

fn socket_option(value: &SocketOption) -> core::SocketOption {
    use core::socket_option::{SocketState as State, Value};
    core::SocketOption {
        description: value.description.clone(),
        level: value.level.into(),
        name: value.name.into(),
        state: match value.state {
            SocketState::Prebind => State::StatePrebind,
            SocketState::Bound => State::StateBound,
            SocketState::Listening => State::StateListening,
        }
        .into(),
        value: Some(match &value.value {
            SocketOptionValue::Number(number) => Value::IntValue((*number).into()),
            SocketOptionValue::Bytes(bytes) => Value::BufValue(bytes.clone()),
        }),
        ..Default::default()
    }
}

/// The name of a chain, as an action of a tree.
fn chain_name(name: &String) -> Any {
    Any { type_url: format!("type.googleapis.com/{CHAIN_NAME}"), value: name.encode_to_vec() }
}

fn chain(value: &FilterChain) -> pb::FilterChain {
    let matches_all = value.matcher == FilterChainMatch::default();
    pb::FilterChain {
        metadata: metadata::of_listener(None, &value.metadata),
        filter_chain_match: (!matches_all).then(|| chain_match(&value.matcher)),
        filters: network_filter::filters(&value.filters, &value.terminal),
        transport_socket: transport::downstream(&value.transport),
        transport_socket_connect_timeout: value.handshake_timeout.map(wire::duration),
        name: value.name.clone(),
        ..Default::default()
    }
}

fn chain_match(value: &FilterChainMatch) -> pb::FilterChainMatch {
    use pb::filter_chain_match::ConnectionSourceType;
    let source = match value.source_type {
        SourceType::Any => ConnectionSourceType::Any,
        SourceType::SameIpOrLoopback => ConnectionSourceType::SameIpOrLoopback,
        SourceType::External => ConnectionSourceType::External,
    };
    pb::FilterChainMatch {
        destination_port: value.destination_port.map(u32::from),
        prefix_ranges: wire::cidrs(&value.destination_ranges),
        direct_source_prefix_ranges: wire::cidrs(&value.direct_source_ranges),
        source_type: source.into(),
        source_prefix_ranges: wire::cidrs(&value.source_ranges),
        source_ports: value.source_ports.iter().copied().map(u32::from).collect(),
        server_names: value.server_names.clone(),
        transport_protocol: value.transport_protocol.clone().unwrap_or_default(),
        application_protocols: value.application_protocols.clone(),
        ..Default::default()
    }
}
