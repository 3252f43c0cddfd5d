//! Panics: mistakes of the program that end one task, and nothing else.
//!
//! What panics ends alone, a connection as a rule: the runtime sees to that for tasks, and [`contained`]
//! for steps of a task that others depend on. An operator hears of it.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Has every panic of this process counted and logged, in place of text on standard error. For the start
/// of a program.
pub fn watch() {
    set_hook(Box::new(|panic| {
        COUNT.fetch_add(1, Relaxed);
        tell(panic);
    }));
}

/// How many there were since [`watch`].
#[must_use]
pub fn count() -> u64 {
    COUNT.load(Relaxed)
}

/// Does something whose panic ends only that; `None` then.
///
/// What it shares with others must be right after each of its steps, since it may end at any.
pub fn contained<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}

fn tell(panic: &PanicHookInfo<'_>) {
    let words = panic.payload_as_str().unwrap_or("without words");
    let place = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default();
    // Empty unless RUST_BACKTRACE is set.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(thread, place, backtrace = ?backtrace, "panic: {words}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_ends_alone_and_is_counted() {
        watch();
        let empty: Vec<u8> = Vec::new();
        let index = empty.len();
        assert_eq!(contained(|| empty[index]), None);
        assert_eq!(contained(|| 7), Some(7));
        assert_eq!(count(), 1);
    }
}
