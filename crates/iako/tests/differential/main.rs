//! The differential suite: what Iako does with the same bootstrap and the same bytes as Envoy.
//!
//! Every file under `cases/` is one case; its README says how to add one. Each case starts Iako
//! with upstreams and addresses of its own, and compares what it did with what a real Envoy 1.40
//! was seen to do. With `ENVOY=/path/of/envoy` that Envoy runs too, and is compared as well.
//!
//! A case that differs is judged again when nothing else runs: some ask for two things whose order
//! no rule fixes, and eight at a time on a busy machine meet them in another. What differs twice
//! fails; what differs once is named as unsteady, and wants to be made steady.
//!
//! Arguments: words that the names of cases hold; `--record` writes what Envoy does into them;
//! `--show` prints what Iako does; `--once` judges no case again.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "tests may be blunt"
)]

mod bootstrap;
mod case;
mod chains;
mod client;
mod coding;
mod compare;
mod dns;
mod hashing;
mod layout;
mod observed;
mod pki;
mod plane;
mod sockets;
mod stage;
mod steps;
mod upstream;
mod veil;
mod verdict;
mod wire;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;

use crate::{
    case::Case,
    verdict::{Run, Verdict},
};

/// Cases at the same time. More than processors: most of a case is waiting for a process.
const AT_ONCE: usize = 8;

/// Most cases that are judged again.
const AGAIN_MAX: usize = 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        // Tools that list tests find none here: the cases are not functions.
        println!("0 tests, 0 benchmarks");
        return ExitCode::SUCCESS;
    }
    let words: Vec<String> =
        arguments.iter().filter(|word| !word.starts_with('-')).cloned().collect();
    let envoy = std::env::var_os("ENVOY").map(PathBuf::from);
    let run = Run { envoy, record: has("--record"), show: has("--show") };
    let began = iako_rt::clock::now();
    let cases = case::read_all(&words);
    let mut verdicts = judge_all(&cases, &run);
    if !run.record && !has("--once") {
        judge_again(&cases, &mut verdicts, &run);
    }
    let count = |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|it| wanted(it)).count();
    let failing = count(|it| matches!(it, Verdict::Failing(_)));
    for (case, verdict) in cases.iter().zip(&verdicts) {
        if let Verdict::Failing(problems) = verdict {
            println!("\n{}: {}", case.id(), case.what);
            problems.iter().for_each(|problem| println!("    {problem}"));
        }
    }
    let beside = if run.envoy.is_some() { "a live Envoy" } else { "recordings of Envoy" };
    println!(
        "\ndifferential: {} cases against {beside}: {} equal, {} differing on purpose, \
         {} unsupported, {failing} failing",
        cases.len(),
        count(|it| matches!(it, Verdict::Equal)),
        count(|it| matches!(it, Verdict::Differing)),
        count(|it| matches!(it, Verdict::Unsupported)),
    );
    let word = if failing == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {word}. {} passed; {failing} failed; 0 ignored; finished in {:.2}s\n",
        cases.len() - failing,
        began.elapsed().as_secs_f64()
    );
    if failing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Judges every case, several at a time; in the order of the cases.
fn judge_all(cases: &[Case], run: &Run) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let verdicts: Mutex<Vec<Option<Verdict>>> = Mutex::new(cases.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { return };
                    verdicts.lock()[number] = Some(judge(case, run));
                }
            });
        }
    });
    verdicts.into_inner().into_iter().map(Option::unwrap).collect()
}

/// Judges one case; a panic is a failure of it alone.
fn judge(case: &Case, run: &Run) -> Verdict {
    let verdict = catch_unwind(AssertUnwindSafe(|| verdict::judge(case, run)));
    verdict.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        Verdict::Failing(vec![words.unwrap_or_else(|| "it panicked".to_owned())])
    })
}

/// Judges cases that failed beside others again, one after the other. More than a few are no
/// matter of chance, and stay as they are.
fn judge_again(cases: &[Case], verdicts: &mut [Verdict], run: &Run) {
    let failed = |verdict: &&mut Verdict| matches!(verdict, Verdict::Failing(_));
    if verdicts.iter_mut().filter(failed).count() > AGAIN_MAX {
        return;
    }
    for (case, verdict) in cases.iter().zip(verdicts) {
        let Verdict::Failing(first) = verdict else { continue };
        let second = judge(case, run);
        if !matches!(second, Verdict::Failing(_)) {
            println!("\nunsteady: {}: {} (not when judged alone):", case.id(), case.what);
            first.iter().for_each(|problem| println!("    {problem}"));
        }
        *verdict = second;
    }
}
