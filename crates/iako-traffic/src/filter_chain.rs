//! Which filter chain takes a connection.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use iako_proxy_config::{FilterChain, FilterChainMatch, Listener, SourceType};
use iako_types::CidrRange;

use crate::ConnectionInfo;

/// The filter chains of a listener, made ready for questions.
///
/// Fields are compared one after the other, in Envoy's order; at each, the most specific value that
/// fits wins, and there is no way back to a less specific one when a later field fits nothing.
/// Source: `envoy.config.listener.v3.FilterChainMatch`.
#[derive(Debug)]
pub struct FilterChainTable {
    listener: Arc<Listener>,
    by_port: HashMap<u16, Destinations>,
    any_port: Destinations,
}

impl FilterChainTable {
    /// Compiles the chains of a listener.
    #[must_use]
    pub fn compile(listener: Arc<Listener>) -> Self {
        let mut by_port: HashMap<u16, Vec<usize>> = HashMap::new();
        let mut any_port = Vec::new();
        for (position, chain) in listener.chains.iter().enumerate() {
            match chain.matcher.destination_port {
                Some(port) => by_port.entry(port).or_default().push(position),
                None => any_port.push(position),
            }
        }
        let compile = |positions: &[usize]| Destinations::compile(&listener.chains, positions);
        let by_port = by_port.iter().map(|(port, positions)| (*port, compile(positions)));
        let (by_port, any_port) = (by_port.collect(), compile(&any_port));
        Self { listener, by_port, any_port }
    }

    /// What it was compiled from.
    #[must_use]
    pub const fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }

    /// The chain for a connection: the most specific that fits, else the listener's default. None:
    /// the connection is closed (Envoy: flag `NR`, `filter_chain_not_found`).
    #[must_use]
    pub fn find(&self, connection: &ConnectionInfo) -> Option<&FilterChain> {
        let port = connection.original_destination.port();
        let destinations = self.by_port.get(&port).unwrap_or(&self.any_port);
        let names = destinations.find(connection.original_destination.ip());
        let positions = names.and_then(|names| names.find(&connection.server_name));
        let found = positions.and_then(|positions| self.narrow(positions, connection));
        found.or(self.listener.default_chain.as_ref())
    }

    /// The fields after the server name, over the few chains that are left.
    fn narrow(&self, positions: &[usize], connection: &ConnectionInfo) -> Option<&FilterChain> {
        let mut left: Vec<&FilterChain> =
            positions.iter().filter_map(|position| self.listener.chains.get(*position)).collect();
        keep_best(&mut left, |matcher| match matcher.transport_protocol.as_deref() {
            None => Some(0),
            Some(protocol) => (protocol == connection.transport_protocol).then_some(1),
        });
        keep_best(&mut left, |matcher| {
            // The client's first wish counts most.
            let wishes = (1_u32..).zip(connection.application_protocols.iter().rev());
            let granted = wishes.filter(|(_, wish)| matcher.application_protocols.contains(wish));
            let best = granted.map(|(rank, _)| rank).max();
            if matcher.application_protocols.is_empty() { Some(0) } else { best }
        });
        let direct = connection.direct_remote.ip();
        keep_best(&mut left, |matcher| longest(&matcher.direct_source_ranges, direct));
        let (remote, local) = (connection.remote.ip(), connection.original_destination.ip());
        let here = remote == local || remote.is_loopback();
        keep_best(&mut left, |matcher| match matcher.source_type {
            SourceType::Any => Some(0),
            SourceType::SameIpOrLoopback => here.then_some(1),
            SourceType::External => (!here).then_some(1),
        });
        keep_best(&mut left, |matcher| longest(&matcher.source_ranges, remote));
        keep_best(&mut left, |matcher| match matcher.source_ports.as_slice() {
            [] => Some(0),
            ports => ports.contains(&connection.remote.port()).then_some(1),
        });
        left.first().copied()
    }
}

/// Keeps the chains that fit most specifically; none fits where `rank` gives none.
fn keep_best(chains: &mut Vec<&FilterChain>, rank: impl Fn(&FilterChainMatch) -> Option<u32>) {
    let best = chains.iter().filter_map(|chain| rank(&chain.matcher)).max();
    chains.retain(|chain| best.is_some() && rank(&chain.matcher) == best);
}

/// The length of the longest range that holds an address, plus 1; 0 when there are no ranges.
fn longest(ranges: &[CidrRange], address: IpAddr) -> Option<u32> {
    if ranges.is_empty() {
        return Some(0);
    }
    let holding = ranges.iter().filter(|range| range.contains(&address));
    holding.map(|range| u32::from(range.prefix_len()).saturating_add(1)).max()
}

/// Chains by destination address.
#[derive(Debug)]
struct Destinations {
    /// Longest prefix first.
    ranges: Vec<(CidrRange, ServerNames)>,
    any: ServerNames,
}

impl Destinations {
    fn compile(chains: &[FilterChain], positions: &[usize]) -> Self {
        let mut ranges: Vec<(CidrRange, Vec<usize>)> = Vec::new();
        let mut any = Vec::new();
        for &position in positions {
            let Some(chain) = chains.get(position) else { continue };
            if chain.matcher.destination_ranges.is_empty() {
                any.push(position);
            }
            for range in chain.matcher.destination_ranges.iter().map(CidrRange::trunc) {
                match ranges.iter_mut().find(|(own, _)| *own == range) {
                    Some((_, positions)) => positions.push(position),
                    None => ranges.push((range, vec![position])),
                }
            }
        }
        ranges.sort_by_key(|(range, _)| std::cmp::Reverse(range.prefix_len()));
        let compile = |positions: &[usize]| ServerNames::compile(chains, positions);
        let ranges = ranges.iter().map(|(range, positions)| (*range, compile(positions)));
        Self { ranges: ranges.collect(), any: compile(&any) }
    }

