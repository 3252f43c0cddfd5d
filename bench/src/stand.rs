//! The proxies of one measurement, running: configured, started and asked once.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::config::{self, HOST};
use crate::contender::{Contender, Programs};
use crate::load::exchange::Load;
use crate::load::{Protocol, Request, Shape, idle};
use crate::process::{Memory, Process};
use crate::routes;
use crate::scenario::{CURVES, Scenario, Topology, Work};
use crate::wire::broken;
use crate::wire::clock::{nanos, now, pause};

pub(crate) const HTTP_PORT: u16 = 31_080;
pub(crate) const BULK_PORT: u16 = 31_081;
const LISTEN: u16 = 31_090;
const BETWEEN: u16 = 31_092;
/// Longest until a proxy answers.
const READY: Duration = Duration::from_secs(20);

/// What every measurement needs of the machine.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) programs: Programs,
    /// Where the configurations with placeholders are.
    pub(crate) configs: PathBuf,
    /// Where everything is written that lives as long as the run.
    pub(crate) folder: PathBuf,
    /// The core of load and upstream.
    pub(crate) load_core: usize,
    pub(crate) proxy_core: usize,
    /// Locked while the run lasts.
    pub(crate) _alone: File,
}

/// One or two proxies that answer.
#[derive(Debug)]
pub(crate) struct Stand {
    proxies: Vec<Process>,
    /// Where the load goes.
    pub(crate) entry: SocketAddr,
    /// Milliseconds from the start of the last process to the first answer.
    pub(crate) start: f64,
    folder: PathBuf,
}

/// One process to be.
struct Role {
    name: &'static str,
    listen: u16,
    target: u16,
}

impl Stand {
    /// `None` when this contender cannot do this scenario.
    ///
    /// # Errors
    /// When a proxy does not start or does not answer.
    pub(crate) fn start(
        ground: &Ground,
        scenario: &Scenario,
        contender: Contender,
    ) -> Result<Option<Self>> {
        let upstream = match scenario.work {
            Work::Bulk { .. } => BULK_PORT,
            Work::Requests(_)
            | Work::Timed(_)
            | Work::Connects { .. }
            | Work::Idle { .. }
            | Work::Routes
            | Work::Start => HTTP_PORT,
        };
        let folder = ground.folder.clone();
        if scenario.stem == "tcp" && !ground.programs.carries_bytes(contender) {
            return Ok(None);
        }
        if contender == Contender::Direct {
            let entry = address(upstream)?;
            return Ok(Some(Self { proxies: Vec::new(), entry, start: 0.0, folder }));
        }
        let roles = match scenario.topology {
            Topology::Hop => vec![Role { name: "hop", listen: LISTEN, target: upstream }],
            Topology::Pair => vec![
                Role { name: "server", listen: BETWEEN, target: upstream },
                Role { name: "client", listen: LISTEN, target: BETWEEN },
            ],
        };
        let entry = address(LISTEN)?;
        let mut stand = Self { proxies: Vec::new(), entry, start: 0.0, folder };
        let mut began = now();
        for role in &roles {
            let stem = match matches!(scenario.work, Work::Routes) {
                true => scenario.stem.to_owned(),
                false => format!("{}-{}", scenario.stem, role.name),
            };
            let values = values(ground, scenario, role)?;
            let place = (ground.configs.as_path(), ground.folder.as_path());
            let Some(path) = config::write(place, contender, &stem, &values)? else {
                return Ok(None);
            };
            let Some(mut command) = ground.programs.command(contender, &path) else {
                return Ok(None);
            };
            command.current_dir(&ground.folder);
            let log = ground.folder.join(format!("{}.log", role.name));
            began = now();
            let process = Process::start(&mut command, ground.proxy_core, &log, ground.load_core)?;
            stand.proxies.push(process);
        }
        stand.wait_until_ready(scenario, &roles)?;
        stand.start = micros(now() - began) / 1000.0;
        Ok(Some(stand))
    }

    fn wait_until_ready(&mut self, scenario: &Scenario, roles: &[Role]) -> Result<()> {
        let end = now() + nanos(READY);
        loop {
            let answer = match scenario.work {
                Work::Bulk { .. } => bulk_byte(self.entry),
                Work::Routes => idle::ask(self.entry, &routes::last()).map(drop),
                Work::Requests(shape) | Work::Timed(shape) => one_request(self.entry, shape),
                Work::Connects { .. } | Work::Idle { .. } | Work::Start => {
                    idle::ask(self.entry, "/").map(drop)
                }
            };
            let Err(error) = answer else { return Ok(()) };
            let is_dead = self.proxies.iter_mut().any(|proxy| !proxy.is_alive());
            if is_dead || now() > end {
                let said = last_words(&self.folder, roles);
                bail!("the proxy did not answer: {error}{said}");
            }
            pause(Duration::from_micros(500));
        }
    }

