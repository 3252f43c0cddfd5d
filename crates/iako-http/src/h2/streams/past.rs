//! What frames for streams that are gone mean (RFC 9113 §5.1, "closed").

use std::collections::VecDeque;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// The peer had ended its half, or reset the stream: more from it breaks the protocol.
    Ended,
    /// We reset it while the peer might still send: what comes is read and dropped.
    Dropped,
    /// It never lived, or too long ago to be remembered.
    Unknown,
}

/// Streams that are remembered by name.
const ENDED_MAX: usize = 64;

/// Streams reset by us that are remembered by name.
const DROPPED_MAX: usize = 256;

/// The last streams that ended, bounded.
#[derive(Debug, Default)]
pub(super) struct History {
    ended: VecDeque<u32>,
    dropped: VecDeque<u32>,
    /// Streams up to here may have been reset by us, for one of them was forgotten: what comes for
    /// them is dropped, for a peer that is right must not lose its connection.
    forgiven: u32,
}

impl History {
    pub(super) fn note(&mut self, number: u32, past: Past) {
        match past {
            Past::Unknown => {}
            Past::Ended => {
                if self.ended.len() == ENDED_MAX {
                    self.ended.pop_front();
                }
                self.ended.push_back(number);
            }
            Past::Dropped => {
                if self.dropped.len() == DROPPED_MAX {
                    self.forgiven = self.forgiven.max(self.dropped.pop_front().unwrap_or(0));
                }
                self.dropped.push_back(number);
            }
        }
    }

    pub(super) fn of(&self, number: u32) -> Past {
        if self.ended.contains(&number) {
            Past::Ended
        } else if number <= self.forgiven || self.dropped.contains(&number) {
            Past::Dropped
        } else {
            Past::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_known_by_name_and_older_ones_get_the_benefit_of_the_doubt() {
        let mut history = History::default();
        assert_eq!(history.of(1), Past::Unknown);
        history.note(1, Past::Ended);
        assert_eq!(history.of(1), Past::Ended);
        for number in (3..2003).step_by(2) {
            history.note(number, Past::Dropped);
        }
        assert_eq!(history.of(2001), Past::Dropped);
        assert_eq!(history.of(3), Past::Dropped);
        assert_eq!(history.of(5001), Past::Unknown);
        assert!(history.dropped.len() <= DROPPED_MAX);
    }
}
