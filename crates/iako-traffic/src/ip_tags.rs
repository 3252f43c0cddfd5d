//! Tags by address.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use iako_proxy_config::IpTag;
use iako_types::CidrRange;

/// Tags by address, compiled: an address is looked up once for each length of prefix that there is.
///
/// Source: `envoy.extensions.filters.http.ip_tagging.v3.IPTagging.ip_tags`.
#[derive(Debug, Default)]
pub struct IpTags {
    /// By length of the prefix, the shortest first, then by network: places of tags.
    v4: BTreeMap<u8, HashMap<IpAddr, Vec<usize>>>,
    v6: BTreeMap<u8, HashMap<IpAddr, Vec<usize>>>,
}

impl IpTags {
    /// Compiles tags.
    #[must_use]
    pub fn compile(tags: &[IpTag]) -> Self {
        let mut value = Self::default();
        for (place, tag) in tags.iter().enumerate() {
            for range in &tag.ranges {
                let family = if range.addr().is_ipv4() { &mut value.v4 } else { &mut value.v6 };
                let networks = family.entry(range.prefix_len()).or_default();
                let places = networks.entry(range.network()).or_default();
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        value
    }

    /// Places of the tags that an address has, in order.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Vec<usize> {
        let family = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let mut found = Vec::new();
        for (length, networks) in family {
            let Ok(range) = CidrRange::new(address, *length) else { continue };
            for place in networks.get(&range.network()).into_iter().flatten() {
                if !found.contains(place) {
                    found.push(*place);
                }
            }
        }
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_tags_of_all_its_ranges() {
        let tag = |name: &str, ranges: &[&str]| IpTag {
            name: name.into(),
            ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        };
        let tags = IpTags::compile(&[
            tag("host", &["10.1.2.3/32", "fe80::1/128"]),
            tag("net", &["10.0.0.0/8", "10.1.0.0/16"]),
            tag("all", &["0.0.0.0/0"]),
        ]);
        let of = |address: &str| tags.of(address.parse().unwrap());
        assert_eq!(of("10.1.2.3"), [0, 1, 2]);
        assert_eq!(of("10.9.0.1"), [1, 2]);
        assert_eq!(of("fe80::1"), [0]);
        assert!(of("fe80::2").is_empty());
    }
}
