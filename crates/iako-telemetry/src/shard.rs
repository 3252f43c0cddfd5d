//! Which worker is counting: a small number per thread, so that workers never share a cache line.

use std::cell::Cell;

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// Says which worker this thread is; call once when a worker's thread starts.
///
/// Threads that never call this count as worker 0, which is correct but may contend with it.
pub fn bind_worker(index: usize) {
    WORKER.with(|worker| worker.set(index));
}

/// The number given to [`bind_worker`] on this thread.
#[inline]
pub(crate) fn worker() -> usize {
    WORKER.with(Cell::get)
}
