//! What a port speaks, by what the user wrote. Source: Istio, protocol selection.

use iako_resources::kubernetes::service::Transport;
use iako_types::AppProtocol;

/// Ports whose servers speak first, so that nothing may wait for the client.
const SERVER_FIRST_PORTS: [u16; 4] = [25, 53, 3306, 27017];

/// What a service port speaks: `appProtocol`, else the name up to its first hyphen, else a
/// well-known number, else what the first bytes tell.
pub(super) fn protocol(
    transport: Transport,
    app_protocol: Option<&str>,
    name: &str,
    number: u16,
) -> AppProtocol {
    if transport == Transport::Udp {
        return AppProtocol::Udp;
    }
    let word = app_protocol.unwrap_or(name);
    if word.to_ascii_lowercase().starts_with("grpc-web") {
        return AppProtocol::GrpcWeb;
    }
    let named = AppProtocol::from_word(word).or_else(|| {
        let first = word.split_once('-').map_or(word, |(first, _)| first);
        AppProtocol::from_word(first)
    });
    match named {
        Some(protocol) => protocol,
        None if SERVER_FIRST_PORTS.contains(&number) => AppProtocol::Tcp,
        None => AppProtocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_unless_app_protocol_does() {
        let of = |app: Option<&str>, name, number| protocol(Transport::Tcp, app, name, number);
        assert_eq!(of(None, "http-admin", 80), AppProtocol::Http);
        assert_eq!(of(None, "GRPC", 80), AppProtocol::Grpc);
        assert_eq!(of(None, "grpc-web-x", 80), AppProtocol::GrpcWeb);
        assert_eq!(of(Some("kubernetes.io/h2c"), "tcp", 80), AppProtocol::Http2);
        assert_eq!(of(None, "db", 3306), AppProtocol::Tcp);
        assert_eq!(of(None, "httpbin", 80), AppProtocol::Unknown);
        assert_eq!(protocol(Transport::Udp, None, "http", 53), AppProtocol::Udp);
    }
}
