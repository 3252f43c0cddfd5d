//! When memory that a burst left behind is given back.

/// Growth that is worth giving back. Below it the allocator had better keep what it has.
const GROWTH_MIN: u64 = 8 * 1024 * 1024;
/// Looks without further growth, after which a burst counts as over.
const CALM_LOOKS: u32 = 2;

/// Watches the memory that the process holds. The allocator keeps what was freed, for the next need;
/// after a burst that may never come.
#[derive(Debug, Default)]
pub(super) struct Residence {
    /// Bytes held when memory was last given back, or less since.
    floor: u64,
    last: u64,
    calm: u32,
}

impl Residence {
    /// Takes the bytes that are held now; whether memory should be given back. Says so once for each
    /// growth by half: what a load really needs is not given back again and again.
    pub(super) fn look(&mut self, held: u64) -> bool {
        let grows = held > self.last + GROWTH_MIN;
        self.last = held;
        if self.floor == 0 || held < self.floor {
            self.floor = held;
        }
        if grows || held < self.floor + GROWTH_MIN.max(self.floor / 2) {
            self.calm = 0;
            return false;
        }
        self.calm += 1;
        if self.calm < CALM_LOOKS {
            return false;
        }
        self.calm = 0;
        self.floor = 0;
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

    #[test]
    fn what_a_burst_left_is_given_back_once_it_is_over() {
        let mut residence = Residence::default();
        assert_eq!(looks(&mut residence, &[15, 16, 200, 400, 400]), [false; 5]);
        assert_eq!(looks(&mut residence, &[395]), [true]);
        assert_eq!(looks(&mut residence, &[20, 21, 20]), [false; 3]);
    }

    #[test]
    fn what_a_load_needs_is_not_given_back_again_and_again() {
        let mut residence = Residence::default();
        assert_eq!(looks(&mut residence, &[15, 300, 300, 300]), [false, false, false, true]);
        assert_eq!(looks(&mut residence, &[290, 300, 310, 300, 305]), [false; 5]);
    }
}
