//! What a connection counted of its own, for statistics.

/// Frames of a connection since it began; numbers wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// RST_STREAM that was sent.
    pub resets_sent: u32,
    /// Those of them that were asked for, and not because of what the peer did.
    pub resets_asked: u32,
    /// RST_STREAM that came for a stream that was open.
    pub resets_received: u32,
    /// GOAWAY that was sent for the last time, without an error.
    pub goaways_sent: u32,
    /// Trailers that came.
    pub trailers_received: u32,
}

impl Tally {
    /// What was counted since an earlier look.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            resets_sent: self.resets_sent.wrapping_sub(earlier.resets_sent),
            resets_asked: self.resets_asked.wrapping_sub(earlier.resets_asked),
            resets_received: self.resets_received.wrapping_sub(earlier.resets_received),
            goaways_sent: self.goaways_sent.wrapping_sub(earlier.goaways_sent),
            trailers_received: self.trailers_received.wrapping_sub(earlier.trailers_received),
        }
    }
}

/// One more of something; wraps.
pub(super) const fn count(number: &mut u32) {
    *number = number.wrapping_add(1);
}