    fn find(&self, address: IpAddr) -> Option<&ServerNames> {
        let holding = self.ranges.iter().find(|(range, _)| range.contains(&address));
        Some(holding.map_or(&self.any, |(_, names)| names))
    }
}

/// Chains by server name.
#[derive(Debug, Default)]
struct ServerNames {
    exact: HashMap<String, Vec<usize>>,
    /// By what follows the star, with its dot.
    wildcards: HashMap<String, Vec<usize>>,
    any: Vec<usize>,
}

impl ServerNames {
    fn compile(chains: &[FilterChain], positions: &[usize]) -> Self {
        let mut names = Self::default();
        for &position in positions {
            let Some(chain) = chains.get(position) else { continue };
            if chain.matcher.server_names.is_empty() {
                names.any.push(position);
            }
            for name in &chain.matcher.server_names {
                let slot = match name.strip_prefix('*') {
                    Some(suffix) => names.wildcards.entry(suffix.to_owned()),
                    None => names.exact.entry(name.clone()),
                };
                slot.or_default().push(position);
            }
        }
        names
    }

    fn find(&self, server_name: &str) -> Option<&[usize]> {
        if let Some(positions) = self.exact.get(server_name) {
            return Some(positions);
        }
        let dots = server_name.match_indices('.').filter_map(|(dot, _)| server_name.get(dot..));
        for suffix in dots {
            if let Some(positions) = self.wildcards.get(suffix) {
                return Some(positions);
            }
        }
        Some(&self.any)
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::{DownstreamTransport, TcpProxy, TcpTarget, Terminal};

    use super::*;

    fn chain(name: &str, matcher: FilterChainMatch) -> FilterChain {
        let target = TcpTarget::Cluster("c".to_owned());
        FilterChain {
            name: name.to_owned(),
            matcher,
            transport: DownstreamTransport::Raw,
            handshake_timeout: None,
            filters: Vec::new(),
            terminal: Terminal::Tcp(Arc::new(TcpProxy::new("s", target))),
        }
    }

    fn any() -> FilterChainMatch {
        FilterChainMatch::default()
    }

    fn found(chains: &[(&str, FilterChainMatch)], connection: &ConnectionInfo) -> Option<String> {
        let mut listener = Listener::new("l", "127.0.0.1:1".parse().unwrap());
        listener.chains =
            chains.iter().map(|(name, matcher)| chain(name, matcher.clone())).collect();
        let table = FilterChainTable::compile(Arc::new(listener));
        table.find(connection).map(|chain| chain.name.clone())
    }

    fn connection(to: &str, from: &str) -> ConnectionInfo {
        ConnectionInfo::plain(to.parse().unwrap(), from.parse().unwrap())
    }

    #[test]
    fn the_port_decides_before_everything_else() {
        let chains = [
            ("any", FilterChainMatch { server_names: vec!["a.test".into()], ..any() }),
            ("port", FilterChainMatch { destination_port: Some(80), ..any() }),
        ];
        let mut connection = connection("10.0.0.1:80", "10.0.0.2:9");
        connection.server_name = "a.test".to_owned();
        assert_eq!(found(&chains, &connection).unwrap(), "port");
        connection.original_destination.set_port(81);
        assert_eq!(found(&chains, &connection).unwrap(), "any");
    }

    #[test]
    fn there_is_no_way_back_to_a_less_specific_value() {
        let chains = [
            ("any", any()),
            (
                "narrow",
                FilterChainMatch {
                    destination_ranges: vec!["10.0.0.0/8".parse().unwrap()],
                    transport_protocol: Some("tls".into()),
                    ..any()
                },
            ),
        ];
        assert_eq!(found(&chains, &connection("10.0.0.1:80", "10.0.0.2:9")), None);
        assert_eq!(found(&chains, &connection("11.0.0.1:80", "10.0.0.2:9")).unwrap(), "any");
    }

    #[test]
    fn names_protocols_and_sources_go_from_exact_to_wide() {
        let names = |name: &str| FilterChainMatch { server_names: vec![name.into()], ..any() };
        let chains = [
            ("wide", names("*.test")),
            ("narrow", names("*.b.test")),
            ("exact", names("a.b.test")),
            ("none", any()),
        ];
        let mut to = connection("10.0.0.1:443", "10.0.0.2:9");
        for (name, expected) in
            [("a.b.test", "exact"), ("c.b.test", "narrow"), ("b.test", "wide"), ("x", "none")]
        {
            to.server_name = name.to_owned();
            assert_eq!(found(&chains, &to).unwrap(), expected, "{name}");
        }
        let alpn =
            |name: &str| FilterChainMatch { application_protocols: vec![name.into()], ..any() };
        to.application_protocols = vec!["istio".into(), "h2".into()];
        let chains = [("h2", alpn("h2")), ("istio", alpn("istio")), ("none", any())];
        assert_eq!(found(&chains, &to).unwrap(), "istio");
        let from =
            |range: &str| FilterChainMatch { source_ranges: vec![range.parse().unwrap()], ..any() };
        let chains = [("wide", from("10.0.0.0/8")), ("narrow", from("10.0.0.2/32"))];
        assert_eq!(found(&chains, &to).unwrap(), "narrow");
        let local = FilterChainMatch { source_type: SourceType::SameIpOrLoopback, ..any() };
        let chains = [("any", any()), ("local", local)];
        assert_eq!(found(&chains, &to).unwrap(), "any");
        let own = connection("10.0.0.1:443", "10.0.0.1:9");
        assert_eq!(found(&chains, &own).unwrap(), "local");
    }
}
