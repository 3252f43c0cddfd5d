//! The local pods of a mesh: started, watched, started again, ended.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use iako_rt::Scope;
use tokio::{
    sync::{mpsc, watch},
    time,
};

use crate::{Exit, Program, Running, accepts_connections, is_healthy};

/// A pod to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSpec {
    /// `namespace/name`, unique.
    pub name: String,
    /// The program that holds the pod: `iako run …` or `iako gateway …`.
    pub program: Program,
    /// Addresses that accept connections once the pod is ready: those of its sidecar and of its
    /// application.
    pub ready_when_listening: Vec<SocketAddr>,
    /// Where `GET /healthz/ready` is answered with 200 once the pod is ready; not asked when absent.
    pub health: Option<SocketAddr>,
    /// Whether it is started again when it ends. False for Jobs.
    pub restart: bool,
}

/// Where a pod stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodPhase {
    /// It was started and does not listen yet, or waits to be started again.
    Starting,
    /// It listens on all of its addresses.
    Ready,
    /// It is about to be ended: no new requests should be sent to it.
    Stopping,
    /// It ended and is not started again.
    Ended(Exit),
}

/// What is known of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodState {
    /// Where it stands.
    pub phase: PodPhase,
    /// Its process; absent when none runs.
    pub process: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// Why it is not ready; empty when nothing is wrong.
    pub problem: String,
}

/// Bounds for all pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodsSettings {
    /// Time between announcing the end of a pod and asking it to end, in which callers are told.
    /// Default: 500 ms.
    pub announce: Duration,
    /// Time that a pod has for its own end. Default: 30 s.
    pub grace: Duration,
    /// First wait before a pod that ended is started again; doubles up to `back_off_max`.
    pub back_off: Duration,
    /// Longest such wait. Default: 10 s.
    pub back_off_max: Duration,
}

impl Default for PodsSettings {
    fn default() -> Self {
        Self {
            announce: Duration::from_millis(500),
            grace: Duration::from_secs(30),
            back_off: Duration::from_millis(200),
            back_off_max: Duration::from_secs(10),
        }
    }
}

/// Runs a changing set of pods. Use it on a single-threaded runtime on the main thread.
#[derive(Debug)]
pub struct Pods {
    settings: PodsSettings,
    running: BTreeMap<String, Held>,
    /// Pods that were asked to end and may not have: their successors wait for them.
    ending: BTreeMap<String, watch::Receiver<bool>>,
    states: watch::Sender<BTreeMap<String, PodState>>,
    scope: Scope,
}

#[derive(Debug)]
struct Held {
    spec: PodSpec,
    stop: mpsc::Sender<()>,
    ended: watch::Receiver<bool>,
}

impl Pods {
    /// No pods yet.
    #[must_use]
    pub fn new(settings: PodsSettings) -> Self {
        Self {
            settings,
            running: BTreeMap::new(),
            ending: BTreeMap::new(),
            states: watch::Sender::new(BTreeMap::new()),
            scope: Scope::new(),
        }
    }

    /// Follows what is known of the pods.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BTreeMap<String, PodState>> {
        self.states.subscribe()
    }

    /// Makes the running pods those of `wanted`: starts new ones, ends others, replaces changed
    /// ones. Returns at once; [`Pods::watch`] tells how it goes.
    pub fn apply(&mut self, wanted: Vec<PodSpec>) {
        let wanted: BTreeMap<String, PodSpec> =
            wanted.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        let gone: Vec<String> = self
            .running
            .iter()
            .filter(|(name, held)| wanted.get(*name) != Some(&held.spec))
            .map(|(name, _)| name.clone())
            .collect();
        self.ending.retain(|_, ended| !*ended.borrow());
        for name in gone {
            if let Some(held) = self.running.remove(&name) {
                ask_to_stop(&held.stop);
                self.ending.insert(name, held.ended);
            }
        }
        for (name, spec) in wanted {
            if self.running.contains_key(&name) {
                continue;
            }
            // It has the addresses of the one before it, which must be gone first.
            let predecessor = self.ending.remove(&name);
            let held = self.start(spec, predecessor);
            self.running.insert(name, held);
        }
    }

    fn start(&self, spec: PodSpec, predecessor: Option<watch::Receiver<bool>>) -> Held {
        let (stop, stops) = mpsc::channel(1);
        let (ended_sender, ended) = watch::channel(false);
        let mut pod = Pod {
            spec: spec.clone(),
            settings: self.settings.clone(),
            states: self.states.clone(),
            stops,
            scope: self.scope.clone(),
        };
        self.scope.spawn("pod", async move {
            if let Some(predecessor) = predecessor {
                wait_for_end(predecessor).await;
            }
            if pod.stops.try_recv().is_err() {
                pod.run().await;
            }
            ended_sender.send_replace(true);
        });
        Held { spec, stop, ended }
    }

    /// Ends every pod, all at once, then the one called `last`, and waits for their ends.
    pub async fn stop(&mut self, last: &str) {
        let last = self.running.remove(last);
        let others: Vec<Held> = std::mem::take(&mut self.running).into_values().collect();
        end(others).await;
        for ended in std::mem::take(&mut self.ending).into_values() {
            wait_for_end(ended).await;
        }
        end(last.into_iter().collect()).await;
    }
}

