//! `iako analyze`: mistakes in configuration.

mod diff;
mod fix;
mod github;
mod load;
mod sarif;
mod summary;
mod table;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use iako_analyze::{Checked, Project, Suppression};
use iako_resources::{Diagnostic, Severity, diagnostics_json};

use super::Entry;
use crate::output;

pub(super) const ENTRY: Entry = Entry { command, run };

/// Reads Kubernetes, Gateway API and Istio YAML and says what is wrong with it: every problem, with
/// file, line and field.
#[derive(Debug, Args)]
struct Arguments {
    /// Directories or files; - is standard input, such as what helm template or kustomize build write
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    /// Leave out findings that are less severe
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Info)]
    severity: Level,
    /// End with exit code 1 when there is a finding of this level or a worse one
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    fail_on: FailOn,
    /// Leave out a code for some objects, with * for any characters: IAKO0100=VirtualService shop/*;
    /// may be given more than once
    #[arg(long, value_name = "CODE=KIND NAMESPACE/NAME")]
    suppress: Vec<Suppression>,
    /// Make the changes that are safe, and tell what is left
    #[arg(long)]
    fix: bool,
    /// With --fix: show the changes as a diff, and make none
    #[arg(long, requires = "fix")]
    dry_run: bool,
    /// Go on, and tell anew whenever a file changes
    #[arg(long, conflicts_with = "fix")]
    watch: bool,
}

/// The form of a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people, with the lines that findings are about
    #[default]
    Text,
    /// For people, a line for each finding
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of GitHub Actions
    Github,
}

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Error,
    Warning,
    Info,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warning => Self::Warning,
            Level::Info => Self::Info,
        }
    }
}

/// What makes the command fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    #[default]
    Error,
    Warning,
    Info,
    Never,
}

impl FailOn {
    fn is_met_by(self, diagnostics: &[Diagnostic]) -> bool {
        let worst = match self {
            Self::Error => Severity::Error,
            Self::Warning => Severity::Warning,
            Self::Info => Severity::Info,
            Self::Never => return false,
        };
        diagnostics.iter().any(|found| found.severity <= worst)
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing was found that is as bad as --fail-on says
  1  something was found that is as bad as --fail-on says, or worse
  2  the command could not run: a path does not exist, or an argument is wrong

What is passed over: hidden files, what an .iakoignore names (rules as in .gitignore), templates of
Helm charts, kustomizations and their patches, and documents that are no Kubernetes objects.

An annotation of an object leaves out codes for it, * all of them:
  iako.io/suppress: IAKO0100,IAKO0112
galley.istio.io/analyze-suppress is understood too.

Examples:
  iako analyze deploy/
  helm template shop ./chart | iako analyze -
  iako analyze --output sarif --fail-on warning deploy/ > iako.sarif
  iako analyze --fix --dry-run deploy/";

fn command() -> Command {
    Arguments::augment_args(Command::new("analyze"))
        .about("Find mistakes in Kubernetes and Istio YAML, and mend them")
        .after_help(EXIT_CODES)
}

/// What could not run is code 2; code 1 says that something was found.
fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match run_checked(matches) {
        Ok(code) => Ok(code),
        Err(error) => {
            output::error(&format!("{error:#}"));
            Ok(ExitCode::from(2))
        }
    }
}

fn run_checked(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    let mut project = load::load(&arguments.paths, &arguments.namespace)?;
    if arguments.watch {
        return watch::run(&arguments, project);
    }
    let mut checked = arguments.check(&mut project);
    if arguments.fix {
        let fixes = fix::fixes(&arguments, &mut project, checked)?;
        if arguments.dry_run {
            output::print(&fixes.diff)?;
            output::note(&fixes.told());
            return Ok(arguments.exit_code(&fixes.before));
        }
        output::note(&fixes.told());
        checked = fixes.after;
    }
    output::print(&arguments.written(&checked, &project)?)?;
    Ok(arguments.exit_code(&checked))
}

impl Arguments {
    /// What is wrong, without what the user does not want to be told.
    fn check(&self, project: &mut Project) -> Checked {
        let mut checked = project.check();
        let least = Severity::from(self.severity);
        let before = checked.diagnostics.len();
        checked.diagnostics.retain(|found| !self.suppress.iter().any(|wish| wish.covers(found)));
        checked.suppressed += before - checked.diagnostics.len();
        checked.diagnostics.retain(|found| found.severity <= least);
        checked
    }

    fn exit_code(&self, checked: &Checked) -> ExitCode {
        let fails = self.fail_on.is_met_by(&checked.diagnostics);
        if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// The result in the form that was asked for.
    fn written(&self, checked: &Checked, project: &Project) -> anyhow::Result<String> {
        let diagnostics = &checked.diagnostics;
        Ok(match self.output {
            Form::Text => summary::text(checked, project),
            Form::Table => table::table(diagnostics),
            Form::Json => pretty(&diagnostics_json(diagnostics))?,
            Form::Yaml => serde_saphyr::to_string(&diagnostics_json(diagnostics))?,
            Form::Sarif => pretty(&sarif::log(diagnostics, project))?,
            Form::Github => github::commands(diagnostics),
        })
    }
}

fn pretty(value: &serde_json::Value) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}
