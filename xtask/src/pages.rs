//! `cargo xtask gen`: the pages under `docs/` that are made from tables in the code.
//!
//! Each crate has a test that compares its page with what its table says, and writes the page when
//! `UPDATE_DOCS` is set. So a stale page fails the tests, and this command stays small.

use std::process::Command;

use crate::project::{Outcome, root};

/// What to do about a page that is not what its table says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    Check,
}

/// A crate and the page its table makes.
const PAGES: &[(&str, &str)] = &[
    ("iako-telemetry", "docs/metrics.md"),
    ("iako-resources", "docs/codes.md"),
    ("iako-resources", "docs/istio-support.md"),
    ("iako-proxy-config", "docs/xds-support.md"),
];

/// The part of their names by which the tests of the pages are found.
const TESTS: &str = "committed_page";

pub(crate) fn run(mode: Mode) -> Outcome {
    let mut crates: Vec<&str> = PAGES.iter().map(|(owner, _)| *owner).collect();
    crates.dedup();
    let mut command = Command::new("cargo");
    command.current_dir(root()).args(["test", "--locked", "--quiet"]);
    for name in crates {
        command.args(["--package", name]);
    }
    command.arg(TESTS);
    if mode == Mode::Write {
        command.env("UPDATE_DOCS", "1");
    }
    let status = command.status().map_err(|error| format!("cargo: {error}"))?;
    for (owner, page) in PAGES {
        let made = if root().join(page).is_file() { "ok" } else { "missing" };
        println!("gen: {page} ({owner}): {made}");
    }
    match (status.success(), mode) {
        (true, _) => Ok(()),
        (false, Mode::Check) => Err("a page is stale: run `cargo xtask gen`".to_owned()),
        (false, Mode::Write) => Err("a page could not be written".to_owned()),
    }
}
