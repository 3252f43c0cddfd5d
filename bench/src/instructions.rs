//! Instructions that proxies execute in user space, counted by valgrind's callgrind.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// What a proxy is started by. Nothing is counted until [`switch`] says so.
pub(crate) fn command(folder: &Path) -> Vec<String> {
    let output = format!("--callgrind-out-file={}/callgrind.%p", folder.display());
    ["valgrind", "--tool=callgrind", "--instr-atstart=no", &output].map(str::to_owned).to_vec()
}

/// Begins or ends counting.
///
/// # Errors
/// When valgrind's tools do not find the processes.
pub(crate) fn switch(ids: &[u32], to: &str) -> Result<()> {
    for id in ids {
        control(&[&format!("--instr={to}"), &id.to_string()])?;
    }
    Ok(())
}

/// What each process has executed while it was counted.
///
/// # Errors
/// When there is no count.
pub(crate) fn counts(ids: &[u32], folder: &Path) -> Result<Vec<f64>> {
    let count = |id: &u32| {
        control(&["--dump", &id.to_string()])?;
        let path = folder.join(format!("callgrind.{id}.1"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let line = text.lines().find_map(|line| line.strip_prefix("totals:"));
        let count = line.and_then(|line| line.trim().parse().ok());
        count.with_context(|| format!("no total in {}", path.display()))
    };
    ids.iter().map(count).collect()
}

fn control(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("callgrind_control");
    let status = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status.context("callgrind_control")?.success() {
        true => Ok(()),
        false => bail!("callgrind_control {} failed", arguments.join(" ")),
    }
}
