//! The whole run: rounds of all contenders in turn, then the report.

use std::fs::File;
use std::io::{Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::contender::{Contender, Programs};
use crate::machine::Machine;
use crate::measure::{Bench, Pace};
use crate::process::{Process, bind_to};
use crate::report;
use crate::results::{Metric, Results};
use crate::routes;
use crate::scenario::{SCENARIOS, Scenario};
use crate::stand::{BULK_PORT, Ground, HTTP_PORT};
use crate::syscalls::Counter;
use crate::wire::clock::pause;

/// Where the programs are and which cores they run on.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The program to measure; built as it is shipped by default, which takes minutes.
    #[arg(long)]
    iako: Option<PathBuf>,
    /// Envoy, by path or by name.
    #[arg(long, default_value = "envoy")]
    envoy: PathBuf,
    /// Peers; all that are found by default. `--peers none` measures Iako alone.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// The core of the proxies.
    #[arg(long, default_value_t = 1)]
    proxy_core: usize,
    /// The core of load and upstream.
    #[arg(long, default_value_t = 0)]
    load_core: usize,
    /// Keep the configurations and logs of the run here.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// What is measured and how thoroughly.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// Scenarios, by the names that `list` prints; all of them by default.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Rounds of every scenario, the contenders in turn in each.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds at saturation, and at each fixed rate.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Requests a second for latency.
    #[arg(long, value_delimiter = ',', default_value = "1000,2000,4000,8000")]
    rates: Vec<u32>,
    /// Everything once and briefly, within a few minutes: whether it works, not what it costs.
    #[arg(long)]
    quick: bool,
    /// Where the page `performance.md` and its plots are written; nowhere by default.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// Prints the names of scenarios.
///
/// # Errors
/// When nobody reads.
pub(crate) fn list() -> Result<()> {
    for Scenario { id, title, .. } in SCENARIOS {
        writeln!(stdout(), "{id:18} {title}")?;
    }
    Ok(())
}

/// # Errors
/// When Iako or the upstream cannot be started at all. A measurement that fails is named in the
/// report, and the others go on.
pub(crate) fn all(options: &Options) -> Result<()> {
    let scenarios = chosen(&options.only)?;
    let temporary = tempfile::tempdir()?;
    let ground = ground(&options.place, temporary.path())?;
    let pace = pace(options);
    let upstream = upstream(&ground)?;
    let counter = Counter::find();
    let mut results = Results::default();
    let mut bench =
        Bench { ground: &ground, pace: &pace, upstream: &upstream, counter, results: &mut results };
    for scenario in &scenarios {
        rounds(&mut bench, scenario);
    }
    let machine = Machine::look(&ground, &pace, counter);
    // The page is written anew with every run; what people say about it is kept beside.
    let notes = std::fs::read_to_string(crate::own_folder().join("notes.md")).unwrap_or_default();
    let page = report::Page { machine: &machine, scenarios: &scenarios, results: &results, notes };
    stdout().write_all(page.text().as_bytes())?;
    if let Some(folder) = &options.write {
        page.write(folder)?;
    }
    Ok(())
}

/// Everything that scenarios need, in a folder that is there for the run.
///
/// # Errors
/// When the folder cannot be written, or Iako is not there.
pub(crate) fn ground(place: &Place, temporary: &Path) -> Result<Ground> {
    let iako = place.iako.clone().map_or_else(build, Ok)?;
    let alone = alone()?;
    let folder = place.keep.as_deref().unwrap_or(temporary);
    std::fs::create_dir_all(folder.join("tmp"))?;
    raise_file_limit();
    bind_to(place.load_core)?;
    crate::certificates::write(folder)?;
    Ok(Ground {
        programs: Programs::find(&iako, &place.envoy, &place.peers)?,
        configs: crate::own_folder().join("config"),
        folder: std::fs::canonicalize(folder)?,
        load_core: place.load_core,
        proxy_core: place.proxy_core,
        _alone: alone,
    })
}

/// Builds Iako as it is shipped, beside this program.
fn build() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("this program is in no target folder")?;
    let manifest = crate::own_folder().with_file_name("Cargo.toml");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--profile", "dist", "--package", "iako", "--manifest-path"]);
    cargo.arg(manifest).arg("--target-dir").arg(target);
    let status = cargo.status().context("cargo")?;
    if !status.success() {
        bail!("building Iako failed; `--iako` measures a program that is there");
    }
    Ok(target.join("dist/iako"))
}

