//! `iako crds`: the definitions of Iako's own kinds.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use iako_resources::own_definitions;

use super::Entry;
use crate::output;

pub(super) const ENTRY: Entry = Entry { command, run };

fn command() -> Command {
    Command::new("crds").about("Print the definitions of Iako's own kinds, for kubectl apply -f -")
}

fn run(_matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let documents: Vec<String> = own_definitions().into_iter().map(|one| one.yaml).collect();
    output::print(&documents.join("---\n"))?;
    Ok(ExitCode::SUCCESS)
}
