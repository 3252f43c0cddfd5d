//! One measurement: one scenario, one contender, one round.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::contender::Contender;
use crate::load::bulk::Bulk;
use crate::load::connects::connects;
use crate::load::exchange::{Load, Outcome};
use crate::load::{Request, Shape, idle};
use crate::process::{Process, busy, own_cpu};
use crate::results::{Metric, PERMILLES, Results, percentile};
use crate::routes;
use crate::scenario::{Scenario, Work};
use crate::stand::{Ground, Stand, micros};
use crate::syscalls::Counter;
use crate::wire::clock::{now, pause};

/// Changes of one route in each direction, and the time after which one has been taken.
const CHANGES: usize = 5;
const SETTLE: Duration = Duration::from_millis(400);
/// Requests a second while a route changes.
const CHANGE_RATE: u32 = 2_000;

/// How long and how often.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    /// Before anything is counted.
    pub(crate) warm: Duration,
    /// At saturation.
    pub(crate) saturated: Duration,
    /// At each fixed rate.
    pub(crate) timed: Duration,
    /// Requests a second.
    pub(crate) rates: Vec<u32>,
    /// Starts in one round.
    pub(crate) starts: usize,
}

/// What a measurement needs.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) pace: &'a Pace,
    pub(crate) upstream: &'a Process,
    pub(crate) counter: Option<Counter>,
    pub(crate) results: &'a mut Results,
}

/// Processor time before something.
struct Meter {
    proxies: u64,
    load: u64,
    /// Microseconds of both cores, by anybody.
    busy: f64,
    began: u64,
}

impl Bench<'_> {
    /// # Errors
    /// When the proxy does not start, or the load fails.
    pub(crate) fn measure(&mut self, scenario: &Scenario, contender: Contender) -> Result<()> {
        let Some(stand) = Stand::start(self.ground, scenario, contender)? else {
            return Ok(());
        };
        let pace = self.pace;
        let mut one = Measurement { bench: self, id: scenario.id, contender, stand };
        match scenario.work {
            Work::Requests(shape) => one.requests(shape, &[]),
            Work::Timed(shape) => one.requests(shape, &pace.rates),
            Work::Bulk { connections } => one.bulk(connections),
            Work::Connects { places, .. } => one.connects(places),
            Work::Idle { counts } => one.idle(counts),
            Work::Routes => one.routes(),
            Work::Start => one.starts(scenario),
        }
    }
}

struct Measurement<'a, 'b> {
    bench: &'a mut Bench<'b>,
    id: &'static str,
    contender: Contender,
    stand: Stand,
}

impl Measurement<'_, '_> {
    fn add(&mut self, metric: Metric, value: f64) {
        self.bench.results.add(self.id, self.contender, metric, value);
    }

    fn meter(&self) -> Result<Meter> {
        let load = own_cpu() + self.bench.upstream.cpu()?;
        Ok(Meter { proxies: self.stand.cpu()?, load, busy: self.busy(), began: now() })
    }

    fn busy(&self) -> f64 {
        let Ground { load_core, proxy_core, .. } = self.bench.ground;
        busy(&[*load_core, *proxy_core])
    }

    /// What one unit cost since `meter`, and how busy both cores were.
    fn spent(&mut self, meter: &Meter, units: f64, metric: Metric) -> Result<()> {
        let took = micros(now() - meter.began);
        let proxies = micros(self.stand.cpu()? - meter.proxies);
        let load = micros(own_cpu() + self.bench.upstream.cpu()? - meter.load);
        if self.contender != Contender::Direct {
            self.add(metric, proxies / units);
            self.add(Metric::ProxyShare, 100.0 * proxies / took);
        }
        self.add(Metric::LoadShare, 100.0 * load / took);
        let others = (self.busy() - meter.busy - proxies - load).max(0.0);
        self.add(Metric::OthersShare, 50.0 * others / took);
        Ok(())
    }

    fn note_failures(&mut self, outcome: &Outcome) -> Result<()> {
        if outcome.answered == 0 {
            bail!("no request was answered well, {} otherwise", outcome.failed);
        }
        if outcome.failed > 0 {
            self.add(Metric::Failed, count(outcome.failed));
        }
        Ok(())
    }

