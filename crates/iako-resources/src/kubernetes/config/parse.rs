//! Reads a `Secret` and a `ConfigMap`.

use std::collections::BTreeMap;

use super::{ConfigMap, Secret, SecretBytes};
use crate::{
    Code, MeshConfig,
    document::{Context, mesh_text, networks_text},
    reader::Cursor,
};

/// Reads a `Secret`.
pub(crate) fn parse_secret(cursor: &Cursor<'_>, _context: &Context<'_>) -> Option<Secret> {
    let fields = cursor.fields();
    let secret_type = fields.text("type").unwrap_or_else(|| "Opaque".to_owned());
    let encoded = fields.get("data").map(|cursor| cursor.entries()).unwrap_or_default();
    let plain = fields.get("stringData").map(|cursor| cursor.entries()).unwrap_or_default();
    fields.ignore_rest();
    let mut data = BTreeMap::new();
    for (key, cursor) in encoded {
        // A value must not show up in a message, not even a wrong one.
        let Some(text) = cursor.node().as_text() else {
            cursor.report(Code::WrongType, "the value of a secret is a text of base64");
            continue;
        };
        match crate::base64::decode(text) {
            Some(bytes) => {
                data.insert(key.to_owned(), SecretBytes::new(bytes));
            }
            None => cursor.report(Code::BadValue, "the value of a secret is a text of base64"),
        }
    }
    for (key, cursor) in plain {
        match cursor.node().as_text() {
            Some(text) => {
                data.insert(key.to_owned(), SecretBytes::new(text.as_bytes().to_vec()));
            }
            None => cursor.report(Code::WrongType, "the value of a secret is a text"),
        }
    }
    if secret_type == "kubernetes.io/tls" {
        for key in ["tls.crt", "tls.key"] {
            if !data.contains_key(key) {
                let message = format!("a secret of type kubernetes.io/tls needs {key}");
                cursor.report(Code::MissingField, message);
            }
        }
    }
    Some(Secret { secret_type, data })
}

/// Reads a `ConfigMap`; the one with the settings of the mesh is read whole.
pub(crate) fn parse_config_map(cursor: &Cursor<'_>, context: &Context<'_>) -> Option<ConfigMap> {
    let fields = cursor.fields();
    let entries = fields.get("data").map(|cursor| cursor.entries()).unwrap_or_default();
    fields.ignore_rest();
    let is_mesh = context.name == "istio" && context.namespace.as_str() == "istio-system";
    let mut data = BTreeMap::new();
    let mut mesh: Option<Box<MeshConfig>> = None;
    let mut networks = None;
    for (key, cursor) in entries {
        let Some(text) = cursor.text() else { continue };
        if is_mesh && key == "mesh" {
            mesh = mesh_text(&cursor, &text, context).map(Box::new);
        }
        if is_mesh && key == "meshNetworks" {
            networks = networks_text(&cursor, &text).map(Box::new);
        }
        data.insert(key.to_owned(), text);
    }
    Some(ConfigMap { data, mesh, networks })
}
