//! One timer for all deadlines of a connection.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// A timer that is armed once and moved rarely.
///
/// Nearly every deadline of a proxy is dropped before it is reached. So the timer stays where it was
/// armed while the deadline moves back, and looks at the deadline only when it fires: a request costs
/// no operation on the runtime's timers.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    deadline: Option<Instant>,
}

impl Timer {
    /// Sets the deadline; without one the timer never fires.
    pub(crate) fn set(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Whether it has to be polled: it fired, or was never armed. As long as not, its task is woken
    /// when it fires.
    pub(crate) fn is_due(&self) -> bool {
        self.sleep.as_ref().is_none_or(|sleep| sleep.is_elapsed())
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        if sleep.deadline().into_std() > deadline {
            sleep.as_mut().reset(deadline.into());
        }
        while sleep.as_mut().poll(context).is_ready() {
            if sleep.deadline().into_std() >= deadline || iako_rt::clock::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline.into());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fires_at_the_deadline_wherever_it_was_moved() {
        let start = iako_rt::clock::now();
        let mut timer = Timer::default();
        for (first, then) in [(50, 80), (500, 20)] {
            timer.set(Some(iako_rt::clock::now() + Duration::from_millis(first)));
            poll_fn(|context| {
                assert!(timer.poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            let wanted = iako_rt::clock::now() + Duration::from_millis(then);
            timer.set(Some(wanted));
            poll_fn(|context| timer.poll(context)).await;
            let now = iako_rt::clock::now();
            assert!(now >= wanted && now < wanted + Duration::from_millis(5));
        }
        assert!(iako_rt::clock::now() > start);
    }
}
