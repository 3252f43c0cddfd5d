//! The definitions of our own kinds, for API servers.

use serde_json::{Value as Json, json};

use super::{Described, GROUP, rate_limit::RateLimit};

/// A CustomResourceDefinition of a kind of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDefinition {
    /// The name of its file, such as `iako.io_ratelimits.yaml`.
    pub file: String,
    /// The document, in YAML.
    pub yaml: String,
}

/// Every definition of a kind of ours, made from the Rust types.
#[must_use]
pub fn own_definitions() -> Vec<OwnDefinition> {
    vec![definition::<RateLimit>(
        "RateLimit",
        "ratelimits",
        "How many requests workloads let pass, and who has a count of his own.",
    )]
}

fn definition<T: Described>(kind: &str, plural: &str, about: &str) -> OwnDefinition {
    let mut spec = T::schema();
    if let Some(fields) = spec.as_object_mut() {
        fields.insert("description".to_owned(), json!("What it asks for."));
    }
    let text = |about: &str| json!({ "type": "string", "description": about });
    let schema = json!({
        "type": "object",
        "description": about,
        "required": ["spec"],
        "properties": {
            "apiVersion": text("The version of this representation."),
            "kind": text("The kind of the object."),
            "metadata": { "type": "object" },
            "spec": spec,
            "status": {
                "type": "object",
                "description": "What became of it.",
                "x-kubernetes-preserve-unknown-fields": true,
            },
        },
    });
    let document = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{GROUP}") },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": kind.to_ascii_lowercase(),
            },
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "schema": { "openAPIV3Schema": schema },
                "subresources": { "status": {} },
            }],
        },
    });
    let mut yaml = String::from("# Made from the Rust types by `cargo xtask gen`.\n");
    write(&document, 0, &mut yaml);
    OwnDefinition { file: format!("{GROUP}_{plural}.yaml"), yaml }
}

/// A mapping or list in block style; what is inside stands two columns to the right.
fn write(value: &Json, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Json::Object(fields) => {
            for (key, value) in fields {
                out.push_str(&format!("{indent}{}:", scalar(key)));
                inside(value, depth, out);
            }
        }
        Json::Array(items) => {
            for item in items {
                out.push_str(&format!("{indent}-"));
                inside(item, depth, out);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            out.push_str(&format!("{indent}{value}\n"));
        }
    }
}

fn inside(value: &Json, depth: usize, out: &mut String) {
    match value {
        Json::Object(fields) if fields.is_empty() => out.push_str(" {}\n"),
        Json::Array(items) if items.is_empty() => out.push_str(" []\n"),
        Json::Object(_) | Json::Array(_) => {
            out.push('\n');
            write(value, depth.saturating_add(1), out);
        }
        Json::String(text) => out.push_str(&format!(" {}\n", scalar(text))),
        Json::Null | Json::Bool(_) | Json::Number(_) => out.push_str(&format!(" {value}\n")),
    }
}

/// A text, in quotes where it could be read as something else.
fn scalar(text: &str) -> String {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = first
        && text.chars().all(is_word)
        && !reserved.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { Json::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Limits, Node, parse_documents};

    /// The definition that is embedded is the one that the types make; `cargo xtask gen` writes it.
    #[test]
    fn the_embedded_definition_is_of_these_types() {
        let known = iako_schema::definition(GROUP, "RateLimit");
        let spec = &known.unwrap().versions[0].root.property("spec").unwrap().schema;
        let rule = spec.property("rules").unwrap().schema.items.as_ref().unwrap();
        let interval = rule.property("interval").unwrap();
        assert_eq!(interval.schema.description(), "The interval.");
        assert_eq!(spec.rules.len(), 5);
    }

    #[test]
    fn the_yaml_says_what_the_schema_says() {
        let [made] = own_definitions().try_into().unwrap();
        let found = parse_documents(&made.yaml, Limits::default());
        assert!(found.failures.is_empty(), "{:?}", found.failures);
        let (document, problems) = &found.documents[0];
        assert!(problems.is_empty(), "{problems:?}");
        let names = document.get("spec").and_then(|spec| spec.get("names")).unwrap();
        assert_eq!(names.get("kind").and_then(Node::as_text), Some("RateLimit"));
        assert!(made.yaml.contains("                      name:\n"));
    }
}
