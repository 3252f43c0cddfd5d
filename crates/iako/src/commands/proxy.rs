//! `iako proxy`: the data plane alone, from an Envoy v3 bootstrap.

mod restart;

use std::{io::Read as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use iako_proxy::{DrainStrategy, Proxy, ProxySettings};
use iako_supervise::Signals;
use iako_xds_codec::bootstrap;

use super::{Entry, block_on, parse_duration};
use crate::output;
use restart::RestartArguments;

pub(super) const ENTRY: Entry = Entry { command, run };

/// Runs the YAML or JSON that Envoy v3 runs.
#[derive(Debug, Args)]
struct Arguments {
    /// The bootstrap, YAML or JSON; - is standard input
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: PathBuf,
    /// Worker threads [default: the CPUs]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=512))]
    concurrency: Option<u16>,
    /// Longest time that open connections have when it ends, as in 5s; when another process takes over,
    /// the time in which clients are told to go
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    drain: Duration,
    /// The same in seconds, as Envoy's
    #[arg(long, value_name = "SECONDS", conflicts_with = "drain", hide_short_help = true)]
    drain_time_s: Option<u32>,
    /// When clients of listeners that are removed are told to go
    #[arg(long, value_enum, default_value = "immediate")]
    drain_strategy: Strategy,
    #[command(flatten)]
    restart: RestartArguments,
}

/// As Envoy's `--drain-strategy`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Strategy {
    /// Over the whole time, so that they do not all come back at once
    Gradual,
    /// At once
    Immediate,
}

impl From<Strategy> for DrainStrategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Gradual => Self::Gradual,
            Strategy::Immediate => Self::Immediate,
        }
    }
}

fn command() -> Command {
    Arguments::augment_args(Command::new("proxy"))
        .about("Run the data plane alone, from an Envoy v3 bootstrap")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    let text = read(&arguments.config)?;
    let (bootstrap, warnings) = bootstrap::parse(&arguments.config.to_string_lossy(), &text)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut settings = ProxySettings::new(bootstrap);
    settings.concurrency = arguments.concurrency.map(usize::from);
    let drain = arguments.drain_time_s.map_or(arguments.drain, restart::seconds);
    settings.drain_time = drain;
    settings.drain_strategy = arguments.drain_strategy.into();
    settings.hot_restart = arguments.restart.settings(drain);
    settings.log_level = Some(std::sync::Arc::new(output::set_log_level));
    block_on(async move {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let proxy = Proxy::start(settings).await.context("the proxy cannot start")?;
        for (name, addresses) in proxy.addresses() {
            tracing::info!(listener = name, ?addresses, "listening");
        }
        tokio::select! {
            _ = signals.next() => proxy.shutdown().await,
            () = proxy.stopped() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn read(path: &std::path::Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}
