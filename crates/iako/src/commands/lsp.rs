//! `iako lsp`: a language server on standard input and output.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use iako_lsp::{Ending, Settings, serve};
use iako_resources::ReadOptions;

use super::Entry;
use crate::place::MeshRange;

pub(super) const ENTRY: Entry = Entry { command, run };

/// Speaks the Language Server Protocol on standard input and output: findings while typing, what a
/// field means, completion, definitions, and changes that mend a finding. Editors start it; see
/// docs/editors.md.
#[derive(Debug, Args)]
struct Arguments {
    /// The namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Accepted for editors that say how they talk; it is the only way
    #[arg(long, hide = true)]
    stdio: bool,
}

fn command() -> Command {
    Arguments::augment_args(Command::new("lsp"))
        .about("Find mistakes while they are typed: a language server for editors")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    let namespace = &arguments.namespace;
    let default_namespace =
        namespace.parse().with_context(|| format!("{namespace} is no name of a namespace"))?;
    let options = ReadOptions { default_namespace, ..ReadOptions::default() };
    let settings = Settings { options, network: MeshRange::default().network() };
    let ending = serve(std::io::stdin().lock(), std::io::stdout().lock(), settings)?;
    Ok(match ending {
        Ending::Orderly => ExitCode::SUCCESS,
        Ending::Abrupt => ExitCode::FAILURE,
    })
}
