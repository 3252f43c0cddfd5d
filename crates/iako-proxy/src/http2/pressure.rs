//! How much content the HTTP/2 connections of a worker hold for slow readers.

use std::cell::Cell;

/// Content that all HTTP/2 connections of one worker may hold before their windows shrink to the
/// smallest that keeps a stream moving. Envoy bounds the same by `per_connection_buffer_limit_bytes`
/// (1 MiB) on each connection; a bound on the worker lets few connections be fast and keeps many from
/// taking the memory of the pod.
pub(crate) const HELD_BYTES_MAX: usize = 64 << 20;

/// Below this windows may grow again.
const CALM_BYTES_MAX: usize = HELD_BYTES_MAX / 2;

/// The window of a stream, and of a connection, while memory is short.
pub(super) const SHORT_WINDOWS: (u32, u32) = (64 << 10, 256 << 10);

thread_local! {
    /// Of this worker: a worker is a thread.
    static PRESSURE: Pressure = const { Pressure::new() };
}

/// Content came and waits for its reader.
pub(super) fn hold(bytes: usize) {
    PRESSURE.with(|pressure| pressure.hold(bytes));
}

/// Content was taken, or dropped.
pub(super) fn release(bytes: usize) {
    PRESSURE.with(|pressure| pressure.release(bytes));
}

/// Whether windows have to be small.
pub(super) fn is_high() -> bool {
    PRESSURE.with(|pressure| pressure.high.get())
}

/// Counts held content.
#[derive(Debug)]
struct Pressure {
    held: Cell<usize>,
    high: Cell<bool>,
}

impl Pressure {
    const fn new() -> Self {
        Self { held: Cell::new(0), high: Cell::new(false) }
    }

    fn hold(&self, bytes: usize) {
        let held = self.held.get().saturating_add(bytes);
        self.held.set(held);
        if held > HELD_BYTES_MAX {
            self.high.set(true);
        }
    }

    fn release(&self, bytes: usize) {
        let held = self.held.get().saturating_sub(bytes);
        self.held.set(held);
        if held < CALM_BYTES_MAX {
            self.high.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_at_the_bound_and_falls_at_half_of_it() {
        let pressure = Pressure::new();
        pressure.hold(HELD_BYTES_MAX);
        assert!(!pressure.high.get());
        pressure.hold(1);
        assert!(pressure.high.get());
        pressure.release(HELD_BYTES_MAX / 2);
        assert!(pressure.high.get(), "it does not flutter");
        pressure.release(2);
        assert!(!pressure.high.get());
    }
}
