//! `iako token`: a join token for a workload of another machine.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::{Entry, parse_duration};
use crate::{output, place::StateDirectory, token::mint};

pub(super) const ENTRY: Entry = Entry { command, run };

/// Prints a join token, by which `iako run` and `iako gateway` prove who they are. Whoever holds it
/// can become the workload: keep it secret.
#[derive(Debug, Args)]
struct Arguments {
    /// Whose token, as NAMESPACE/SERVICE-ACCOUNT
    #[arg(long = "as", value_name = "NS/SA")]
    identity: String,
    /// How long it is good, as in 1h
    #[arg(long, default_value = "24h", value_parser = parse_duration)]
    lifetime: Duration,
    /// The state directory of the control plane [default: that of the one started last]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

fn command() -> Command {
    Arguments::augment_args(Command::new("token")).about("Print a join token for a workload")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    let state = StateDirectory::existing(arguments.state.as_deref())
        .context("no control plane was started on this machine; name its --state")?;
    let (namespace, account) = arguments
        .identity
        .split_once('/')
        .with_context(|| format!("expected NS/SA, found {}", arguments.identity))?;
    let namespace = namespace.parse().context("the namespace is not allowed")?;
    let account = account.parse().context("the service account is not allowed")?;
    let token = mint(&state, &namespace, &account, arguments.lifetime)?;
    output::print(&format!("{}\n", token.as_str()))?;
    Ok(ExitCode::SUCCESS)
}
