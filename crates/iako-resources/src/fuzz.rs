//! Entry points for fuzzers: texts by anybody. Any bytes in, no panic, and what was read can be
//! written and reads the same again.
//!
//! The targets in `fuzz/` call these; an ordinary test calls them with every input that is kept there.

use iako_schema::definitions;

use crate::{
    Asked, Painter, ReadOptions, apply_edits, read_text, render,
    text::{Limits, parse_documents, print_node},
    text_edits,
};

/// Kinds that Kubernetes itself serves, of those that are read.
const KUBERNETES: [(&str, &str); 13] = [
    ("v1", "Service"),
    ("v1", "Endpoints"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("v1", "Pod"),
    ("v1", "Namespace"),
    ("v1", "ServiceAccount"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "Ingress"),
];

/// Reads the bytes as YAML, writes what was read, and reads it again.
///
/// # Panics
/// When the second reading gives another tree than the first: the fault that is looked for.
pub fn fuzz_yaml(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let first = parse_documents(text, Limits::default());
    for (root, _) in &first.documents {
        let written = print_node(root);
        let again = parse_documents(&written, Limits::default());
        assert!(again.failures.is_empty(), "{written:?}: {:?}", again.failures);
        let same = again.documents.iter().map(|(root, _)| print_node(root)).collect::<String>();
        assert!(same == written, "{written:?} became {same:?}");
    }
}

/// Reads the bytes as the rest of an object whose kind the first byte chooses, shows what is wrong,
/// and mends what can be mended.
pub fn fuzz_object(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    let Ok(rest) = std::str::from_utf8(rest) else { return };
    let published = definitions().iter().filter_map(|definition| {
        let version = definition.versions.first()?;
        Some((format!("{}/{}", definition.group, version.name), definition.kind.as_str()))
    });
    let own = KUBERNETES.iter().map(|(version, kind)| ((*version).to_owned(), *kind));
    let kinds: Vec<(String, &str)> = own.chain(published).collect();
    let Some((version, kind)) = kinds.get(usize::from(*kind) % kinds.len()) else { return };
    let text =
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a, namespace: b}}\n{rest}");
    let options = ReadOptions { asked: Asked::InDirectory, ..ReadOptions::default() };
    let content = read_text(&text, "fuzz.yaml", &options);
    let documents = parse_documents(&text, Limits::default());
    let mut groups = Vec::new();
    for found in &content.diagnostics {
        drop(render(found, Some(&text), Painter::Plain));
        groups.extend(text_edits(found, &text, &documents));
    }
    let (mended, _made) = apply_edits(&text, &groups);
    drop(read_text(&mended, "fuzz.yaml", &options));
}