    fn requests(&mut self, shape: Shape, rates: &[u32]) -> Result<()> {
        let mut load = Load::open(self.stand.entry, shape, &Request::get("/"))?;
        self.saturate(&mut load, Metric::Cpu)?;
        self.loaded_memory()?;
        self.syscalls(&mut load)?;
        for rate in rates {
            self.at_rate(&mut load, *rate).with_context(|| format!("at {rate} a second"))?;
        }
        Ok(())
    }

    fn saturate(&mut self, load: &mut Load, metric: Metric) -> Result<()> {
        let pace = self.bench.pace;
        load.saturate(pace.warm)?;
        let meter = self.meter()?;
        let outcome = load.saturate(pace.saturated)?;
        self.note_failures(&outcome)?;
        self.spent(&meter, count(outcome.answered + outcome.failed), metric)?;
        if metric == Metric::Cpu {
            self.add(Metric::Rate, count(outcome.answered) / micros(outcome.took) * 1e6);
        }
        Ok(())
    }

    fn loaded_memory(&mut self) -> Result<()> {
        if self.contender != Contender::Direct {
            let memory = self.stand.memory()?;
            self.add(Metric::LoadedRss, megabytes(memory.rss));
            self.add(Metric::LoadedPss, megabytes(memory.pss));
        }
        Ok(())
    }

    fn syscalls(&mut self, load: &mut Load) -> Result<()> {
        let Some(counter) = self.bench.counter.filter(|_| self.contender != Contender::Direct)
        else {
            return Ok(());
        };
        let ground = self.bench.ground;
        let counting = counter.attach(&self.stand.ids(), &ground.folder, ground.load_core)?;
        let outcome = load.saturate(self.bench.pace.warm)?;
        if let Some(calls) = counting.finish() {
            self.add(Metric::Syscalls, calls / count(outcome.answered));
        }
        Ok(())
    }

    fn at_rate(&mut self, load: &mut Load, rate: u32) -> Result<()> {
        let before = self.stand.cpu()?;
        let outcome = load.at_rate(rate, self.bench.pace.timed)?;
        let used = micros(self.stand.cpu()? - before);
        self.note_failures(&outcome)?;
        self.add(Metric::CpuAt { rate }, used / count(outcome.answered));
        for permille in PERMILLES {
            if let Some(latency) = percentile(&outcome.latencies, permille) {
                self.add(Metric::Latency { rate, permille }, micros(latency));
            }
        }
        Ok(())
    }

    fn bulk(&mut self, connections: usize) -> Result<()> {
        let mut bulk = Bulk::open(self.stand.entry, connections)?;
        bulk.take(self.bench.pace.warm)?;
        let meter = self.meter()?;
        let moved = bulk.take(self.bench.pace.saturated)?;
        let gigabytes = count(moved.bytes) / 1e9;
        // Milliseconds a GB are microseconds a MB.
        self.spent(&meter, gigabytes * 1000.0, Metric::Cpu)?;
        self.add(Metric::Rate, gigabytes / micros(moved.took) * 1e6);
        self.loaded_memory()
    }

    fn connects(&mut self, places: usize) -> Result<()> {
        connects(self.stand.entry, places, self.bench.pace.warm)?;
        let meter = self.meter()?;
        let outcome = connects(self.stand.entry, places, self.bench.pace.saturated)?;
        self.note_failures(&outcome)?;
        self.spent(&meter, count(outcome.answered), Metric::Cpu)?;
        self.add(Metric::Rate, count(outcome.answered) / micros(outcome.took) * 1e6);
        Ok(())
    }

    fn idle(&mut self, counts: &[usize]) -> Result<()> {
        // What the first connections cost once is not what each costs.
        let mut held = vec![idle::ask(self.stand.entry, "/")?];
        // Nor is what a proxy lets go of a moment after its start; of that, what every request needs
        // comes back with the next one.
        pause(Duration::from_secs(3));
        held.push(idle::ask(self.stand.entry, "/")?);
        pause(SETTLE);
        let before = self.stand.memory()?;
        for connections in counts {
            while held.len() <= connections.saturating_add(1) {
                held.push(idle::ask(self.stand.entry, "/")?);
            }
            pause(Duration::from_millis(700));
            let grown = self.stand.memory()?.pss - before.pss;
            let connections = *connections;
            self.add(Metric::Idle { connections }, grown / count(connections as u64));
        }
        Ok(())
    }

