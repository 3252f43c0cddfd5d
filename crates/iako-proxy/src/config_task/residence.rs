//! When memory that a burst left behind is given back.

/// Growth that is worth giving back. Below it the allocator had better keep what it has.
const GROWTH_MIN: u64 = 8 * 1024 * 1024;
/// Looks without further growth, after which a burst may be over.
const PAUSE_MIN: u32 = 2;
/// Longest pause between two times of giving back: a load may really need what is held, and walking
/// through it again and again costs.
const PAUSE_MAX: u32 = 64;

/// Watches the memory that the process holds. The allocator keeps what was freed, for the next need;
/// after a burst that may never come.
#[derive(Debug)]
pub(super) struct Residence {
    /// The fewest bytes that were ever held.
    floor: u64,
    last: u64,
    /// Looks until memory is given back.
    wait: u32,
    /// Looks to wait the next time: doubled while giving back brought nothing.
    pause: u32,
}

impl Default for Residence {
    fn default() -> Self {
        Self { floor: u64::MAX, last: 0, wait: PAUSE_MIN, pause: PAUSE_MIN }
    }
}

impl Residence {
    /// Takes the bytes that are held now; whether memory should be given back.
    pub(super) fn look(&mut self, held: u64) -> bool {
        let grows = held > self.last.saturating_add(GROWTH_MIN);
        self.last = held;
        self.floor = self.floor.min(held);
        if held < self.floor.saturating_add(GROWTH_MIN.max(self.floor / 2)) {
            (self.wait, self.pause) = (PAUSE_MIN, PAUSE_MIN);
            return false;
        }
        if grows {
            self.wait = self.wait.max(PAUSE_MIN);
            return false;
        }
        self.wait = self.wait.saturating_sub(1);
        if self.wait > 0 {
            return false;
        }
        self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        self.wait = self.pause;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn looks(residence: &mut Residence, held: &[u64]) -> Vec<bool> {
        held.iter().map(|mib| residence.look(mib * MIB)).collect()
    }

    /// The looks, from 1, at which memory is given back while so much is held.
    fn given_back(residence: &mut Residence, held: u64, looks: usize) -> Vec<usize> {
        (1..=looks).filter(|_| residence.look(held * MIB)).collect()
    }

    #[test]
    fn what_a_burst_left_is_given_back_once_it_is_over() {
        let mut residence = Residence::default();
        assert_eq!(looks(&mut residence, &[15, 16, 200, 400, 400]), [false; 5]);
        assert_eq!(looks(&mut residence, &[395]), [true]);
        assert_eq!(looks(&mut residence, &[20, 21, 20]), [false; 3]);
    }

    #[test]
    fn a_burst_that_lasts_is_tried_less_and_less_often_and_never_forgotten() {
        let mut residence = Residence::default();
        assert_eq!(looks(&mut residence, &[15, 300]), [false; 2]);
        let times = given_back(&mut residence, 300, 400);
        assert_eq!(times, [2, 6, 14, 30, 62, 126, 190, 254, 318, 382]);
    }
}
