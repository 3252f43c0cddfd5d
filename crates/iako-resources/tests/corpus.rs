//! Manifests of others, when they are at hand: what istioctl and an API server accept, we accept.
//!
//! They are not part of the project: the directory is named by `IAKO_CORPUS`, and holds the manifests of
//! Istio's documentation under `istio`, with what istioctl says of each in `istioctl.json`, and those of
//! the Gateway API under `gateway-api`.

use std::path::PathBuf;

use iako_resources::{Code, Diagnostic, FileContent, ReadOptions, load_directory};
use serde_json::Value as Json;

fn corpus(name: &str) -> Option<(String, Vec<FileContent>)> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpus");
    let root = option_env!("IAKO_CORPUS").map_or(beside, PathBuf::from).join(name);
    root.is_dir().then(|| {
        let contents = load_directory(&root, &ReadOptions::default());
        (format!("{}/", root.display()), contents)
    })
}

/// What is not carried yet is refused with a reason; nobody called it wrong.
fn is_fault(found: &Diagnostic) -> bool {
    found.is_error() && found.code != Code::FieldRefused
}

fn shown(file: &str, found: &Diagnostic) -> String {
    let Diagnostic { origin, code, subject, path, message, .. } = found;
    format!("{file}:{}: {code} {subject} {path}: {message}", origin.line)
}

/// Excerpts without what an API server asks for, such as an apiVersion. istioctl does not hold the
/// Gateway API's objects against their schema.
const EXCERPTS: [&str; 4] = [
    "tasks/ambient/usage/waypoint/configure_a_waypoint_for_crossnamespace_use_1.yaml",
    "tasks/tasks/traffic-management/ingress/gateway-api/gatewayclass_defaults_1.yaml",
    "tasks/tasks/traffic-management/ingress/gateway-api/automated_deployment_1.yaml",
    "tasks/tasks/traffic-management/ingress/gateway-api/manual_deployment_1.yaml",
];

#[test]
fn what_istioctl_accepts_is_accepted() {
    let Some((root, contents)) = corpus("istio") else { return };
    let answers = std::fs::read_to_string(format!("{root}istioctl.json")).unwrap();
    let answers: Json = serde_json::from_str(&answers).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for content in &contents {
        let file = content.file.strip_prefix(&root).unwrap();
        let Some(answer) = answers.get(file) else { continue };
        if answer.get("validate").is_some() || EXCERPTS.contains(&file) {
            continue;
        }
        count += 1;
        let faults = content.diagnostics.iter().filter(|found| is_fault(found));
        wrong.extend(faults.map(|found| shown(file, found)));
    }
    println!("{count} files that istioctl accepts");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_istioctl_refuses_is_refused() {
    let Some((root, contents)) = corpus("istio") else { return };
    let answers = std::fs::read_to_string(format!("{root}istioctl.json")).unwrap();
    let answers: Json = serde_json::from_str(&answers).unwrap();
    let mut wrong = Vec::new();
    for content in &contents {
        let file = content.file.strip_prefix(&root).unwrap();
        let refused = answers.get(file).and_then(|answer| answer.pointer("/validate/refused"));
        let has_error = content.diagnostics.iter().any(Diagnostic::is_error);
        if refused == Some(&Json::Bool(true)) && !has_error {
            let message = answers.get(file).unwrap().pointer("/validate/message");
            wrong.push(format!("{file}: {}", message.unwrap()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn manifests_of_the_gateway_api_are_accepted() {
    let Some((root, contents)) = corpus("gateway-api") else { return };
    let manifests = contents.iter().filter(|content| !content.file.contains("/crds/"));
    let mut wrong = Vec::new();
    let mut count = 0;
    for content in manifests {
        let file = content.file.strip_prefix(&root).unwrap();
        count += 1;
        // What the conformance tests put values for before they apply it.
        let text = std::fs::read_to_string(&*content.file).unwrap();
        let is_template = |found: &&Diagnostic| {
            let line = text
                .lines()
                .nth(usize::try_from(found.origin.line).unwrap() - 1)
                .unwrap_or_default();
            line.contains("PLACEHOLDER_") || line.contains("{GATEWAY_")
        };
        let faults = content.diagnostics.iter().filter(|found| is_fault(found));
        let faults = faults.filter(|found| !is_template(found));
        wrong.extend(faults.map(|found| shown(file, found)));
    }
    assert!(count > 100, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
