//! Which filter chain takes a connection.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use iako_proxy_config::{FilterChain, FilterChainMatch, Listener, SourceType};
use iako_types::CidrRange;

use crate::{ConnectionInfo, choose_action, facts::is_local};

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
    /// Chains by name, where a tree chooses.
    by_name: HashMap<String, usize>,
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
        let by_name = if listener.chain_matcher.is_some() {
            let names = listener.chains.iter().map(|chain| chain.name.clone());
            names.zip(0..).collect()
        } else {
            HashMap::new()
        };
        Self { listener, by_port, any_port, by_name }
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
        let position = self.position(connection)?;
        self.listener.chains.get(position).or(self.listener.default_chain.as_ref())
    }

    /// The place of that chain among the listener's, after which the default one comes.
    #[must_use]
    pub fn position(&self, connection: &ConnectionInfo) -> Option<usize> {
        let found = match &self.listener.chain_matcher {
            // A name that no chain has closes the connection; no name at all leaves the default.
            Some(tree) => match choose_action(tree, connection) {
                Some(name) => return self.by_name.get(name).copied(),
                None => None,
            },
            None => self.most_specific(connection),
        };
        let default = self.listener.default_chain.as_ref().map(|_| self.listener.chains.len());
        found.or(default)
    }

    fn most_specific(&self, connection: &ConnectionInfo) -> Option<usize> {
        let port = connection.original_destination.port();
        let destinations = self.by_port.get(&port).unwrap_or(&self.any_port);
        let names = destinations.find(connection.original_destination.ip())?;
        self.narrow(names.find(&connection.server_name), connection)
    }

    /// The fields after the server name, over the few chains that are left.
    fn narrow(&self, positions: &[usize], connection: &ConnectionInfo) -> Option<usize> {
        let chains = &self.listener.chains;
        let mut left: Vec<(usize, &FilterChainMatch)> = positions
            .iter()
            .filter_map(|place| Some((*place, &chains.get(*place)?.matcher)))
            .collect();
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
        let here = is_local(connection);
        keep_best(&mut left, |matcher| match matcher.source_type {
            SourceType::Any => Some(0),
            SourceType::SameIpOrLoopback => here.then_some(1),
            SourceType::External => (!here).then_some(1),
        });
        let remote = connection.remote.ip();
        keep_best(&mut left, |matcher| longest(&matcher.source_ranges, remote));
        keep_best(&mut left, |matcher| match matcher.source_ports.as_slice() {
            [] => Some(0),
            ports => ports.contains(&connection.remote.port()).then_some(1),
        });
        left.first().map(|(position, _)| *position)
    }
}

/// Keeps the chains that fit most specifically; none fits where `rank` gives none.
fn keep_best(
    chains: &mut Vec<(usize, &FilterChainMatch)>,
    rank: impl Fn(&FilterChainMatch) -> Option<u32>,
) {
    let best = chains.iter().filter_map(|(_, matcher)| rank(matcher)).max();
    chains.retain(|(_, matcher)| best.is_some() && rank(matcher) == best);
}

/// The length of the longest range that holds an address. No ranges are the range of everything.
fn longest(ranges: &[CidrRange], address: IpAddr) -> Option<u32> {
    if ranges.is_empty() {
        return Some(0);
    }
    let holding = ranges.iter().filter(|range| range.contains(&address));
    holding.map(|range| u32::from(range.prefix_len())).max()
}

/// Chains by destination address.
#[derive(Debug, Default)]
struct Destinations {
    by_range: HashMap<CidrRange, ServerNames>,
    /// The lengths of the ranges, longest first.
    lengths: Vec<u8>,
}

impl Destinations {
    fn compile(chains: &[FilterChain], positions: &[usize]) -> Self {
        let mut ranges: HashMap<CidrRange, Vec<usize>> = HashMap::new();
        for &position in positions {
            let Some(chain) = chains.get(position) else { continue };
            let written = chain.matcher.destination_ranges.iter().map(CidrRange::trunc);
            let mut of_chain: Vec<CidrRange> = written.collect();
            if of_chain.is_empty() {
                of_chain.extend(everything());
            }
            for range in of_chain {
                let positions = ranges.entry(range).or_default();
                if positions.last() != Some(&position) {
                    positions.push(position);
                }
            }
        }
        let mut lengths: Vec<u8> = ranges.keys().map(CidrRange::prefix_len).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        let by_range = ranges
            .into_iter()
            .map(|(range, positions)| (range, ServerNames::compile(chains, &positions)));
        Self { by_range: by_range.collect(), lengths }
    }

    fn find(&self, address: IpAddr) -> Option<&ServerNames> {
        self.lengths.iter().find_map(|length| {
            let range = CidrRange::new(address, *length).ok()?;
            self.by_range.get(&range.trunc())
        })
    }
}

/// The ranges that hold every address.
fn everything() -> impl Iterator<Item = CidrRange> {
    let families = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    families.into_iter().filter_map(|address| CidrRange::new(address, 0).ok())
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

    fn find(&self, server_name: &str) -> &[usize] {
        if let Some(positions) = self.exact.get(server_name) {
            return positions;
        }
        let dots = server_name.match_indices('.').filter_map(|(dot, _)| server_name.get(dot..));
        for suffix in dots {
            if let Some(positions) = self.wildcards.get(suffix) {
                return positions;
            }
        }
        &self.any
    }
}

#[cfg(test)]
mod tests {
    mod naive;

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
            metadata: iako_proxy_config::FilterMetadata::default(),
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
    fn everything_and_nothing_said_are_the_same_range() {
        let all: FilterChainMatch = FilterChainMatch {
            destination_ranges: vec!["0.0.0.0/0".parse().unwrap()],
            transport_protocol: Some("tls".into()),
            ..any()
        };
        let chains = [("any", any()), ("all", all)];
        assert_eq!(found(&chains, &connection("10.0.0.1:80", "10.0.0.2:9")).unwrap(), "any");
        assert_eq!(found(&chains, &connection("[::1]:80", "[::1]:9")).unwrap(), "any");
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