async fn end(pods: Vec<Held>) {
    for pod in &pods {
        ask_to_stop(&pod.stop);
    }
    for pod in pods {
        wait_for_end(pod.ended).await;
    }
}

/// One request is enough: a full channel holds it already, a closed one needs none.
fn ask_to_stop(stop: &mpsc::Sender<()>) {
    if stop.try_send(()).is_err() {
        tracing::debug!("a pod was asked to end twice, or ended by itself");
    }
}

async fn wait_for_end(mut ended: watch::Receiver<bool>) {
    // A sender that is gone means that the pod's task is gone.
    drop(ended.wait_for(|ended| *ended).await);
}

/// The task of one pod.
struct Pod {
    spec: PodSpec,
    settings: PodsSettings,
    states: watch::Sender<BTreeMap<String, PodState>>,
    stops: mpsc::Receiver<()>,
    scope: Scope,
}

/// Why one life of a pod is over.
enum Over {
    Asked,
    Exit(Exit),
    Problem(String),
}

impl Pod {
    async fn run(mut self) {
        let mut restarts = 0;
        let mut back_off = self.settings.back_off;
        loop {
            let began = iako_rt::clock::now();
            let problem = match self.live(restarts).await {
                Over::Asked => break,
                Over::Exit(exit) if !self.spec.restart => {
                    self.publish(PodPhase::Ended(exit), None, restarts, String::new());
                    // Stays known, as ended, until it is no longer wanted.
                    self.stops.recv().await;
                    break;
                }
                Over::Exit(exit) => format!("ended with {exit}, starting it again"),
                Over::Problem(problem) => problem,
            };
            tracing::warn!(pod = %self.spec.name, %problem, "pod ended");
            self.publish(PodPhase::Starting, None, restarts, problem);
            if began.elapsed() > self.settings.back_off_max {
                back_off = self.settings.back_off;
            }
            tokio::select! {
                () = time::sleep(back_off) => {}
                _ = self.stops.recv() => break,
            }
            back_off = back_off.saturating_mul(2).min(self.settings.back_off_max);
            restarts = restarts.saturating_add(1);
        }
        self.states.send_modify(|states| {
            states.remove(&self.spec.name);
        });
    }

    async fn live(&mut self, restarts: u32) -> Over {
        let mut running = match self.spec.program.spawn(&self.scope) {
            Ok(running) => running,
            Err(error) => return Over::Problem(describe(&error)),
        };
        let process = running.id();
        self.publish(PodPhase::Starting, process, restarts, String::new());
        tokio::select! {
            over = exit_of(&mut running) => return over,
            _ = self.stops.recv() => return self.end(running, process, restarts).await,
            () = becomes_ready(&self.spec) => {}
        }
        self.publish(PodPhase::Ready, process, restarts, String::new());
        tokio::select! {
            over = exit_of(&mut running) => over,
            _ = self.stops.recv() => self.end(running, process, restarts).await,
        }
    }

    async fn end(&self, mut running: Running, process: Option<u32>, restarts: u32) -> Over {
        self.publish(PodPhase::Stopping, process, restarts, String::new());
        time::sleep(self.settings.announce).await;
        if let Err(error) = running.stop(self.settings.grace).await {
            tracing::warn!(pod = %self.spec.name, %error, "the end of a pod cannot be observed");
        }
        Over::Asked
    }

    fn publish(&self, phase: PodPhase, process: Option<u32>, restarts: u32, problem: String) {
        let state = PodState { phase, process, restarts, problem };
        self.states.send_modify(|states| {
            states.insert(self.spec.name.clone(), state);
        });
    }
}

async fn exit_of(running: &mut Running) -> Over {
    match running.wait().await {
        Ok(exit) => Over::Exit(exit),
        Err(error) => Over::Problem(format!("its end cannot be observed: {error}")),
    }
}

