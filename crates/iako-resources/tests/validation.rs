//! Istio's own admission cases: what its webhook refuses, we refuse, naming the field; what it
//! accepts, we accept.
//!
//! The cases stand in `testdata/validation/`, one a line: number, verdict, the path that the finding
//! must name, and the specification of one object, or the whole document below `[document]`. The
//! numbers are those of our catalogue of the checks of Istio and the Gateway API.

use std::collections::BTreeSet;

use iako_resources::{Code, Diagnostic, FileContent, ReadOptions, Severity, read_text};

const CASES: [(&str, &str); 7] = [
    ("extensions", include_str!("testdata/validation/extensions.txt")),
    ("gateway_api", include_str!("testdata/validation/gateway_api.txt")),
    ("general", include_str!("testdata/validation/general.txt")),
    ("mesh", include_str!("testdata/validation/mesh.txt")),
    ("routing", include_str!("testdata/validation/routing.txt")),
    ("security", include_str!("testdata/validation/security.txt")),
    ("workloads", include_str!("testdata/validation/workloads.txt")),
];

/// Every number of the catalogue has a case.
const NUMBERS: usize = 283;

fn document(kind: &str, spec: &str) -> String {
    let version = match kind {
        "document" => return format!("{spec}\n"),
        "MeshConfig" | "MeshNetworks" => {
            let key = if kind == "MeshConfig" { "mesh" } else { "meshNetworks" };
            return format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: \
                 istio-system}}\ndata:\n  {key}: |\n    {spec}\n"
            );
        }
        "PeerAuthentication" | "RequestAuthentication" | "AuthorizationPolicy" => {
            "security.istio.io/v1"
        }
        "Telemetry" => "telemetry.istio.io/v1",
        "WasmPlugin" | "TrafficExtension" => "extensions.istio.io/v1alpha1",
        "EnvoyFilter" => "networking.istio.io/v1alpha3",
        "ProxyConfig" => "networking.istio.io/v1beta1",
        _ => "networking.istio.io/v1",
    };
    let (version, kind) = match kind.split_once('/') {
        Some(("gateway-api", kind)) => ("gateway.networking.k8s.io/v1", kind),
        _ => (version, kind),
    };
    format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n")
}

/// A kind or field that is read and checked, and does nothing yet, says so whatever it holds.
fn is_notice(found: &Diagnostic) -> bool {
    matches!(found.code, Code::UnsupportedKind | Code::FieldIgnored)
}

/// What is wrong with the answer to a case, if anything.
fn problem(content: &FileContent, expected: &str, path: &str) -> Option<String> {
    assert!(content.complete, "the case itself is broken: {:?}", content.diagnostics);
    let of = |severity| content.diagnostics.iter().filter(move |d| d.severity == severity);
    let named = |severity| of(severity).any(|found| found.path == path);
    let has_errors = of(Severity::Error).next().is_some();
    let warns = of(Severity::Warning).any(|found| !is_notice(found));
    let right = match expected {
        "REFUSE" => named(Severity::Error) && content.resources.is_empty(),
        "WARN" => !has_errors && named(Severity::Warning),
        "ACCEPT" => !has_errors && !warns,
        _ => false,
    };
    let told: Vec<String> = content
        .diagnostics
        .iter()
        .map(|d| format!("{} at {}: {}", d.severity, d.path, d.message))
        .collect();
    (!right).then(|| format!("{told:?}"))
}

/// Puts the texts in the place of `<n x>`.
fn expanded(spec: &str) -> String {
    let Some((before, rest)) = spec.split_once('<') else { return spec.to_owned() };
    let Some((inside, after)) = rest.split_once('>') else { return spec.to_owned() };
    match inside.split_once(' ').map(|(count, text)| (count.parse(), text)) {
        Some((Ok(count), text)) => format!("{before}{}{after}", text.repeat(count)),
        _ => spec.to_owned(),
    }
}

#[test]
fn every_case_has_istios_verdict() {
    let mut wrong = Vec::new();
    let mut numbers = BTreeSet::new();
    for (file, cases) in CASES {
        let mut kind = "";
        for line in cases.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                kind = name;
                continue;
            }
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().unwrap_or_else(|| panic!("{file}: {line}"));
            let (number, expected, path, spec) = (word(), word(), word(), word());
            numbers.insert(number);
            let text = document(kind, &expanded(spec));
            let content = read_text(&text, "case.yaml", &ReadOptions::default());
            if let Some(told) = problem(&content, expected, path) {
                wrong.push(format!("{kind} {line}\n    {told}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(numbers.len(), NUMBERS);
}
