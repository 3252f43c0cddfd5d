//! Connections that are not looked into: TLS of the client's own, and opaque bytes.

use std::{net::SocketAddr, sync::Arc};

use iako_proxy_config::{NetworkFilter, TcpProxy, Terminal};
use iako_traffic::{ConnectionInfo, FilterChainTable, rbac::Subject, tcp_cluster};
use iako_translate::{ProxyScope, parse_outbound_cluster};

use super::{Outcome, Walk, http::ClientProxy, security::Verdict, url::Scheme};

/// What a client's proxy offers for an opaque connection. Source: Istio's ALPN names.
const OPAQUE: [&str; 2] = ["istio-peer-exchange", "istio"];
/// A port of a client, which nothing depends on.
const CLIENT_PORT: u16 = 40_002;

impl Walk<'_> {
    /// An opaque connection of a workload with a sidecar.
    pub(super) fn stream_from_sidecar(&mut self, proxy: &ClientProxy<'_>, scope: &ProxyScope) {
        let port = self.target.port;
        let remote = SocketAddr::new(scope.app_address, CLIENT_PORT);
        let asked = self.asked_service(&scope.namespace);
        let own: Vec<_> = asked.iter().flat_map(|service| &service.addresses).collect();
        let on_port = proxy.plan.listeners.iter().filter(|listener| {
            listener.direction == iako_proxy_config::Direction::Outbound
                && listener.addresses.iter().any(|address| address.port() == port)
        });
        // A service with an address of its own may have a listener of its own.
        let listener = on_port.min_by_key(|listener| {
            let bound =
                |address: &SocketAddr| own.iter().any(|range| range.contains(&address.ip()));
            !listener.addresses.iter().any(bound)
        });
        let Some(listener) = listener else {
            let why = format!("the sidecar has no listener for opaque connections to port {port}");
            self.step("host", Outcome::Refused, None, why);
            self.close();
            return;
        };
        let local = listener.addresses.first().copied().unwrap_or(remote);
        let mut connection = ConnectionInfo::plain(local, remote);
        if self.target.scheme == Scheme::Https {
            "tls".clone_into(&mut connection.transport_protocol);
            connection.server_name.clone_from(&self.target.host);
        }
        let wanted = asked.map(|service| service.host.to_string());
        let table = FilterChainTable::compile(Arc::new(listener.clone()));
        let chain = table.find(&connection);
        let holder =
            chain.and_then(|chain| parse_outbound_cluster(&chain.name)).map(|(_, _, host)| host);
        if let (Some(wanted), Some(holder)) = (&wanted, holder)
            && wanted != holder
        {
            let why = format!("port {port} of the sidecar belongs to {holder}, not to {wanted}");
            self.step("host", Outcome::Refused, None, why);
            self.close();
            return;
        }
        match chain.map(|chain| chain.terminal.clone()) {
            Some(Terminal::Tcp(tcp)) => self.stream(proxy, &tcp, &connection),
            Some(Terminal::Http(_) | Terminal::Direct(_) | Terminal::Echo) | None => {
                let why = format!("nothing on port {port} takes TLS for {}", self.target.host);
                self.step("host", Outcome::Refused, None, why);
                self.close();
            }
        }
    }

    /// An opaque connection through a proxy on the client's side.
    pub(super) fn stream(
        &mut self,
        proxy: &ClientProxy<'_>,
        tcp: &TcpProxy,
        connection: &ConnectionInfo,
    ) {
        if self.rules_at_gateway(proxy, connection) == Verdict::Stop {
            return;
        }
        let chosen = tcp_cluster(tcp, self.request.draw).map(|(name, _)| name.to_owned());
        let Some(name) = chosen else {
            self.close();
            return;
        };
        let why = "the connection is passed on as bytes; requests in it cannot be told apart";
        self.step("route", Outcome::Chosen, None, why);
        let Some((cluster, endpoint)) = self.choose(proxy, &name, 503) else {
            if self.explanation.status.take().is_some() {
                self.close();
            }
            return;
        };
        let onward = self.connection(proxy, &cluster, &endpoint, &OPAQUE);
        self.server(&endpoint, None, Some(onward));
    }

    /// Access rules of a gateway for a connection.
    fn rules_at_gateway(
        &mut self,
        proxy: &ClientProxy<'_>,
        connection: &ConnectionInfo,
    ) -> Verdict {
        let listener = proxy
            .plan
            .listeners
            .iter()
            .find(|listener| listener.addresses.contains(&connection.local));
        let Some(listener) = listener else { return Verdict::GoOn };
        let table = FilterChainTable::compile(Arc::new(listener.clone()));
        let filters = table.find(connection).map(|chain| chain.filters.clone()).unwrap_or_default();
        for filter in filters {
            if let NetworkFilter::Rbac(rules) = &filter
                && self.ask_rules(rules, &Subject::Connection(connection), "gateway")
                    == Verdict::Stop
            {
                self.close();
                return Verdict::Stop;
            }
        }
        Verdict::GoOn
    }
}
