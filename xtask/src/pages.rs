//! `cargo xtask gen`: the pages under `docs/` that are made from tables in the code.
//!
//! A test compares each page with what its table says, and writes it when `UPDATE_DOCS` is set. So
//! a stale page fails the tests, and this program builds without the crates that hold the tables. The
//! table of the rules of RFCs is its own (`crate::rules`).

use std::process::Command;

use crate::project::{Outcome, root};
use crate::rules;

/// What to do about a page that is not what its table says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    Check,
}

pub(crate) fn run(mode: Mode) -> Outcome {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    command.args(["test", "--locked", "--quiet", "--package", "xtask", "--test", "pages"]);
    match mode {
        Mode::Write => {
            rules::write()?;
            command.env("UPDATE_DOCS", "1");
        }
        Mode::Check => rules::compare()?,
    }
    let status = command.status().map_err(|error| format!("cargo: {error}"))?;
    match (status.success(), mode) {
        (true, _) => Ok(()),
        (false, Mode::Check) => Err("a page is stale: run `cargo xtask gen`".to_owned()),
        (false, Mode::Write) => Err("a page could not be written".to_owned()),
    }
}
