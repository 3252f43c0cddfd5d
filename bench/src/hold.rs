//! One contender under one scenario's load, for as long as somebody looks at it.

use std::io::{Write as _, stdout};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::contender::Contender;
use crate::load::bulk::Bulk;
use crate::load::connects::connects;
use crate::load::exchange::Load;
use crate::load::{Protocol, Request, Shape};
use crate::routes;
use crate::run::{Place, chosen, ground, upstream};
use crate::scenario::Work;
use crate::stand::{Stand, micros};

/// What is held.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The scenario, by a name that `list` prints.
    scenario: String,
    #[command(flatten)]
    place: Place,
    /// Who.
    #[arg(long, value_enum, default_value_t = Who::Iako)]
    who: Who,
    /// For so long.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Start Iako by this, such as a profiler with its arguments.
    #[arg(long, default_value = "")]
    under: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Who {
    Iako,
    Envoy,
    Haproxy,
    Nginx,
}

/// # Errors
/// When nothing can be started, or the load fails.
pub(crate) fn hold(options: &Options) -> Result<()> {
    let scenarios = chosen(std::slice::from_ref(&options.scenario))?;
    let Some(scenario) = scenarios.first() else { return Ok(()) };
    let temporary = tempfile::tempdir()?;
    let mut ground = ground(&options.place, temporary.path())?;
    ground.programs.under = options.under.split_whitespace().map(str::to_owned).collect();
    let _upstream = upstream(&ground)?;
    let contender = match options.who {
        Who::Iako => Contender::Iako,
        Who::Envoy => Contender::Envoy,
        Who::Haproxy => Contender::Haproxy,
        Who::Nginx => Contender::Nginx,
    };
    let Some(stand) = Stand::start(&ground, scenario, contender)? else {
        bail!("{contender} is not here or cannot do that");
    };
    writeln!(stdout(), "processes (a pair: server, client): {:?}", stand.ids())?;
    let duration = Duration::from_secs_f64(options.seconds.clamp(0.1, 86_400.0));
    let before = stand.cpu()?;
    let (done, unit) = load(scenario.work, &stand, duration)?;
    let used = micros(stand.cpu()? - before);
    writeln!(stdout(), "{done:.0} {unit}, {:.2} µs of the processor each", used / done)?;
    Ok(())
}

/// Everything at saturation; how much was done.
#[expect(clippy::cast_precision_loss, reason = "shown without fractions")]
fn load(work: Work, stand: &Stand, duration: Duration) -> Result<(f64, &'static str)> {
    let requests = |shape, path: &str| -> Result<_> {
        let mut load = Load::open(stand.entry, shape, &Request::get(path))?;
        Ok((load.saturate(duration)?.answered as f64, "requests"))
    };
    let http1 = Shape { protocol: Protocol::Http1, connections: 64, streams: 1 };
    match work {
        Work::Requests(shape) | Work::Timed(shape) => requests(shape, "/"),
        Work::Routes => requests(http1, &routes::last()),
        Work::Idle { .. } | Work::Start => requests(http1, "/"),
        Work::Bulk { connections } => {
            let moved = Bulk::open(stand.entry, connections)?.take(duration)?;
            Ok((moved.bytes as f64 / 1e6, "MB"))
        }
        Work::Connects { places } => {
            Ok((connects(stand.entry, places, duration)?.answered as f64, "connections"))
        }
    }
}
