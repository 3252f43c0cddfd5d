//! Istio's own admission cases: what its webhook refuses, we refuse; what it accepts, we accept.
//!
//! The cases stand in `testdata/validation.txt`, one a line. The numbers are those of our catalogue
//! of Istio's checks.

use iako_resources::{FileContent, ReadOptions, Severity, read_text};

const CASES: &str = include_str!("testdata/validation.txt");

fn read(kind: &str, metadata: &str, spec: &str) -> FileContent {
    let group = match kind {
        "PeerAuthentication" | "RequestAuthentication" | "AuthorizationPolicy" => "security",
        "Telemetry" => "telemetry",
        _ => "networking",
    };
    let text = format!(
        "apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {spec}\n"
    );
    read_text(&text, "case.yaml", &ReadOptions::default())
}

fn verdict(content: &FileContent) -> &'static str {
    assert!(content.complete, "the case itself is broken: {:?}", content.diagnostics);
    let has = |severity| content.diagnostics.iter().any(|found| found.severity == severity);
    let verdict = match (has(Severity::Error), has(Severity::Warning)) {
        (true, _) => "REFUSE",
        (false, true) => "WARN",
        (false, false) => "ACCEPT",
    };
    assert_eq!(content.resources.is_empty(), verdict == "REFUSE", "{:?}", content.diagnostics);
    verdict
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
    let mut kind = "";
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            kind = name;
            continue;
        }
        let mut words = line.splitn(3, ' ');
        let (_number, expected) = (words.next().unwrap(), words.next().unwrap());
        let spec = expanded(words.next().unwrap().trim_start());
        let content = read(kind, "name: x", &spec);
        let found = verdict(&content);
        count += 1;
        if found != expected {
            let told: Vec<&str> = content.diagnostics.iter().map(|d| d.message.as_str()).collect();
            wrong.push(format!("{line}: {found} {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 150, "only {count} cases were read");
}

#[test]
fn metadata_is_checked_for_every_kind() {
    let dry_run = |value: &str| format!("name: x, annotations: {{istio.io/dry-run: '{value}'}}");
    let gateway = "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*']}]}";
    let of = |kind, metadata: &str, spec| verdict(&read(kind, metadata, spec));
    assert_eq!(of("Gateway", "name: x", gateway), "ACCEPT");
    assert_eq!(of("Gateway", &dry_run("true"), gateway), "REFUSE");
    assert_eq!(of("AuthorizationPolicy", &dry_run("maybe"), "{}"), "REFUSE");
    assert_eq!(of("AuthorizationPolicy", &dry_run("true"), "{}"), "ACCEPT");
    let internal = "name: x, annotations: {internal.istio.io/parents: a}";
    assert_eq!(of("Gateway", internal, gateway), "REFUSE");
    assert_eq!(of("Gateway", "name: a.b", gateway), "REFUSE");
    assert_eq!(of("Gateway", "name: x, namespace: A", gateway), "REFUSE");
    assert_eq!(of("Gateway", "labels: {a: b}", gateway), "REFUSE");
    assert_eq!(of("Gateway", "name: x", &format!("{gateway}\nspecs: {{}}")), "REFUSE");
}
