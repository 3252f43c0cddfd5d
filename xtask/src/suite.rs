//! `cargo xtask test`: one command for everything that a plain clone can test.
//!
//! It installs nothing but what a test runs, below `target`. What is missing is named with the
//! command that installs it; then every suite of the workspace runs, the documentation's examples
//! and the house rules among them, and the last line gives the sum.
//!
//! A few tests that failed beside all others are run once more, alone: a busy machine is no finding
//! about the code. Those that pass then are named as unsteady, which is a defect of its own.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::project::{Outcome, root};
use crate::tools;

/// A program that the build or a test needs.
struct Need {
    program: &'static str,
    arguments: &'static [&'static str],
    why: &'static str,
    install: &'static str,
    without: Without,
}

/// What happens without a program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    /// Nothing can be built.
    Stop,
    /// The tests that need it fail.
    Fail,
    /// The tests that need it pass over what they would check.
    Skip,
}

const NEEDS: &[Need] = &[
    Need {
        program: "rustc",
        arguments: &["--version"],
        why: "compiles everything",
        install: "install Rust from https://rustup.rs",
        without: Without::Stop,
    },
    Need {
        program: "cc",
        arguments: &["--version"],
        why: "compiles and links the cryptography library",
        install: "apt-get install -y gcc libc6-dev",
        without: Without::Stop,
    },
    Need {
        program: "go",
        arguments: &["version"],
        why: "builds h2spec, the conformance suite of HTTP/2",
        install: "apt-get install -y golang-go",
        without: Without::Fail,
    },
    Need {
        program: "openssl",
        arguments: &["version"],
        why: "looks at the wire between two sidecars as a stranger would",
        install: "apt-get install -y openssl",
        without: Without::Skip,
    },
];

pub(crate) fn run(extra: &[&str]) -> Outcome {
    let missing = missing()?;
    let told = |without: Without| -> Vec<String> {
        let needs = missing.iter().filter(|need| need.without == without);
        needs.map(|need| format!("{} ({}): {}", need.program, need.why, need.install)).collect()
    };
    let stops = told(Without::Stop);
    if !stops.is_empty() {
        return Err(format!("missing:\n  {}", stops.join("\n  ")));
    }
    for failing in told(Without::Fail) {
        println!("some tests will fail for lack of {failing}");
    }
    tools::h2spec();
    let mut sum = run_cargo(extra)?;
    if sum.may_be_chance() {
        run_again(&mut sum)?;
    }
    println!();
    for skipped in told(Without::Skip) {
        println!("not everything was checked for lack of {skipped}");
    }
    if sum.ignored > 0 {
        println!(
            "{} ignored: they take minutes, or need what a plain clone does not have",
            sum.ignored
        );
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    match (sum.succeeded, sum.failed) {
        (true, 0) => Ok(()),
        (_, failed) if failed > 0 => Err("some tests failed".to_owned()),
        _ => Err("not every suite could be built or run, see above".to_owned()),
    }
}

fn missing() -> Outcome<Vec<&'static Need>> {
    let mut missing = Vec::new();
    for need in NEEDS {
        let found = Command::new(need.program).args(need.arguments).output();
        match found {
            Ok(output) if output.status.success() => {
                if need.program == "rustc" {
                    check_rustc(&String::from_utf8_lossy(&output.stdout))?;
                }
            }
            _ => missing.push(need),
        }
    }
    Ok(missing)
}

fn check_rustc(version: &str) -> Outcome {
    let needed = env!("CARGO_PKG_RUST_VERSION");
    let found = version.split_whitespace().nth(1).unwrap_or_default();
    if numbers(found) >= numbers(needed) {
        return Ok(());
    }
    Err(format!(
        "rustc {found} is too old: {needed} is needed, `rustup toolchain install {needed}` brings it"
    ))
}

fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-']).map_while(|part| part.parse().ok()).take(2).collect()
}

/// What the suites said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// The names of the functions that failed.
    failures: Vec<String>,
    /// Every suite was built and ran to its end.
    succeeded: bool,
}

/// Most failed tests that are run again.
const AGAIN_MAX: u64 = 4;

impl Sum {
    /// Whether so few tests failed, each of them known by name, that it may be chance.
    fn may_be_chance(&self) -> bool {
        let known = self.failures.len() as u64 == self.failed;
        known && (1..=AGAIN_MAX).contains(&self.failed)
    }

    /// Adds a line such as `test result: ok. 41 passed; 0 failed; 1 ignored; …`, or
    /// `test name ... FAILED`.
    fn add(&mut self, line: &str) {
        let named = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
        self.failures.extend(named.map(str::to_owned));
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|l| l.split_once(". "))
        else {
            return;
        };
        for count in counts.split(';') {
            let Some((number, what)) = count.trim().split_once(' ') else { continue };
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// Runs the tests that failed once more, one after the other.
fn run_again(sum: &mut Sum) -> Outcome {
    let names = sum.failures.join(", ");
    println!("\nonce more, alone: {names}");
    let mut arguments = vec!["--", "--exact", "--test-threads=1"];
    arguments.extend(sum.failures.iter().map(String::as_str));
    let again = run_cargo(&arguments)?;
    if again.succeeded && again.passed == sum.failed {
        println!("\nunsteady, passed alone only: {names}");
        sum.passed += again.passed;
        (sum.failed, sum.succeeded) = (0, true);
    }
    Ok(())
}

/// All suites in one invocation, so that nothing is built twice with other features.
fn run_cargo(extra: &[&str]) -> Outcome<Sum> {
    let failed = |error: std::io::Error| format!("cargo: {error}");
    let mut child = Command::new("cargo")
        .current_dir(root())
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .args(extra)
        // A test that cannot run fails, where a plain `cargo test` only says so.
        .env("EVERY_TEST", "1")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut sum = Sum::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(failed)?;
            sum.add(&line);
            println!("{line}");
        }
    }
    sum.succeeded = child.wait().map_err(failed)?.success();
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_sums_every_suite() {
        let mut sum = Sum::default();
        sum.add("test result: ok. 41 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        sum.add("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured");
        sum.add("test result of another tool");
        assert_eq!(sum, Sum { passed: 43, failed: 3, ignored: 1, ..Sum::default() });
    }

    #[test]
    fn a_few_failures_that_are_known_by_name_are_worth_another_look() {
        let mut sum = Sum::default();
        sum.add("test result: FAILED. 40 passed; 1 failed; 0 ignored");
        assert!(!sum.may_be_chance(), "a failure without a name");
        sum.add("test pool::a_wait ... FAILED");
        assert!(sum.may_be_chance());
        assert_eq!(sum.failures, ["pool::a_wait"]);
        sum.add("test result: FAILED. 40 passed; 9 failed; 0 ignored");
        assert!(!sum.may_be_chance(), "more than chance");
    }

    #[test]
    fn an_old_compiler_is_refused_with_the_command_that_helps() {
        let refusal = check_rustc("rustc 1.60.0 (7737e0b5c 2022-04-04)").unwrap_err();
        assert!(refusal.contains("rustup toolchain install"), "{refusal}");
        assert_eq!(check_rustc("rustc 99.1.0-nightly (x)"), Ok(()));
    }
}
