//! Objects that filters keep, made of texts as Envoy's factories make them.

use std::net::{IpAddr, SocketAddr};

use crate::StateObject;

/// What makes addresses.
const ADDRESSES: [&str; 4] = [
    "envoy.filters.listener.original_dst.local_ip",
    "envoy.filters.listener.original_dst.remote_ip",
    "envoy.network.ip",
    "envoy.network.transport_socket.original_dst_address",
];

/// The object that a factory makes of a text; none when the factory does not take it.
/// Source: the factories of `iako_proxy_config::STATE_FACTORIES`.
#[must_use]
pub fn state_object(factory: &str, text: &str) -> Option<StateObject> {
    let is_address = ADDRESSES.contains(&factory);
    Some(StateObject { text: printed(factory, text)?, is_address })
}

fn printed(factory: &str, text: &str) -> Option<String> {
    match factory {
        "envoy.upstream.dynamic_port" | "envoy.ratelimit.hits_addend" => {
            text.parse::<u32>().ok().map(|number| number.to_string())
        }
        "envoy.tcp_proxy.per_connection_idle_timeout_ms" => {
            text.parse::<u64>().ok().map(|number| number.to_string())
        }
        "envoy.network.ip" => text.parse::<IpAddr>().ok().map(|address| address.to_string()),
        "envoy.tcp_proxy.disable_tunneling" => Some((text == "true").to_string()),
        "envoy.network.transport_socket.original_dst_address"
        | "envoy.filters.listener.original_dst.local_ip"
        | "envoy.filters.listener.original_dst.remote_ip" => {
            text.parse::<SocketAddr>().is_ok().then(|| text.to_owned())
        }
        _ => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factories_take_what_envoys_take() {
        let made = |factory: &str, text: &str| {
            state_object(&format!("envoy.{factory}"), text).map(|object| object.text)
        };
        assert_eq!(made("upstream.dynamic_port", "080").as_deref(), Some("80"));
        assert_eq!(made("upstream.dynamic_port", "+5").as_deref(), Some("5"));
        assert_eq!(made("upstream.dynamic_port", "4294967296"), None);
        assert_eq!(made("ratelimit.hits_addend", "-1"), None);
        assert_eq!(
            made("tcp_proxy.per_connection_idle_timeout_ms", "4294967296").as_deref(),
            Some("4294967296")
        );
        assert_eq!(made("tcp_proxy.disable_tunneling", "1").as_deref(), Some("false"));
        assert_eq!(made("network.transport_socket.original_dst_address", "1.2.3.4"), None);
        assert_eq!(made("string", "").as_deref(), Some(""));
    }
}
