//! How traffic is spread over priorities.

use iako_types::Percent;

/// Counts of one priority's instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) all: u64,
    pub(super) healthy: u64,
    pub(super) degraded: u64,
}

/// What one priority takes, in percent of all requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) healthy: u64,
    pub(super) degraded: u64,
    /// Whether its health does not count, because too few are left.
    pub(super) panic: bool,
}

/// Which instances of a priority are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    Healthy,
    Degraded,
    All,
}

/// Spreads requests over priorities: each takes what it can by its health times the
/// overprovisioning factor, the next one the rest, healthy before degraded.
///
/// Source: Envoy, "Priority levels", "Overprovisioning factor", "Panic threshold".
pub(super) fn spread(counts: &[Counts], factor: u64, panic_threshold: Percent) -> Vec<Load> {
    let able = |some: u64, all: u64| {
        factor.saturating_mul(some).checked_div(all).unwrap_or_default().min(100)
    };
    let health: Vec<u64> = counts.iter().map(|count| able(count.healthy, count.all)).collect();
    let degraded: Vec<u64> = counts.iter().map(|count| able(count.degraded, count.all)).collect();
    let total: u64 = health.iter().chain(&degraded).sum::<u64>().min(100);
    let mut loads = vec![Load::default(); counts.len()];
    let threshold = u64::from(panic_threshold.parts_per_million());
    if total == 0 && threshold == 0 {
        // Somebody must be asked, and has nobody: no healthy upstream.
        if let Some(first) = loads.first_mut() {
            first.healthy = 100;
        }
        return loads;
    }
    let mut left = 100_u64;
    let mut give = |able: &[u64], loads: &mut [Load], pick: fn(&mut Load) -> &mut u64| {
        for (able, load) in able.iter().zip(loads) {
            let share = able.saturating_mul(100).checked_div(total).unwrap_or_default().min(left);
            *pick(load) = share;
            left = left.saturating_sub(share);
        }
    };
    give(&health, &mut loads, |load| &mut load.healthy);
    give(&degraded, &mut loads, |load| &mut load.degraded);
    // What rounding left over goes to the first that takes anything.
    if let Some(load) = loads.iter_mut().find(|load| load.healthy > 0) {
        load.healthy = load.healthy.saturating_add(left);
    } else if let Some(load) = loads.iter_mut().find(|load| load.degraded > 0) {
        load.degraded = load.degraded.saturating_add(left);
    }
    if total < 100 {
        panic(&mut loads, counts, threshold);
    }
    loads
}

fn panic(loads: &mut [Load], counts: &[Counts], threshold: u64) {
    for (load, count) in loads.iter_mut().zip(counts) {
        let usable = count.healthy.saturating_add(count.degraded).saturating_mul(1_000_000);
        load.panic = usable.checked_div(count.all).unwrap_or_default() < threshold;
    }
    if !loads.iter().all(|load| load.panic) {
        return;
    }
    // Everybody panics: each priority takes by its size.
    let total: u64 = counts.iter().map(|count| count.all).sum();
    let mut left = 100_u64;
    for (load, count) in loads.iter_mut().zip(counts) {
        let share = count.all.saturating_mul(100).checked_div(total).unwrap_or_default();
        (load.healthy, load.degraded) = (share, 0);
        left = left.saturating_sub(share);
    }
    if let Some(load) = loads.iter_mut().find(|load| load.healthy > 0) {
        load.healthy = load.healthy.saturating_add(left);
    }
}

/// The priority for a draw, and which of its instances.
pub(super) fn choose(loads: &[Load], draw: u64) -> Option<(usize, Availability)> {
    let mut left = draw % 100;
    let healthy = loads.iter().map(|load| (load.healthy, Availability::Healthy)).enumerate();
    let degraded = loads.iter().map(|load| (load.degraded, Availability::Degraded)).enumerate();
    for (priority, (load, availability)) in healthy.chain(degraded) {
        if left < load {
            let panic = loads.get(priority).is_some_and(|load| load.panic);
            return Some((priority, if panic { Availability::All } else { availability }));
        }
        left = left.saturating_sub(load);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(counts: &[(u64, u64, u64)], threshold: u32) -> Vec<(u64, u64, bool)> {
        let counts: Vec<Counts> = counts
            .iter()
            .map(|&(all, healthy, degraded)| Counts { all, healthy, degraded })
            .collect();
        let loads = spread(&counts, 140, Percent::from_whole(threshold).unwrap());
        loads.iter().map(|load| (load.healthy, load.degraded, load.panic)).collect()
    }

    // envoy-behaviour fact 17.
    #[test]
    fn health_is_lost_before_traffic_is() {
        assert_eq!(loads(&[(2, 1, 0), (1, 1, 0)], 50), [(70, 0, false), (30, 0, false)]);
        assert_eq!(loads(&[(4, 3, 0)], 50), [(100, 0, false)]);
        assert_eq!(loads(&[(2, 0, 0), (1, 1, 0)], 50), [(0, 0, false), (100, 0, false)]);
        assert_eq!(loads(&[(2, 1, 1)], 50), [(70, 30, false)]);
    }

    #[test]
    fn too_few_healthy_ones_are_a_panic_unless_switched_off() {
        assert_eq!(loads(&[(4, 1, 0)], 50), [(100, 0, true)]);
        assert_eq!(loads(&[(4, 0, 0)], 50), [(100, 0, true)]);
        assert_eq!(loads(&[(4, 0, 0)], 0), [(100, 0, false)]);
        assert_eq!(loads(&[(4, 0, 0), (12, 1, 0)], 50), [(25, 0, true), (75, 0, true)]);
    }

    #[test]
    fn draws_follow_the_loads() {
        let loads = spread(
            &[
                Counts { all: 2, healthy: 1, degraded: 0 },
                Counts { all: 1, healthy: 1, degraded: 0 },
            ],
            140,
            Percent::ZERO,
        );
        let first = (0..100).filter(|draw| choose(&loads, *draw).unwrap().0 == 0).count();
        assert_eq!(first, 70);
    }
}
