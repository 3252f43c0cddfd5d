//! From a stream's number to its place: open addressing, one line of memory for a usual connection.

use crate::h2::event::StreamId;

const SLOTS_MIN: usize = 16;

/// No stream has the number 0.
const FREE: StreamId = StreamId { number: 0, place: 0 };

/// Where the living streams are. Never more than half full, so that a search is short; a peer that
/// chooses numbers to collide gains no more than one pass over the streams that it may have open.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    slots: Vec<StreamId>,
    len: usize,
}

impl Numbers {
    pub(super) fn find(&self, number: u32) -> Option<StreamId> {
        if self.slots.is_empty() {
            return None;
        }
        let mut slot = self.home(number);
        loop {
            let found = *self.slots.get(slot)?;
            if found.number == number {
                return Some(found);
            }
            if found == FREE {
                return None;
            }
            slot = self.after(slot);
        }
    }

    pub(super) fn insert(&mut self, id: StreamId) {
        if (self.len + 1) * 2 > self.slots.len() {
            let bigger = vec![FREE; (self.slots.len() * 2).max(SLOTS_MIN)];
            let old = std::mem::replace(&mut self.slots, bigger);
            for id in old.into_iter().filter(|id| *id != FREE) {
                self.place(id);
            }
        }
        self.len += 1;
        self.place(id);
    }

    fn place(&mut self, id: StreamId) {
        let mut slot = self.home(id.number);
        while let Some(there) = self.slots.get_mut(slot) {
            if *there == FREE {
                *there = id;
                return;
            }
            slot = self.after(slot);
        }
    }

    /// Removes a number and moves those behind it that had to give way, so that no search ever meets a
    /// grave.
    pub(super) fn remove(&mut self, number: u32) {
        let mut hole = self.home(number);
        while self.at(hole).number != number {
            if self.at(hole) == FREE {
                return;
            }
            hole = self.after(hole);
        }
        self.len -= 1;
        let mut slot = hole;
        loop {
            slot = self.after(slot);
            let id = self.at(slot);
            if id == FREE {
                break;
            }
            let from_home = self.distance(self.home(id.number), slot);
            if from_home >= self.distance(hole, slot) {
                self.set(hole, id);
                hole = slot;
            }
        }
        self.set(hole, FREE);
    }

    fn at(&self, slot: usize) -> StreamId {
        self.slots.get(slot).copied().unwrap_or(FREE)
    }

    fn set(&mut self, slot: usize, id: StreamId) {
        if let Some(there) = self.slots.get_mut(slot) {
            *there = id;
        }
    }

    /// The slots are a power of two.
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    /// Numbers come one after the other, so that their low bits spread them best.
    fn home(&self, number: u32) -> usize {
        let mixed = (number >> 1) ^ (number >> 13).wrapping_mul(0x9e37_79b1);
        mixed as usize & self.mask()
    }

    fn after(&self, slot: usize) -> usize {
        (slot + 1) & self.mask()
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((1_u32..300, any::<bool>()), 1..600)) {
            let mut table = Numbers::default();
            let mut model = BTreeMap::new();
            for (place, (number, insert)) in steps.into_iter().enumerate() {
                // Strides as a hostile peer would choose them.
                let number = number * 32 + 1;
                let place = u32::try_from(place).unwrap();
                if insert && !model.contains_key(&number) {
                    table.insert(StreamId { number, place });
                    model.insert(number, place);
                } else if !insert {
                    table.remove(number);
                    model.remove(&number);
                }
            }
            for probe in (0..300).map(|number| number * 32 + 1) {
                prop_assert_eq!(table.find(probe).map(|id| id.place), model.get(&probe).copied());
            }
        }
    }

    #[test]
    fn an_empty_table_knows_nobody() {
        let mut table = Numbers::default();
        assert_eq!(table.find(1), None);
        table.remove(1);
    }
}
