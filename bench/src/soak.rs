//! Iako with twice the load that it can carry: what it does is done in bounded time and memory, and it
//! is well again as soon as the load is.

use std::fmt;
use std::io::{Write as _, stdout};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::contender::Contender;
use crate::load::exchange::{Load, Since};
use crate::load::{Protocol, Request, Shape};
use crate::results::percentile;
use crate::run::{Place, chosen, ground, upstream};
use crate::stand::{Stand, micros};
use crate::wire::clock::now;

/// What is soaked.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The scenario of requests, by a name that `list` prints.
    #[arg(default_value = "h1-hop")]
    scenario: String,
    #[command(flatten)]
    place: Place,
    /// Length of the overload.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
}

/// Connections of a load that fits, and of one that does not.
const CALM: usize = 64;
const CROWD: usize = 1024;
/// Before anything is counted.
const WARM: Duration = Duration::from_secs(2);
/// Parts of the overload, after each of which memory is looked at.
const PARTS: u32 = 6;
/// How long a load that fits is watched at once.
const LOOK: Duration = Duration::from_millis(200);
/// Time after the overload until answers are as fast as before.
const RECOVERY_MAX: Duration = Duration::from_secs(1);
/// The share of its rate on as many connections that the proxy keeps when it is asked for twice as much.
const KEPT_MIN: f64 = 0.8;
/// Growth of memory from the first part of the overload to the last.
const GROWTH_MAX: f64 = 0.10;

/// What was seen; times are in microseconds, memory in KiB.
#[derive(Debug)]
struct Findings {
    /// Requests a second, at most, on the few connections of a load that fits.
    best: f64,
    /// The same on as many connections as the overload has, none of which asks before it has its answer:
    /// what belongs to so many no longer fits the caches of a core.
    crowded: f64,
    /// The same on as many when twice the best rate is sent.
    kept: f64,
    /// Of a hundred answers 99 came within this time, at half of the best rate.
    calm: f64,
    /// The same in the overload, from when a request was sent.
    pressed: f64,
    failed: u64,
    memory: (f64, f64),
    recovery: Option<f64>,
}

impl Findings {
    /// A connection waits for its turn among all others, and no longer.
    fn pressed_max(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let turn = CROWD as f64 / self.crowded * 1e6;
        4.0 * turn
    }

    /// What is not as it should be.
    fn faults(&self) -> Vec<&'static str> {
        let recovered = self.recovery.is_some_and(|time| time <= micros_of(RECOVERY_MAX));
        let (before, after) = self.memory;
        [
            (self.kept < KEPT_MIN * self.crowded, "fewer requests are answered than at saturation"),
            (self.pressed > self.pressed_max(), "answers to accepted requests take too long"),
            (self.failed > 0, "requests failed"),
            (after > before * (1.0 + GROWTH_MAX), "memory grows"),
            (!recovered, "it is not well within a second of the overload's end"),
        ]
        .into_iter()
        .filter_map(|(is_so, fault)| is_so.then_some(fault))
        .collect()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.memory;
        writeln!(
            f,
            "at most {:.0} requests a second on {CALM} connections, {:.0} on {CROWD}; {:.0} on these when asked for {:.0}",
            self.best,
            self.crowded,
            self.kept,
            self.best * 2.0
        )?;
        writeln!(
            f,
            "99 of 100 answers within {:.0} µs at half of the first, {:.0} µs in the overload (at most {:.0} are allowed)",
            self.calm,
            self.pressed,
            self.pressed_max()
        )?;
        writeln!(
            f,
            "{} failed, memory {:.1} MB after the first part of the overload, {:.1} MB at its end",
            self.failed,
            before / 1024.0,
            after / 1024.0
        )?;
        match self.recovery {
            Some(time) => writeln!(f, "well again after {:.0} ms", time / 1000.0),
            None => writeln!(f, "not well again"),
        }
    }
}

