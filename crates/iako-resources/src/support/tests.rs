//! The tables against Istio's published schema, when it is at hand.

use std::path::Path;

use super::{TABLES, istio_support_page};
use crate::text::{Limits, Node, Value, parse_documents};

#[test]
fn every_field_of_the_published_schema_has_a_row() {
    let Some(root) = option_env!("IAKO_CORPUS") else { return };
    let file = Path::new(root).join("crds/istio-crds.yaml");
    let Ok(text) = std::fs::read_to_string(file) else { return };
    let documents = parse_documents(&text, Limits::default());
    assert_eq!(documents.failure, None);
    let mut missing = Vec::new();
    for (document, _) in &documents.documents {
        let spec = document.get("spec").unwrap();
        let kind = spec.get("names").unwrap().get("kind").unwrap().as_text().unwrap();
        let Some(table) = TABLES.iter().find(|table| table.name == kind) else { continue };
        let Value::List(versions) = &spec.get("versions").unwrap().value else { panic!() };
        for version in versions {
            let schema = version.get("schema").unwrap().get("openAPIV3Schema").unwrap();
            let schema = schema.get("properties").unwrap().get("spec").unwrap();
            let mut leaves = Vec::new();
            walk(schema, "", &mut leaves);
            let uncovered = leaves.iter().filter(|leaf| table.covering(leaf).is_none());
            missing.extend(uncovered.map(|leaf| format!("{kind}.{leaf}")));
        }
    }
    missing.sort();
    missing.dedup();
    assert_eq!(missing, Vec::<String>::new());
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
