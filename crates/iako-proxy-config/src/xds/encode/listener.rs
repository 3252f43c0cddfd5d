//! Listeners and their filter chains.

use iako_xds_api::envoy::config::core::v3::TrafficDirection;
use iako_xds_api::envoy::config::listener::v3 as pb;
use iako_xds_api::envoy::extensions::filters::listener as inspectors;

use super::{access_log, network_filter, transport, udp_proxy, wire};
use crate::{
    Direction, FilterChain, FilterChainMatch, Listener, ListenerFilters, ListenerKind, SourceType,
};

/// What the operating system is asked for when nobody says otherwise.
const BACKLOG: u32 = 4096;

pub(super) fn listener(value: &Listener) -> pb::Listener {
    let direction = match value.direction {
        Direction::Unspecified => TrafficDirection::Unspecified,
        Direction::Inbound => TrafficDirection::Inbound,
        Direction::Outbound => TrafficDirection::Outbound,
    };
    let mut addresses = value.addresses.iter().copied().map(wire::address);
    let first = addresses.next();
    let additional =
        |address| pb::AdditionalAddress { address: Some(address), ..Default::default() };
    let mut message = pb::Listener {
        name: value.name.clone(),
        address: first,
        additional_addresses: addresses.map(additional).collect(),
        filter_chains: value.chains.iter().map(chain).collect(),
        default_filter_chain: value.default_chain.as_ref().map(chain),
        use_original_dst: value.use_original_dst.then_some(true),
        listener_filters: listener_filters(value.inspectors),
        listener_filters_timeout: wire::limit(value.inspect_timeout),
        continue_on_listener_filters_timeout: value.continue_on_inspect_timeout,
        transparent: value.transparent.then_some(true),
        freebind: value.freebind.then_some(true),
        traffic_direction: direction.into(),
        access_log: access_log::logs(&value.access_log),
        tcp_backlog_size: Some(value.backlog.get()).filter(|backlog| *backlog != BACKLOG),
        bind_to_port: (!value.bind).then_some(false),
        ..Default::default()
    };
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

fn listener_filters(value: ListenerFilters) -> Vec<pb::ListenerFilter> {
    use inspectors::{
        http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst,
        proxy_protocol::v3::ProxyProtocol, tls_inspector::v3::TlsInspector,
    };
    // The order matters to an Envoy: who the client is comes first, its bytes are looked at last.
    let filters = [
        (value.proxy_protocol, "proxy_protocol", wire::any(&ProxyProtocol::default())),
        (value.original_dst, "original_dst", wire::any(&OriginalDst::default())),
        (value.tls, "tls_inspector", wire::any(&TlsInspector::default())),
        (value.http, "http_inspector", wire::any(&HttpInspector::default())),
    ];
    let used = filters.into_iter().filter(|(used, _, _)| *used);
    used.map(|(_, name, any)| pb::ListenerFilter {
        name: format!("envoy.filters.listener.{name}"),
        filter_disabled: None,
        config_type: Some(pb::listener_filter::ConfigType::TypedConfig(any)),
    })
    .collect()
}

fn chain(value: &FilterChain) -> pb::FilterChain {
    let matches_all = value.matcher == FilterChainMatch::default();
    pb::FilterChain {
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
