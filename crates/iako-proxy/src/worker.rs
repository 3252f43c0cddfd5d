//! One thread that carries connections from accept to close, alone.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use iako_proxy_config::GrpcService;
use iako_rt::{LocalScope, Rng, panics};
use iako_telemetry::{Principal, WorkerMetrics, WorkloadLabels, bind_worker};
use iako_traffic::JwtMemory;
use iako_types::Percent;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::mpsc,
};

use crate::{
    access_log::LogStreams,
    http::{stream_tasks::StreamTasks, timer::Timer},
    listener::{ListenerHandle, ListeningSocket, OpenDoor, accept_loop, crew::Seat, take_over},
    load_report,
    overload::{self, Ledger},
    shared::Shared,
    snapshot::ProxySnapshot,
    spans::Outboxes,
    tcp::RelayMemory,
    token::{self, TokenKeeper},
    udp,
    upstream::{Pools, originals::Originals},
};

/// Commands that may wait for a worker; the sender waits when it is full.
const COMMANDS_MAX: usize = 256;
/// Timers that are kept for later.
const TIMERS_MAX: usize = 64;

/// What the configuration task tells a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept connections of a listener from this socket, until the listener stops accepting.
    Listen {
        /// The listener.
        listener: Arc<ListenerHandle>,
        /// This worker's own socket, and its place in the count of open ones.
        socket: (ListeningSocket, OpenDoor),
    },
    /// Carry datagrams of a listener from this socket, until the listener stops accepting.
    Datagrams {
        /// The listener.
        listener: Arc<ListenerHandle>,
        /// This worker's own socket, and its place in the count of open ones.
        socket: (std::net::UdpSocket, OpenDoor),
    },
    /// Carry a connection that another worker accepted.
    Carry {
        /// Its listener.
        listener: Arc<ListenerHandle>,
        /// Its bytes.
        socket: std::net::TcpStream,
        /// The other end.
        remote: SocketAddr,
        /// Its place in the count of this worker.
        seat: Seat,
    },
    /// Tell a service of the load on clusters, for as long as the worker runs.
    ReportLoad(Arc<GrpcService>),
    /// Keep a token fresh, for as long as a filter shows it.
    KeepToken(Arc<TokenKeeper>),
    /// End every task, then the thread.
    Stop,
}

thread_local! {
    static CURRENT: RefCell<Weak<Worker>> = const { RefCell::new(Weak::new()) };
}

/// The worker of this thread; none on other threads.
pub(crate) fn current() -> Option<Rc<Worker>> {
    CURRENT.with_borrow(Weak::upgrade)
}

/// What belongs to one worker thread. Nothing in it is shared with another thread but through
/// [`Shared`].
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its number.
    pub(crate) index: usize,
    /// What all workers share.
    pub(crate) shared: Arc<Shared>,
    /// This worker's recorder of the mesh's standard metrics.
    pub(crate) metrics: WorkerMetrics,
    /// This worker's connections to upstreams.
    pub(crate) pools: Pools,
    /// Endpoints that are not listed and were used lately.
    pub(crate) originals: Originals,
    /// Tasks of this worker: one a connection.
    pub(crate) scope: LocalScope,
    /// Labels of whoever is not known.
    pub(crate) unknown: Unknown,
    rng: RefCell<Rng>,
    /// Tokens whose signature was good.
    tokens: RefCell<JwtMemory>,
    /// Timers that were armed and wait for their next user.
    timers: RefCell<Vec<Timer>>,
    /// Tasks that serve streams of HTTP/2 clients.
    pub(crate) streams: StreamTasks,
    /// Spans that wait to be sent.
    pub(crate) outboxes: Outboxes,
    /// What relays carry bytes in.
    pub(crate) relay_memory: RelayMemory,
    /// Log entries on their way to services.
    pub(crate) log_streams: LogStreams,
    /// What streams hold, where that is looked at.
    pub(crate) ledger: Ledger,
}

/// Labels of whoever is not known.
#[derive(Debug)]
pub(crate) struct Unknown {
    pub(crate) workload: WorkloadLabels,
    pub(crate) principal: Principal,
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>) -> Self {
        Self {
            index,
            metrics: shared.metrics.worker(),
            pools: Pools::default(),
            originals: Originals::default(),
            scope: LocalScope::new(),
            unknown: Unknown {
                workload: WorkloadLabels::unknown(),
                principal: Principal::unknown(),
            },
            rng: RefCell::new(Rng::from_system()),
            tokens: RefCell::default(),
            timers: RefCell::default(),
            streams: StreamTasks::default(),
            outboxes: Outboxes::default(),
            relay_memory: RelayMemory::default(),
            log_streams: LogStreams::default(),
            ledger: Ledger::default(),
            shared,
        }
    }

    /// The configuration of this moment. Load it once a connection or request and keep it: nothing
    /// may see two.
    #[must_use]
    pub(crate) fn snapshot(&self) -> Arc<ProxySnapshot> {
        self.shared.published.load_full()
    }

    /// Lets somebody look at the tokens that are remembered.
    pub(crate) fn with_tokens<T>(&self, ask: impl FnOnce(&mut JwtMemory) -> T) -> T {
        ask(&mut self.tokens.borrow_mut())
    }

    /// Draws random numbers; not for secrets.
    pub(crate) fn with_rng<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.borrow_mut())
    }

    /// A time, and by chance up to the share of it longer that `jitter` says, so that what began together
    /// does not end together.
    pub(crate) fn spread(&self, time: Duration, jitter: Option<Percent>) -> Duration {
        if jitter.is_some() { spread(time, jitter, self.with_rng(Rng::unit)) } else { time }
    }

    /// A timer for a short-lived task. One that was armed before is cheaper than a new one: arming is
    /// what costs.
    pub(crate) fn take_timer(&self) -> Timer {
        self.timers.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a timer for the next task.
    pub(crate) fn keep_timer(&self, timer: Timer) {
        let mut timers = self.timers.borrow_mut();
        if timers.len() < TIMERS_MAX {
            timers.push(timer);
        }
    }
}

