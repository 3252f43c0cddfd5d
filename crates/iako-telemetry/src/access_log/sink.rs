//! Writing lines out, away from the requests that made them.
//!
//! Every worker appends to a buffer of its own; a thread takes the buffers and writes each batch in
//! one system call. A full buffer drops the line and counts it: a slow disk or a stalled reader of
//! standard output must not make requests wait.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{AccessLogFormat, AccessRecord};
use crate::shard;
use crate::stats::{Counter, Gauge, StatsRegistry};

/// Lines waiting for the writer, for each worker: about 4,000 lines.
const BUFFER_BYTES_MAX: usize = 1 << 20;
/// At this size a batch is written at once.
const BATCH_BYTES: usize = 64 << 10;
/// A line waits at most this long for company.
const BATCH_WAIT: Duration = Duration::from_millis(200);
/// How long the end of a process waits for a stalled reader.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(2);

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to, made when it is missing.
    File(PathBuf),
}

impl LogTarget {
    /// The target that a path names: `/dev/stdout` and `/dev/stderr` are the standard streams.
    #[must_use]
    pub fn from_path(path: &str) -> Self {
        match path {
            "/dev/stdout" => Self::Stdout,
            "/dev/stderr" => Self::Stderr,
            other => Self::File(PathBuf::from(other)),
        }
    }

    fn open(&self) -> io::Result<Output> {
        match self {
            Self::Stdout => Ok(Output::Stdout),
            Self::Stderr => Ok(Output::Stderr),
            Self::File(path) => {
                OpenOptions::new().create(true).append(true).open(path).map(Output::File)
            }
        }
    }
}

#[derive(Debug)]
enum Output {
    Stdout,
    Stderr,
    File(File),
}

impl Output {
    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(batch)?;
                stdout.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(batch),
            Self::File(file) => file.write_all(batch),
        }
    }
}

/// The sinks of a process, one a target, shared by all loggers that name it.
#[derive(Debug)]
pub struct AccessLogs {
    sinks: Mutex<BTreeMap<LogTarget, Weak<AccessLogSink>>>,
    workers: usize,
    counters: Counters,
    writers: Arc<Writers>,
}

/// How many threads write, those of sinks that nobody uses any more included.
#[derive(Debug, Default)]
struct Writers {
    running: Mutex<usize>,
    ended: Condvar,
}

/// One of them; counted until it is dropped.
#[derive(Debug)]
struct Running(Arc<Writers>);

impl Running {
    fn new(writers: &Arc<Writers>) -> Self {
        *writers.running.lock() += 1;
        Self(Arc::clone(writers))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.ended.notify_all();
    }
}

#[derive(Clone, Debug)]
struct Counters {
    dropped: Counter,
    written_bytes: Counter,
    files: FileCounters,
}

/// What Envoy counts of files, under `filesystem.`. Lines are counted when the writer takes them, so that
/// requests count nothing.
#[derive(Clone, Debug)]
struct FileCounters {
    buffered: Counter,
    completed: Counter,
    failed: Counter,
    by_timer: Counter,
    reopen_failed: Counter,
    /// Bytes that the writer took and that are not written.
    waiting: Gauge,
}

impl FileCounters {
    fn new(stats: &StatsRegistry) -> Self {
        let scope = stats.scope("filesystem");
        Self {
            buffered: scope.counter("write_buffered"),
            completed: scope.counter("write_completed"),
            failed: scope.counter("write_failed"),
            by_timer: scope.counter("flushed_by_timer"),
            reopen_failed: scope.counter("reopen_failed"),
            waiting: scope.gauge("write_total_buffered"),
        }
    }
}

impl AccessLogs {
    /// No sink yet. Dropped lines and written bytes are counted in `stats` under `access_log.`.
    #[must_use]
    pub fn new(workers: usize, stats: &StatsRegistry) -> Arc<Self> {
        let scope = stats.scope("access_log");
        let counters = Counters {
            dropped: scope.counter("dropped"),
            written_bytes: scope.counter("written_bytes"),
            files: FileCounters::new(stats),
        };
        let (sinks, writers) = (Mutex::default(), Arc::default());
        Arc::new(Self { sinks, workers: workers.max(1), counters, writers })
    }

