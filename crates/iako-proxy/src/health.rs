//! Active checks and the regular looks of outlier detection, all on one thread of their own: a check
//! is made once, not once a worker, and never stands between a client and its response.
//!
//! What a result means is decided by `iako-traffic`; here it is found out.

mod check;
mod events;
mod grpc;
mod http;
mod session;
mod tcp;
mod watch;

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
};

use iako_rt::LocalScope;
use parking_lot::Mutex;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{Notify, Semaphore, mpsc},
};

pub(crate) use events::HealthLogs;

use crate::{config_task::Event, shared::Shared, snapshot::UpstreamCluster};

/// Checks that are made at once; the others wait for their turn. Bounds sockets and memory where a
/// control plane sends very many instances.
const CHECKS_MAX: usize = 1024;

/// The thread of checks, as the configuration task sees it. Started with the first cluster that needs
/// it; ends when this is dropped.
#[derive(Debug)]
pub(crate) struct HealthThread {
    desk: Arc<Desk>,
    events: mpsc::Sender<Event>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the configuration task and the thread tell each other.
#[derive(Debug, Default)]
struct Desk {
    /// Clusters to watch from now on; as many as there are changes of clusters in one reconciliation.
    new: Mutex<Vec<Arc<UpstreamCluster>>>,
    called: Notify,
    over: AtomicBool,
}

impl HealthThread {
    pub(crate) fn new(events: mpsc::Sender<Event>, shared: Arc<Shared>) -> Self {
        Self { desk: Arc::default(), events, shared, thread: None }
    }

    /// Watches over a version of a cluster until it is retired
    /// ([`UpstreamCluster::retire`]); a cluster without checks and outlier detection needs nobody.
    pub(crate) fn watch(&mut self, cluster: &Arc<UpstreamCluster>) {
        if !cluster.is_watched() {
            return;
        }
        self.desk.new.lock().push(Arc::clone(cluster));
        self.desk.called.notify_one();
        if self.thread.is_none() {
            let (desk, events) = (Arc::clone(&self.desk), self.events.clone());
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new()
                .name("iako-health".to_owned())
                .spawn(move || run(&desk, events, shared));
            self.thread = thread
                .inspect_err(|error| tracing::error!(%error, "instances are not checked"))
                .ok();
        }
    }
}

impl Drop for HealthThread {
    fn drop(&mut self) {
        self.desk.over.store(true, Relaxed);
        self.desk.called.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of checks panicked");
        }
    }
}

/// What all tasks of the thread share.
#[derive(Debug)]
struct Room {
    events: mpsc::Sender<Event>,
    shared: Arc<Shared>,
    turns: Semaphore,
    scope: LocalScope,
    rng: std::cell::RefCell<iako_rt::Rng>,
}

impl Room {
    /// A number from 0 to below 1.
    fn draw(&self) -> f64 {
        self.rng.borrow_mut().unit()
    }
}

fn run(desk: &Arc<Desk>, events: mpsc::Sender<Event>, shared: Arc<Shared>) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the thread of checks got no event queue");
            return;
        }
    };
    let room = Rc::new(Room {
        events,
        shared,
        turns: Semaphore::new(CHECKS_MAX),
        scope: LocalScope::new(),
        rng: std::cell::RefCell::new(iako_rt::Rng::from_system()),
    });
    runtime.block_on(async {
        while !desk.over.load(Relaxed) {
            let new = std::mem::take(&mut *desk.new.lock());
            for cluster in new {
                room.scope.spawn("health", watch::cluster(Rc::clone(&room), cluster));
            }
            desk.called.notified().await;
        }
    });
    room.scope.stop();
}