    /// Nanoseconds that the proxies ran.
    ///
    /// # Errors
    /// When one is gone.
    pub(crate) fn cpu(&self) -> Result<u64> {
        self.proxies.iter().map(Process::cpu).sum()
    }

    /// Of all proxies together.
    ///
    /// # Errors
    /// When one is gone.
    pub(crate) fn memory(&self) -> Result<Memory> {
        self.proxies.iter().try_fold(Memory::default(), |sum, proxy| {
            let one = proxy.memory().context("the proxy ended")?;
            Ok(Memory { rss: sum.rss + one.rss, pss: sum.pss + one.pss })
        })
    }

    /// Ends the proxies.
    pub(crate) fn stop(&mut self) {
        self.proxies.clear();
    }

    pub(crate) fn ids(&self) -> Vec<u32> {
        self.proxies.iter().map(Process::id).collect()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.proxies.clear();
        // Logs of requests are large; the next proxy begins its own.
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "access") {
                drop(fs::remove_file(path));
            }
        }
    }
}

fn values(
    ground: &Ground,
    scenario: &Scenario,
    role: &Role,
) -> Result<Vec<(&'static str, String)>> {
    let is_http2 = scenario.work.protocol() == Protocol::Http2;
    let codec = if is_http2 { "http2_protocol_options" } else { "http_protocol_options" };
    let module = ground.programs.nginx_stream.as_ref();
    let load = module.map(|path| format!("load_module {};", path.display())).unwrap_or_default();
    let mut values = vec![
        ("HOST", HOST.to_owned()),
        ("LISTEN", role.listen.to_string()),
        ("ADMIN", (role.listen + 1).to_string()),
        ("TARGET", role.target.to_string()),
        ("FOLDER", ground.folder.display().to_string()),
        ("ROLE", role.name.to_owned()),
        ("CODEC", codec.to_owned()),
        ("PROTO", if is_http2 { "proto h2" } else { "" }.to_owned()),
        ("LOAD", load),
    ];
    let curves = match scenario.work {
        Work::Connects { curves, .. } => curves,
        Work::Requests(_)
        | Work::Timed(_)
        | Work::Bulk { .. }
        | Work::Idle { .. }
        | Work::Routes
        | Work::Start => CURVES,
    };
    values.push(("CURVES", curves.to_owned()));
    values.push(("POLICIES", policies(ground, scenario, role)?));
    if matches!(scenario.work, Work::Routes) {
        values.extend(routes::values(&ground.folder)?);
    }
    Ok(values)
}

/// What a scenario puts into the configuration of a role.
fn policies(ground: &Ground, scenario: &Scenario, role: &Role) -> Result<String> {
    let Some(stem) = scenario.policies else { return Ok(String::new()) };
    let path = ground.configs.join(format!("{stem}-{}.part.yaml", role.name));
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

pub(crate) fn address(port: u16) -> Result<SocketAddr> {
    Ok(SocketAddr::new(HOST.parse()?, port))
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(crate) fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// Whether the upstream's bytes arrive.
fn bulk_byte(entry: SocketAddr) -> std::io::Result<()> {
    use std::io::Read as _;
    let mut stream = std::net::TcpStream::connect(entry)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.read_exact(&mut [0; 1])
}

/// Whether one request is answered in this protocol.
fn one_request(entry: SocketAddr, shape: Shape) -> std::io::Result<()> {
    let one = Shape { connections: 1, streams: 1, ..shape };
    let outcome = Load::open(entry, one, &Request::get("/"))?.saturate(Duration::ZERO)?;
    match outcome.failed {
        0 => Ok(()),
        _ => Err(broken("not answered with 200")),
    }
}

/// What the proxies said, the end of it.
fn last_words(folder: &Path, roles: &[Role]) -> String {
    let said = roles.iter().map(|Role { name, .. }| {
        let text = fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(3).collect();
        lines.iter().rev().map(|line| format!("\n  {name}: {line}")).collect::<String>()
    });
    said.collect()
}
