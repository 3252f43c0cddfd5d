//! Values that JSON content leaves for other filters.

use serde_json::Value;

use crate::Pattern;

/// The name under which values are left where a rule names none. Envoy's.
pub const JSON_METADATA: &str = "envoy.filters.http.json_to_metadata";
/// The media type that is read where rules name none. Envoy's.
pub const JSON_MEDIA_TYPE: &str = "application/json";

/// Leaves values of JSON content for other filters and for logs. Content is read whole, up to what
/// the route allows to be kept.
/// Source: `envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JsonToMetadata {
    /// Of requests; they are not read when absent.
    pub request: Option<JsonRules>,
    /// Of responses; they are not read when absent.
    pub response: Option<JsonRules>,
}

/// What is read, and what it leaves. Source: `JsonToMetadata.MatchRules`.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonRules {
    /// What values leave, in order; at least one.
    pub rules: Vec<JsonRule>,
    /// Media types that are read, as they are written. Envoy default: [`JSON_MEDIA_TYPE`].
    pub media_types: Vec<String>,
    /// Further media types that are read.
    pub media_type_pattern: Option<Pattern>,
    /// Whether content that does not tell its type is read. Envoy default: false.
    pub reads_untyped: bool,
}

/// What one value leaves. Source: `JsonToMetadata.Rule`.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonRule {
    /// Where the value is, from the outside in; at least one.
    pub keys: Vec<String>,
    /// What is left when it is there.
    pub present: Option<JsonFact>,
    /// What is left when it is not.
    pub missing: Option<JsonFact>,
    /// What is left when the content is no JSON.
    pub error: Option<JsonFact>,
}

/// A fact that is left. Source: `JsonToMetadata.KeyValuePair`.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonFact {
    /// Under which name. Envoy default: [`JSON_METADATA`].
    pub namespace: String,
    /// Under which key.
    pub key: String,
    /// In place of the value that was found.
    pub value: Option<Value>,
    /// What the value that was found is read as.
    pub kind: JsonFactKind,
    /// Whether a fact that was there stays. Envoy default: false.
    pub keeps_existing: bool,
}

/// What a value is read as. Source: `JsonToMetadata.ValueType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JsonFactKind {
    /// What it is.
    #[default]
    Any,
    /// A text.
    Text,
    /// A number; what is none is not left.
    Number,
}
