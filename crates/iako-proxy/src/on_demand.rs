//! What requests and connections wait for: resources that nobody asked for before.
//!
//! A worker asks the configuration task by [`Needs`] and waits for its word. The task asks the
//! control plane, publishes what comes, and then tells everybody who waits.

use std::{
    sync::OnceLock,
    task::{Context, Poll},
    time::Duration,
};

use iako_proxy_config::SourcedName;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::config_task::Event;

/// How many requests and connections wait at once. Who comes beyond goes on without.
pub(crate) const WAITING_MAX: usize = 4096;
/// How many names of a kind are asked for over the life of a route table, or of the proxy for
/// clusters. Names can come from clients.
pub(crate) const NAMES_MAX: usize = 10_000;
/// How long a request waits for a virtual host. Envoy waits for as long as the stream may be idle.
pub(crate) const HOST_WAIT_MAX: Duration = Duration::from_secs(15);

/// Something that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Needed {
    /// A cluster, and who is asked for it.
    Cluster(SourcedName),
    /// The virtual host of a host, in a route table.
    Host {
        /// The key of the table.
        table: String,
        /// The host as the client wrote it, in small letters.
        host: String,
    },
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It serves.
    Here,
    /// There is none, or it cannot be used.
    Missing,
    /// Nobody said anything in time.
    Late,
}

/// A question of a worker to the configuration task.
#[derive(Debug)]
pub(crate) struct Need {
    /// What is asked for.
    pub(crate) needed: Needed,
    /// Where the answer goes; dropped when there is no room for one more who waits.
    pub(crate) answer: oneshot::Sender<Found>,
}

/// Where workers ask.
#[derive(Debug, Default)]
pub(crate) struct Needs(OnceLock<mpsc::Sender<Event>>);

impl Needs {
    /// Says who answers. Only the first one who says so does.
    pub(crate) fn open(&self, events: mpsc::Sender<Event>) {
        self.0.get_or_init(|| events);
    }

    /// Asks, and waits at most this long from now on.
    pub(crate) fn ask(&self, needed: Needed, longest: Duration) -> Wait {
        let (answer, answered) = oneshot::channel();
        if let Some(events) = self.0.get() {
            // A task that is too busy to hear it drops the question, and so answers it.
            drop(events.try_send(Event::Need(Need { needed, answer })));
        }
        let over = tokio::time::sleep_until(Instant::now() + longest);
        Wait(Box::pin(Waiting { answered, over: Box::pin(over) }))
    }
}

/// A question under way.
#[derive(Debug)]
pub(crate) struct Wait(std::pin::Pin<Box<Waiting>>);

#[derive(Debug)]
struct Waiting {
    answered: oneshot::Receiver<Found>,
    over: std::pin::Pin<Box<tokio::time::Sleep>>,
}

impl Wait {
    /// Ready with the answer, or when the time is over.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Found> {
        let waiting = &mut *self.0;
        if let Poll::Ready(answer) = std::pin::Pin::new(&mut waiting.answered).poll(context) {
            return Poll::Ready(answer.unwrap_or(Found::Missing));
        }
        waiting.over.as_mut().poll(context).map(|()| Found::Late)
    }
}

impl Future for Wait {
    type Output = Found;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Found> {
        Self::poll(&mut self, context)
    }
}
