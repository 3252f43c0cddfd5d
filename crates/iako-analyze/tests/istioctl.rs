//! What `istioctl` says of a manifest, we say too.
//!
//! `IAKO_CORPUS` names a directory of manifests with the answers of the real `istioctl` in
//! `istioctl.json`; it is no part of the project. `testdata/istioctl` holds manifests of the same
//! shapes, which every clone compares.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::{fmt::Write as _, net::Ipv4Addr, path::Path};

use iako_analyze::analyze;
use iako_registry::{Change, MeshState};
use iako_resources::{Counterpart, Diagnostic, IstioMessage, ReadOptions, load_directory};
use serde_json::Value;

/// Manifests about which we differ, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("tasks/tasks/traffic-management/ingress/gateway-api/automated_deployment_1.yaml", FRAGMENT),
    ("tasks/tasks/traffic-management/ingress/gateway-api/manual_deployment_1.yaml", FRAGMENT),
];

/// `istioctl` does not look at the published schema of these kinds.
const FRAGMENT: &str = "a field is missing that the API server requires";

fn ours(file: &Path) -> Vec<Diagnostic> {
    let files = load_directory(file, &ReadOptions::default());
    let mut state = MeshState::inventing_pods(Ipv4Addr::new(127, 15, 0, 0));
    analyze(&state.apply(Change::Replace { source: "file".to_owned(), files }))
}

/// What differs between the answer to one manifest and ours; empty when nothing does.
fn differences(answer: &Value, ours: &[Diagnostic]) -> String {
    let mut text = String::new();
    let refused = answer["validate"]["refused"] == true;
    let errors: Vec<&Diagnostic> = ours.iter().filter(|found| found.is_error()).collect();
    if refused && errors.is_empty() {
        writeln!(text, "  accepted, but istioctl says {}", answer["validate"]["message"]).unwrap();
    }
    if !refused {
        for found in &errors {
            let Diagnostic { code, subject, message, .. } = found;
            writeln!(text, "  refused for {code} {subject}: {message}").unwrap();
        }
    }
    for (kind, name, what) in validated(answer["validate"]["message"].as_str().unwrap_or_default())
    {
        let known = ours.iter().any(|found| {
            let same = found.subject.split([' ', '/']).next() == Some(kind.as_str())
                && (name.is_empty() || found.subject.ends_with(&format!("/{name}")));
            same && (found.is_error() || !refused)
        });
        if !known {
            writeln!(text, "  nothing is said of {kind} {name}: {what}").unwrap();
        }
    }
    for message in answer["analyze"].as_array().into_iter().flatten() {
        let (code, what) =
            (message["code"].as_str().unwrap(), message["message"].as_str().unwrap());
        let Some(theirs) = IstioMessage::of(code) else {
            writeln!(text, "  {code} is not in the table: {what}").unwrap();
            continue;
        };
        if matches!(theirs.ours, Counterpart::None(_)) {
            continue;
        }
        let words = named(what);
        let known = ours.iter().filter(|found| theirs.is_said_by(found.code)).any(|found| {
            let said = format!("{} {}", found.subject, found.message);
            words.iter().all(|word| said.contains(word.as_str()))
        });
        if !known {
            writeln!(text, "  {code} is not said: {what}").unwrap();
        }
    }
    text
}

/// The objects that `istioctl validate` names: kind, name, what it says.
fn validated(message: &str) -> Vec<(String, String, String)> {
    let lines = message.lines().filter_map(|line| line.trim().strip_prefix("* "));
    let objects = lines.filter_map(|line| {
        let (object, what) = line.split_once(": ")?;
        let mut parts = object.split('/');
        let (kind, _, name) = (parts.next()?, parts.next()?, parts.next()?);
        let is_kind = kind.chars().all(|c| c.is_ascii_alphanumeric()) && !kind.is_empty();
        is_kind.then(|| (kind.to_owned(), name.to_owned(), what.to_owned()))
    });
    objects.collect()
}

/// The names in a message: what stands in quotes, and what follows the word for a kind.
fn named(message: &str) -> Vec<String> {
    let quoted = message.split('"').skip(1).step_by(2);
    // What a refusal quotes are texts, of which ours names the field.
    let quoted = quoted.filter(|_| message.starts_with("Referenced"));
    let mut names: Vec<String> = quoted.flat_map(|text| text.split('+')).map(name_of).collect();
    let words: Vec<&str> = message.split(' ').collect();
    for pair in words.windows(2) {
        if matches!(pair, ["DestinationRule" | "VirtualService" | "Gateway", _]) {
            names.push(name_of(pair[1].trim_end_matches('.')));
        }
    }
    names.retain(|name| name != "rule");
    names
}

fn name_of(text: &str) -> String {
    text.rsplit('/').next().unwrap_or(text).to_owned()
}

#[test]
fn manifests_of_the_documentation_are_answered_as_istioctl_does() {
    let Some(root) = option_env!("IAKO_CORPUS").map(Path::new).filter(|root| root.is_dir()) else {
        return;
    };
    let answers = std::fs::read_to_string(root.join("istioctl.json")).unwrap();
    let answers: serde_json::Map<String, Value> = serde_json::from_str(&answers).unwrap();
    let mut report = String::new();
    let mut equal = 0;
    for (name, answer) in &answers {
        let found = differences(answer, &ours(&root.join(name)));
        let expected = DIFFERENT.iter().any(|(known, _)| known == name);
        match (found.is_empty(), expected) {
            (true, false) => equal += 1,
            (true, true) => writeln!(report, "{name} is equal, but listed as different").unwrap(),
            (false, true) => {}
            (false, false) => write!(report, "{name}\n{found}").unwrap(),
        }
    }
    println!("{equal} of {} manifests are answered as istioctl does", answers.len());
    assert!(report.is_empty(), "{equal} of {} are equal\n{report}", answers.len());
}

/// The answer that stands in the comments of a manifest: `# refused: Kind/namespace/name: why`,
/// `# warned: …`, `# IST0101: message`.
fn noted(text: &str) -> Value {
    let comments: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    let starting = |word: &str| {
        let own = comments.iter().filter_map(|line| line.strip_prefix(word));
        own.map(|line| format!("\t* {line}")).collect::<Vec<_>>().join("\n")
    };
    let messages: Vec<Value> = comments
        .iter()
        .filter(|line| line.starts_with("IST"))
        .filter_map(|line| line.split_once(": "))
        .map(|(code, message)| serde_json::json!({ "code": code, "message": message }))
        .collect();
    let (refused, warned) = (starting("refused: "), starting("warned: "));
    serde_json::json!({
        "validate": { "refused": !refused.is_empty(), "message": format!("{refused}\n{warned}") },
        "analyze": messages,
    })
}

#[test]
fn manifests_of_the_same_shapes_are_answered_as_istioctl_does() {
    let mut report = String::new();
    let mut count = 0;
    for entry in std::fs::read_dir("testdata/istioctl").unwrap() {
        let path = entry.unwrap().path();
        let answer = noted(&std::fs::read_to_string(&path).unwrap());
        let found = differences(&answer, &ours(&path));
        count += 1;
        if !found.is_empty() {
            write!(report, "{}\n{found}", path.display()).unwrap();
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(count > 15, "only {count} manifests were read");
}
