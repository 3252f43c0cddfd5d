//! What becomes of a case.

use std::{fs, path::Path, path::PathBuf};

use serde_json::Value;

use crate::{
    case::{self, Case, Difference},
    compare,
    world::{self, Subject},
};

/// How the suite runs.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) envoy: Option<PathBuf>,
    /// Write down what is seen in place of comparing it.
    pub(crate) record: bool,
    /// Print what Iako does.
    pub(crate) show: bool,
}

/// How a case ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    Equal,
    /// Iako differs as `docs/differences.md` says.
    Differing,
    /// Iako refuses the bootstrap, and says what it does not support.
    Unsupported,
    Failing(Vec<String>),
}

/// Runs a case and judges it.
pub(crate) fn judge(case: &Case, run: &Run) -> Verdict {
    let mut observed = case.observed.clone();
    let mut problems = Vec::new();
    if let Some(path) = &run.envoy {
        let lines = if run.record { None } else { lines(observed.as_ref()) };
        let seen = world::observe(case, &Subject::Envoy(path.clone()), lines);
        if run.record {
            case::write(case, Some(&seen), None);
            observed = Some(seen);
        } else if let Some(recorded) = &observed {
            let found = compare::differences(case, recorded, &seen);
            problems.extend(found.into_iter().map(|it| format!("the live Envoy: {it}")));
        }
    }
    let Some(observed) = observed else {
        return Verdict::Failing(vec!["nothing is recorded: cargo xtask record-case".to_owned()]);
    };
    let expected = expected(case, &observed);
    let lines = if run.record && case.difference.is_some() { None } else { lines(Some(expected)) };
    let seen = world::observe(case, &Subject::Iako, lines);
    if run.show {
        println!("{}: {}", case.id(), crate::layout::pretty(&seen));
    }
    if run.record && case.difference.is_some() {
        case::write(case, None, Some(&seen));
        return Verdict::Differing;
    }
    if let Some(name) = &case.unsupported {
        problems.extend(check_refusal(name, &seen));
        return verdict(problems, Verdict::Unsupported);
    }
    problems.extend(compare::differences(case, expected, &seen));
    let Some(difference) = &case.difference else {
        return verdict(problems, Verdict::Equal);
    };
    problems.extend(check_difference(case, difference, &observed));
    verdict(problems, Verdict::Differing)
}

fn verdict(problems: Vec<String>, otherwise: Verdict) -> Verdict {
    if problems.is_empty() { otherwise } else { Verdict::Failing(problems) }
}

/// What Iako has to do.
fn expected<'a>(case: &'a Case, observed: &'a Value) -> &'a Value {
    case.difference.as_ref().and_then(|difference| difference.iako.as_ref()).unwrap_or(observed)
}

/// How many lines of access log there will be, when that is known.
fn lines(observed: Option<&Value>) -> Option<usize> {
    Some(observed?.get("log").and_then(Value::as_array).map_or(0, Vec::len))
}

fn check_refusal(name: &str, seen: &Value) -> Vec<String> {
    let words = seen["refused"].as_str();
    match words {
        Some(words) if words.contains(name) => Vec::new(),
        Some(words) => vec![format!("the refusal does not name {name}: {words}")],
        None => vec![format!("{name} is no longer refused: take `unsupported` out")],
    }
}

fn check_difference(case: &Case, difference: &Difference, observed: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let Some(iako) = &difference.iako else {
        return vec!["what Iako does is not recorded: cargo xtask record-case".to_owned()];
    };
    if compare::differences(case, observed, iako).is_empty() {
        problems.push("there is no difference any more: take `difference` out".to_owned());
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/differences.md");
    if !fs::read_to_string(page).unwrap().contains(&format!("| `{}` |", difference.id)) {
        problems.push(format!("docs/differences.md does not list `{}`", difference.id));
    }
    if difference.reason.is_empty() {
        problems.push("the difference has no reason".to_owned());
    }
    problems
}
