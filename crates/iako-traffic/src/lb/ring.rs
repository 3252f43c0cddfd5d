//! Consistent balancing on a ring.

use iako_proxy_config::{HashFunction, RingHash};
use xxhash_rust::xxh64::xxh64;

/// Instances by the hashes of their entries, in rising order.
#[derive(Debug)]
pub(super) struct Ring(Vec<(u64, u32)>);

impl Ring {
    /// Places instances, given by their key and their share of the whole (together 1).
    ///
    /// Source: Envoy's ring: each instance gets entries in proportion to its share, so that the
    /// smallest gets a whole number and the ring has at least its least size; the hash of entry `i`
    /// is that of `<key>_<i>`.
    pub(super) fn build(hosts: &[(String, f64)], policy: &RingHash) -> Self {
        let smallest = hosts.iter().map(|(_, share)| *share).fold(1.0, f64::min);
        #[expect(clippy::cast_precision_loss, reason = "sizes are at most 8 Mi, exact in f64")]
        let (min, max) = (policy.ring_size_min.get() as f64, policy.ring_size_max.get() as f64);
        let scale =
            if smallest > 0.0 { ((smallest * min).ceil() / smallest).min(max) } else { max };
        let (mut placed, mut target) = (0.0_f64, 0.0_f64);
        let mut entries = Vec::new();
        for (position, (key, share)) in (0..).zip(hosts) {
            target += scale * share;
            let mut number = 0_u32;
            while placed < target {
                let entry = format!("{key}_{number}");
                entries.push((hash(policy.function, entry.as_bytes()), position));
                number = number.saturating_add(1);
                placed += 1.0;
            }
        }
        entries.sort_unstable();
        Self(entries)
    }

    /// The instances from a hash onward, the one that owns it first; entries repeat instances.
    pub(super) fn owners(&self, hash: u64) -> impl Iterator<Item = u32> {
        let start = self.0.partition_point(|(own, _)| *own < hash);
        let (before, after) = self.0.split_at_checked(start).unwrap_or((&self.0, &[]));
        after.iter().chain(before).map(|(_, position)| *position)
    }
}

fn hash(function: HashFunction, bytes: &[u8]) -> u64 {
    match function {
        HashFunction::XxHash => xxh64(bytes, 0),
        HashFunction::Murmur2 => murmur2(bytes, 0xc70f_6907),
    }
}

/// `MurmurHash2`, 64-bit version A, as libstdc++ uses it for `std::hash`.
fn murmur2(bytes: &[u8], seed: u64) -> u64 {
    const MIX: u64 = 0xc6a4_a793_5bd1_e995;
    let shift = |value: u64| value ^ (value >> 47);
    let length = u64::try_from(bytes.len()).unwrap_or_default();
    let mut hash = seed ^ length.wrapping_mul(MIX);
    let (chunks, tail) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = shift(u64::from_le_bytes(*chunk).wrapping_mul(MIX)).wrapping_mul(MIX);
        hash = (hash ^ word).wrapping_mul(MIX);
    }
    if !tail.is_empty() {
        let mut last = [0_u8; 8];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(MIX);
    }
    shift(shift(hash).wrapping_mul(MIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur_is_that_of_envoy() {
        let hash = |text: &str| hash(HashFunction::Murmur2, text.as_bytes());
        assert_eq!(hash("foo"), 9_631_199_822_919_835_226);
        assert_eq!(hash("bar"), 11_474_628_671_133_349_555);
    }
}
