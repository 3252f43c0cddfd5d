//! The `iako` command: one table of subcommands, each in a file of its own under `commands/`.

mod api;
mod app;
mod commands;
mod demo;
mod diagnostics;
mod join;
mod output;
mod place;
mod token;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
