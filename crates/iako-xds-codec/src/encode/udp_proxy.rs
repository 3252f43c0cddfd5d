//! What carries datagrams.

use iako_xds_api::envoy::config::core::v3::{
    SocketAddress, UdpSocketConfig, address, socket_address,
};
use iako_xds_api::envoy::config::listener::v3 as listener_pb;
use iako_xds_api::envoy::extensions::filters::udp::udp_proxy::v3 as pb;

use super::{access_log, wire};
use iako_proxy_config::{UdpHash, UdpProxy};

/// Makes a listener one of datagrams.
pub(super) fn into_listener(value: &UdpProxy, message: &mut listener_pb::Listener) {
    let additional = message.additional_addresses.iter_mut().filter_map(|one| one.address.as_mut());
    for address in message.address.iter_mut().chain(additional) {
        if let Some(address::Address::SocketAddress(SocketAddress { protocol, .. })) =
            &mut address.address
        {
            *protocol = socket_address::Protocol::Udp.into();
        }
    }
    message.udp_listener_config = Some(listener_pb::UdpListenerConfig {
        downstream_socket_config: Some(socket(value.datagram_bytes_max.get())),
        ..Default::default()
    });
    message.listener_filters = vec![listener_pb::ListenerFilter {
        name: "envoy.filters.udp_listener.udp_proxy".to_owned(),
        filter_disabled: None,
        config_type: Some(listener_pb::listener_filter::ConfigType::TypedConfig(wire::any(
            &proxy(value),
        ))),
    }];
}

fn proxy(value: &UdpProxy) -> pb::UdpProxyConfig {
    use pb::udp_proxy_config::{HashPolicy, RouteSpecifier, hash_policy::PolicySpecifier};
    let hash = value.hash.as_ref().map(|hash| HashPolicy {
        policy_specifier: Some(match hash {
            UdpHash::SourceIp => PolicySpecifier::SourceIp(true),
            UdpHash::Key(key) => PolicySpecifier::Key(key.clone()),
        }),
    });
    pb::UdpProxyConfig {
        stat_prefix: value.stat_prefix.clone(),
        idle_timeout: Some(wire::duration(value.idle_timeout)),
        hash_policies: hash.into_iter().collect(),
        upstream_socket_config: Some(socket(value.reply_bytes_max.get())),
        use_per_packet_load_balancing: value.per_datagram,
        access_log: access_log::logs(&value.access_log),
        proxy_access_log: access_log::logs(&value.proxy_access_log),
        route_specifier: Some(RouteSpecifier::Cluster(value.cluster.clone())),
        ..Default::default()
    }
}

fn socket(bytes: u16) -> UdpSocketConfig {
    UdpSocketConfig { max_rx_datagram_size: Some(bytes.into()), prefer_gro: None }
}
