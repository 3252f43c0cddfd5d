//! The `iako` command: one table of subcommands, each in a file of its own under `commands/`.

mod app;
mod commands;
mod demo;
mod output;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
