//! One case at one proxy: addresses of its own, upstreams, a process, and what was seen.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{
    bootstrap::{self, ADMIN_PORT, LISTENER_PORT},
    case::{Case, Request, XdsPlan},
    client,
    dns::Dns,
    observed,
    plane::Plane,
    sockets,
    stage::Stage,
    steps,
    upstream::{self, Upstreams},
    veil,
};

/// Longest time in which a proxy listens, ends, or writes its log.
const LIMIT: Duration = Duration::from_secs(20);
/// Nothing else listens here; whoever does owns the address.
const CLAIM_PORT: u16 = 22097;

/// Who is looked at.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    Iako,
    Envoy(PathBuf),
}

/// Runs a case at a proxy and tells what was seen. `lines` is how many lines of access log are
/// waited for; without it the log is given time.
pub(crate) fn observe(case: &Case, subject: &Subject, lines: Option<usize>) -> Value {
    let (address, claim) = claim();
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("access.log");
    let written = bootstrap::of(&case.config);
    let plan = case.config.xds.as_ref();
    let plane = plan.map(|plan| Plane::start(address, folder.path(), plan));
    let stage = Arc::new(Stage {
        address,
        folder: folder.path().to_owned(),
        plane,
        process: OnceLock::new(),
    });
    case.config.files.iter().for_each(|(name, content)| stage.move_in(name, content));
    let in_files: Vec<Value> = case.config.files.values().map(bootstrap::expanded).collect();
    let in_files = [in_files, planned(plan)].concat();
    let changed = case.requests.iter().filter_map(|request| request.change.as_ref());
    let in_changes = changed.flat_map(|change| {
        let files = change.files.values().map(bootstrap::expanded);
        files.chain(planned(change.xds.as_ref())).collect::<Vec<_>>()
    });
    let waited_for =
        [bootstrap::ports(&written), bootstrap::ports(&Value::Array(in_files))].concat();
    let mut ports = [waited_for.clone(), bootstrap::ports(&in_changes.collect())].concat();
    ports.sort_unstable();
    ports.dedup();
    let placed = bootstrap::placed(&written, address, folder.path());
    let takes_datagrams = case.config.udp_proxy.is_some();
    let replies = case.upstream.clone();
    let upstreams = Upstreams::start(address, &ports, replies, takes_datagrams).unwrap();
    let dns = (!case.dns.is_empty()).then(|| Dns::start(address, case.dns.clone()).unwrap());
    let mut proxy = Process::start(subject, &placed, folder.path());
    let _first = stage.process.set(proxy.child.id());
    let own = |port: &u16| *port >= LISTENER_PORT && !upstream::PORTS.contains(port);
    let is_awaited = |port: &u16| {
        own(port) && (*port == ADMIN_PORT || plan.is_none_or(|plan| !plan.not_waited_for))
    };
    let listening: Vec<u16> = waited_for.iter().copied().filter(is_awaited).collect();
    // A connection that looks whether somebody listens would be carried, and logged.
    let ready =
        if carries(case) { proxy.wait_ready(address) } else { proxy.wait_for(address, &listening) };
    let mut seen = match ready {
        Ok(()) => talk(case, &stage, &mut proxy, (&log, lines)),
        Err(words) => json!({"refused": refusal(&words, folder.path())}),
    };
    drop(proxy);
    if let (Some(plane), Value::Object(seen)) = (&stage.plane, &mut seen)
        && !seen.contains_key("refused")
    {
        seen.insert("control_plane".to_owned(), plane.heard());
    }
    if let Some(dns) = dns {
        dns.finish();
    }
    let requests = observed::requests(upstreams.finish(), case);
    if seen.get("refused").is_none() && case.requests.iter().all(|it| it.repeat.is_none()) {
        seen["upstream"] = requests;
    }
    drop(claim);
    let local = observed::local_address();
    observed::unplaced(&mut seen, address, local.as_deref());
    veil::veil(&mut seen, &case.veiled);
    for answer in seen["answers"].as_array_mut().into_iter().flatten() {
        if answer.get("sequence").is_some() {
            // Hashes depend on it.
            answer["at"] = Value::from(address.to_string());
        }
    }
    seen
}

/// Whether connections are carried without a look at what is on them.
fn carries(case: &Case) -> bool {
    let config = &case.config;
    config.tcp_proxy.is_some()
        || config.udp_proxy.is_some()
        || config.terminal.is_some()
        || !config.network_filters.is_empty()
        || !case.writes.is_empty()
}

/// The resources of a plan.
fn planned(plan: Option<&XdsPlan>) -> Vec<Value> {
    let resources = plan.iter().flat_map(|plan| &plan.resources);
    resources.map(|planned| bootstrap::expanded(&planned.resource)).collect()
}

/// The lines that say why, without what differs from run to run.
fn refusal(words: &str, folder: &Path) -> String {
    let is_reason = |line: &&str| line.to_ascii_lowercase().starts_with("error");
    let lines: Vec<&str> = words.lines().filter(is_reason).collect();
    lines.join("\n").replace(&format!("{}/", folder.display()), "")
}