/// # Errors
/// When nothing can be started, the load fails, or the proxy does not hold.
pub(crate) fn soak(options: &Options) -> Result<()> {
    let scenarios = chosen(std::slice::from_ref(&options.scenario))?;
    let Some(scenario) = scenarios.first() else { return Ok(()) };
    let temporary = tempfile::tempdir()?;
    let ground = ground(&options.place, temporary.path())?;
    let _upstream = upstream(&ground)?;
    let Some(stand) = Stand::start(&ground, scenario, Contender::Iako)? else {
        bail!("Iako is not here or cannot do that");
    };
    let protocol = scenario.work.protocol();
    let duration = Duration::from_secs_f64(options.seconds.clamp(1.0, 86_400.0));
    let findings = watch(&stand, protocol, duration)?;
    write!(stdout(), "{findings}")?;
    match findings.faults().as_slice() {
        [] => Ok(writeln!(stdout(), "verdict: it holds")?),
        faults => bail!("verdict: it does not hold: {}", faults.join("; ")),
    }
}

fn watch(stand: &Stand, protocol: Protocol, duration: Duration) -> Result<Findings> {
    let open = |connections| {
        let shape = Shape { protocol, connections, streams: 1 };
        Load::open(stand.entry, shape, &Request::get("/"))
    };
    let mut calm = open(CALM)?;
    calm.saturate(WARM)?;
    let outcome = calm.saturate(WARM)?;
    let best = rate(outcome.answered, outcome.took);
    let half = whole(best / 2.0);
    let quiet = calm.at_rate(half, WARM)?;
    let calm_time = at_99(&quiet.latencies);
    drop(calm);

    let mut crowd = open(CROWD)?;
    crowd.saturate(WARM)?;
    let outcome = crowd.saturate(WARM)?;
    let crowded = rate(outcome.answered, outcome.took);
    crowd.since = Since::Sent;
    let (mut answered, mut took, mut failed) = (0, 0, 0);
    let (mut latencies, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..PARTS {
        let outcome = crowd.at_rate(whole(best * 2.0), duration / PARTS)?;
        answered += outcome.answered;
        took += outcome.took;
        failed += outcome.failed.saturating_sub(outcome.unsent);
        latencies.extend(outcome.latencies);
        memory.push(stand.memory()?.rss);
    }
    latencies.sort_unstable();
    drop(crowd);
    let recovery = recovery(&mut open(CALM)?, half, calm_time)?;
    Ok(Findings {
        best,
        crowded,
        kept: rate(answered, took),
        calm: calm_time,
        pressed: at_99(&latencies),
        failed,
        memory: memory.first().copied().zip(memory.last().copied()).unwrap_or_default(),
        recovery,
    })
}

/// Time until answers are about as fast as they were before; `None` when that takes very long.
fn recovery(load: &mut Load, half: u32, calm: f64) -> Result<Option<f64>> {
    let began = now();
    for _ in 0..50 {
        let since = now() - began;
        let outcome = load.at_rate(half, LOOK)?;
        // A few slow ones are chance, where so few are looked at.
        if at_99(&outcome.latencies) <= 3.0 * calm + 1000.0 {
            return Ok(Some(micros(since)));
        }
    }
    Ok(None)
}

fn at_99(latencies: &[u64]) -> f64 {
    percentile(latencies, 990).map_or(f64::INFINITY, micros)
}

#[expect(clippy::cast_precision_loss, reason = "shown without fractions")]
fn rate(answered: u64, took: u64) -> f64 {
    answered as f64 / micros(took.max(1)) * 1e6
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "requests a second")]
fn whole(rate: f64) -> u32 {
    rate.max(1.0) as u32
}

fn micros_of(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Findings {
        Findings {
            best: 14_000.0,
            crowded: 10_000.0,
            kept: 9_500.0,
            calm: 300.0,
            pressed: 110_000.0,
            failed: 0,
            memory: (20_000.0, 20_500.0),
            recovery: Some(0.0),
        }
    }

    #[test]
    fn a_proxy_holds_only_where_everything_is_bounded() {
        assert_eq!(good().faults(), Vec::<&str>::new());
        for bad in [
            Findings { kept: 5_000.0, ..good() },
            Findings { pressed: 500_000.0, ..good() },
            Findings { failed: 1, ..good() },
            Findings { memory: (20_000.0, 30_000.0), ..good() },
            Findings { recovery: None, ..good() },
            Findings { recovery: Some(2e6), ..good() },
        ] {
            assert_eq!(bad.faults().len(), 1, "{bad:?}");
        }
    }
}
