//! House rules, generated pages and the test command: `cargo xtask tidy | gen | test |
//! strangers`.
//!
//! Not here: anything that the product does. It stands on the standard library alone, so that a
//! plain clone learns within seconds what is missing.
//!
//! Where to start: [`tidy`] for the rules, [`suite`] for `cargo xtask test`, [`pages`] for
//! `cargo xtask gen`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to a terminal")]

mod pages;
mod project;
mod rules;
mod strangers;
mod suite;
mod tidy;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND
  test [-- ARGS]   check what is needed, then run every test of the workspace and the house rules
  tidy             check the house rules: layers, sizes, dead files, links, words
  gen [--check]    write the generated pages under docs/, or fail when one is stale
  strangers        hold Iako against a live Envoy, case by case; fetches it once
  record-case NAME write down what Envoy does in a case of the differential suite";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => suite::run(&[]),
        ["test", "--", extra @ ..] => suite::run(extra),
        ["tidy"] => tidy::run(),
        ["gen"] => pages::run(pages::Mode::Write),
        ["strangers", extra @ ..] => strangers::run(extra),
        ["record-case", names @ ..] => strangers::record(names),
        ["gen", "--check"] => pages::run(pages::Mode::Check),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