    /// The sink for `target`, opened when nobody uses it yet. It closes when the last user lets go.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread can be started.
    pub fn open(&self, target: &LogTarget) -> io::Result<Arc<AccessLogSink>> {
        let mut sinks = self.sinks.lock();
        sinks.retain(|_, sink| sink.strong_count() > 0);
        if let Some(sink) = sinks.get(target).and_then(Weak::upgrade) {
            return Ok(sink);
        }
        let running = Running::new(&self.writers);
        let of = (self.workers, self.counters.clone());
        let sink = Arc::new(AccessLogSink::open(target, of, running)?);
        sinks.insert(target.clone(), Arc::downgrade(&sink));
        Ok(sink)
    }

    /// Opens every file again, after log rotation moved it away.
    pub fn reopen(&self) {
        for sink in self.in_use() {
            sink.ask(|wishes| wishes.reopen = true);
        }
    }

    /// Writes out what is buffered; waits at most two seconds for each sink. Call before the
    /// process ends.
    pub fn flush(&self) {
        let sinks = self.in_use();
        sinks.iter().for_each(|sink| sink.flush());
        // Those that nobody uses any more may have lines left, too.
        let mut running = self.writers.running.lock();
        let ending = |running: &mut usize| *running > sinks.len();
        self.writers.ended.wait_while_for(&mut running, ending, FLUSH_WAIT_MAX);
    }

    /// Opens every file again whenever the process receives SIGUSR1, as Envoy does. Runs until it
    /// is dropped.
    ///
    /// # Errors
    /// The signal cannot be listened to.
    pub async fn reopen_on_sigusr1(self: Arc<Self>) -> io::Result<()> {
        let kind = tokio::signal::unix::SignalKind::user_defined1();
        let mut signals = tokio::signal::unix::signal(kind)?;
        while signals.recv().await.is_some() {
            tracing::info!("access logs reopened");
            self.reopen();
        }
        Ok(())
    }

    fn in_use(&self) -> Vec<Arc<AccessLogSink>> {
        self.sinks.lock().values().filter_map(Weak::upgrade).collect()
    }
}

/// One target, the buffers of the workers, and the thread that empties them.
#[derive(Debug)]
pub struct AccessLogSink {
    shared: Arc<Shared>,
}

/// A buffer on cache lines of its own.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Buffer(Mutex<Vec<u8>>);

#[derive(Debug)]
struct Shared {
    buffers: Box<[Buffer]>,
    wishes: Mutex<Wishes>,
    wished: Condvar,
    rounded: Condvar,
    counters: Counters,
}

/// What the writer is asked to do.
#[derive(Debug, Default)]
struct Wishes {
    /// There are lines.
    write: bool,
    /// Do not wait for more of them.
    now: bool,
    reopen: bool,
    stop: bool,
    /// Rounds of writing begun and ended; a flush waits for one that began after it.
    begun: u64,
    ended: u64,
}

impl AccessLogSink {
    fn open(
        target: &LogTarget,
        (workers, counters): (usize, Counters),
        running: Running,
    ) -> io::Result<Self> {
        let output = target.open()?;
        let shared = Arc::new(Shared {
            buffers: (0..workers).map(|_| Buffer::default()).collect(),
            wishes: Mutex::default(),
            wished: Condvar::new(),
            rounded: Condvar::new(),
            counters,
        });
        let (shared_too, target) = (Arc::clone(&shared), target.clone());
        let writer = Writer { shared: shared_too, target, output, _running: running };
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared })
    }

    /// Renders a line into this worker's buffer. Never waits for the target.
    pub fn log(&self, format: &AccessLogFormat, record: &AccessRecord<'_>) {
        self.append(|lines| format.render(record, lines));
    }

    /// Writes a line that is no access log's: an event. Never waits for the target.
    pub fn write_line(&self, line: &str) {
        self.append(|lines| {
            lines.extend_from_slice(line.as_bytes());
            lines.push(b'\n');
        });
    }

    fn append(&self, render: impl FnOnce(&mut Vec<u8>)) {
        let buffers = &self.shared.buffers;
        let Some(Buffer(buffer)) =
            buffers.get(shard::worker().unwrap_or(0)).or_else(|| buffers.first())
        else {
            return;
        };
        let mut lines = buffer.lock();
        let before = lines.len();
        if before < BUFFER_BYTES_MAX {
            render(&mut lines);
        }
        let after = lines.len();
        if before >= BUFFER_BYTES_MAX || after > BUFFER_BYTES_MAX {
            lines.truncate(before);
            drop(lines);
            self.shared.counters.dropped.inc();
            return;
        }
        drop(lines);
        if before < BATCH_BYTES && after >= BATCH_BYTES {
            self.ask(|wishes| (wishes.write, wishes.now) = (true, true));
        } else if before == 0 && after > 0 {
            self.ask(|wishes| wishes.write = true);
        }
    }

    /// Writes out what is buffered now; waits for it at most two seconds.
    pub fn flush(&self) {
        let mut wishes = self.shared.wishes.lock();
        (wishes.write, wishes.now) = (true, true);
        let round = wishes.begun.saturating_add(1);
        self.shared.wished.notify_one();
        let waiting = |wishes: &mut Wishes| wishes.ended < round;
        let waited = self.shared.rounded.wait_while_for(&mut wishes, waiting, FLUSH_WAIT_MAX);
        if waited.timed_out() {
            tracing::warn!("access log cannot be written: its reader is stalled");
        }
    }

    fn ask(&self, wish: impl FnOnce(&mut Wishes)) {
        wish(&mut self.shared.wishes.lock());
        self.shared.wished.notify_one();
    }
}

