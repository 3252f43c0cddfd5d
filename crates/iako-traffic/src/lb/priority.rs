//! How traffic is spread over priorities.

use iako_types::Percent;
use smallvec::SmallVec;

/// What one priority's instances can do, by their number or by their weights.
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

/// What one priority could take, in percent of all requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ability {
    healthy: u64,
    degraded: u64,
}

type Abilities = SmallVec<[Ability; 8]>;
type Loads = SmallVec<[Load; 8]>;

/// The priorities of a cluster, and what each takes.
#[derive(Debug, Default)]
pub(super) struct Priorities {
    abilities: Abilities,
    loads: Loads,
}

impl Priorities {
    /// Spreads requests over priorities: each takes what it can by its health times the
    /// overprovisioning factor, the next one the rest, healthy before degraded.
    ///
    /// `health` is what the ability of a priority is measured by, `counts` are the numbers of its
    /// instances, by which panic is.
    ///
    /// Source: Envoy, "Priority levels", "Overprovisioning factor", "Panic threshold".
    pub(super) fn new(
        health: &[Counts],
        counts: &[Counts],
        factor: u64,
        panic_threshold: Percent,
    ) -> Self {
        let able = |some: u64, all: u64| {
            factor.saturating_mul(some).checked_div(all).unwrap_or_default().min(100)
        };
        let abilities: Abilities = health
            .iter()
            .map(|count| Ability {
                healthy: able(count.healthy, count.all),
                degraded: able(count.degraded, count.all),
            })
            .collect();
        let threshold = u64::from(panic_threshold.parts_per_million());
        let mut loads = distribute(&abilities);
        let total = total(&abilities);
        if total == 0 && threshold == 0 {
            // Somebody must be asked, and has nobody: no healthy upstream.
            if let Some(first) = loads.first_mut() {
                first.healthy = 100;
            }
        } else if total < 100 {
            panic(&mut loads, counts, threshold);
        }
        Self { abilities, loads }
    }

    /// What all of them but those that were `tried` can take, healthy and degraded, in percent.
    pub(super) fn able(&self, tried: &[u32]) -> (u64, u64) {
        let left = (0_u32..).zip(&self.abilities).filter(|(level, _)| !tried.contains(level));
        left.fold((0, 0), |(healthy, degraded), (_, able)| {
            (able.healthy.saturating_add(healthy), able.degraded.saturating_add(degraded))
        })
    }

    /// The priority for a draw, and which of its instances. Priorities that were `tried` take
    /// nothing, as long as others can take anything: what they had is spread anew.
    ///
    /// Source: Envoy's retry priority `previous_priorities`.
    pub(super) fn choose(&self, draw: u64, tried: &[u32]) -> Option<(usize, Availability)> {
        if tried.is_empty() { pick(&self.loads, draw) } else { pick(&self.without(tried), draw) }
    }

    fn without(&self, tried: &[u32]) -> Loads {
        let was_tried = |level: usize| u32::try_from(level).is_ok_and(|own| tried.contains(&own));
        let left: Abilities = self
            .abilities
            .iter()
            .enumerate()
            .map(|(level, able)| if was_tried(level) { Ability::default() } else { *able })
            .collect();
        let mut loads = match total(&left) {
            0 if total(&self.abilities) == 0 => return self.loads.clone(),
            0 => distribute(&self.abilities),
            _ => distribute(&left),
        };
        for (load, usual) in loads.iter_mut().zip(&self.loads) {
            load.panic = usual.panic;
        }
        loads
    }

    /// Whether a priority's health does not count.
    pub(super) fn panics(&self, level: usize) -> bool {
        self.loads.get(level).is_some_and(|load| load.panic)
    }
}

/// What all can take together; more than everything is everything.
fn total(abilities: &[Ability]) -> u64 {
    let each = |able: &Ability| able.healthy.saturating_add(able.degraded);
    abilities.iter().map(each).sum::<u64>().min(100)
}

fn distribute(abilities: &[Ability]) -> Loads {
    let total = total(abilities);
    let mut left = 100_u64;
    let mut loads: Loads = abilities.iter().map(|_| Load::default()).collect();
    let mut share = |able: u64| {
        let share = able.saturating_mul(100).checked_div(total).unwrap_or_default().min(left);
        left = left.saturating_sub(share);
        share
    };
    for (load, able) in loads.iter_mut().zip(abilities) {
        load.healthy = share(able.healthy);
    }
    for (load, able) in loads.iter_mut().zip(abilities) {
        load.degraded = share(able.degraded);
    }
    // What rounding left over goes to the first that can take anything.
    let mut each = loads.iter_mut().zip(abilities);
    if let Some((load, _)) = each.find(|(_, able)| able.healthy > 0) {
        load.healthy = load.healthy.saturating_add(left);
    } else if let Some((load, _)) =
        loads.iter_mut().zip(abilities).find(|(_, able)| able.degraded > 0)
    {
        load.degraded = load.degraded.saturating_add(left);
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
    let filled = loads.iter_mut().zip(counts).find(|(_, count)| count.all > 0);
    if let Some((load, _)) = filled {
        load.healthy = load.healthy.saturating_add(left);
    }
}

fn pick(loads: &[Load], draw: u64) -> Option<(usize, Availability)> {
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

    fn priorities(counts: &[(u64, u64, u64)], threshold: u32) -> Priorities {
        let counts: Vec<Counts> = counts
            .iter()
            .map(|&(all, healthy, degraded)| Counts { all, healthy, degraded })
            .collect();
        Priorities::new(&counts, &counts, 140, Percent::from_whole(threshold).unwrap())
    }

    fn loads(counts: &[(u64, u64, u64)], threshold: u32) -> Vec<(u64, u64, bool)> {
        let priorities = priorities(counts, threshold);
        priorities.loads.iter().map(|load| (load.healthy, load.degraded, load.panic)).collect()
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
    fn what_all_together_cannot_take_is_scaled_up_healthy_first() {
        // 14 + 28 + 14 healthy and 28 + 14 degraded of 98 in all.
        let counts = [(10, 1, 2), (10, 2, 1), (10, 1, 0)];
        let scaled = [(16, 28, false), (28, 14, false), (14, 0, false)];
        assert_eq!(loads(&counts, 0), scaled);
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
        let priorities = priorities(&[(2, 1, 0), (1, 1, 0)], 0);
        let first = (0..100).filter(|draw| priorities.choose(*draw, &[]).unwrap().0 == 0).count();
        assert_eq!(first, 70);
    }

    #[test]
    fn tried_priorities_leave_their_load_to_others_until_all_were_tried() {
        let priorities = priorities(&[(1, 1, 0), (2, 1, 0), (1, 1, 0)], 50);
        let shares = |tried: &[u32]| {
            let mut shares = [0; 3];
            for draw in 0..100 {
                shares[priorities.choose(draw, tried).unwrap().0] += 1;
            }
            shares
        };
        assert_eq!(shares(&[]), [100, 0, 0]);
        assert_eq!(shares(&[0]), [0, 70, 30]);
        assert_eq!(shares(&[0, 2]), [0, 100, 0]);
        assert_eq!(shares(&[0, 1, 2]), [100, 0, 0], "then it begins anew");
    }
}
