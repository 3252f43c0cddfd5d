//! `iako analyze`: mistakes in configuration.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use iako_analyze::analyze;
use iako_registry::{Change, MeshState};
use iako_resources::{
    Diagnostic, FileContent, ReadOptions, Severity, diagnostics_json, load_directory, read_text,
    render,
};

use super::Entry;
use crate::{
    diagnostics::painter,
    output::{self, Format},
    place::MeshRange,
};

pub(super) const ENTRY: Entry = Entry { command, run };

/// Reads Kubernetes and Istio YAML and says what is wrong with it: every problem, with file, line
/// and field. Exit code 1 when there are errors.
#[derive(Debug, Args)]
struct Arguments {
    /// Directories or files; - is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// The form of the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

fn command() -> Command {
    Arguments::augment_args(Command::new("analyze"))
        .about("Find mistakes in Kubernetes and Istio YAML")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    let options = ReadOptions {
        default_namespace: arguments
            .namespace
            .parse()
            .with_context(|| format!("{} is no name of a namespace", arguments.namespace))?,
        ..ReadOptions::default()
    };
    let mut sources = BTreeMap::new();
    let mut files = Vec::new();
    for path in &arguments.paths {
        files.extend(load(path, &options, &mut sources)?);
    }
    let mut state = MeshState::inventing_pods(MeshRange::default().network());
    let snapshot = state.apply(Change::Replace { source: "paths".to_owned(), files });
    let mut diagnostics = analyze(&snapshot);
    diagnostics
        .sort_by(|a, b| (a.severity, &a.origin, &a.path).cmp(&(b.severity, &b.origin, &b.path)));
    print(&diagnostics, &sources, arguments.output)?;
    let wrong = diagnostics.iter().any(Diagnostic::is_error);
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Reads one path; texts of standard input are kept, for they cannot be read again.
fn load(
    path: &Path,
    options: &ReadOptions,
    sources: &mut BTreeMap<String, String>,
) -> anyhow::Result<Vec<FileContent>> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
        let content = read_text(&text, "-", options);
        sources.insert("-".to_owned(), text);
        return Ok(vec![content]);
    }
    anyhow::ensure!(path.exists(), "{} does not exist", path.display());
    Ok(load_directory(path, options))
}

fn print(
    diagnostics: &[Diagnostic],
    sources: &BTreeMap<String, String>,
    format: Format,
) -> anyhow::Result<()> {
    if format != Format::Table {
        return output::print_value(&diagnostics_json(diagnostics), format);
    }
    let painter = painter(&std::io::stdout());
    let mut text = String::new();
    for diagnostic in diagnostics {
        let file = diagnostic.origin.file.to_string();
        let source = match sources.get(&file) {
            Some(text) => Some(text.clone()),
            None => std::fs::read_to_string(&file).ok(),
        };
        text.push_str(&render(diagnostic, source.as_deref(), painter));
        text.push('\n');
    }
    let count = |severity| diagnostics.iter().filter(|it| it.severity == severity).count();
    text.push_str(&format!(
        "{} errors, {} warnings, {} notes\n",
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Info),
    ));
    Ok(output::print(&text)?)
}
