//! How much content the HTTP/2 connections of a worker hold, in either direction.

use std::cell::Cell;

/// Content that all HTTP/2 connections of one worker may hold for slow readers before their windows
/// shrink to the smallest that keeps a stream moving. Envoy bounds the same by
/// `per_connection_buffer_limit_bytes` (1 MiB) on each connection; a bound on the worker lets few
/// connections be fast and keeps many from taking the memory of the pod.
pub(crate) const HELD_BYTES_MAX: usize = 64 << 20;

/// Content that all streams of one worker may queue for peers whose windows are closed before each
/// stream queues less, see [`queue_bytes_max`](crate::http::wire::queue_bytes_max).
pub(crate) const QUEUED_BYTES_MAX: usize = 64 << 20;

/// The window of a stream, and of a connection, while memory is short.
pub(crate) const SHORT_WINDOWS: (u32, u32) = (64 << 10, 256 << 10);

thread_local! {
    /// Of this worker: a worker is a thread.
    static HELD: Pressure = const { Pressure::new(HELD_BYTES_MAX) };
    static QUEUED: Pressure = const { Pressure::new(QUEUED_BYTES_MAX) };
}

/// Content came and waits for its reader.
pub(super) fn hold(bytes: usize) {
    HELD.with(|pressure| pressure.add(bytes));
}

/// Content was taken, or dropped.
pub(super) fn release(bytes: usize) {
    HELD.with(|pressure| pressure.remove(bytes));
}

/// Whether windows have to be small.
pub(super) fn is_high() -> bool {
    HELD.with(|pressure| pressure.high.get())
}

/// Whether little more may be queued.
pub(crate) fn is_queue_long() -> bool {
    QUEUED.with(|pressure| pressure.high.get())
}

/// What one connection has queued, as far as the worker was told. Told once a turn.
#[derive(Debug, Default)]
pub(super) struct Queued(usize);

impl Queued {
    /// So much is queued now.
    pub(super) fn tell(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.0, bytes);
        if before != bytes {
            QUEUED.with(|pressure| {
                pressure.add(bytes.saturating_sub(before));
                pressure.remove(before.saturating_sub(bytes));
            });
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.tell(0);
    }
}

/// Counts content, and says when it is too much.
#[derive(Debug)]
struct Pressure {
    most: usize,
    bytes: Cell<usize>,
    high: Cell<bool>,
}

impl Pressure {
    const fn new(most: usize) -> Self {
        Self { most, bytes: Cell::new(0), high: Cell::new(false) }
    }

    fn add(&self, bytes: usize) {
        let sum = self.bytes.get().saturating_add(bytes);
        self.bytes.set(sum);
        if sum > self.most {
            self.high.set(true);
        }
    }

    fn remove(&self, bytes: usize) {
        let sum = self.bytes.get().saturating_sub(bytes);
        self.bytes.set(sum);
        if sum < self.most / 2 {
            self.high.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_at_the_bound_and_falls_at_half_of_it() {
        let pressure = Pressure::new(HELD_BYTES_MAX);
        pressure.add(HELD_BYTES_MAX);
        assert!(!pressure.high.get());
        pressure.add(1);
        assert!(pressure.high.get());
        pressure.remove(HELD_BYTES_MAX / 2);
        assert!(pressure.high.get(), "it does not flutter");
        pressure.remove(2);
        assert!(!pressure.high.get());
    }

    #[test]
    fn the_queues_of_connections_are_summed_and_those_that_are_gone_forgotten() {
        let mut one = Queued::default();
        let mut other = Queued::default();
        one.tell(QUEUED_BYTES_MAX);
        assert!(!is_queue_long());
        other.tell(1);
        assert!(is_queue_long());
        one.tell(QUEUED_BYTES_MAX / 2);
        assert!(is_queue_long());
        drop(other);
        one.tell(QUEUED_BYTES_MAX / 2 - 1);
        assert!(!is_queue_long());
    }
}
