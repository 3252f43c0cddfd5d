//! Which worker carries a new connection.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use iako_proxy_config::ConnectionBalance;
use tokio::sync::mpsc;

use crate::worker::Command;

/// What the workers know of each other: how many connections each carries, and how to hand one over.
///
/// Each worker accepts at a socket of its own, and the system spreads connections by a hash. That is
/// uneven with few of them, and stays so with long ones. So a worker that carries clearly more than the
/// least busy one hands a new connection over, before anything of it was read.
#[derive(Debug)]
pub(crate) struct Crew {
    members: Box<[Member]>,
}

#[derive(Debug, Default)]
struct Member {
    connections: AtomicUsize,
    door: OnceLock<mpsc::Sender<Command>>,
}

/// A connection's place in the count of its worker; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    crew: Arc<Crew>,
    worker: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(member) = self.crew.members.get(self.worker) {
            member.connections.fetch_sub(1, Relaxed);
        }
    }
}

impl Crew {
    /// So many workers, none of which has begun.
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { members: (0..workers).map(|_| Member::default()).collect() })
    }

    /// Connections of all workers.
    pub(crate) fn connections(&self) -> usize {
        self.members.iter().map(|member| member.connections.load(Relaxed)).sum()
    }

    /// How many workers there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// A worker takes commands from now on.
    pub(crate) fn opened(&self, worker: usize, door: mpsc::Sender<Command>) {
        if let Some(member) = self.members.get(worker) {
            // A worker begins once.
            drop(member.door.set(door));
        }
    }

    /// Counts a connection of a worker.
    pub(crate) fn seat(self: &Arc<Self>, worker: usize) -> Seat {
        if let Some(member) = self.members.get(worker) {
            member.connections.fetch_add(1, Relaxed);
        }
        Seat { crew: Arc::clone(self), worker }
    }

    /// A place with a worker that carries clearly fewer connections than `worker`, and where to hand
    /// one over.
    pub(crate) fn better_than(
        self: &Arc<Self>,
        worker: usize,
        balance: ConnectionBalance,
    ) -> Option<(Seat, &mpsc::Sender<Command>)> {
        let count = |member: &Member| member.connections.load(Relaxed);
        let own = count(self.members.get(worker)?);
        let (least, member) =
            self.members.iter().enumerate().min_by_key(|(_, member)| count(member))?;
        let few = count(member);
        let slack = match balance {
            // Handing over wakes another core: not for a difference that does not matter.
            ConnectionBalance::Fair => (few / 8).saturating_add(1),
            ConnectionBalance::Exact => 0,
        };
        let is_clear = own > few.saturating_add(slack);
        let door = member.door.get().filter(|_| is_clear)?;
        Some((self.seat(least), door))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAIR: ConnectionBalance = ConnectionBalance::Fair;

    #[test]
    fn an_exact_balance_hands_over_whatever_the_difference_is() {
        let crew = Crew::new(2);
        let (door, _commands) = mpsc::channel(1);
        crew.opened(1, door);
        let _own = crew.seat(0);
        assert!(crew.better_than(0, FAIR).is_none());
        let (_seat, _) = crew.better_than(0, ConnectionBalance::Exact).unwrap();
        assert!(crew.better_than(0, ConnectionBalance::Exact).is_none());
    }

    #[test]
    fn a_clearly_less_busy_worker_is_found() {
        let crew = Crew::new(2);
        let (door, _commands) = mpsc::channel(1);
        crew.opened(1, door);
        let first: Vec<Seat> = (0..2).map(|_| crew.seat(0)).collect();
        let (seat, _) = crew.better_than(0, FAIR).unwrap();
        assert!(crew.better_than(0, FAIR).is_none(), "two against one is even enough");
        drop(seat);
        assert!(crew.better_than(0, FAIR).is_some());
        drop(first);
        assert!(crew.better_than(0, FAIR).is_none());
        assert!(Crew::new(1).better_than(0, FAIR).is_none());
    }
}
