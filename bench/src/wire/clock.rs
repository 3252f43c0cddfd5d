//! Nanoseconds of the monotonic clock, and a timer on the same clock that epoll can wait for.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

const NANOS: u64 = 1_000_000_000;

/// Nanoseconds since an origin that does not move.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * NANOS + time.tv_nsec.unsigned_abs()
}

/// A length of time in nanoseconds; five hundred years at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits, for what offers no event to wait for.
pub(crate) fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the one thread here has nothing else to do")]
    std::thread::sleep(duration);
}

/// A timer without the slack of `epoll_wait`'s time-outs, which would be counted as latency.
#[derive(Debug)]
pub(crate) struct Timer {
    pub(crate) fd: OwnedFd,
}

impl Timer {
    /// # Errors
    /// When the kernel gives no timer.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self { fd: timerfd_create(TimerfdClockId::Monotonic, flags)? })
    }

    /// Becomes readable at a time of [`now`]; setting it again makes it unreadable until then.
    ///
    /// # Errors
    /// When the kernel refuses the time.
    pub(crate) fn set(&self, at: u64) -> io::Result<()> {
        let seconds = i64::try_from(at / NANOS).unwrap_or(i64::MAX);
        let rest = i64::try_from(at % NANOS).unwrap_or_default();
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: seconds, tv_nsec: rest.max(1) },
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }
}
