//! How fast requests go out.

use std::time::Duration;

use iako_rt::clock;
use tokio::time::Instant;

/// Requests that may still be sent.
pub(super) struct Pace {
    burst: u32,
    pause: Duration,
    left: u32,
    /// When the next one is earned, while some are spent.
    next: Instant,
}

impl Pace {
    /// So many requests at once, then one each time this has passed.
    pub(super) fn new((burst, pause): (u32, Duration)) -> Self {
        Self { burst, pause, left: burst, next: Instant::from_std(clock::now()) }
    }

    /// Waits until a request may be sent. May be dropped at any point.
    pub(super) async fn turn(&mut self) {
        loop {
            let now = Instant::from_std(clock::now());
            while self.left < self.burst && self.next <= now {
                self.left = self.left.saturating_add(1);
                self.next += self.pause;
            }
            if self.left > 0 {
                return;
            }
            tokio::time::sleep_until(self.next).await;
        }
    }

    /// Notes that a request was sent.
    pub(super) fn spend(&mut self) {
        if self.left == self.burst {
            self.next = Instant::from_std(clock::now()) + self.pause;
        }
        self.left = self.left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_burst_goes_at_once_and_the_rest_waits() {
        let mut pace = Pace::new((2, Duration::from_secs(3600)));
        for _ in 0..2 {
            assert!(pace.turn().now_or_never().is_some());
            pace.spend();
        }
        assert!(pace.turn().now_or_never().is_none());
    }
}
