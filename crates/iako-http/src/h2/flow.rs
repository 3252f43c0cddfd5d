//! Flow-control windows of what comes in (RFC 9113 §5.2, §6.9).
//!
//! A window has a target that moves: it begins modest, doubles while its reader keeps up with a peer
//! that is fast, and shrinks when it is told to. What the peer may send is never taken back, it is only
//! not renewed.

use super::settings::WINDOW_MAX;

/// Smallest target: one frame of the usual size fits.
pub(crate) const TARGET_MIN: u32 = 16_384;

/// A peer that uses up half of a window within so many milliseconds would wait for its renewal on a way
/// of twice that: whether it did cannot be seen from here, for a renewal is under way by then. A window
/// is so made large enough for what the peer sends in 300 ms, the longest ways there are on earth.
const FAST_MILLIS: u32 = 150;

/// The window of one stream, or of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveWindow {
    /// Bytes that the peer may send before it hears of us. Negative after a setting made it smaller
    /// (RFC 9113 §6.9.2).
    available: i64,
    /// What it is renewed to.
    target: u32,
    /// Bytes that came and wait for their reader.
    held: u32,
    /// Milliseconds of the connection at the last renewal.
    renewed_at: u32,
}

/// How far a window may be renewed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Of the target.
    pub(crate) ceiling: u32,
    /// How much more the target may become now.
    pub(crate) growth_max: u32,
    /// Bytes that may be on their way or held at all.
    pub(crate) room: u32,
}

/// How a window is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// Bytes by which it grows on the wire.
    pub(crate) increment: u32,
    /// Bytes by which the target grew.
    pub(crate) grown: u32,
}

impl ReceiveWindow {
    /// A window of which the peer knows.
    pub(crate) fn new(window: u32) -> Self {
        Self { available: i64::from(window), target: window, held: 0, renewed_at: 0 }
    }

    /// Counts bytes that came. `false` when the peer was not allowed to send so many.
    #[must_use]
    pub(crate) fn take(&mut self, bytes: u32) -> bool {
        self.available -= i64::from(bytes);
        self.available >= 0
    }

    /// Bytes of those taken wait for their reader.
    pub(crate) fn hold(&mut self, bytes: u32) {
        self.held = self.held.saturating_add(bytes);
    }

    /// A reader took bytes; how many of them were held.
    pub(crate) fn release(&mut self, bytes: u32) -> u32 {
        let released = bytes.min(self.held);
        self.held -= released;
        released
    }

    pub(crate) fn held(&self) -> u32 {
        self.held
    }

    pub(crate) fn target(&self) -> u32 {
        self.target
    }

    /// A setting moved every window of a stream.
    pub(crate) fn shift(&mut self, delta: i64) {
        self.available += delta;
    }

    /// Makes the target no larger than that; how much smaller it became.
    pub(crate) fn shrink(&mut self, target_max: u32) -> u32 {
        let smaller = self.target.saturating_sub(target_max.max(TARGET_MIN));
        self.target -= smaller;
        smaller
    }

