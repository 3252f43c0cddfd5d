//! Counts system calls of running processes: tracepoints by `perf stat`, else `strace -c -f`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use crate::process::Process;
use crate::wire::clock::pause;

/// How long the tools take to attach; the proxies have nothing to do meanwhile.
const ATTACH: Duration = Duration::from_millis(600);

/// The tool that counts on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    Perf,
    Strace,
}

impl Counter {
    /// The one that works here, if one does.
    pub(crate) fn find() -> Option<Self> {
        let works = |command: &mut Command| {
            let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            quiet.status().is_ok_and(|status| status.success())
        };
        if works(Command::new("perf").args(["stat", "-e", "raw_syscalls:sys_enter", "true"])) {
            Some(Self::Perf)
        } else if works(Command::new("strace").args(["-c", "-f", "true"])) {
            Some(Self::Strace)
        } else {
            None
        }
    }

    /// Starts counting for some processes.
    ///
    /// # Errors
    /// When the tool cannot be started.
    pub(crate) fn attach(self, ids: &[u32], folder: &Path, own: usize) -> Result<Counting> {
        let output = folder.join("syscalls.txt");
        let mut command = match self {
            Self::Perf => {
                let mut command = Command::new("perf");
                let list = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
                command.args(["stat", "-x", ";", "-e", "raw_syscalls:sys_enter", "-p", &list]);
                command
            }
            Self::Strace => {
                let mut command = Command::new("strace");
                command.args(["-c", "-f"]);
                ids.iter().for_each(|id| {
                    command.args(["-p", &id.to_string()]);
                });
                command
            }
        };
        command.arg("-o").arg(&output);
        let tool = Process::start(&mut command, own, &folder.join("syscalls.log"), own)?;
        pause(ATTACH);
        Ok(Counting { counter: self, tool, output })
    }
}

/// A count under way.
#[derive(Debug)]
pub(crate) struct Counting {
    counter: Counter,
    tool: Process,
    output: PathBuf,
}

impl Counting {
    /// Ends it; `None` when the tool gave no count.
    pub(crate) fn finish(mut self) -> Option<f64> {
        self.tool.interrupt(Signal::INT);
        let text = fs::read_to_string(&self.output).ok()?;
        match self.counter {
            Counter::Perf => perf_count(&text),
            Counter::Strace => strace_count(&text),
        }
    }
}

/// The first field of the line that names the event.
fn perf_count(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("sys_enter"))?;
    line.split(';').next()?.trim().parse().ok()
}

/// The fourth column of the last line.
fn strace_count(text: &str) -> Option<f64> {
    let line = text.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_what_the_tools_write() {
        let perf = "# started on …\n\n81234;;raw_syscalls:sys_enter;0;100.00;;\n";
        assert_eq!(perf_count(perf), Some(81234.0));
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
                      ------ ----------- ----------- --------- --------- ----------------\n \
                      60.00    0.000003           1         3           read\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                      100.00    0.000005           0        12         1 total\n";
        assert_eq!(strace_count(strace), Some(12.0));
    }
}