fn talk(
    case: &Case,
    stage: &Arc<Stage>,
    proxy: &mut Process,
    (log, lines): (&Path, Option<usize>),
) -> Value {
    let answers: Vec<Value> = case.requests.iter().map(|request| step(request, stage)).collect();
    let names: Vec<String> = case.stats.iter().chain(case.stats_near.keys()).cloned().collect();
    let stats = (!names.is_empty()).then(|| stage.stats(&names));
    proxy.finish(log, lines);
    let mut seen = Map::new();
    seen.insert("answers".to_owned(), Value::Array(answers));
    if case.requests.iter().all(|it| it.repeat.is_none()) {
        let read = fs::read_to_string(log).unwrap_or_default();
        let lines = read.lines().map(|line| log_line(line, case));
        seen.insert("log".to_owned(), lines.collect());
    }
    if let Some(stats) = stats {
        seen.insert("stats".to_owned(), stats);
    }
    if let Some(folder) = log.parent().filter(|_| !case.writes.is_empty()) {
        let read = |name: &String| {
            let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
            (name.clone(), steps::lines(&text))
        };
        seen.insert("files".to_owned(), Value::Object(case.writes.iter().map(read).collect()));
    }
    Value::Object(seen)
}

/// What a case does next: a request, or a look at an admin page.
fn step(request: &Request, stage: &Arc<Stage>) -> Value {
    steps::prepare(request, stage.address);
    match (&request.admin, request.sockets) {
        (Some(path), _) => steps::admin(request, path, stage.address),
        (None, Some(port)) => sockets::keep_alive(stage, port),
        (None, None) => client::send(request, stage),
    }
}

/// A line of the access log without what is null, and what the case does not compare.
fn log_line(line: &str, case: &Case) -> Value {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else {
        return Value::from(line);
    };
    fields.retain(|name, value| !value.is_null() && !case.log_ignored.contains_key(name));
    fields.sort_keys();
    Value::Object(fields)
}

/// Whether the admin listener says that the proxy serves.
fn is_ready(address: Ipv4Addr) -> io::Result<bool> {
    let mut stream = TcpStream::connect((address, ADMIN_PORT))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.starts_with("HTTP/1.1 200"))
}

/// An address that no other world has.
fn claim() -> (Ipv4Addr, TcpListener) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(1009) + NEXT.fetch_add(1, Ordering::Relaxed);
        let [_, b, c, d] = (number % (96 << 16)).to_be_bytes();
        let address = Ipv4Addr::new(127, 128 + b, c, d.clamp(1, 254));
        if let Ok(listener) = TcpListener::bind((address, CLAIM_PORT)) {
            return (address, listener);
        }
    }
}

/// Asks again and again until there is an answer, or the limit is reached.
pub(crate) fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let began = iako_rt::clock::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if began.elapsed() > limit {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(3));
    }
}

/// A proxy that does not outlive its world.
#[derive(Debug)]
struct Process {
    child: Child,
    words: PathBuf,
    is_envoy: bool,
}

impl Process {
    fn start(subject: &Subject, bootstrap: &Value, folder: &Path) -> Self {
        let config = folder.join("bootstrap.json");
        fs::write(&config, bootstrap.to_string()).unwrap();
        let mut command = match subject {
            Subject::Iako => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_iako"));
                command.arg("proxy").arg("-c").arg(&config);
                command.args(["--concurrency", "1", "--drain", "2s"]).env_remove("IAKO_LOG");
                command.args(["--drain-strategy", "immediate"]);
                command
            }
            Subject::Envoy(path) => {
                let mut command = Command::new(path);
                command.arg("-c").arg(&config).args(["--concurrency", "1"]);
                command.args(["--use-dynamic-base-id", "--log-level", "warning"]);
                command.args(["--drain-time-s", "2", "--drain-strategy", "immediate"]);
                command.args(["--file-flush-interval-msec", "5", "--disable-hot-restart"]);
                command
            }
        };
        let words = folder.join("words");
        let file = File::create(&words).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let is_envoy = matches!(subject, Subject::Envoy(_));
        Self { child: command.spawn().unwrap(), words, is_envoy }
    }

    /// Waits until it listens; what it said when it ended instead.
    fn wait_for(&mut self, address: Ipv4Addr, ports: &[u16]) -> Result<(), String> {
        for port in ports {
            let outcome = until(LIMIT, || {
                if TcpStream::connect((address, *port)).is_ok() {
                    return Some(Ok(()));
                }
                let ended = self.child.try_wait().unwrap();
                ended.map(|_| Err(fs::read_to_string(&self.words).unwrap_or_default()))
            });
            outcome.unwrap_or_else(|| Err(format!("does not listen at {port}")))?;
        }
        Ok(())
    }

    /// Waits until it says that it serves; what it said when it ended instead.
    fn wait_ready(&mut self, address: Ipv4Addr) -> Result<(), String> {
        let outcome = until(LIMIT, || {
            if is_ready(address).unwrap_or(false) {
                return Some(Ok(()));
            }
            let ended = self.child.try_wait().unwrap();
            ended.map(|_| Err(fs::read_to_string(&self.words).unwrap_or_default()))
        });
        outcome.unwrap_or_else(|| Err("does not become ready".to_owned()))
    }

    /// Ends it when its log is written.
    fn finish(&mut self, log: &Path, lines: Option<usize>) {
        let written = || {
            let text = fs::read_to_string(log).unwrap_or_default();
            text.lines().count()
        };
        // Iako writes down what it has when it ends.
        if lines.is_none() || self.is_envoy {
            let limit = lines.map_or(Duration::from_millis(400), |_| Duration::from_secs(1));
            let all = |wanted: usize| (written() >= wanted).then_some(());
            let _late: Option<()> = until(limit, || lines.and_then(all));
        }
        self.signal(Signal::TERM);
        let ended = until(LIMIT, || self.child.try_wait().unwrap());
        let fine = ended.is_some_and(|status: ExitStatus| status.success());
        assert!(fine, "the proxy ended with {ended:?}:\n{}", self.words());
    }

    fn words(&self) -> String {
        fs::read_to_string(&self.words).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        // Who is gone already needs no signal.
        let _gone = kill_process(id, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal(Signal::KILL);
            drop(self.child.wait());
        }
    }
}
