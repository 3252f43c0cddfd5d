//! The engine of `iako up`: one loop that owns the local mesh.

use std::{
    collections::BTreeMap,
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use iako_control::DirectoryWatch;
use iako_registry::{LocalPod, LocalPodRole, MeshSnapshot, local_findings, local_pods};
use iako_resources::{Diagnostic, Severity};
use iako_supervise::{PodPhase, PodSpec, PodState, Pods, PodsSettings, Signals};
use serde_json::Value;
use tokio::{sync::watch, time};

use super::{
    directory::Directory,
    pods::{CONTROL, Logs, PodDocuments, PodMaker, pod_name},
    screen::Screen,
};
use crate::{
    api::ApiClient,
    demo::{Load, LoadSettings, MeshSummary, Statistics},
    diagnostics::{painter, render_all},
    output::Format,
    place::{ADMIN_PORT, API_PORT, MeshRange, StateDirectory},
};

/// Longest time until every pod is ready, at the start.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Time between two looks at the control plane, at the start.
const LOOK: Duration = Duration::from_millis(20);
/// Time between two summaries.
const TICK: Duration = Duration::from_secs(1);

/// What to run, and how to tell of it.
#[derive(Debug, Clone)]
pub(crate) struct UpSettings {
    /// The user's directories.
    pub(crate) directories: Vec<PathBuf>,
    /// The addresses of the mesh.
    pub(crate) range: MeshRange,
    /// Where state is kept; the default place of the range when absent.
    pub(crate) state: Option<PathBuf>,
    /// How long to run once everything is ready; until asked to stop when absent.
    pub(crate) duration: Option<Duration>,
    /// The form of the summary at the end.
    pub(crate) format: Format,
    /// Customers and a live summary; none for `iako up`.
    pub(crate) demo: Option<Demo>,
}

/// What makes the demo of it.
#[derive(Debug, Clone)]
pub(crate) struct Demo {
    /// The host that customers ask for.
    pub(crate) host: String,
    /// Requests a second.
    pub(crate) rate: u32,
    /// The token of a customer who buys.
    pub(crate) token: Option<String>,
}

/// Runs a mesh until it is asked to stop or its time is over. Nothing is left behind.
pub(crate) async fn run(settings: UpSettings) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let mut engine = Engine::new(settings)?;
    let outcome = tokio::select! {
        outcome = engine.work() => outcome,
        _ = signals.next() => Ok(()),
    };
    engine.screen.say("stopping");
    let summary = engine.finish().await;
    outcome?;
    summary.print(engine.settings.format)?;
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Engine {
    settings: UpSettings,
    directory: Directory,
    maker: PodMaker,
    documents: PodDocuments,
    pods: Pods,
    states: watch::Receiver<BTreeMap<String, PodState>>,
    screen: Screen,
    statistics: Statistics,
    load: Option<Load>,
    snapshot: Option<Arc<MeshSnapshot>>,
    planned: Vec<LocalPod>,
    summed: Instant,
    told: Vec<Diagnostic>,
    // Held for as long as the mesh lives.
    _lock: File,
}

impl Engine {
    fn new(mut settings: UpSettings) -> anyhow::Result<Self> {
        for directory in &mut settings.directories {
            *directory = std::path::absolute(&*directory)?;
            anyhow::ensure!(directory.exists(), "{} does not exist", directory.display());
        }
        let state = StateDirectory::open(settings.state.as_deref(), settings.range)?;
        let lock = state.lock()?;
        check_range(settings.range)?;
        let logs = if settings.demo.is_some() { Logs::Files } else { Logs::Terminal };
        let maker = PodMaker::new(state.clone(), settings.range, logs)?;
        let documents = PodDocuments::start(state.pods())?;
        let pods = Pods::new(PodsSettings::default());
        Ok(Self {
            directory: Directory::new(settings.directories.clone()),
            states: pods.watch(),
            settings,
            maker,
            documents,
            pods,
            screen: Screen::new(),
            statistics: Statistics::default(),
            load: None,
            snapshot: None,
            planned: Vec::new(),
            summed: iako_rt::clock::now(),
            told: Vec::new(),
            _lock: lock,
        })
    }

    async fn work(&mut self) -> anyhow::Result<()> {
        let began = iako_rt::clock::now();
        // Watched from before the first look, so that no change falls between.
        let mut watch = DirectoryWatch::start(&self.settings.directories);
        // The control plane first: pods that find it at once need not try again.
        self.pods.apply(vec![self.control()]);
        self.wait_until_ready().await?;
        self.plan()?;
        self.wait_until_ready().await?;
        self.wait_until_told().await?;
        self.greet(began.elapsed());
        self.start_load();
        let end = self.settings.duration.map(|duration| iako_rt::clock::now() + duration);
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = watch.changed() => self.replan(),
                changed = self.states.changed() => {
                    changed.context("the pods are gone")?;
                    self.note_states()?;
                }
                _ = ticks.tick() => {
                    let summary = self.sum().await;
                    if self.settings.demo.is_some() {
                        self.screen.draw(&summary);
                    }
                }
                () = until(end) => return Ok(()),
            }
        }
    }

    /// Reads the directory and makes the running pods those that it asks for.
    fn plan(&mut self) -> anyhow::Result<()> {
        let snapshot = self.directory.read()?;
        self.tell(&snapshot);
        let earlier = self
            .planned
            .iter()
            .map(|pod| ((pod.namespace.clone(), pod.name.clone()), pod.address))
            .collect();
        let pods = local_pods(&snapshot, self.settings.range.network(), &earlier);
        let mut specs = vec![self.control()];
        for pod in &pods {
            specs.push(self.maker.pod(pod, &snapshot)?);
        }
        self.planned = pods;
        self.snapshot = Some(snapshot);
        // First the addresses, then the processes: a proxy finds itself known when it connects.
        self.documents.write(&self.planned, &self.states.borrow())?;
        self.pods.apply(specs);
        Ok(())
    }

    /// Tells of problems that were not told before, and of what a process here does not get.
    fn tell(&mut self, snapshot: &MeshSnapshot) {
        let mut found = self.directory.findings();
        found.retain(|finding| finding.severity != Severity::Info);
        found.extend(local_findings(snapshot));
        let new: Vec<&Diagnostic> =
            found.iter().filter(|finding| !self.told.contains(finding)).collect();
        if !new.is_empty() {
            self.screen.say(&render_all(new, painter(&std::io::stderr())));
        }
        self.told = found;
    }

    fn control(&self) -> PodSpec {
        self.maker.control(self.settings.range, &self.settings.directories)
    }

    /// The same for a mesh that runs: a directory that cannot be read changes nothing.
    fn replan(&mut self) {
        let before = self.snapshot.clone();
        if let Err(error) = self.plan() {
            self.screen.say(&format!("the directory is not taken: {error:#}"));
            return;
        }
        let (Some(old), Some(new)) = (before, &self.snapshot) else { return };
        let wrong = new.diagnostics.iter().filter(|found| found.is_error()).count();
        match (old.version == new.version, wrong) {
            (true, _) => {}
            (false, 0) => self.screen.say("configuration taken"),
            (false, errors) => self.screen.say(&format!(
                "configuration taken but for {errors} errors; what they break stays as it was"
            )),
        }
    }

    fn note_states(&mut self) -> anyhow::Result<()> {
        let states = self.states.borrow_and_update().clone();
        self.documents.write(&self.planned, &states)?;
        for (name, state) in states.iter().filter(|(_, state)| !state.problem.is_empty()) {
            self.screen.say(&format!("{name}: {}", state.problem));
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let limit = time::sleep(READY_LIMIT);
        tokio::pin!(limit);
        loop {
            self.note_states()?;
            let missing = self.not_ready();
            if missing.is_empty() {
                return Ok(());
            }
            tokio::select! {
                changed = self.states.changed() => changed.context("the pods are gone")?,
                () = &mut limit => {
                    anyhow::bail!(
                        "not ready after {READY_LIMIT:?}: {}; {} say why",
                        missing.join(", "),
                        self.maker.where_logs_are(),
                    );
                }
            }
        }
    }

    /// Waits until every proxy has taken what the control plane knows now that all pods are ready:
    /// before that, requests would find services without instances.
    async fn wait_until_told(&self) -> anyhow::Result<()> {
        let api = ApiClient::at(SocketAddr::new(self.settings.range.control().into(), API_PORT));
        let told = async {
            loop {
                if let Ok(status) = api.get("/api/v1/status").await
                    && self.is_told(&status)
                {
                    return;
                }
                time::sleep(LOOK).await;
            }
        };
        time::timeout(READY_LIMIT, told).await.map_err(|_elapsed| {
            anyhow::anyhow!(
                "the proxies did not take their configuration within {READY_LIMIT:?}; {} say why",
                self.maker.where_logs_are()
            )
        })
    }

    fn is_told(&self, status: &Value) -> bool {
        let config = &status["config"];
        let proxies = status["proxies"].as_array().map(Vec::as_slice).unwrap_or_default();
        let pods = self.planned.len();
        config["ready_workloads"].as_u64().and_then(|it| usize::try_from(it).ok()) >= Some(pods)
            && config["planned_version"] == config["version"]
            && proxies.len() >= pods
            && proxies.iter().all(|proxy| proxy["synced"] == true)
    }

    fn not_ready(&self) -> Vec<String> {
        let states = self.states.borrow();
        let ready =
            |name: &str| states.get(name).is_some_and(|state| state.phase == PodPhase::Ready);
        self.planned
            .iter()
            .map(pod_name)
            .chain([CONTROL.to_owned()])
            .filter(|name| !ready(name))
            .collect()
    }

    fn greet(&mut self, took: Duration) {
        let range = self.settings.range;
        self.screen.say(&format!(
            "The mesh is up after {:.1} s: {} pods on {range}, API on http://{}:{API_PORT}",
            took.as_secs_f64(),
            self.planned.len(),
            range.control(),
        ));
        if let Some(gateway) = self.gateway() {
            let host = self.settings.demo.as_ref().map_or("HOST", |demo| demo.host.as_str());
            self.screen.say(&format!("Come in:  curl -H 'host: {host}' http://{gateway}/"));
        }
        if self.settings.demo.is_some() {
            let directory = self.settings.directories.first();
            let directory = directory.map(|path| path.display().to_string()).unwrap_or_default();
            self.screen.say(&format!("Change:   edit {directory}/routing.yaml and save"));
            self.screen.say(
                "Look:     iako status; iako explain --from cart-service GET \
                 http://payment-service/charge",
            );
        }
        self.screen.say("Stop:     Ctrl-C\n");
    }

    /// Where customers come in.
    fn gateway(&self) -> Option<SocketAddr> {
        let pod = self.planned.iter().find(|pod| pod.role == LocalPodRole::Gateway)?;
        let port = pod.ports.first().map_or(8080, |port| port.port);
        Some(SocketAddr::new(IpAddr::V4(pod.address), port))
    }

    fn start_load(&mut self) {
        let (Some(demo), Some(gateway)) = (self.settings.demo.clone(), self.gateway()) else {
            return;
        };
        self.load = Some(Load::start(LoadSettings {
            gateway,
            host: demo.host,
            rate: demo.rate,
            token: demo.token,
        }));
    }

    async fn sum(&mut self) -> MeshSummary {
        let running: Vec<(String, u32, Ipv4Addr)> = {
            let states = self.states.borrow();
            self.planned
                .iter()
                .filter_map(|pod| {
                    let name = pod_name(pod);
                    let process = states.get(&name)?.process?;
                    Some((name, process, pod.address))
                })
                .collect()
        };
        self.statistics.keep_proxies(|name| running.iter().any(|(known, _, _)| known == name));
        for (name, process, address) in running {
            let admin = SocketAddr::new(IpAddr::V4(address), ADMIN_PORT);
            self.statistics.ask(&name, process, admin).await;
        }
        let now = iako_rt::clock::now();
        let seconds = now.duration_since(self.summed).as_secs_f64();
        self.summed = now;
        self.statistics.sum(self.load.as_ref().map(Load::totals), seconds)
    }

    /// Ends the customers, takes the last numbers, then ends every process.
    async fn finish(&mut self) -> MeshSummary {
        let totals = match self.load.take() {
            Some(load) => Some(load.finish().await),
            None => None,
        };
        let mut summary = self.sum().await;
        summary.load = totals;
        self.pods.stop(CONTROL).await;
        summary
    }
}

/// Finds out at once whether another mesh has these addresses: its control plane would be there.
fn check_range(range: MeshRange) -> anyhow::Result<()> {
    for port in [15010, 15012, 15014, API_PORT] {
        let address = SocketAddr::new(IpAddr::V4(range.control()), port);
        if let Err(error) = std::net::TcpListener::bind(address) {
            anyhow::bail!(
                "cannot listen on {address}: {error}; if another mesh runs on {range}, end it or \
                 choose another range, as in --range 127.16.0.0/16"
            );
        }
    }
    Ok(())
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => time::sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}
