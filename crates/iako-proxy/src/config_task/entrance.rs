//! Whether clients are let in yet: not while another process of this proxy still does.

use std::sync::Arc;

use tokio::sync::watch;

use super::ConfigTask;
use crate::{restart::predecessor::Predecessor, worker::Command};

/// Whether clients are let in.
#[derive(Debug)]
pub(crate) enum Entrance {
    /// They are, as soon as a listener is ready.
    Open,
    /// They are once this process takes over from another one.
    Behind(Behind),
}

/// What waits for that.
#[derive(Debug)]
pub(crate) struct Behind {
    /// Who lets clients in now.
    pub(crate) predecessor: Arc<Predecessor>,
    /// Told when everything of the first configuration is ready.
    pub(crate) prepared: watch::Sender<bool>,
}

impl ConfigTask {
    /// Lets clients in at the sockets that are new, when any are let in.
    pub(super) async fn let_in(&mut self) {
        if matches!(self.entrance, Entrance::Behind(_)) {
            return;
        }
        for (worker, command) in std::mem::take(&mut self.unopened) {
            self.tell_worker(worker, command).await;
        }
    }

    async fn tell_worker(&self, worker: usize, command: Command) {
        if let Some(worker) = self.workers.get(worker) {
            worker.send(command).await;
        }
    }
}