    /// Renews the window when half of it is used, so that updates are few and the peer rarely waits.
    ///
    /// `now` is in milliseconds of the connection.
    pub(crate) fn renew(&mut self, now: u32, bounds: Bounds) -> Option<Renewal> {
        let Bounds { ceiling, growth_max, room } = bounds;
        let due = |target: u32, held: u32, available: i64| {
            i64::from(target.min(room)) - i64::from(held) - available
        };
        let threshold = i64::from(self.target.min(room) / 2).max(1);
        if due(self.target, self.held, self.available) < threshold {
            return None;
        }
        let mut grown = 0;
        let is_fast = now.saturating_sub(self.renewed_at) <= FAST_MILLIS;
        // A reader that keeps up has little before it.
        if is_fast && self.held <= self.target / 4 {
            let wanted = self.target.min(ceiling.saturating_sub(self.target));
            grown = wanted.min(growth_max);
            self.target += grown;
        }
        let allowed = i64::from(WINDOW_MAX) - self.available;
        let increment = due(self.target, self.held, self.available).min(allowed);
        let increment = u32::try_from(increment).ok().filter(|increment| *increment > 0)?;
        self.available += i64::from(increment);
        self.renewed_at = now;
        Some(Renewal { increment, grown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 1 << 20;

    /// At a time at which the peer is not fast, unless it is asked for twice.
    fn slow(window: &mut ReceiveWindow, ceiling: u32, room: u32) -> Option<Renewal> {
        let now = window.renewed_at + FAST_MILLIS + 1;
        window.renew(now, Bounds { ceiling, growth_max: MAX, room })
    }

    fn fast(window: &mut ReceiveWindow, ceiling: u32) -> Option<Renewal> {
        let now = window.renewed_at + FAST_MILLIS;
        window.renew(now, Bounds { ceiling, growth_max: MAX, room: u32::MAX })
    }

    #[test]
    fn a_window_is_renewed_at_half_and_not_before() {
        let mut window = ReceiveWindow::new(100_000);
        assert!(window.take(49_999));
        assert_eq!(slow(&mut window, 100_000, MAX), None);
        assert!(window.take(1));
        assert_eq!(slow(&mut window, 100_000, MAX), Some(Renewal { increment: 50_000, grown: 0 }));
        assert!(window.take(100_000));
        assert!(!window.take(1));
    }

    #[test]
    fn what_waits_for_its_reader_is_not_renewed() {
        let mut window = ReceiveWindow::new(100_000);
        assert!(window.take(100_000));
        window.hold(100_000);
        assert_eq!(fast(&mut window, MAX), None);
        assert_eq!(window.release(60_000), 60_000);
        assert_eq!(slow(&mut window, MAX, MAX).map(|renewal| renewal.increment), Some(60_000));
        assert_eq!(window.release(60_000), 40_000);
    }

    #[test]
    fn the_target_doubles_while_a_reader_keeps_up_with_a_fast_peer() {
        let mut window = ReceiveWindow::new(65_536);
        let mut sent: u64 = 65_536;
        for target in [131_072_u32, 262_144, 400_000, 400_000] {
            assert!(window.take(u32::try_from(sent).unwrap()));
            let renewal = fast(&mut window, 400_000).unwrap();
            assert_eq!(window.target(), target);
            sent = u64::from(renewal.increment);
            assert_eq!(sent, u64::from(target));
        }
    }

    #[test]
    fn a_peer_that_is_slow_gets_no_larger_window() {
        let mut window = ReceiveWindow::new(65_536);
        for _ in 0..100 {
            assert!(window.take(40_000));
            assert!(slow(&mut window, MAX, MAX).is_some());
        }
        assert_eq!(window.target(), 65_536);
    }

    #[test]
    fn a_slow_reader_gets_no_larger_window() {
        let mut window = ReceiveWindow::new(65_536);
        assert!(window.take(65_536));
        window.hold(65_536);
        window.release(33_000);
        assert_eq!(fast(&mut window, MAX), Some(Renewal { increment: 33_000, grown: 0 }));
    }

    #[test]
    fn a_smaller_target_takes_nothing_back_but_withholds_the_next_renewal() {
        let mut window = ReceiveWindow::new(400_000);
        assert_eq!(window.shrink(100_000), 300_000);
        assert!(window.take(300_000));
        assert_eq!(slow(&mut window, 100_000, MAX), None);
        assert!(window.take(50_000));
        let renewal = slow(&mut window, 100_000, MAX);
        assert_eq!(renewal.map(|renewal| renewal.increment), Some(50_000));
    }

    #[test]
    fn bytes_held_elsewhere_bound_the_renewal() {
        let mut window = ReceiveWindow::new(100_000);
        assert!(window.take(100_000));
        assert_eq!(slow(&mut window, 100_000, 60_000).map(|r| r.increment), Some(60_000));
    }
}
