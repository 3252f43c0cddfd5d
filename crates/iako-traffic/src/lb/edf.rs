//! The order of weighted turns.

use std::{cmp::Ordering, collections::BinaryHeap};

/// Most turns of one cycle. Weights that need more are rounded: 16 bits of precision are finer
/// than any share that somebody measures, and bound the memory of a cluster.
const TURNS_MAX: u64 = 1 << 16;

/// One cycle of turns: each position as often as its weight says, as evenly spread as can be.
///
/// Earliest deadline first: an item of weight `w` is due at `1/w`, `2/w`, …; of those due at the
/// same time, who waited longest goes first. Weights 2, 1, 1 give A B C A, as Envoy does.
pub(super) fn cycle(weights: &[u64]) -> Vec<u32> {
    let weights = reduced(weights);
    let turns: u64 = weights.iter().sum();
    let first = (0..).zip(&weights).filter(|(_, weight)| **weight > 0);
    let mut due: BinaryHeap<Turn> = first
        .map(|(position, &weight)| Turn { position, count: 1, weight, order: position.into() })
        .collect();
    let mut order = u64::try_from(weights.len()).unwrap_or(u64::MAX);
    let mut out = Vec::with_capacity(usize::try_from(turns).unwrap_or_default());
    for _ in 0..turns {
        let Some(turn) = due.pop() else { break };
        out.push(turn.position);
        due.push(Turn { count: turn.count.saturating_add(1), order, ..turn });
        order = order.saturating_add(1);
    }
    out
}

/// Weights without their common divisor, and rounded so that a cycle is bounded.
fn reduced(weights: &[u64]) -> Vec<u64> {
    let divisor = weights.iter().fold(0, |a, &b| gcd(a, b)).max(1);
    let sum: u128 = weights.iter().map(|weight| u128::from(weight / divisor)).sum();
    if sum <= u128::from(TURNS_MAX) {
        return weights.iter().map(|weight| weight / divisor).collect();
    }
    let scale = |weight: u64| {
        let scaled = u128::from(weight / divisor) * u128::from(TURNS_MAX) / sum;
        u64::try_from(scaled).unwrap_or(TURNS_MAX).max(u64::from(weight > 0))
    };
    weights.iter().map(|&weight| scale(weight)).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The next turn of an item, due at `count / weight`.
#[derive(Clone, Copy)]
struct Turn {
    position: u32,
    count: u64,
    weight: u64,
    order: u64,
}

impl Ord for Turn {
    /// Reversed, for the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        let own = u128::from(self.count) * u128::from(other.weight);
        let others = u128::from(other.count) * u128::from(self.weight);
        others.cmp(&own).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

#[cfg(test)]
mod tests {
    use super::*;

    // Case up-rr: A A B C for ever; the cycle starts at its second turn.
    #[test]
    fn the_order_is_that_of_envoy() {
        assert_eq!(cycle(&[2, 1, 1]), [0, 1, 2, 0]);
        assert_eq!(cycle(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(cycle(&[100, 0, 200]), [2, 0, 2]);
        assert!(cycle(&[]).is_empty());
    }

    #[test]
    fn huge_weights_are_bounded() {
        let turns = cycle(&[u64::from(u32::MAX), 1, u64::from(u32::MAX) - 7]);
        assert!(turns.len() <= 65_538);
        assert!(turns.contains(&1));
    }
}
