//! Consistent hashing with bounded loads: who has too much passes requests on.
//!
//! Source: "Consistent Hashing with Bounded Loads" (arXiv 1608.01350), with the random order of
//! arXiv 1908.08762, as Envoy has it.

use smallvec::SmallVec;

/// How busy an instance is: its open requests, and how many places it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Busy {
    pub(super) active: u32,
    /// Its share of the whole cluster.
    pub(super) share: f64,
}

/// What a request may find.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most requests of an instance, in percent of the average.
    pub(super) factor: u32,
    /// Requests that are open at the whole cluster.
    pub(super) active: u32,
}

impl Bounds {
    /// Above 1 for an instance that has more than it should.
    fn overload(self, busy: Busy) -> f64 {
        let wanted = u64::from(self.active).saturating_add(1).saturating_mul(self.factor.into());
        let slots = wanted.saturating_add(99) / 100;
        #[expect(clippy::cast_precision_loss, reason = "numbers of requests are far below 2^52")]
        let own = (slots as f64 * busy.share).ceil().max(1.0);
        f64::from(busy.active) / own
    }

    /// The instance for a hash: its `owner`, or else the first that is not overloaded, in an order
    /// that is always the same for the same hash; or the least overloaded. `busy` tells of every
    /// position below `count`.
    pub(super) fn choose(
        self,
        (owner, hash): (usize, u64),
        count: usize,
        busy: impl Fn(usize) -> Busy,
    ) -> usize {
        let mut least = (owner, self.overload(busy(owner)));
        if least.1 <= 1.0 {
            return owner;
        }
        let mut order: SmallVec<[usize; 64]> = (0..count).collect();
        let mut random = Twister::new(hash);
        for done in 0..count {
            let left = u32::try_from(count.saturating_sub(done)).unwrap_or(u32::MAX);
            let step = usize::try_from(random.below(left)).unwrap_or_default();
            order.swap(done, done.saturating_add(step));
            let Some(&other) = order.get(done) else { break };
            if other == owner {
                continue;
            }
            let overload = self.overload(busy(other));
            if overload <= 1.0 {
                return other;
            }
            if overload < least.1 {
                least = (other, overload);
            }
        }
        least.0
    }
}

const WORDS: usize = 624;

/// The generator that C++ calls `std::mt19937`, for the same order as Envoy's.
/// Source: Matsumoto and Nishimura, "Mersenne Twister", 1998.
struct Twister {
    words: [u32; WORDS],
    next: usize,
}

impl Twister {
    fn new(seed: u64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the generator takes 32 bits of a seed"
        )]
        let mut last = seed as u32;
        let mut words = [0; WORDS];
        for (number, word) in (0_u32..).zip(&mut words) {
            if number > 0 {
                last = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(number);
            }
            *word = last;
        }
        Self { words, next: WORDS }
    }

    fn word(&self, position: usize) -> u32 {
        position.checked_rem(WORDS).and_then(|at| self.words.get(at)).copied().unwrap_or_default()
    }

    fn twist(&mut self) {
        for position in 0..WORDS {
            let low = self.word(position.saturating_add(1));
            let mixed = (self.word(position) & 0x8000_0000) | (low & 0x7fff_ffff);
            let odd = if mixed & 1 == 0 { 0 } else { 0x9908_b0df };
            let word = self.word(position.saturating_add(397)) ^ (mixed >> 1) ^ odd;
            if let Some(slot) = self.words.get_mut(position) {
                *slot = word;
            }
        }
        self.next = 0;
    }

    fn draw(&mut self) -> u32 {
        if self.next >= WORDS {
            self.twist();
        }
        let mut word = self.word(self.next);
        self.next = self.next.saturating_add(1);
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// An even number below a bound.
    fn below(&mut self, bound: u32) -> u32 {
        let Some(step) = (1_u64 << 32).checked_div(bound.into()) else { return 0 };
        loop {
            let drawn = u64::from(self.draw()).checked_div(step).unwrap_or_default();
            if let Ok(drawn) = u32::try_from(drawn)
                && drawn < bound
            {
                return drawn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The C++ standard, [rand.predef]: the ten thousandth number of the default seed.
    #[test]
    fn the_generator_is_that_of_the_standard() {
        let mut random = Twister::new(5489);
        let numbers: Vec<u32> = (0..10_000).map(|_| random.draw()).collect();
        assert_eq!((numbers[0], numbers[9_999]), (3_499_211_612, 4_123_659_995));
    }

    #[test]
    fn who_has_too_much_passes_requests_on_always_to_the_same() {
        let bounds = |active| Bounds { factor: 150, active };
        let busy = |counts: [u32; 4]| move |at: usize| Busy { active: counts[at], share: 0.25 };
        assert_eq!(bounds(4).choose((2, 77), 4, busy([0, 0, 2, 2])), 2);
        let other = bounds(9).choose((2, 77), 4, busy([1, 1, 7, 0]));
        assert_ne!(other, 2);
        assert_eq!(bounds(9).choose((2, 77), 4, busy([1, 1, 7, 0])), other);
        assert_eq!(bounds(39).choose((2, 77), 4, busy([40, 30, 50, 39])), 1, "the least of all");
    }
}