/// Waits until no other benchmark runs on this machine. Two would share ports, which Envoy allows,
/// and measure each other.
fn alone() -> Result<File> {
    let path = std::env::temp_dir().join("iako-bench.lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    if file.try_lock().is_err() {
        drop(writeln!(stderr(), "waiting for another benchmark to end"));
        file.lock()?;
    }
    Ok(file)
}

/// Scenarios by name; all of them when none is named.
///
/// # Errors
/// When there is no such scenario.
pub(crate) fn chosen(only: &[String]) -> Result<Vec<&'static Scenario>> {
    if let Some(unknown) = only.iter().find(|id| !SCENARIOS.iter().any(|it| it.id == **id)) {
        bail!("no scenario is named {unknown}; `list` prints their names");
    }
    let is_chosen =
        |scenario: &&Scenario| only.is_empty() || only.iter().any(|id| id == scenario.id);
    Ok(SCENARIOS.iter().filter(is_chosen).collect())
}

fn pace(options: &Options) -> Pace {
    let length = |seconds: f64| Duration::from_secs_f64(seconds.clamp(0.1, 600.0));
    match options.quick {
        true => Pace {
            rounds: 1,
            warm: length(0.3),
            saturated: length(1.0),
            timed: length(1.0),
            rates: vec![2000],
            starts: 2,
        },
        false => Pace {
            rounds: options.rounds.max(1),
            warm: length(1.0),
            saturated: length(options.seconds),
            timed: length(options.seconds),
            rates: options.rates.clone(),
            starts: 5,
        },
    }
}

/// Every contender once a round; who begins changes from round to round.
fn rounds(bench: &mut Bench<'_>, scenario: &'static Scenario) {
    let contenders = scenario.contenders;
    for round in 0..bench.pace.rounds {
        for place in 0..contenders.len() {
            let Some(contender) = contenders.get((place + round) % contenders.len()) else {
                continue;
            };
            if !bench.ground.programs.has(*contender) {
                continue;
            }
            let outcome = bench.measure(scenario, *contender);
            let told = told(bench, scenario, *contender, round, outcome.err());
            // Whoever does not read the progress still gets the report.
            drop(stderr().write_all(told.as_bytes()));
        }
    }
}

/// One line of progress.
fn told(
    bench: &mut Bench<'_>,
    scenario: &'static Scenario,
    contender: Contender,
    round: usize,
    error: Option<anyhow::Error>,
) -> String {
    let begin = format!("{:18} round {} {contender}", scenario.id, round + 1);
    if let Some(error) = error {
        bench.results.problems.push(format!("{}, {contender}: {error:#}", scenario.title));
        return format!("{begin}: {error:#}\n");
    }
    let show = |metric, unit: &str| {
        let last = bench.results.last(scenario.id, contender, metric)?;
        Some(format!(", {last:.1} {unit}"))
    };
    let cpu = show(Metric::Cpu, "cost");
    let rate = show(Metric::Rate, "a second");
    let share = show(Metric::ProxyShare, "% proxy");
    let load = show(Metric::LoadShare, "% load");
    let others = show(Metric::OthersShare, "% others");
    let start = show(Metric::Start, "ms to start");
    let pieces = [cpu, rate, share, load, others, start];
    format!("{begin}{}\n", pieces.into_iter().flatten().collect::<String>())
}

/// Starts the upstream beside the load.
///
/// # Errors
/// When it does not answer.
pub(crate) fn upstream(ground: &Ground) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["upstream", "--bulk"]).arg(format!("{}:{BULK_PORT}", routes::endpoint(0)));
    for number in 0..routes::ENDPOINTS {
        command.arg("--http").arg(format!("{}:{HTTP_PORT}", routes::endpoint(number)));
    }
    let log = ground.folder.join("upstream.log");
    let mut upstream = Process::start(&mut command, ground.load_core, &log, ground.load_core)?;
    let address = crate::stand::address(HTTP_PORT)?;
    for _ in 0..1000 {
        if crate::load::idle::ask(address, "/").is_ok() {
            return Ok(upstream);
        }
        if !upstream.is_alive() {
            break;
        }
        pause(Duration::from_millis(2));
    }
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    bail!("the upstream does not answer: {said}")
}

/// Thousands of connections need as many files, here and in what is started from here.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised).context("raising the file limit") {
        drop(writeln!(stderr(), "{error:#}"));
    }
}
