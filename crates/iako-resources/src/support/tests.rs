//! The tables against Istio's published schema, when it is at hand.

use std::path::Path;

use super::{Support, TABLES, istio_support_page};
use crate::text::{Limits, Node, Value, parse_documents};

/// Kind, version's schema of `spec`, for every kind with a table, when the schemas are at hand.
fn schemas() -> Vec<(String, Node)> {
    let Some(root) = option_env!("IAKO_CORPUS") else { return Vec::new() };
    let file = Path::new(root).join("crds/istio-crds.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let documents = parse_documents(&text, Limits::default());
    assert_eq!(documents.failures, []);
    let mut schemas = Vec::new();
    for (document, _) in &documents.documents {
        let spec = document.get("spec").unwrap();
        let kind = spec.get("names").unwrap().get("kind").unwrap().as_text().unwrap();
        let Value::List(versions) = &spec.get("versions").unwrap().value else { panic!() };
        for version in versions {
            let schema = version.get("schema").unwrap().get("openAPIV3Schema").unwrap();
            let schema = schema.get("properties").unwrap().get("spec").unwrap();
            schemas.push((kind.to_owned(), schema.clone()));
        }
    }
    schemas.retain(|(kind, _)| TABLES.iter().any(|table| table.name == kind));
    schemas
}

#[test]
fn every_field_of_the_published_schema_has_a_row() {
    let mut missing = Vec::new();
    for (kind, schema) in schemas() {
        let table = TABLES.iter().find(|table| table.name == kind).unwrap();
        let mut leaves = Vec::new();
        walk(&schema, "", &mut leaves);
        let uncovered = leaves.iter().filter(|leaf| table.covering(leaf).is_none());
        missing.extend(uncovered.map(|leaf| format!("{kind}.{leaf}")));
    }
    missing.sort();
    missing.dedup();
    assert_eq!(missing, Vec::<String>::new());
}

/// A row that says honoured must be true: the sample that is accepted in silence has the field.
#[test]
fn every_honoured_field_stands_in_the_sample() {
    let sample = include_str!("../../tests/testdata/accepted/everything.yaml");
    let documents = parse_documents(sample, Limits::default());
    let mut missing = Vec::new();
    for (kind, schema) in schemas() {
        let table = TABLES.iter().find(|table| table.name == kind).unwrap();
        let own = documents
            .documents
            .iter()
            .filter(|(document, _)| document.get("kind").unwrap().as_text() == Some(&kind));
        let mut written = Vec::new();
        for (document, _) in own {
            walk_sample(&schema, document.get("spec").unwrap(), "", &mut written);
        }
        let written: Vec<String> = written.iter().map(|path| table.canonical(path)).collect();
        let mut leaves = Vec::new();
        walk(&schema, "", &mut leaves);
        leaves.retain(|leaf| table.covering(leaf) == Some(Support::Honoured));
        let absent = leaves.iter().map(|leaf| table.canonical(leaf));
        let absent = absent.filter(|leaf| !written.contains(leaf));
        missing.extend(absent.map(|leaf| format!("{kind}.{leaf}")));
    }
    missing.sort();
    missing.dedup();
    // Old names, which are read with a warning, have cases of their own.
    let old = [
        "DestinationRule.trafficPolicy.loadBalancer.warmupDurationSecs",
        "DestinationRule.trafficPolicy.outlierDetection.consecutiveErrors",
        "Gateway.servers[].tls.tlsCertificates[].caCertificates",
        "VirtualService.http[].corsPolicy.allowOrigin[]",
        "VirtualService.http[].fault.delay.percent",
        "VirtualService.http[].mirrorPercent",
        "VirtualService.http[].mirror_percent",
    ];
    missing.retain(|path| !old.contains(&path.as_str()));
    assert_eq!(missing, Vec::<String>::new());
}

/// The leaves of the schema that a document has.
fn walk_sample(schema: &Node, node: &Node, path: &str, leaves: &mut Vec<String>) {
    if let Some(Value::Map(properties)) = schema.get("properties").map(|node| &node.value) {
        for entry in properties {
            let name = &entry.key;
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let Some(node) = node.get(name) {
                walk_sample(&entry.node, node, &below, leaves);
            }
        }
        return;
    }
    let typed = schema.get("additionalProperties").filter(|n| n.get("type").is_some());
    match (schema.get("items"), typed, &node.value) {
        (Some(items), _, Value::List(nodes)) => {
            for node in nodes {
                walk_sample(items, node, &format!("{path}[]"), leaves);
            }
        }
        (None, Some(values), Value::Map(entries)) => {
            for entry in entries {
                walk_sample(values, &entry.node, &format!("{path}{{}}"), leaves);
            }
        }
        _ => leaves.push(path.to_owned()),
    }
}

fn walk(schema: &Node, path: &str, leaves: &mut Vec<String>) {
    if let Some(Value::Map(properties)) = schema.get("properties").map(|node| &node.value) {
        for entry in properties {
            let name = &entry.key;
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            walk(&entry.node, &below, leaves);
        }
    } else if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), leaves);
    } else if let Some(values) =
        schema.get("additionalProperties").filter(|n| n.get("type").is_some())
    {
        walk(values, &format!("{path}{{}}"), leaves);
    } else {
        leaves.push(path.to_owned());
    }
}

#[test]
fn the_page_names_every_kind_and_every_reason() {
    let page = istio_support_page();
    for table in TABLES {
        assert!(page.contains(&format!("## {}", table.name)));
    }
    assert!(page.contains("| gateway.networking.k8s.io | HTTPRoute |"));
}
