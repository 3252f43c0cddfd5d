//! `iako gateway`: a proxy at the edge of the mesh.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use iako_supervise::{SidecarControl as _, Signals};

use super::{Entry, block_on};
use crate::join::{JoinArguments, JoinRole};

pub(super) const ENTRY: Entry = Entry { command, run };

/// Which edge.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Edge {
    /// Where requests come in
    Ingress,
    /// Where requests go out
    Egress,
}

/// Runs a proxy that takes the listeners of Gateway objects whose selector its labels match.
#[derive(Debug, Args)]
struct Arguments {
    /// Which edge it stands at
    #[arg(value_enum)]
    edge: Edge,
    #[command(flatten)]
    join: JoinArguments,
}

fn command() -> Command {
    Arguments::augment_args(Command::new("gateway")).about("Run a proxy as a gateway")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    block_on(async move {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let joined = arguments.join.join(JoinRole::Gateway).await?;
        tracing::info!(edge = ?arguments.edge, "gateway started");
        tokio::select! {
            _ = signals.next() => joined.drain().await,
            reason = joined.failed() => tracing::info!(reason, "gateway ends"),
        }
        Ok(ExitCode::SUCCESS)
    })
}
