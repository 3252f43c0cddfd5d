//! Every rule of the published definitions is broken by a document that says so, and documents that
//! break none are accepted.
#![expect(clippy::panic, reason = "a test may be blunt")]

use std::collections::BTreeSet;

use iako_schema::{Problem, Schema, Source, Spelling, check, definition, definitions};
use serde_json::{Value as Json, json};

const BROKEN: &str = include_str!("testdata/broken.txt");
const ACCEPTED: &str = include_str!("testdata/accepted.yaml");

/// Puts texts in the place of `<n x>`, the innermost first.
fn expanded(mut text: String) -> String {
    while let Some((before, rest)) = text.rsplit_once('<') {
        let Some((inside, after)) = rest.split_once('>') else { return text };
        let Some((count, repeated)) = inside.split_once(' ') else { return text };
        let count = count.parse().unwrap_or(0);
        text = format!("{before}{}{after}", repeated.repeat(count));
    }
    text
}

fn yaml(text: &str) -> Json {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Every rule below a schema that new objects are asked about.
fn rules<'a>(schema: &'a Schema, found: &mut BTreeSet<&'a str>) {
    let own = schema.rules.iter().filter(|rule| !rule.is_transition);
    found.extend(own.map(|rule| rule.text.as_str()));
    schema.properties.iter().for_each(|property| rules(&property.schema, found));
    schema.items.iter().chain(&schema.values).for_each(|inner| rules(inner, found));
}

#[test]
fn every_rule_is_broken_by_the_document_that_breaks_it() {
    let mut left = BTreeSet::new();
    for definition in definitions() {
        definition.versions.iter().for_each(|version| rules(&version.root, &mut left));
    }
    let all = left.len();
    let mut kind = ("", "");
    let mut wrong = Vec::new();
    for line in BROKEN.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            kind = name.split_once('/').unwrap();
            continue;
        }
        let (part, spec) = line.split_once("=> ").unwrap();
        let document = json!({ "spec": yaml(&expanded(spec.to_owned())) });
        let version = &definition(kind.0, kind.1).unwrap().versions[0];
        let findings = check(&version.root, &document, Spelling::Exact);
        let broken: Vec<&str> = findings.iter().filter_map(|one| one.rule).collect();
        if !broken.iter().any(|rule| rule.contains(part.trim())) {
            wrong.push(format!("{} {line}: {findings:?}", kind.1));
        }
        left.retain(|rule| !broken.contains(rule));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(left.is_empty(), "of {all} rules nothing breaks {left:#?}");
    assert!(all > 100, "{all}");
}

#[test]
fn what_breaks_nothing_is_accepted() {
    let mut kinds = BTreeSet::new();
    for text in ACCEPTED.split("\n---\n") {
        let document = yaml(text);
        let (version, kind) = (document["apiVersion"].as_str(), document["kind"].as_str());
        let (group, version) =
            version.unwrap().rsplit_once('/').unwrap_or_else(|| ("", version.unwrap()));
        let definition = definition(group, kind.unwrap()).unwrap();
        let root = &definition.version(version).unwrap().root;
        let findings = check(root, &document, Spelling::Exact);
        assert!(findings.is_empty(), "{text}\n{findings:?}");
        kinds.insert((&definition.group, &definition.kind));
    }
    let published = definitions().iter().filter(|one| one.source == Source::Published);
    let known: BTreeSet<_> = published.map(|one| (&one.group, &one.kind)).collect();
    kinds.retain(|kind| known.contains(kind));
    assert_eq!(kinds, known);
}

#[test]
fn a_list_of_the_largest_size_is_answered_within_the_bound() {
    let listener =
        |port: usize| json!({"name": format!("l{port}"), "port": port, "protocol": "HTTP"});
    let listeners: Vec<Json> = (1..=64).map(listener).collect();
    let document = json!({"spec": {"gatewayClassName": "c", "listeners": listeners}});
    let version = &definition("gateway.networking.k8s.io", "Gateway").unwrap().versions[0];
    let findings = check(&version.root, &document, Spelling::Exact);
    assert!(findings.is_empty(), "{findings:?}");

    let more: Vec<Json> = (1..=5_000).map(listener).collect();
    let document = json!({"spec": {"gatewayClassName": "c", "listeners": more}});
    let findings = check(&version.root, &document, Spelling::Exact);
    // Rules are not asked about what is too large for them.
    let problems: Vec<Problem> = findings.iter().map(|finding| finding.problem).collect();
    assert_eq!(problems, [Problem::BadValue]);
}