/// A time, and longer by the share `draw`, below 1, of the share that `jitter` says.
pub(crate) fn spread(time: Duration, jitter: Option<Percent>, draw: f64) -> Duration {
    let Some(jitter) = jitter else { return time };
    let share = draw * f64::from(jitter.parts_per_million()) / 1e6;
    let extra = Duration::try_from_secs_f64(time.as_secs_f64() * share);
    time.saturating_add(extra.unwrap_or_default())
}

/// A worker as the configuration task sees it.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// Starts the thread of worker `index`.
    ///
    /// # Errors
    /// When the system gives no thread or event queue.
    pub(crate) fn start(index: usize, shared: &Arc<Shared>) -> io::Result<Self> {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        shared.crew.opened(index, commands.clone());
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new()
            .name(format!("iako-worker-{index}"))
            .spawn(move || run(index, &shared, receiver))?;
        Ok(Self { commands, thread: Some(thread) })
    }

    /// Hands a command over; waits while the worker is behind. A worker that is gone takes none.
    pub(crate) async fn send(&self, command: Command) {
        if self.commands.send(command).await.is_err() {
            tracing::error!("a worker is gone and takes no more commands");
        }
    }

    /// Ends the worker and waits for its thread.
    pub(crate) async fn stop(mut self) {
        drop(self.commands.send(Command::Stop).await);
        let Some(thread) = self.thread.take() else { return };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("a worker panicked");
        }
    }
}

fn run(index: usize, shared: &Arc<Shared>, mut commands: mpsc::Receiver<Command>) {
    bind_worker(index);
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(index, %error, "a worker got no event queue");
            return;
        }
    };
    let stop = shared.workers_running.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(index, running = stop.saturating_add(1), "worker started");
    let worker = Rc::new(Worker::new(index, Arc::clone(shared)));
    CURRENT.set(Rc::downgrade(&worker));
    let resetting = overload::reset_large(Rc::downgrade(&worker));
    runtime.block_on(async { worker.scope.spawn("large streams", resetting) });
    // A panic here is one of a command. Whoever the worker carries is not concerned: their tasks are
    // still there, and go on with the next round.
    while panics::contained(|| runtime.block_on(obey(&worker, &mut commands))).is_none() {
        shared.server.worker_recoveries.inc();
        tracing::error!(index, "a worker goes on after a panic");
    }
    runtime.block_on(worker.log_streams.finish(&worker));
    runtime.block_on(worker.outboxes.finish(&worker));
    worker.pools.close();
    worker.scope.stop();
    drop(runtime);
    shared.workers_running.fetch_sub(1, Ordering::Relaxed);
}

async fn obey(worker: &Rc<Worker>, commands: &mut mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen { listener, socket } => {
                let accepting = accept_loop(Rc::clone(worker), listener, socket);
                worker.scope.spawn("listener", accepting);
            }
            Command::Datagrams { listener, socket } => {
                let carrying = udp::serve(Rc::clone(worker), listener, socket);
                worker.scope.spawn("datagrams", carrying);
            }
            Command::Carry { listener, socket, remote, seat } => {
                take_over(worker, &listener, socket, (remote, seat));
            }
            Command::ReportLoad(service) => {
                let telling = load_report::tell(Rc::clone(worker), service);
                worker.scope.spawn("load report", telling);
            }
            Command::KeepToken(keeper) => {
                worker.scope.spawn("token", token::keep(Rc::clone(worker), keeper));
            }
            Command::Stop => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command that panics in a debug build: the event queue takes no socket that blocks.
    fn broken_command(listener: &Arc<ListenerHandle>, seat: Seat) -> Command {
        let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = door.local_addr().unwrap();
        let socket = std::net::TcpStream::connect(remote).unwrap();
        Command::Carry { listener: Arc::clone(listener), socket, remote, seat }
    }

    #[tokio::test]
    async fn a_worker_whose_command_panics_goes_on_with_the_next_one_and_keeps_its_listeners() {
        let local = (iako_proxy_config::Node::default(), String::new());
        let shared = Arc::new(Shared::new(local, 1, iako_telemetry::MetricsSettings::default()));
        let worker = WorkerHandle::start(0, &shared).unwrap();
        let fair = iako_proxy_config::ConnectionBalance::Fair;
        let listener = Arc::new(ListenerHandle::new("test".into(), &Arc::default(), fair));
        let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        door.set_nonblocking(true).unwrap();
        let socket = (ListeningSocket::Tcp(door), shared.doors.open());
        worker.send(Command::Listen { listener: Arc::clone(&listener), socket }).await;
        for _ in 0..2 {
            worker.send(broken_command(&listener, shared.crew.seat(0))).await;
        }
        while shared.server.worker_recoveries.value() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(shared.crew.connections(), 0, "what panicked gave its place back");
        assert_eq!(shared.doors.count(), 1, "the listener is still open");
        listener.stop_accepting();
        while shared.doors.count() > 0 {
            tokio::task::yield_now().await;
        }
        worker.stop().await;
    }

    #[test]
    fn what_began_together_ends_at_different_times() {
        let minute = Duration::from_secs(60);
        let jitter = Percent::from_whole(50).ok();
        assert_eq!(spread(minute, None, 0.9), minute);
        assert_eq!(spread(minute, jitter, 0.0), minute);
        assert_eq!(spread(minute, jitter, 0.5), Duration::from_secs(75));
    }
}
