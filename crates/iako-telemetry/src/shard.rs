//! Which worker is counting: a small number per thread, so that workers never share a cache line.

use std::cell::Cell;

thread_local! {
    static WORKER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Says which worker this thread is; call once when a worker's thread starts. Of the threads that
/// count into one registry no two may be the same worker: each writes its own numbers without asking
/// whether somebody else does.
///
/// Threads that never call this share one place beside those of the workers.
pub fn bind_worker(index: usize) {
    WORKER.with(|worker| worker.set(Some(index)));
}

/// The number given to [`bind_worker`] on this thread.
#[inline]
pub(crate) fn worker() -> Option<usize> {
    WORKER.with(Cell::get)
}
