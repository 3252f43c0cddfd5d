//! Envoy's consistent hashing as formulas: what a key goes to at any address.
//!
//! The recordings prove the formulas, the formulas judge a run at other addresses.

use std::{collections::BTreeMap, net::Ipv4Addr};

use xxhash_rust::xxh64::xxh64;

/// Slots of Envoy's table unless `maglev_lb_config.table_size` says otherwise.
const TABLE_SIZE: u64 = 65_537;
/// Entries of Envoy's ring unless `ring_hash_lb_config.minimum_ring_size` says otherwise.
const RING_SIZE: usize = 1024;

/// Several values of a header are chained, in the order of their text.
fn hash(values: &[String]) -> u64 {
    values.iter().fold(0, |seed, value| xxh64(value.as_bytes(), seed))
}

/// The port that `RING_HASH` picks among all upstreams.
pub(crate) fn ring_hash(at: Ipv4Addr, values: &[String]) -> u16 {
    let ports: Vec<u16> = crate::upstream::PORTS.collect();
    let mut ring: Vec<(u64, u16)> = ports
        .iter()
        .flat_map(|port| (0..RING_SIZE / ports.len()).map(move |entry| (port, entry)))
        .map(|(port, entry)| (xxh64(format!("{at}:{port}_{entry}").as_bytes(), 0), *port))
        .collect();
    ring.sort_unstable();
    let key = hash(values);
    let place = ring.partition_point(|(entry, _)| *entry < key);
    ring[place % ring.len()].1
}

/// The port that `MAGLEV` picks, with these weights.
pub(crate) fn maglev(at: Ipv4Addr, weights: &BTreeMap<u16, u32>, values: &[String]) -> u16 {
    struct Host {
        port: u16,
        weight: f64,
        target: f64,
        offset: u64,
        skip: u64,
        next: u64,
    }
    let most = f64::from(*weights.values().max().unwrap());
    let mut hosts: Vec<Host> = weights
        .iter()
        .map(|(port, weight)| {
            let name = format!("{at}:{port}");
            let skip = xxh64(name.as_bytes(), 1) % (TABLE_SIZE - 1) + 1;
            let offset = xxh64(name.as_bytes(), 0) % TABLE_SIZE;
            Host { port: *port, weight: f64::from(*weight), target: 0.0, offset, skip, next: 0 }
        })
        .collect();
    let size = usize::try_from(TABLE_SIZE).unwrap();
    let mut table: Vec<Option<u16>> = vec![None; size];
    let (mut filled, mut round) = (0, 1.0);
    while filled < size {
        for host in &mut hosts {
            if filled == size || round * host.weight < host.target {
                continue;
            }
            host.target += most;
            let slot = loop {
                let slot = (host.offset + host.skip * host.next) % TABLE_SIZE;
                host.next += 1;
                let slot = usize::try_from(slot).unwrap();
                if table[slot].is_none() {
                    break slot;
                }
            };
            table[slot] = Some(host.port);
            filled += 1;
        }
        round += 1.0;
    }
    let slot = usize::try_from(hash(values) % TABLE_SIZE).unwrap();
    table[slot].unwrap()
}
