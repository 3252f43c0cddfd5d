//! Random numbers that a seed can repeat.

use std::hash::{BuildHasher, RandomState};

/// A fast generator for choices that are no secrets (load balancing, sampling, jitter).
///
/// The same seed gives the same sequence. Never use it for keys or tokens.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator whose sequence `seed` decides.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator with a seed of its own, taken from the operating system.
    #[must_use]
    pub fn from_system() -> Self {
        Self::from_seed(RandomState::new().hash_one(std::process::id()))
    }

    /// The next number, evenly distributed over all of `u64`.
    pub const fn next_u64(&mut self) -> u64 {
        // SplitMix64: passes the common batteries, one multiplication chain a number.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of a wide product: no division, bias below 2^-32 for small bounds.
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// A number from 0.0 up to, not including, 1.0.
    pub fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64 exactly")]
        let whole = (self.next_u64() >> 11) as f64;
        whole / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_sequence_and_bounds_hold() {
        let draws = |seed| {
            let mut rng = Rng::from_seed(seed);
            (0..1000).map(|_| rng.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        assert!((0..10).all(|wanted| draws(7).contains(&wanted)));
        assert!(draws(7).iter().all(|&draw| draw < 10));
    }
}