/// The writer writes what is left and ends by itself.
impl Drop for AccessLogSink {
    fn drop(&mut self) {
        self.ask(|wishes| wishes.stop = true);
    }
}

struct Writer {
    shared: Arc<Shared>,
    target: LogTarget,
    output: Output,
    _running: Running,
}

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::new();
        let mut healthy = true;
        loop {
            let (reopen, stop) = self.next_round();
            if reopen {
                self.reopen();
            }
            for index in 0..self.shared.buffers.len() {
                let written = self.empty(index, &mut batch);
                if let (Err(error), true) = (&written, healthy) {
                    tracing::error!(target = ?self.target, %error, "access log cannot be written");
                }
                healthy = written.is_ok();
            }
            self.shared.wishes.lock().ended += 1;
            self.shared.rounded.notify_all();
            if stop {
                return;
            }
        }
    }

    /// Waits until there is something to write and a batch had time to grow.
    fn next_round(&self) -> (bool, bool) {
        let shared = &self.shared;
        let mut wishes = shared.wishes.lock();
        let idle = |w: &mut Wishes| !(w.write || w.reopen || w.stop);
        shared.wished.wait_while(&mut wishes, idle);
        let growing = |w: &mut Wishes| !(w.now || w.reopen || w.stop);
        let waited = shared.wished.wait_while_for(&mut wishes, growing, BATCH_WAIT);
        if waited.timed_out() {
            shared.counters.files.by_timer.inc();
        }
        wishes.begun += 1;
        (wishes.write, wishes.now) = (false, false);
        (std::mem::take(&mut wishes.reopen), wishes.stop)
    }

    fn empty(&mut self, index: usize, batch: &mut Vec<u8>) -> io::Result<()> {
        let Some(Buffer(buffer)) = self.shared.buffers.get(index) else { return Ok(()) };
        std::mem::swap(&mut *buffer.lock(), batch);
        if batch.is_empty() {
            return Ok(());
        }
        let counters = &self.shared.counters;
        let lines = batch.iter().filter(|byte| **byte == b'\n').count();
        let lines = u64::try_from(lines).unwrap_or(0);
        let bytes = i64::try_from(batch.len()).unwrap_or(0);
        counters.files.buffered.add(lines);
        counters.files.waiting.add(bytes);
        let written = self.output.write(batch);
        counters.files.waiting.add(-bytes);
        match &written {
            Ok(()) => {
                counters.files.completed.inc();
                counters.written_bytes.add(u64::try_from(batch.len()).unwrap_or(0));
            }
            Err(_) => {
                counters.files.failed.inc();
                counters.dropped.add(lines);
            }
        }
        batch.clear();
        batch.shrink_to(BATCH_BYTES.saturating_mul(2));
        written
    }

    fn reopen(&mut self) {
        match self.target.open() {
            Ok(output) => self.output = output,
            Err(error) => {
                self.shared.counters.files.reopen_failed.inc();
                tracing::error!(target = ?self.target, %error, "access log cannot be reopened");
            }
        }
    }
}
