//! Processes on a core of their own, and what the kernel says they cost.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::wire::clock::{nanos, now, pause};

/// How long a process may take to end when asked.
const END: Duration = Duration::from_secs(5);

/// A program that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

/// What the pages of a process take, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) rss: f64,
    /// With shared pages divided by those who share them.
    pub(crate) pss: f64,
}

/// Binds this thread, and everything it starts from now on, to one core.
///
/// # Errors
/// When there is no such core.
pub(crate) fn bind_to(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("core {core}"))
}

impl Process {
    /// Starts a program on `core`; its words go to a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        command: &mut Command,
        core: usize,
        log: &Path,
        own: usize,
    ) -> Result<Self> {
        let file = fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // A child inherits the core of whoever starts it, and so do all its threads.
        bind_to(core)?;
        let child = command.spawn().with_context(|| format!("starting {command:?}"));
        bind_to(own)?;
        Ok(Self { child: child? })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Nanoseconds that its threads have run, in user space and in the kernel.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn cpu(&self) -> Result<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            sum += cpu_of(&thread?.path()).unwrap_or_default();
        }
        Ok(sum)
    }

    /// # Errors
    /// When it is gone.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id()))?;
        let line = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        let found = line("Rss:").zip(line("Pss:")).map(|(rss, pss)| Memory { rss, pss });
        found.ok_or_else(|| anyhow!("no sizes in smaps_rollup"))
    }

    /// Asks it to end as a terminal would, and waits for that.
    pub(crate) fn interrupt(&mut self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            // Gone already is as good.
            kill_process(pid, signal).unwrap_or_default();
        }
        let end = now() + nanos(END);
        while self.is_alive() && now() < end {
            pause(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_alive() {
            self.interrupt(Signal::TERM);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Nanoseconds that the calling thread has run.
pub(crate) fn own_cpu() -> u64 {
    cpu_of(Path::new("/proc/thread-self")).unwrap_or_default()
}

/// Microseconds that cores were busy since the machine started, whoever kept them busy.
pub(crate) fn busy(cores: &[usize]) -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = |core: &usize| -> Option<f64> {
        let name = format!("cpu{core} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name))?;
        let values: Vec<f64> = line.split_whitespace().flat_map(str::parse).collect();
        // User, nice, system, idle, waiting, interrupts twice, stolen; the rest is counted twice.
        let idle = values.get(3)? + values.get(4)?;
        Some(values.iter().take(8).sum::<f64>() - idle)
    };
    // A tick is a hundredth of a second for every program.
    cores.iter().filter_map(ticks).sum::<f64>() * 10_000.0
}

/// The first number of `schedstat` is the time on a core, in nanoseconds.
fn cpu_of(task: &Path) -> Option<u64> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
