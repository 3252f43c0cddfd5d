//! The subcommands, and what they share.

mod analyze;
mod app;
mod config;
mod control;
mod crds;
mod demo;
mod explain;
mod gateway;
mod lsp;
mod proxy;
mod run;
mod status;
mod token;
mod up;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

pub(crate) use up::parse_duration;

use crate::output;

/// A subcommand.
pub(crate) struct Entry {
    /// Its name, help and arguments.
    pub(crate) command: fn() -> Command,
    /// What it does.
    pub(crate) run: fn(&ArgMatches) -> anyhow::Result<ExitCode>,
}

/// Every subcommand, in the order of `iako --help`.
const COMMANDS: &[Entry] = &[
    demo::ENTRY,
    up::ENTRY,
    run::ENTRY,
    proxy::ENTRY,
    control::ENTRY,
    gateway::ENTRY,
    token::ENTRY,
    analyze::ENTRY,
    lsp::ENTRY,
    explain::ENTRY,
    status::ENTRY,
    config::ENTRY,
    crds::ENTRY,
    app::ENTRY,
];

/// Parses the command line, runs the subcommand, and tells what went wrong.
///
/// Exit codes: 0 good, 1 bad result, 2 usage.
pub(crate) fn main() -> ExitCode {
    let mut root = Command::new("iako")
        .about("A service mesh in one binary: sidecar, gateways, control plane, CA and tools")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(output::log_argument());
    for entry in COMMANDS {
        root = root.subcommand((entry.command)());
    }
    let matches = root.get_matches();
    let Some((name, arguments)) = matches.subcommand() else { return ExitCode::from(2) };
    let entry = COMMANDS.iter().find(|entry| (entry.command)().get_name() == name);
    let Some(entry) = entry else { return ExitCode::from(2) };
    output::start_logging(&matches);
    match (entry.run)(arguments) {
        Ok(code) => code,
        Err(error) => {
            output::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A runtime for a command whose work is waiting: everything on the calling thread.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
