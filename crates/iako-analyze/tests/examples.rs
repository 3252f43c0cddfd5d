//! The examples on the page of codes: what is called wrong has the problem, what is called right has
//! none.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{fmt::Write as _, net::Ipv4Addr};

use iako_analyze::analyze;
use iako_registry::{Change, MeshState};
use iako_resources::{Code, Diagnostic, Example, ReadOptions, read_text};

fn found(text: &str) -> Vec<Diagnostic> {
    let content = read_text(text, "example.yaml", &ReadOptions::default());
    let mut state = MeshState::inventing_pods(Ipv4Addr::new(127, 15, 0, 0));
    analyze(&state.apply(Change::Replace { source: "example".to_owned(), files: vec![content] }))
}

fn told(found: &[Diagnostic]) -> String {
    let mut text = String::new();
    for it in found {
        writeln!(text, "    {} {} {}: {}", it.code, it.subject, it.path, it.message).unwrap();
    }
    text
}

#[test]
fn examples_show_their_problem_and_its_absence() {
    let mut report = String::new();
    for code in Code::ALL {
        let Some(Example { wrong, right }) = code.example() else { continue };
        let in_wrong = found(wrong);
        if !in_wrong.iter().any(|it| it.code == *code) {
            write!(report, "{code}: not found in\n{wrong}{}", told(&in_wrong)).unwrap();
        }
        let in_right = found(right);
        if in_right.iter().any(|it| it.code == *code || it.is_error()) {
            write!(report, "{code}: still found in\n{right}{}", told(&in_right)).unwrap();
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn every_code_has_an_example_or_a_reason_to_have_none() {
    for code in Code::ALL {
        let (example, why) = (code.example().is_some(), code.without_example().is_some());
        assert!(example != why, "{code}: example {example}, reason {why}");
    }
}
