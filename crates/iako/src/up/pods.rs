//! From planned pods to processes, and back to documents that the control plane reads.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use iako_registry::{LocalPod, LocalPodRole, MeshSnapshot, Readiness};
use iako_resources::kubernetes::pod::{Container, EnvValue};
use iako_supervise::{Output, PodPhase, PodSpec, PodState, Program};

use crate::place::{HEALTH_PORT, MeshRange, StateDirectory, write_whole};

/// Makes the processes of pods.
#[derive(Debug)]
pub(crate) struct PodMaker {
    state: StateDirectory,
    executable: PathBuf,
    control: SocketAddr,
    logs: Logs,
}

/// Where the words of pods go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logs {
    /// To the terminal, with the pod's name before each line.
    Terminal,
    /// To a file a pod in the state directory.
    Files,
}

impl PodMaker {
    pub(crate) fn new(state: StateDirectory, range: MeshRange, logs: Logs) -> anyhow::Result<Self> {
        for folder in [state.authority(), state.pods(), state.tokens(), state.logs()] {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let executable = std::env::current_exe().context("cannot find our own program")?;
        let control = SocketAddr::new(IpAddr::V4(range.control()), 15012);
        Ok(Self { state, executable, control, logs })
    }

    /// The control plane, which is kept running like a pod.
    pub(crate) fn control(&self, range: MeshRange, directories: &[PathBuf]) -> PodSpec {
        let mut argv = self.argv(&["control"]);
        for directory in directories {
            argv.extend(["--config".into(), directory.into()]);
        }
        argv.extend(["--config".into(), self.state.pods().into()]);
        argv.extend(["--state".into(), self.state.path().into()]);
        argv.extend(["--range".into(), range.to_string().into()]);
        let address = |port| SocketAddr::new(IpAddr::V4(range.control()), port);
        PodSpec {
            name: CONTROL.to_owned(),
            program: self.program(CONTROL, argv),
            ready_when_listening: vec![address(15012)],
            health: Some(address(crate::place::API_PORT)),
            restart: true,
        }
    }

    /// The processes of a planned pod.
    pub(crate) fn pod(&self, pod: &LocalPod, snapshot: &MeshSnapshot) -> anyhow::Result<PodSpec> {
        let name = pod_name(pod);
        let token = crate::token::write(&self.state, &pod.namespace, &pod.service_account)?;
        let mut argv = self.argv(match pod.role {
            LocalPodRole::Application(_) => &["run"],
            LocalPodRole::Gateway => &["gateway", "ingress"],
        });
        let mut option = |name: &str, value: OsString| argv.extend([name.into(), value]);
        option("--as", format!("{}/{}", pod.namespace, pod.service_account).into());
        option("--name", pod.name.clone().into());
        option("--workload", pod.owner.name.clone().into());
        option("--address", pod.address.to_string().into());
        option("--control", self.control.to_string().into());
        option("--root", self.state.authority().join(iako_ca::ROOT_CERTIFICATE_FILE).into());
        option("--token", token.into());
        for (label, value) in pod.labels.iter() {
            option("--label", format!("{label}={value}").into());
        }
        for (annotation, value) in pod.annotations.iter() {
            option("--annotation", format!("{annotation}={value}").into());
        }
        let health = SocketAddr::new(IpAddr::V4(pod.address), HEALTH_PORT);
        let mut ready = Vec::new();
        let mut environment = Vec::new();
        let mut directory = None;
        if let LocalPodRole::Application(containers) = &pod.role {
            option("--app-address", pod.app_address.to_string().into());
            for port in &pod.ports {
                option("--port", port.port.to_string().into());
                ready.push(SocketAddr::new(IpAddr::V4(pod.app_address), port.port));
            }
            let container = containers.first().context("a pod without a container")?;
            if containers.len() > 1 {
                tracing::warn!(pod = %name, "only the first container with a command is run");
            }
            environment = variables(container, pod, snapshot);
            directory = directory_of(container, pod);
            argv.push("--".into());
            argv.extend(container.command.iter().chain(&container.args).map(OsString::from));
        }
        let mut program = self.program(&name, argv);
        program.env.extend(environment);
        program.directory = directory;
        let restart = pod.owner.kind != "Job";
        Ok(PodSpec { name, program, ready_when_listening: ready, health: Some(health), restart })
    }

    /// Where the words of pods are, for a sentence.
    pub(crate) fn where_logs_are(&self) -> String {
        match self.logs {
            Logs::Terminal => "the lines above".to_owned(),
            Logs::Files => format!("the logs in {}", self.state.logs().display()),
        }
    }

    fn argv(&self, subcommand: &[&str]) -> Vec<OsString> {
        let executable = OsString::from(&self.executable);
        std::iter::once(executable).chain(subcommand.iter().map(OsString::from)).collect()
    }

    fn program(&self, name: &str, argv: Vec<OsString>) -> Program {
        let output = match self.logs {
            Logs::Terminal => Output::Prefixed(format!("[{name}] ")),
            Logs::Files => {
                Output::File(self.state.logs().join(format!("{}.log", name.replace('/', "."))))
            }
        };
        Program { output, ..Program::new(argv) }
    }
}

/// Where a program starts: where the container says, else where its document is.
fn directory_of(container: &Container, pod: &LocalPod) -> Option<PathBuf> {
    let of_document = Path::new(pod.origin.file.as_ref()).parent()?;
    let directory = match &container.working_dir {
        Some(directory) => of_document.join(directory),
        None => of_document.to_owned(),
    };
    directory.is_dir().then_some(directory)
}

/// The environment that a container asks for; what cannot be found is left out, with a warning.
fn variables(container: &Container, pod: &LocalPod, mesh: &MeshSnapshot) -> Vec<(String, String)> {
    let found = container.env.iter().filter_map(|variable| {
        let value = value_of(&variable.value, pod, mesh);
        if value.is_none() {
            tracing::warn!(pod = %pod_name(pod), variable = variable.name, "its value is not known");
        }
        Some((variable.name.clone(), value?))
    });
    found.collect()
}

fn value_of(value: &EnvValue, pod: &LocalPod, mesh: &MeshSnapshot) -> Option<String> {
    match value {
        EnvValue::Text(text) => Some(text.clone()),
        EnvValue::Field(field) => match field.as_str() {
            "metadata.name" => Some(pod.name.clone()),
            "metadata.namespace" => Some(pod.namespace.to_string()),
            "spec.serviceAccountName" => Some(pod.service_account.to_string()),
            "status.podIP" | "status.podIPs" => Some(pod.address.to_string()),
            "status.hostIP" => Some("127.0.0.1".to_owned()),
            _ => None,
        },
        EnvValue::ConfigMapKey(name, key) => {
            let map = mesh.config_maps.get(&(pod.namespace.clone(), name.clone()))?;
            map.spec.data.get(key).cloned()
        }
        EnvValue::SecretKey(name, key) => {
            let secret = mesh.secrets.get(&(pod.namespace.clone(), name.clone()))?;
            let value = secret.spec.data.get(key)?;
            String::from_utf8(value.reveal().to_vec()).ok()
        }
    }
}

/// The name under which the control plane is kept among the pods.
pub(crate) const CONTROL: &str = "control";

/// `namespace/name`.
pub(crate) fn pod_name(pod: &LocalPod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// Keeps one `Pod` document a pod in a directory, as a kubelet keeps the status of its pods.
#[derive(Debug)]
pub(crate) struct PodDocuments {
    folder: PathBuf,
    written: BTreeMap<String, String>,
}

impl PodDocuments {
    /// An empty directory: what an earlier run left is removed.
    pub(crate) fn start(folder: PathBuf) -> anyhow::Result<Self> {
        for entry in std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
        {
            let path = entry?.path();
            std::fs::remove_file(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(Self { folder, written: BTreeMap::new() })
    }

    /// Writes what changed, and removes the documents of pods that are gone.
    pub(crate) fn write(
        &mut self,
        pods: &[LocalPod],
        states: &BTreeMap<String, PodState>,
    ) -> anyhow::Result<()> {
        let mut wanted = BTreeMap::new();
        for pod in pods {
            let phase = states.get(&pod_name(pod)).map(|state| state.phase);
            if phase == Some(PodPhase::Stopping) {
                continue;
            }
            let ready = phase == Some(PodPhase::Ready);
            let readiness = if ready { Readiness::Ready } else { Readiness::NotReady };
            let file = format!("{}.{}.json", pod.namespace, pod.name);
            wanted.insert(file, format!("{:#}\n", pod.to_json(readiness)));
        }
        for (file, text) in &wanted {
            if self.written.get(file) != Some(text) {
                write_whole(&self.folder.join(file), text)?;
            }
        }
        for file in self.written.keys().filter(|file| !wanted.contains_key(*file)) {
            let path = self.folder.join(file);
            std::fs::remove_file(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        self.written = wanted;
        Ok(())
    }
}
