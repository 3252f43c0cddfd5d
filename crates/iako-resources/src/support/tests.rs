//! The tables against the published definitions.

use iako_schema::{Definition, Schema, Source};

use super::{
    NO_TABLE, Support, SupportTable, TABLES, UNSUPPORTED_KINDS, gateway_api_support_page,
    istio_support_page, table_of,
};
use crate::text::{Limits, Node, Value, parse_documents};

/// Definitions that others published.
fn definitions() -> impl Iterator<Item = &'static Definition> {
    iako_schema::definitions().iter().filter(|one| one.source == Source::Published)
}

/// Kind, its table, and the schemas of `spec` in its versions, for every kind that has a table.
fn schemas() -> Vec<(&'static str, &'static SupportTable, &'static Schema)> {
    let mut schemas = Vec::new();
    for definition in definitions() {
        let table = table_of(&definition.group, &definition.kind);
        for version in definition.versions.iter().filter(|_| !std::ptr::eq(table, &NO_TABLE)) {
            let spec = &version.root.property("spec").unwrap().schema;
            schemas.push((definition.kind.as_str(), table, &**spec));
        }
    }
    schemas
}

#[test]
fn every_published_kind_is_read_or_said_to_have_no_effect() {
    let missing = definitions().filter(|definition| {
        let is_read = table_of(&definition.group, &definition.kind).name == definition.kind;
        let mut without = UNSUPPORTED_KINDS.iter();
        let is_named =
            without.any(|(group, kind, _)| *group == definition.group && *kind == definition.kind);
        is_read == is_named
    });
    let missing: Vec<&str> = missing.map(|definition| definition.kind.as_str()).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_field_of_the_published_schema_has_a_row() {
    let mut missing = Vec::new();
    for (kind, table, schema) in schemas() {
        let mut leaves = Vec::new();
        walk(schema, "", &mut leaves);
        let uncovered = leaves.iter().filter(|leaf| table.covering(leaf).is_none());
        missing.extend(uncovered.map(|leaf| format!("{kind}.{leaf}")));
    }
    missing.sort();
    missing.dedup();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_row_is_about_a_field_of_the_published_schema() {
    let mut wrong = Vec::new();
    for (group, tables) in TABLES {
        for table in *tables {
            let Some(definition) = iako_schema::definition(group, table.name) else { continue };
            let specs: Vec<&Schema> = definition
                .versions
                .iter()
                .map(|version| &*version.root.property("spec").unwrap().schema)
                .collect();
            let rows = table.rows.iter().map(|(path, _)| *path);
            let unknown = rows.filter(|path| {
                // What repeats another part may have fields of its own.
                let repeats = table.repeats.iter().filter_map(|(repeat, original)| {
                    Some(format!("{repeat}{}", path.strip_prefix(original)?))
                });
                let mut paths = repeats.chain([(*path).to_owned()]);
                !paths.any(|path| specs.iter().any(|spec| has(spec, &path)))
            });
            wrong.extend(unknown.map(|path| format!("{}.{path}", table.name)));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Whether a schema has a field at a path.
fn has(schema: &Schema, path: &str) -> bool {
    if path.is_empty() {
        return true;
    }
    if let Some(rest) = path.strip_prefix("[]") {
        return schema.items.as_ref().is_some_and(|inner| has(inner, rest.trim_start_matches('.')));
    }
    if let Some(rest) = path.strip_prefix("{}") {
        return schema
            .values
            .as_ref()
            .is_some_and(|inner| has(inner, rest.trim_start_matches('.')));
    }
    let end = path.find(['.', '[', '{']).unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let inner = schema.property(name);
    inner.is_some_and(|found| has(&found.schema, rest.trim_start_matches('.')))
}

/// A row that says honoured must be true: the sample that is accepted in silence has the field.
#[test]
fn every_honoured_field_stands_in_the_sample() {
    let sample = include_str!("../../tests/testdata/accepted/everything.yaml");
    let documents = parse_documents(sample, Limits::default());
    let mut missing = Vec::new();
    for (kind, table, schema) in schemas() {
        let own = documents
            .documents
            .iter()
            .filter(|(document, _)| document.get("kind").unwrap().as_text() == Some(kind));
        let mut written = Vec::new();
        for (document, _) in own {
            walk_sample(schema, document.get("spec").unwrap(), "", &mut written);
        }
        let written: Vec<String> = written.iter().map(|path| table.canonical(path)).collect();
        let mut leaves = Vec::new();
        walk(schema, "", &mut leaves);
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
fn walk_sample(schema: &Schema, node: &Node, path: &str, leaves: &mut Vec<String>) {
    if !schema.properties.is_empty() {
        for property in &schema.properties {
            if let Some(node) = node.get(&property.name) {
                walk_sample(&property.schema, node, &below(path, &property.name), leaves);
            }
        }
        return;
    }
    match (&schema.items, typed(schema), &node.value) {
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

fn walk(schema: &Schema, path: &str, leaves: &mut Vec<String>) {
    if !schema.properties.is_empty() {
        for property in &schema.properties {
            walk(&property.schema, &below(path, &property.name), leaves);
        }
    } else if let Some(items) = &schema.items {
        walk(items, &format!("{path}[]"), leaves);
    } else if let Some(values) = typed(schema) {
        walk(values, &format!("{path}{{}}"), leaves);
    } else {
        leaves.push(path.to_owned());
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Values under free keys, where the schema says what they are.
fn typed(schema: &Schema) -> Option<&Schema> {
    schema.values.as_deref().filter(|values| values.kind != iako_schema::Type::Any)
}

#[test]
fn the_pages_name_every_kind_and_every_reason() {
    let pages = [istio_support_page(), gateway_api_support_page()];
    for definition in definitions() {
        let head = format!("\n## {}\n", definition.kind);
        assert!(pages.iter().any(|page| page.contains(&head)), "{head}");
    }
    let [istio, gateway_api] = pages;
    assert!(istio.contains("## MeshConfig") && !istio.contains("HTTPRoute"));
    for (group, kind, _) in UNSUPPORTED_KINDS {
        let row = format!("| {group} | {kind} |");
        assert!(istio.contains(&row) != gateway_api.contains(&row), "{row}");
    }
}
