//! Which virtual host takes a host.

use iako_proxy_config::{Domain, RouteConfiguration};

use crate::text::{lower, split_host_port};

/// How a virtual host was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainMatch {
    /// By its exact name.
    Exact,
    /// By a suffix of this many bytes.
    Suffix(usize),
    /// By a prefix of this many bytes.
    Prefix(usize),
    /// By `*`.
    Any,
}

/// Virtual hosts by text. The names come from configuration, so a hash without a secret key serves.
type Positions = std::collections::HashMap<String, usize, foldhash::fast::RandomState>;

/// Hosts of a route table: exact, then longest suffix, then longest prefix, then any.
///
/// A suffix or prefix costs one look-up for each length that occurs, whatever their number.
#[derive(Debug, Default)]
pub(super) struct HostIndex {
    exact: Positions,
    /// By length, longest first.
    suffixes: Vec<(usize, Positions)>,
    /// By length, longest first.
    prefixes: Vec<(usize, Positions)>,
    any: Option<usize>,
    /// Whether a port in the host is left out of the search.
    ignore_port: bool,
}

impl HostIndex {
    /// Compiles the domains of virtual hosts; the first that claims a domain keeps it.
    pub(super) fn compile(configuration: &RouteConfiguration) -> Self {
        let mut index = Self { ignore_port: configuration.ignore_port_in_host, ..Self::default() };
        index.exact.reserve(configuration.virtual_hosts.len());
        for (position, virtual_host) in configuration.virtual_hosts.iter().enumerate() {
            for domain in &virtual_host.domains {
                index.add(domain, position);
            }
        }
        let longest_first = |lengths: &mut Vec<(usize, Positions)>| {
            lengths.sort_unstable_by_key(|(length, _)| std::cmp::Reverse(*length));
        };
        longest_first(&mut index.suffixes);
        longest_first(&mut index.prefixes);
        index
    }

    fn add(&mut self, domain: &Domain, position: usize) {
        let by_length = |lengths: &mut Vec<(usize, Positions)>, text: &str| {
            let slot = lengths.iter().position(|(length, _)| *length == text.len());
            let slot = slot.unwrap_or_else(|| {
                lengths.push((text.len(), Positions::default()));
                lengths.len().saturating_sub(1)
            });
            if let Some((_, texts)) = lengths.get_mut(slot) {
                texts.entry(text.to_owned()).or_insert(position);
            }
        };
        match domain {
            Domain::Any => {
                self.any.get_or_insert(position);
            }
            Domain::Exact(host) => {
                self.exact.entry(host.clone()).or_insert(position);
            }
            Domain::Suffix(suffix) => by_length(&mut self.suffixes, suffix),
            Domain::Prefix(prefix) => by_length(&mut self.prefixes, prefix),
        }
    }

    /// The virtual host for everything, where there is no other.
    pub(super) fn only_any(&self) -> Option<usize> {
        let is_only = self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty();
        self.any.filter(|_| is_only)
    }

    /// The virtual host for an authority.
    pub(super) fn find(&self, authority: &str) -> Option<(usize, DomainMatch)> {
        let host = lower(authority);
        let host = if self.ignore_port { split_host_port(&host).0 } else { host.as_ref() };
        if let Some(&position) = self.exact.get(host) {
            return Some((position, DomainMatch::Exact));
        }
        let shorter = |length: &usize| *length < host.len();
        for (length, suffixes) in self.suffixes.iter().filter(|(length, _)| shorter(length)) {
            let end = host.len().checked_sub(*length).and_then(|start| host.get(start..));
            if let Some(&position) = end.and_then(|end| suffixes.get(end)) {
                return Some((position, DomainMatch::Suffix(*length)));
            }
        }
        for (length, prefixes) in self.prefixes.iter().filter(|(length, _)| shorter(length)) {
            if let Some(&position) = host.get(..*length).and_then(|start| prefixes.get(start)) {
                return Some((position, DomainMatch::Prefix(*length)));
            }
        }
        self.any.map(|position| (position, DomainMatch::Any))
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::VirtualHost;

    use super::*;

    #[expect(clippy::fn_params_excessive_bools, reason = "one column of a table of cases")]
    fn found(domains: &[&str], authority: &str, ignore_port: bool) -> Option<usize> {
        let hosts: Vec<VirtualHost> = domains
            .iter()
            .map(|domain| VirtualHost {
                domains: vec![domain.parse().unwrap()],
                ..VirtualHost::default()
            })
            .collect();
        let configuration = RouteConfiguration {
            ignore_port_in_host: ignore_port,
            ..RouteConfiguration::new("r", hosts)
        };
        HostIndex::compile(&configuration).find(authority).map(|(position, _)| position)
    }

    // envoy-behaviour fact 6.
    #[test]
    fn exact_then_longest_suffix_then_longest_prefix_then_any() {
        let domains = ["*", "foo.*", "*.com", "*.example.com", "foo.example.com", "foo.example.*"];
        assert_eq!(found(&domains, "FOO.example.com", false), Some(4));
        assert_eq!(found(&domains, "foo.example.com:8080", false), Some(5));
        assert_eq!(found(&domains, "foo.example.com:8080", true), Some(4));
        assert_eq!(found(&domains, "a.example.com", false), Some(3));
        assert_eq!(found(&domains, "b.com", false), Some(2));
        assert_eq!(found(&domains, "foo.org", false), Some(1));
        assert_eq!(found(&domains, "zzz", false), Some(0));
        assert_eq!(found(&domains[1..], "zzz", false), None);
        assert_eq!(found(&["*.example.com"], ".example.com", false), None);
    }
}