    fn routes(&mut self) -> Result<()> {
        self.add(Metric::Start, self.stand.start);
        self.first_memory()?;
        let shape = Shape { protocol: crate::load::Protocol::Http1, connections: 64, streams: 1 };
        for (path, metric) in [(routes::first(), Metric::CpuFirst), (routes::last(), Metric::Cpu)] {
            let mut load = Load::open(self.stand.entry, shape, &Request::get(&path))?;
            self.saturate(&mut load, metric)?;
        }
        if matches!(self.contender, Contender::Iako | Contender::Envoy) {
            self.changes()?;
            self.load_while_changing()?;
        }
        Ok(())
    }

    /// Requests while one of many routes changes back and forth, and as many while none does: how many
    /// fail, and how long the slowest took.
    fn load_while_changing(&mut self) -> Result<()> {
        let shape = Shape { protocol: crate::load::Protocol::Http1, connections: 16, streams: 1 };
        let mut load = Load::open(self.stand.entry, shape, &Request::get(&routes::last()))?;
        let changes = [routes::Version::Refuses, routes::Version::Forwards].repeat(CHANGES);
        let time = SETTLE.mul_f64(count(changes.len() as u64));
        let quiet = load.at_rate(CHANGE_RATE, time)?;
        let folder = &self.bench.ground.folder;
        let outcome = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                changes.iter().try_for_each(|version| {
                    pause(SETTLE / 2);
                    routes::write(folder, *version)?;
                    pause(SETTLE / 2);
                    Ok::<_, anyhow::Error>(())
                })
            });
            let outcome = load.at_rate(CHANGE_RATE, time);
            let written = writer.join().map_err(|_panic| anyhow!("no routes were written"))?;
            written?;
            Ok::<_, anyhow::Error>(outcome?)
        })?;
        self.note_failures(&quiet)?;
        self.add(Metric::ChangeFailed, count(outcome.failed));
        let slowest =
            |outcome: &Outcome| outcome.latencies.last().map(|took| micros(*took) / 1000.0);
        for (metric, run) in [(Metric::QuietSlowest, &quiet), (Metric::ChangeSlowest, &outcome)] {
            if let Some(slowest) = slowest(run) {
                self.add(metric, slowest);
            }
        }
        Ok(())
    }

    /// What it costs that one of many routes changes, beside what the proxy does anyway.
    fn changes(&mut self) -> Result<()> {
        let folder = self.bench.ground.folder.clone();
        let spent = |one: &Self, version: Option<routes::Version>| -> Result<f64> {
            let before = one.stand.cpu()?;
            if let Some(version) = version {
                routes::write(&folder, version)?;
            }
            pause(SETTLE);
            Ok(micros(one.stand.cpu()? - before) / 1000.0)
        };
        for _ in 0..CHANGES {
            for version in [routes::Version::Refuses, routes::Version::Forwards] {
                let idle = spent(self, None)?;
                let busy = spent(self, Some(version))?;
                let forwards = idle::ask(self.stand.entry, &routes::changing()).is_ok();
                if forwards != (version == routes::Version::Forwards) {
                    bail!("the proxy did not take a changed route");
                }
                self.add(Metric::Change, (busy - idle).max(0.0));
            }
        }
        Ok(())
    }

    fn first_memory(&mut self) -> Result<()> {
        // A proxy may let go of what it needed only to start.
        pause(Duration::from_secs(3));
        let memory = self.stand.memory()?;
        self.add(Metric::Rss, megabytes(memory.rss));
        self.add(Metric::Pss, megabytes(memory.pss));
        Ok(())
    }

    fn starts(&mut self, scenario: &Scenario) -> Result<()> {
        self.first_memory()?;
        for _ in 0..self.bench.pace.starts {
            // Ends the one before it.
            self.stand.stop();
            if let Some(stand) = Stand::start(self.bench.ground, scenario, self.contender)? {
                self.add(Metric::Start, stand.start);
                self.stand = stand;
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn count(number: u64) -> f64 {
    number as f64
}

fn megabytes(kibibytes: f64) -> f64 {
    kibibytes * 1024.0 / 1e6
}
