//! What a proxy costs: Iako beside Envoy, HAProxy and nginx, in turns in one run, with an upstream
//! and a load of our own, and a report with plots at the end.
//!
//! Not here: tests with times in them, and anything of the product. The proxies are programs that
//! are started; nothing of Iako is linked in.
//!
//! Where to start: [`scenario`] is the table of what is measured, [`measure`] is one measurement,
//! [`load`] and [`upstream`] are the two ends, [`report`] writes the page. `bench/README.md` says
//! how to run it.

mod certificates;
mod config;
mod contender;
mod hold;
mod instructions;
mod load;
mod machine;
mod measure;
mod process;
mod report;
mod results;
mod routes;
mod run;
mod scenario;
mod soak;
mod stand;
mod syscalls;
mod upstream;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures what a proxy costs beside its peers.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure, print the tables, and write them as a page with plots.
    All(run::Options),
    /// Keep one contender busy with one scenario, to look at it with a profiler.
    Hold(hold::Options),
    /// Send twice what Iako can carry, and say whether it holds.
    Soak(soak::Options),
    /// List what is measured.
    List,
    /// The server behind the proxies; `all` starts it by itself.
    #[command(hide = true)]
    Upstream {
        /// Where bytes are sent without end.
        #[arg(long)]
        bulk: SocketAddr,
        /// Where requests are answered.
        #[arg(long)]
        http: Vec<SocketAddr>,
        /// Length of every answer; at most one frame of HTTP/2.
        #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u16).range(..=16_384))]
        body: u16,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::All(options) => run::all(&options),
        Command::Hold(options) => hold::hold(&options),
        Command::Soak(options) => soak::soak(&options),
        Command::List => run::list(),
        Command::Upstream { bulk, http, body } => {
            // Nobody stops it when the benchmark is killed.
            let end = rustix::process::Signal::KILL;
            rustix::process::set_parent_process_death_signal(Some(end))?;
            Ok(upstream::Upstream::bind(bulk, &http, usize::from(body))?.serve()?)
        }
    }
}

/// Where the sources of this crate were when it was built.
fn own_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
