//! Packs the published schemas under `crds/` into two small files that the crate embeds: schemas,
//! each different one once, and their descriptions apart.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{error::Error, fs};

use flate2::{Compression, write::DeflateEncoder};
use serde_json::{Map, Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Keywords that are kept as they are.
const KEPT: [&str; 22] = [
    "type",
    "required",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "default",
    "nullable",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
];

fn main() -> Outcome<()> {
    println!("cargo:rerun-if-changed=crds");
    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    collect(Path::new("crds"), &mut files)?;
    files.sort();
    let mut packer = Packer::default();
    for file in &files {
        let text = fs::read_to_string(file)?;
        for part in text.split("\n---") {
            let document: Value = serde_saphyr::from_str(part)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            let folder = file.components().nth(1).ok_or("a file stands in no folder")?;
            packer.document(&document, &folder.as_os_str().to_string_lossy())?;
        }
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let schemas = json!({ "definitions": packer.definitions, "schemas": packer.schemas });
    write(&out.join("schemas.bin"), &schemas)?;
    write(&out.join("texts.bin"), &Value::from(packer.texts))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    Ok(())
}

fn write(path: &Path, value: &Value) -> Outcome<()> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(value.to_string().as_bytes())?;
    fs::write(path, encoder.finish()?)?;
    Ok(())
}

#[derive(Default)]
struct Packer {
    definitions: Vec<Value>,
    /// Schemas, those inside others first.
    schemas: Vec<Value>,
    known: BTreeMap<String, usize>,
    texts: Vec<String>,
    known_texts: BTreeMap<String, usize>,
}

impl Packer {
    /// A definition, or a list of some.
    fn document(&mut self, document: &Value, folder: &str) -> Outcome<()> {
        match document.get("items").and_then(Value::as_array) {
            Some(items) => items.iter().try_for_each(|item| self.definition(item, folder)),
            None => self.definition(document, folder),
        }
    }

    fn definition(&mut self, document: &Value, folder: &str) -> Outcome<()> {
        if document.get("kind").and_then(Value::as_str) != Some("CustomResourceDefinition") {
            return Ok(());
        }
        let text = |pointer: &str| document.pointer(pointer).cloned().unwrap_or_default();
        let mut versions = Vec::new();
        let published = document.pointer("/spec/versions").and_then(Value::as_array);
        for version in published.ok_or("a definition has no versions")? {
            let of = |key: &str| version.get(key).cloned().unwrap_or_default();
            if of("served") != Value::Bool(true) {
                continue;
            }
            let schema = version.pointer("/schema/openAPIV3Schema").ok_or("no schema")?;
            let root = self.root(schema)?;
            versions.push(json!({
                "name": of("name"), "storage": of("storage"),
                "deprecated": of("deprecated") == Value::Bool(true), "root": root,
            }));
        }
        self.definitions.push(json!({
            "group": text("/spec/group"), "kind": text("/spec/names/kind"),
            "plural": text("/spec/names/plural"), "scope": text("/spec/scope"),
            "folder": folder,
            "versions": versions,
        }));
        Ok(())
    }

    /// What the API server keeps apart from the schema is left out: metadata, and the status, which
    /// controllers write.
    fn root(&mut self, schema: &Value) -> Outcome<usize> {
        let mut schema = schema.clone();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            for name in ["apiVersion", "kind", "metadata", "status"] {
                properties.shift_remove(name);
            }
        }
        self.schema(&schema)
    }

    /// The place of a schema.
    fn schema(&mut self, schema: &Value) -> Outcome<usize> {
        let schema = schema.as_object().ok_or("a schema is no object")?;
        let mut packed = Map::new();
        for key in KEPT {
            if let Some(value) = schema.get(key) {
                packed.insert(key.to_owned(), value.clone());
            }
        }
        if let Some(text) = schema.get("description").and_then(Value::as_str) {
            packed.insert("description".to_owned(), json!(self.text(text)));
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let mut own = Vec::new();
            for (name, schema) in properties {
                own.push(json!([name, self.schema(schema)?]));
            }
            packed.insert("properties".to_owned(), Value::from(own));
        }
        for key in ["items", "not", "additionalProperties"] {
            match schema.get(key) {
                Some(inner @ Value::Object(_)) => {
                    packed.insert(key.to_owned(), json!(self.schema(inner)?));
                }
                Some(Value::Bool(true)) => {
                    packed.insert(key.to_owned(), json!(self.schema(&json!({}))?));
                }
                _ => {}
            }
        }
        // That a number or a text is either of both, `x-kubernetes-int-or-string` says already.
        let is_either = schema.contains_key("x-kubernetes-int-or-string");
        for key in ["oneOf", "anyOf", "allOf"] {
            if let Some(inner) = schema.get(key).and_then(Value::as_array)
                && !(is_either && key == "anyOf")
            {
                let inner = inner.iter().map(|inner| self.schema(inner));
                packed.insert(key.to_owned(), json!(inner.collect::<Outcome<Vec<_>>>()?));
            }
        }
        let packed = Value::Object(packed);
        let text = packed.to_string();
        if let Some(place) = self.known.get(&text) {
            return Ok(*place);
        }
        let place = self.schemas.len();
        self.schemas.push(packed);
        self.known.insert(text, place);
        Ok(place)
    }

    fn text(&mut self, text: &str) -> usize {
        if let Some(place) = self.known_texts.get(text) {
            return *place;
        }
        let place = self.texts.len();
        self.texts.push(text.to_owned());
        self.known_texts.insert(text.to_owned(), place);
        place
    }
}
