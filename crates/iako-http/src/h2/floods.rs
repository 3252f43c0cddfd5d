//! Counts of what costs us more than the peer, each with its bound in [`H2Limits`].

use super::error::FloodKind;
use super::event::Ends;
use super::settings::H2Limits;

/// DATA frames with less content are tiny: their upkeep costs more than they carry.
pub(crate) const TINY_BYTES: u32 = 64;

/// What a connection has counted so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    empty_in_a_row: u32,
    priorities: u64,
    window_updates: u64,
    settings: u64,
    opened: u64,
    data_sent: u64,
    closed: u64,
    reset_early: u64,
    tiny: u32,
}

impl Counts {
    /// HEADERS, CONTINUATION or DATA came with so much in it.
    pub(crate) fn carried(
        &mut self,
        bytes: u32,
        ends: Ends,
        limits: &H2Limits,
    ) -> Result<(), FloodKind> {
        if bytes > 0 || ends.here() {
            self.empty_in_a_row = 0;
            return Ok(());
        }
        self.empty_in_a_row += 1;
        within(self.empty_in_a_row.into(), limits.empty_frames_max.into(), FloodKind::EmptyFrames)
    }

    /// PRIORITY came.
    pub(crate) fn priority(&mut self, limits: &H2Limits) -> Result<(), FloodKind> {
        self.priorities += 1;
        let most = u64::from(limits.priority_frames_per_stream_max) * (1 + self.opened);
        within(self.priorities, most, FloodKind::Priority)
    }

    /// WINDOW_UPDATE came.
    pub(crate) fn window_update(&mut self, limits: &H2Limits) -> Result<(), FloodKind> {
        self.window_updates += 1;
        let for_data = u64::from(limits.window_updates_per_data_frame_max) * self.data_sent;
        within(self.window_updates, 5 + 2 * (self.opened + for_data), FloodKind::WindowUpdate)
    }

    /// SETTINGS came.
    pub(crate) fn settings(&mut self, limits: &H2Limits) -> Result<(), FloodKind> {
        self.settings += 1;
        let most = u64::from(limits.settings_frames_max) + 10 * self.opened;
        within(self.settings, most, FloodKind::Settings)
    }

    /// A stream was opened, by either side.
    pub(crate) fn opened(&mut self) {
        self.opened += 1;
    }

    /// DATA was queued.
    pub(crate) fn data_sent(&mut self) {
        self.data_sent += 1;
    }

    /// A stream of the peer ended as it should.
    pub(crate) fn closed(&mut self) {
        self.closed += 1;
    }

    /// A stream of the peer was reset soon after it began, by the peer or because of it.
    ///
    /// Once half of the streams that are looked at were, the rest cannot make up for it.
    pub(crate) fn reset_early(&mut self, limits: &H2Limits) -> Result<(), FloodKind> {
        self.closed += 1;
        self.reset_early += 1;
        let of = u64::from(limits.premature_resets_of).max(self.closed);
        within(2 * self.reset_early, of.saturating_sub(1), FloodKind::RapidReset)
    }

    /// A tiny DATA frame waits for its reader.
    pub(crate) fn tiny(&mut self, limits: &H2Limits) -> Result<(), FloodKind> {
        self.tiny += 1;
        within(self.tiny.into(), limits.tiny_frames_max.into(), FloodKind::TinyFrames)
    }

    /// So many tiny DATA frames were read, or their stream is gone.
    pub(crate) fn tiny_read(&mut self, frames: u32) {
        self.tiny = self.tiny.saturating_sub(frames);
    }
}

fn within(count: u64, most: u64, kind: FloodKind) -> Result<(), FloodKind> {
    if count > most { Err(kind) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_first_500_streams_may_not_be_reset_early() {
        let limits = H2Limits::default();
        let mut counts = Counts::default();
        for _ in 0..249 {
            assert_eq!(counts.reset_early(&limits), Ok(()));
        }
        assert_eq!(counts.reset_early(&limits), Err(FloodKind::RapidReset));
    }

    #[test]
    fn streams_that_end_well_make_up_for_those_that_do_not() {
        let limits = H2Limits::default();
        let mut counts = Counts::default();
        for _ in 0..10_000 {
            assert_eq!(counts.reset_early(&limits), Ok(()));
            counts.closed();
            counts.closed();
        }
    }

    #[test]
    fn one_empty_frame_is_taken_and_the_second_in_a_row_is_not() {
        let limits = H2Limits::default();
        let mut counts = Counts::default();
        for _ in 0..3 {
            assert_eq!(counts.carried(0, Ends::Later, &limits), Ok(()));
            assert_eq!(counts.carried(1, Ends::Later, &limits), Ok(()));
        }
        assert_eq!(counts.carried(0, Ends::Here, &limits), Ok(()));
        assert_eq!(counts.carried(0, Ends::Later, &limits), Ok(()));
        assert_eq!(counts.carried(0, Ends::Later, &limits), Err(FloodKind::EmptyFrames));
    }
}
