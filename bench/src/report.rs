//! The page: what was reached, tables for people, plots beside them.

mod number;
mod plots;
mod svg;
mod tables;
mod targets;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::contender::Contender;
use crate::machine::Machine;
use crate::results::{Metric, Results};
use crate::scenario::Scenario;
use crate::syscalls::Counter;

/// The folder of plots beside the page.
const PLOTS: &str = "performance";

/// Everything that the report is made of.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) scenarios: &'a [&'static Scenario],
    pub(crate) results: &'a Results,
    /// What people add to the figures.
    pub(crate) notes: String,
}

impl Page<'_> {
    /// The page in Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(INTRODUCTION);
        text.push_str(&self.machine_text());
        text.push_str("\n## Targets\n\n");
        text.push_str(&targets::table(self.results));
        text.push_str("\n## What a unit of work costs\n\n");
        text.push_str(&tables::costs(self.scenarios, self.results));
        text.push_str(&self.pictures());
        for scenario in self.scenarios.iter().filter(|it| self.results.has(it.id)) {
            text.push_str(&tables::details(scenario, self.results));
        }
        if !self.results.problems.is_empty() {
            text.push_str("\n## What could not be measured\n\n");
            for problem in &self.results.problems {
                text.push_str(&format!("- {}\n", problem.replace('\n', " ")));
            }
        }
        if !self.notes.is_empty() {
            text.push('\n');
            text.push_str(&self.notes);
        }
        text
    }

    /// Writes the page and its plots.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let plots = folder.join(PLOTS);
        fs::create_dir_all(&plots).with_context(|| plots.display().to_string())?;
        for (name, picture) in plots::all(self.scenarios, self.results) {
            fs::write(plots.join(format!("{name}.svg")), picture)?;
        }
        fs::write(folder.join("performance.md"), self.text())?;
        Ok(())
    }

    fn pictures(&self) -> String {
        let names = plots::all(self.scenarios, self.results);
        names.iter().map(|(name, _)| format!("\n![{name}]({PLOTS}/{name}.svg)\n")).collect()
    }

    fn machine_text(&self) -> String {
        let Machine { date, processor, cores, kernel, versions, absent, pace, .. } = self.machine;
        let absent: Vec<String> = absent.iter().map(Contender::to_string).collect();
        let mut text = format!(
            "{date}, {cores} cores of {processor}, Linux {kernel}; {}. Rounds: {}, of {} s at \
             saturation and {} s at each fixed rate.\n",
            versions.join(", "),
            pace.rounds,
            pace.saturated.as_secs_f64(),
            pace.timed.as_secs_f64(),
        );
        if !absent.is_empty() {
            text.push_str(&format!(
                "Left out, as not found or not asked for: {}.\n",
                absent.join(", ")
            ));
        }
        if !self.machine.has_nginx_stream {
            text.push_str("nginx has no module for plain connections here.\n");
        }
        if let Some(others) = self.results.everywhere(Metric::OthersShare) {
            text.push_str(&format!(
                "While it was measured, anything else used {} % of the two cores, at most {} %.\n",
                number::short(others.median),
                number::short(others.max)
            ));
        }
        text.push_str(match self.machine.counter {
            Some(Counter::Perf) => "System calls were counted by tracepoints, in runs apart.\n",
            Some(Counter::Strace) => "System calls were counted by strace, in runs apart.\n",
            None => "System calls were not counted: neither perf nor strace works here.\n",
        });
        text
    }
}

const INTRODUCTION: &str = "\
# What Iako costs

Written by `iako-bench` (`bench/README.md` says how to run it). All proxies ran in turns in one
run, with one worker each: the proxies on one core, load and upstream on another. Processor time
is what the kernel accounts to the processes of the proxies, both of a pair together. Values are
medians of rounds, with the lowest and highest in brackets. Machines differ, and so do hours:
compare values of one run.

The load waits for no answer before the next request is due: at a fixed rate, latency counts from
the moment at which a request should have been sent. That the load is not the bottleneck is seen
from the rows of `no proxy`, where the same load asks the same upstream directly, and from the
column `load core`, the share of its core that load and upstream used together.

";