async fn becomes_ready(spec: &PodSpec) {
    const INTERVAL: Duration = Duration::from_millis(20);
    if let Some(health) = spec.health {
        while !is_healthy(health).await {
            time::sleep(INTERVAL).await;
        }
    }
    for &address in &spec.ready_when_listening {
        while !accepts_connections(address).await {
            time::sleep(INTERVAL).await;
        }
    }
}

/// An error with its causes in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> PodsSettings {
        PodsSettings {
            announce: Duration::ZERO,
            grace: Duration::from_secs(5),
            back_off: Duration::from_millis(1),
            back_off_max: Duration::from_millis(5),
        }
    }

    fn spec(name: &str, script: &str) -> PodSpec {
        PodSpec {
            name: name.to_owned(),
            program: Program::new(["sh", "-c", script]),
            ready_when_listening: Vec::new(),
            health: None,
            restart: true,
        }
    }

    #[tokio::test]
    async fn a_pod_that_ends_is_started_again_and_a_pod_no_longer_wanted_is_ended() {
        let mut pods = Pods::new(settings());
        let mut states = pods.watch();
        pods.apply(vec![spec("a/short", "exit 1"), spec("a/long", "exec sleep 1000")]);
        states
            .wait_for(|states| {
                states.get("a/short").is_some_and(|state| state.restarts >= 2)
                    && states.get("a/long").is_some_and(|state| state.phase == PodPhase::Ready)
            })
            .await
            .unwrap();
        pods.apply(vec![spec("a/long", "exec sleep 1000")]);
        states.wait_for(|states| !states.contains_key("a/short")).await.unwrap();
        let process = states.borrow().get("a/long").unwrap().process.unwrap();
        pods.stop("").await;
        assert!(states.borrow().is_empty());
        assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());
    }

    #[tokio::test]
    async fn a_changed_pod_is_replaced_after_its_predecessor_ended() {
        let mut pods = Pods::new(settings());
        let mut states = pods.watch();
        let process = |states: &BTreeMap<String, PodState>| states.get("a/pod")?.process;
        pods.apply(vec![spec("a/pod", "exec sleep 1000")]);
        let first =
            states.wait_for(|states| process(states).is_some()).await.map(|it| process(&it));
        let first = first.unwrap().unwrap();
        pods.apply(vec![spec("a/pod", "exec sleep 2000")]);
        let other = |states: &BTreeMap<String, PodState>| {
            process(states).is_some_and(|process| process != first)
        };
        states.wait_for(other).await.unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{first}")).exists());
        pods.stop("").await;
    }

    #[tokio::test]
    async fn a_pod_that_is_wanted_again_while_it_ends_waits_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        let script = format!(
            "trap 'sleep 0.2; echo ended >> {0}; exit 0' TERM; echo began >> {0}; \
             while :; do sleep 0.02; done",
            journal.display()
        );
        let lines = || std::fs::read_to_string(&journal).unwrap_or_default();
        let mut pods = Pods::new(settings());
        let mut states = pods.watch();
        pods.apply(vec![spec("a/pod", &script)]);
        while lines().is_empty() {
            tokio::task::yield_now().await;
        }
        pods.apply(Vec::new());
        let stopping = |states: &BTreeMap<String, PodState>| {
            states.get("a/pod").is_some_and(|state| state.phase == PodPhase::Stopping)
        };
        states.wait_for(stopping).await.unwrap();
        pods.apply(vec![spec("a/pod", &script)]);
        while lines() != "began\nended\nbegan\n" {
            assert!("began\nended\nbegan\n".starts_with(&lines()), "{}", lines());
            tokio::task::yield_now().await;
        }
        let ready = |states: &BTreeMap<String, PodState>| {
            states.get("a/pod").is_some_and(|state| state.phase == PodPhase::Ready)
        };
        states.wait_for(ready).await.unwrap();
        pods.stop("").await;
        assert!(states.borrow().is_empty());
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_told_as_the_problem() {
        let mut pods = Pods::new(settings());
        let mut states = pods.watch();
        let missing =
            PodSpec { program: Program::new(["no-such-program-here"]), ..spec("a/pod", "") };
        pods.apply(vec![missing]);
        let state = states
            .wait_for(|states| states.get("a/pod").is_some_and(|state| !state.problem.is_empty()))
            .await
            .unwrap()
            .get("a/pod")
            .cloned()
            .unwrap();
        assert!(state.problem.contains("no-such-program-here"), "{}", state.problem);
        pods.stop("").await;
    }
}
