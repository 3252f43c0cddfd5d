//! Schemas as the build script packs them.

use serde::Deserialize;
use serde_json::Value as Json;

#[derive(Deserialize)]
pub(crate) struct Raw {
    pub(crate) definitions: Vec<RawDefinition>,
    pub(crate) schemas: Vec<RawSchema>,
}

#[derive(Deserialize)]
pub(crate) struct RawDefinition {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) scope: String,
    pub(crate) folder: String,
    pub(crate) versions: Vec<RawVersion>,
}

#[derive(Deserialize)]
pub(crate) struct RawVersion {
    pub(crate) name: String,
    pub(crate) storage: bool,
    pub(crate) deprecated: bool,
    pub(crate) root: usize,
}

/// A schema; those inside it are named by their places.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RawSchema {
    pub(crate) r#type: String,
    pub(crate) properties: Vec<(String, usize)>,
    pub(crate) items: Option<usize>,
    pub(crate) additional_properties: Option<usize>,
    pub(crate) not: Option<usize>,
    pub(crate) one_of: Vec<usize>,
    pub(crate) any_of: Vec<usize>,
    pub(crate) all_of: Vec<usize>,
    pub(crate) required: Vec<String>,
    pub(crate) r#enum: Vec<Json>,
    pub(crate) format: String,
    pub(crate) pattern: Option<String>,
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) exclusive_maximum: bool,
    pub(crate) min_length: Option<usize>,
    pub(crate) max_length: Option<usize>,
    pub(crate) min_items: Option<usize>,
    pub(crate) max_items: Option<usize>,
    pub(crate) min_properties: Option<usize>,
    pub(crate) max_properties: Option<usize>,
    pub(crate) default: Option<Json>,
    pub(crate) nullable: bool,
    pub(crate) description: Option<usize>,
    #[serde(rename = "x-kubernetes-int-or-string")]
    pub(crate) int_or_string: bool,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields")]
    pub(crate) preserve_unknown: bool,
    #[serde(rename = "x-kubernetes-list-type")]
    pub(crate) list_type: String,
    #[serde(rename = "x-kubernetes-list-map-keys")]
    pub(crate) list_keys: Vec<String>,
    #[serde(rename = "x-kubernetes-validations")]
    pub(crate) rules: Vec<RawRule>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RawRule {
    pub(crate) rule: String,
    pub(crate) message: String,
    pub(crate) message_expression: Option<String>,
    pub(crate) reason: String,
    pub(crate) field_path: String,
    pub(crate) optional_old_self: bool,
}
