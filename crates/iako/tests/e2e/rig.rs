//! Processes that end with the test, and meshes made of them.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Meshes run one after the other: two cores cannot tell slowness from failure otherwise.
static ALONE: Mutex<()> = Mutex::new(());

/// Longest time that anything may take. Generous: a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// For tests that start a mesh by other means than [`Mesh`].
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock()
}

/// Asks again and again until there is an answer; fails when there is none in time.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    until_or_tell(what, |_| ask())
}

/// The same; what was seen last is told with the failure.
pub(crate) fn until_or_tell<T>(what: &str, mut ask: impl FnMut(&mut String) -> Option<T>) -> T {
    let began = iako_rt::clock::now();
    let mut seen = String::new();
    loop {
        if let Some(answer) = ask(&mut seen) {
            return answer;
        }
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}: {seen}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The command under test, with nothing of this user's own state.
pub(crate) fn iako<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iako"));
    command.args(arguments).env_remove("IAKO_LOG").env("HOME", env!("CARGO_TARGET_TMPDIR"));
    command.env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn finished<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Finished {
    Finished::of(iako(arguments).output().unwrap())
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Finished {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A process that does not outlive the test; what it says goes to a file.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Self {
        let file = File::create(&log).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn words(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.id(), signal);
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        until("the end of the process", || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            // Its children end with it; without that a failed test would leave a mesh behind.
            let children = descendants(self.id());
            self.signal(Signal::KILL);
            for child in children {
                send(child, Signal::KILL);
            }
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.words());
        }
    }
}

pub(crate) fn send(process: u32, signal: Signal) {
    let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    // Who is gone already needs no signal.
    let _gone = kill_process(process, signal);
}

/// The state of a process and its parent, as the kernel tells them. Source: `proc(5)`.
fn stat(process: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before may hold anything, even brackets.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a process runs; one that only waits to be counted does not.
pub(crate) fn runs(process: u32) -> bool {
    stat(process).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Every process below one, in no order.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some((process, stat(process)?.1))
    });
    let parents: BTreeMap<u32, u32> = processes.collect();
    let mut found = vec![root];
    loop {
        let next: Vec<u32> = parents
            .iter()
            .filter(|(process, parent)| found.contains(parent) && !found.contains(process))
            .map(|(process, _)| *process)
            .collect();
        if next.is_empty() {
            found.remove(0);
            return found;
        }
        found.extend(next);
    }
}

/// The arguments that a process was started with.
pub(crate) fn arguments(process: u32) -> Vec<String> {
    let text = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    text.split(|byte| *byte == 0).map(|it| String::from_utf8_lossy(it).into_owned()).collect()
}

/// `examples/` of the sources.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// A copy of an example, to be edited.
pub(crate) fn copy(name: &str, to: &Path) -> PathBuf {
    let copy = to.join(name);
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(example(name)).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, copy.join(from.file_name().unwrap())).unwrap();
    }
    copy
}

/// A mesh that runs: `iako up` on a directory.
pub(crate) struct Mesh {
    pub(crate) up: Process,
    pub(crate) directory: PathBuf,
    pub(crate) state: PathBuf,
    second: u8,
    _folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Mesh {
    /// Runs a copy of an example in 127.`second`.0.0/16 and waits until it is up.
    pub(crate) fn start(second: u8, example: &str) -> Self {
        Self::of(second, |folder| copy(example, folder))
    }

    /// Runs a directory that is made for it.
    pub(crate) fn of(second: u8, make: impl FnOnce(&Path) -> PathBuf) -> Self {
        let alone = alone();
        let folder = tempfile::tempdir().unwrap();
        let directory = make(folder.path());
        let state = folder.path().join("state");
        let mut command = iako(["up"]);
        command.arg(&directory).arg("--state").arg(&state);
        command.args(["--range", &format!("127.{second}.0.0/16")]);
        let up = Process::start(command, folder.path().join("up.log"));
        let mut mesh = Self { up, directory, state, second, _folder: folder, _alone: alone };
        until("the mesh is up", || {
            let ended = mesh.up.child.try_wait().unwrap();
            assert!(ended.is_none(), "iako up ended with {ended:?}");
            mesh.up.words().contains("The mesh is up").then_some(())
        });
        mesh
    }

    pub(crate) fn control(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, self.second, 0, 1)), port)
    }

    /// Another address of the range, far from the pods.
    pub(crate) fn spare(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, 9, 1)
    }

    /// The first pod whose name begins so.
    pub(crate) fn pod(&self, prefix: &str) -> IpAddr {
        let pods = self.pods();
        let pod = pods.iter().find(|(name, _)| name.starts_with(prefix));
        *pod.unwrap_or_else(|| panic!("no pod {prefix} among {pods:?}")).1
    }

    /// Every pod by its name.
    pub(crate) fn pods(&self) -> BTreeMap<String, IpAddr> {
        let documents = fs::read_dir(self.state.join("pods")).unwrap();
        let paths = documents.map(|entry| entry.unwrap().path());
        let documents = paths.filter(|path| path.extension() == Some(OsStr::new("json")));
        // A pod that goes meanwhile is none.
        let texts = documents.filter_map(|path| match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            text => Some(text.unwrap()),
        });
        let pods = texts.map(|text| {
            let pod: Value = serde_json::from_str(&text).unwrap();
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            (name, pod["status"]["podIP"].as_str().unwrap().parse().unwrap())
        });
        pods.collect()
    }

    /// Where requests come in.
    pub(crate) fn gateway(&self) -> SocketAddr {
        SocketAddr::new(self.pod("istio-ingressgateway"), 8080)
    }

    /// The file with the join token of the first pod whose name begins so.
    pub(crate) fn token(&self, prefix: &str) -> PathBuf {
        let tokens = fs::read_dir(self.state.join("tokens")).unwrap();
        let mut paths = tokens.map(|entry| entry.unwrap().path());
        let named =
            |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
        paths.find(named).unwrap_or_else(|| panic!("no token for {prefix}"))
    }

    /// A command that asks this mesh.
    pub(crate) fn ask<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Finished {
        let mut command = iako(words);
        command.args(["--control", &self.control(15080).to_string()]);
        Finished::of(command.output().unwrap())
    }

    /// Edits a file as an editor does that writes in place.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.directory.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} holds no {from:?}: {text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// The process of the control plane.
    pub(crate) fn control_process(&self) -> Option<u32> {
        let is_control =
            |process: &u32| arguments(*process).get(1).is_some_and(|it| it == "control");
        descendants(self.up.id()).into_iter().find(is_control)
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.up.signal(Signal::INT);
        self.up.end().code()
    }
}
