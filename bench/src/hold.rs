//! One contender under one scenario's load, for as long as somebody looks at it.

use std::io::{Write as _, stdout};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::contender::Contender;
use crate::instructions;
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
    #[arg(long, default_value = "", conflicts_with = "instructions")]
    under: String,
    /// Count instructions in user space instead of time, by valgrind: slow, and the same at any hour.
    #[arg(long)]
    instructions: bool,
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
    if options.instructions {
        ground.programs.under = instructions::command(&ground.folder);
    }
    let Some(stand) = Stand::start(&ground, scenario, contender)? else {
        bail!("{contender} is not here or cannot do that");
    };
    writeln!(stdout(), "processes (a pair: server, client): {:?}", stand.ids())?;
    let duration = Duration::from_secs_f64(options.seconds.clamp(0.1, 86_400.0));
    let mut load = Busy::open(scenario.work, &stand)?;
    let unit = load.unit();
    if options.instructions {
        load.run(WARM)?;
        instructions::switch(&stand.ids(), "on")?;
        let done = load.run(duration)?;
        instructions::switch(&stand.ids(), "off")?;
        let counts = instructions::counts(&stand.ids(), &ground.folder)?;
        let each: Vec<String> = counts.iter().map(|count| format!("{:.0}", count / done)).collect();
        let each = each.join(" and ");
        writeln!(stdout(), "{done:.0} {unit}, {each} instructions in user space each")?;
        return Ok(());
    }
    let before = stand.cpu()?;
    let done = load.run(duration)?;
    let used = micros(stand.cpu()? - before);
    writeln!(stdout(), "{done:.0} {unit}, {:.2} µs of the processor each", used / done)?;
    Ok(())
}

/// Before anything is counted.
const WARM: Duration = Duration::from_secs(2);

/// A load that can be run again and again.
enum Busy {
    Requests(Load),
    Bulk(Bulk),
    Connects { entry: SocketAddr, places: usize },
}

impl Busy {
    fn open(work: Work, stand: &Stand) -> Result<Self> {
        let http1 = Shape { protocol: Protocol::Http1, connections: 64, streams: 1 };
        let (shape, path) = match work {
            Work::Requests(shape) | Work::Timed(shape) => (shape, "/".to_owned()),
            Work::Routes => (http1, routes::last()),
            Work::Idle { .. } | Work::Start => (http1, "/".to_owned()),
            Work::Bulk { connections } => {
                return Ok(Self::Bulk(Bulk::open(stand.entry, connections)?));
            }
            Work::Connects { places, .. } => {
                return Ok(Self::Connects { entry: stand.entry, places });
            }
        };
        Ok(Self::Requests(Load::open(stand.entry, shape, &Request::get(&path))?))
    }

    fn unit(&self) -> &'static str {
        match self {
            Self::Requests(_) => "requests",
            Self::Bulk(_) => "MB",
            Self::Connects { .. } => "connections",
        }
    }

    /// Everything at saturation; how much was done.
    #[expect(clippy::cast_precision_loss, reason = "shown without fractions")]
    fn run(&mut self, duration: Duration) -> Result<f64> {
        Ok(match self {
            Self::Requests(load) => load.saturate(duration)?.answered as f64,
            Self::Bulk(bulk) => bulk.take(duration)?.bytes as f64 / 1e6,
            Self::Connects { entry, places } => {
                connects(*entry, *places, duration)?.answered as f64
            }
        })
    }
}
