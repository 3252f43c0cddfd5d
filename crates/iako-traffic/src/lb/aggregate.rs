//! Which of several clusters takes a request that is for all of them together.

/// What the instances of one cluster can take, all its priorities together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// By those that are healthy, in percent of all requests.
    pub healthy: u64,
    /// By those that are degraded.
    pub degraded: u64,
    /// How many instances there are.
    pub instances: u64,
}

/// The place of the cluster that takes a request: the first as far as it can, then the next one;
/// healthy instances before degraded ones. Where nobody can take anything, clusters take by their
/// size, as priorities of one cluster do in panic. None when there is no instance at all.
///
/// Source: Envoy, "Aggregate cluster".
#[must_use]
pub fn member(capacities: impl Iterator<Item = Capacity> + Clone, draw: u64) -> Option<usize> {
    let healthy = capacities.clone().map(|one| one.healthy);
    let degraded = capacities.clone().map(|one| one.degraded);
    let able = healthy.clone().fold(0, u64::saturating_add);
    let total = degraded.clone().fold(able, u64::saturating_add).min(100);
    if total == 0 {
        return by_size(capacities, draw);
    }
    let count = capacities.count();
    let mut left = draw.checked_rem(total)?;
    for (place, share) in healthy.chain(degraded).enumerate() {
        if left < share {
            return place.checked_rem(count);
        }
        left = left.saturating_sub(share);
    }
    None
}

fn by_size(capacities: impl Iterator<Item = Capacity> + Clone, draw: u64) -> Option<usize> {
    let sizes = capacities.map(|one| one.instances);
    let total = sizes.clone().fold(0, u64::saturating_add);
    let mut left = draw.checked_rem(total)?;
    for (place, size) in sizes.enumerate() {
        if left < size {
            return Some(place);
        }
        left = left.saturating_sub(size);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a hundred requests each cluster takes.
    fn shares(capacities: &[(u64, u64, u64)]) -> Vec<usize> {
        let capacity = |&(healthy, degraded, instances): &(u64, u64, u64)| Capacity {
            healthy,
            degraded,
            instances,
        };
        let all: Vec<Capacity> = capacities.iter().map(capacity).collect();
        let mut shares = vec![0; all.len()];
        for draw in 0..100 {
            if let Some(share) = member(all.iter().copied(), draw).and_then(|at| shares.get_mut(at))
            {
                *share += 1;
            }
        }
        shares
    }

    #[test]
    fn the_first_cluster_takes_what_it_can_and_the_next_one_the_rest() {
        assert_eq!(shares(&[(140, 0, 2), (140, 0, 2)]), [100, 0]);
        assert_eq!(shares(&[(70, 0, 2), (140, 0, 2)]), [70, 30]);
        assert_eq!(shares(&[(0, 0, 2), (140, 0, 2)]), [0, 100]);
        assert_eq!(shares(&[(20, 140, 2), (40, 0, 2)]), [60, 40]);
        assert_eq!(shares(&[(25, 0, 2), (25, 0, 2)]), [50, 50]);
    }

    #[test]
    fn without_anybody_well_clusters_take_by_their_size() {
        assert_eq!(shares(&[(0, 0, 3), (0, 0, 1)]), [75, 25]);
        assert_eq!(shares(&[(0, 0, 0)]), [0]);
    }
}
