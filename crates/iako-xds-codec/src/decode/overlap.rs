//! Whether two filter chains of a listener could take the same connection.

use std::collections::{BTreeSet, HashMap};

use iako_types::CidrRange;

use crate::problem::{At, Fault};
use iako_proxy_config::{FilterChain, FilterChainMatch};

/// Refuses chains between which nothing decides. Each field is a set of values, an empty one all of
/// them; two chains are the same for some connection where the sets of every field have a value in
/// common. (A connection goes to the most specific value: wide and narrow ones do not meet.)
pub(super) fn check(chains: &[FilterChain], at: &At<'_>) -> Result<(), Fault> {
    let mut by_port: HashMap<Option<u16>, Vec<usize>> = HashMap::new();
    for (position, chain) in chains.iter().enumerate() {
        let same_port = by_port.entry(chain.matcher.destination_port).or_default();
        let earlier = same_port.iter().filter_map(|earlier| chains.get(*earlier));
        if let Some(twin) = earlier.into_iter().find(|twin| meet(&twin.matcher, &chain.matcher)) {
            let problem =
                format!("takes the same connections as the filter chain `{}` before it", twin.name);
            let at = at.index(position);
            return Err(at
                .field("filter_chain_match")
                .invalid(problem, "tell the two apart, or remove one"));
        }
        same_port.push(position);
    }
    Ok(())
}

fn meet(one: &FilterChainMatch, other: &FilterChainMatch) -> bool {
    one.transport_protocol == other.transport_protocol
        && one.source_type == other.source_type
        && ranges_meet(&one.destination_ranges, &other.destination_ranges)
        && values_meet(&one.server_names, &other.server_names)
        && values_meet(&one.application_protocols, &other.application_protocols)
        && ranges_meet(&one.direct_source_ranges, &other.direct_source_ranges)
        && ranges_meet(&one.source_ranges, &other.source_ranges)
        && values_meet(&one.source_ports, &other.source_ports)
}

fn values_meet<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    match (one.is_empty(), other.is_empty()) {
        (true, true) => true,
        (false, false) => one.iter().any(|value| other.contains(value)),
        (true, false) | (false, true) => false,
    }
}

fn ranges_meet(one: &[CidrRange], other: &[CidrRange]) -> bool {
    let (one, other) = (normal(one), normal(other));
    one.iter().any(|range| other.contains(range))
}

/// No range is every address of both families.
fn normal(ranges: &[CidrRange]) -> BTreeSet<(std::net::IpAddr, u8)> {
    use std::net::{Ipv4Addr, Ipv6Addr};
    if ranges.is_empty() {
        return [(Ipv4Addr::UNSPECIFIED.into(), 0), (Ipv6Addr::UNSPECIFIED.into(), 0)].into();
    }
    ranges.iter().map(|range| (range.trunc().addr(), range.prefix_len())).collect()
}
