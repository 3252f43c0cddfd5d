//! Which requests a server that closed cannot have looked at.

use std::cell::Cell;

/// What is known of the acknowledgements of a peer's system, to tell requests that it has not received
/// from those that it may have.
///
/// The packet that ends the peer's side says what was received. Before the first frames of a request
/// that must not be sent twice are written, the driver notes what was acknowledged until then; when
/// that is still all at the peer's end, the peer has nothing of the request. Requests whose frames are
/// written together share a note. A later note covers an older one: then the older request counts as
/// seen.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// The number of the last note; the next one has the next number.
    noted: Cell<u32>,
    /// A request waits to be noted.
    wanted: Cell<bool>,
    acknowledged: Cell<Option<u64>>,
    /// The note whose requests were not received, once the connection has ended.
    unseen: Cell<Option<u32>>,
}

impl Proof {
    /// A request is opened; the number of the note that will tell of it.
    pub(super) fn ask(&self) -> u32 {
        self.wanted.set(true);
        self.noted.get().wrapping_add(1)
    }

    /// Notes what was acknowledged, where a request wants it. Called before anything is written.
    pub(super) fn note(&self, acknowledged: impl FnOnce() -> Option<u64>) {
        if self.wanted.replace(false) {
            self.noted.set(self.noted.get().wrapping_add(1));
            self.acknowledged.set(acknowledged());
        }
    }

    /// The connection has ended; `acknowledged` is what was acknowledged with the peer's end, if it is
    /// known that the peer ended its side.
    pub(super) fn ended(&self, acknowledged: Option<u64>) {
        let unseen = if self.wanted.get() {
            // Nothing of it was written.
            Some(self.noted.get().wrapping_add(1))
        } else {
            let noted = self.acknowledged.get();
            (noted.is_some() && noted == acknowledged).then_some(self.noted.get())
        };
        self.unseen.set(unseen);
    }

    /// Whether the peer has seen nothing of the requests of a note.
    pub(super) fn is_unseen(&self, note: u32) -> bool {
        self.unseen.get() == Some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_unseen_when_nothing_was_acknowledged_since_it_was_written() {
        let proof = Proof::default();
        let first = proof.ask();
        assert_eq!(first, proof.ask(), "what is written together shares a note");
        proof.note(|| Some(10));
        proof.note(|| panic!("nobody asks"));
        proof.ended(Some(10));
        assert!(proof.is_unseen(first));
        proof.ended(Some(11));
        assert!(!proof.is_unseen(first), "something was received");
        proof.ended(None);
        assert!(!proof.is_unseen(first), "an abort proves nothing");
    }

    #[test]
    fn a_request_that_was_never_written_is_unseen_and_one_before_a_later_note_is_not() {
        let proof = Proof::default();
        let first = proof.ask();
        proof.note(|| Some(10));
        let second = proof.ask();
        proof.ended(Some(10));
        assert!(proof.is_unseen(second) && !proof.is_unseen(first));
        proof.note(|| Some(10));
        proof.ended(Some(10));
        assert!(proof.is_unseen(second) && !proof.is_unseen(first));
    }
}
