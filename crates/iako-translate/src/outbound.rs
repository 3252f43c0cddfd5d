//! The outbound side of a sidecar: requests and connections of the local application.
//!
//! Without capture the application is told of an explicit HTTP proxy on port 15001, whose one route
//! table knows every service and port; TCP services get a port of their own on the pod's address
//! where that is free. With capture there is one listener per port of the services, fed by
//! `virtualOutbound`, and one route table per port.

mod captured;
mod hosts;
mod stream;

pub(crate) use stream::{server_names, stream_target};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use iako_proxy_config::{Direction, Listener, RouteSource, Terminal};

use crate::{
    Interception, Plan, access_log::Side, filters::connection_manager, names::HTTP_PROXY_ROUTES,
    outlook::Outlook,
};

/// Where a sidecar takes the application's traffic.
pub(crate) const OUTBOUND_PORT: u16 = 15001;
/// Ports that are the proxy's own; nothing else is bound to them.
pub(crate) const PROXY_PORTS: [u16; 8] = [15000, 15001, 15004, 15006, 15008, 15020, 15021, 15090];

/// Adds the outbound side of a sidecar.
pub(crate) fn add(outlook: &Outlook<'_>, plan: &mut Plan) {
    match outlook.scope.interception {
        Interception::None => {
            add_http_proxy(outlook, plan);
            stream::add_port_listeners(outlook, plan);
        }
        Interception::Redirect => captured::add(outlook, plan),
    }
}

fn add_http_proxy(outlook: &Outlook<'_>, plan: &mut Plan) {
    let address = SocketAddr::new(outlook.scope.address(), OUTBOUND_PORT);
    let mut listener = Listener::new(format!("{}_{OUTBOUND_PORT}", address.ip()), address);
    listener.direction = Direction::Outbound;
    let routes = RouteSource::Rds(HTTP_PROXY_ROUTES.into());
    let prefix = format!("outbound_{address}");
    let settings = connection_manager(outlook, Side::Outbound, prefix, routes);
    listener.default_chain = Some(plain_chain(String::new(), Terminal::Http(settings.into())));
    plan.listeners.push(listener);
    plan.routes.push(hosts::http_proxy_routes(outlook));
}

/// A chain that takes what it is given, without TLS.
pub(crate) fn plain_chain(name: String, terminal: Terminal) -> iako_proxy_config::FilterChain {
    iako_proxy_config::FilterChain {
        name,
        matcher: iako_proxy_config::FilterChainMatch::default(),
        transport: iako_proxy_config::DownstreamTransport::Raw,
        handshake_timeout: None,
        filters: Vec::new(),
        terminal,
        metadata: iako_proxy_config::FilterMetadata::default(),
    }
}

/// Every address of the family of `address`.
pub(crate) const fn any_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}
