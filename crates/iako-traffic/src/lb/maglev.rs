//! Consistent balancing by a table.

use iako_proxy_config::MaglevTable;
use xxhash_rust::xxh64::xxh64;

/// Marks a slot that nobody has taken yet.
const EMPTY: u32 = u32::MAX;

/// Instances by slot.
#[derive(Debug)]
pub(super) struct Maglev(Vec<u32>);

impl Maglev {
    /// Fills the table from instances, given by their key and their share.
    ///
    /// Source: "Maglev: A Fast and Reliable Software Network Load Balancer", listing 1; Envoy's
    /// weights: an instance passes rounds until its turn is due.
    pub(super) fn build(hosts: &[(String, f64)], policy: &MaglevTable) -> Self {
        let size = policy.table_size.get();
        let mut slots = vec![EMPTY; usize::try_from(size).unwrap_or_default()];
        let heaviest = hosts.iter().map(|(_, share)| *share).fold(0.0, f64::max);
        let mut sorted: Vec<(u32, &(String, f64))> =
            (0..).zip(hosts).filter(|(_, (_, share))| *share > 0.0).collect();
        // The order in which slots are taken must not depend on that of the configuration.
        sorted.sort_by(|(_, (one, _)), (_, (other, _))| one.cmp(other));
        let mut hosts: Vec<Filling> = sorted
            .into_iter()
            .map(|(position, (key, share))| Filling::new(position, key, *share, size))
            .collect();
        let (mut left, mut round) = (if hosts.is_empty() { 0 } else { slots.len() }, 0.0_f64);
        while left > 0 {
            round += 1.0;
            for host in &mut hosts {
                if left == 0 {
                    break;
                }
                if round * host.share < host.target {
                    continue;
                }
                host.target += heaviest;
                host.take(&mut slots, size);
                left = left.saturating_sub(1);
            }
        }
        Self(slots)
    }

    /// The instances from a hash onward, the one that owns it first; slots repeat instances.
    pub(super) fn owners(&self, hash: u64) -> impl Iterator<Item = u32> {
        let size = u64::try_from(self.0.len()).unwrap_or_default();
        let start = hash.checked_rem(size).and_then(|slot| usize::try_from(slot).ok());
        let cut = start.and_then(|start| self.0.split_at_checked(start));
        let (before, after) = cut.unwrap_or((&self.0, &[]));
        after.iter().chain(before).copied().filter(|position| *position != EMPTY)
    }
}

struct Filling {
    position: u32,
    share: f64,
    target: f64,
    next: u64,
    skip: u64,
}

impl Filling {
    fn new(position: u32, key: &str, share: f64, size: u64) -> Self {
        let hashed = |seed, modulus: u64| xxh64(key.as_bytes(), seed) % modulus.max(1);
        let skip = hashed(1, size.saturating_sub(1)).saturating_add(1);
        Self { position, share, target: 0.0, next: hashed(0, size), skip }
    }

    /// Takes the next free slot of this instance's order. The size is prime, so every slot comes.
    fn take(&mut self, slots: &mut [u32], size: u64) {
        for _ in 0..size {
            let slot = usize::try_from(self.next).ok().and_then(|slot| slots.get_mut(slot));
            self.next = self.next.saturating_add(self.skip).checked_rem(size).unwrap_or_default();
            if let Some(slot) = slot.filter(|slot| **slot == EMPTY) {
                *slot = self.position;
                return;
            }
        }
    }
}
