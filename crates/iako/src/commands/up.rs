//! `iako up`: a mesh on this machine, from a directory of YAML.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::{Entry, block_on};
use crate::{
    output::Format,
    place::MeshRange,
    up::{UpSettings, run as run_mesh},
};

pub(super) const ENTRY: Entry = Entry { command, run };

/// What `up` and `demo` share.
#[derive(Debug, Args)]
pub(super) struct MeshArguments {
    /// The loopback addresses of the mesh, a /16 below 127.0.0.0/8
    #[arg(long, default_value_t, value_name = "CIDR")]
    range: MeshRange,
    /// Where keys and state are kept [default: one place a range below ~/.local/state/iako]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Stop after this time, counted from when everything is ready, as in 20s or 2m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// The form of the summary at the end
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

impl MeshArguments {
    pub(super) fn settings(self, directories: Vec<PathBuf>) -> UpSettings {
        UpSettings {
            directories,
            range: self.range,
            state: self.state,
            duration: self.duration,
            format: self.output,
            demo: None,
        }
    }
}

/// Runs the mesh that a directory describes: Deployments whose containers give a command become
/// local processes, each beside its own sidecar; Gateways become ingress gateways.
#[derive(Debug, Args)]
struct Arguments {
    /// Directories of Kubernetes and Istio YAML; watched while the mesh runs
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    #[command(flatten)]
    mesh: MeshArguments,
}

fn command() -> Command {
    Arguments::augment_args(Command::new("up"))
        .about("Run a whole mesh on this machine from a directory of YAML")
}

fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let arguments = Arguments::from_arg_matches(matches)?;
    block_on(run_mesh(arguments.mesh.settings(arguments.directories)))
}

/// A time such as `1500ms`, `20s`, `2m` or `1h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a time such as 500ms, 20s, 2m or 1h, found {text}");
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_not_a_number| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_too_long| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(parse_duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        for wrong in ["", "20", "s", "20 s", "-1s", "1d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
