//! Filters that look at heads and change them, or leave facts for others.

use serde_json::{Map, Value};

use crate::{AppendAction, HeaderEdit, HeaderName, Pattern};

/// Changes headers and parameters. Those of the filter come first, then those of the route.
/// Source: `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeaderMutationFilter {
    /// What is changed.
    pub edits: MessageEdits,
    /// Whether the changes of the narrowest level of a route come last, and so win. Envoy default: false.
    pub narrowest_wins: bool,
}

/// Changes to a request and to its response.
/// Source: `envoy.extensions.filters.http.header_mutation.v3.Mutations`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MessageEdits {
    /// To the head of the request, in order.
    pub request: Vec<HeaderEdit>,
    /// To the parameters of its target, in order, after its head.
    pub query: Vec<QueryEdit>,
    /// To the head of the response, in order.
    pub response: Vec<HeaderEdit>,
}

/// A change to the parameters of a target. Source: `envoy.config.core.v3.KeyValueMutation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryEdit {
    /// A parameter is added or set.
    Add {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What becomes of one that is there.
        action: AppendAction,
    },
    /// A parameter goes.
    Remove(String),
}

/// Leaves facts for other filters and for logs.
/// Source: `envoy.extensions.filters.http.set_metadata.v3.Config`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SetMetadata {
    /// What is left, in order.
    pub entries: Vec<MetadataEntry>,
}

/// Facts under one name. Source: `envoy.extensions.filters.http.set_metadata.v3.Metadata`.
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataEntry {
    /// The name.
    pub namespace: String,
    /// The facts.
    pub value: Map<String, Value>,
    /// Whether they are joined with what is there under that name; else that stays as it is. Envoy
    /// default: false.
    pub joins: bool,
}

/// Leaves values of headers and cookies for other filters.
/// Source: `envoy.extensions.filters.http.header_to_metadata.v3.Config`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeaderToMetadata {
    /// Of requests.
    pub request: Vec<HeaderFactRule>,
    /// Of responses.
    pub response: Vec<HeaderFactRule>,
}

/// What one header or cookie leaves.
/// Source: `envoy.extensions.filters.http.header_to_metadata.v3.Config.Rule`.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderFactRule {
    /// Where the value is.
    pub source: HeaderFactSource,
    /// What is left when it is there.
    pub present: Option<HeaderFact>,
    /// What is left when it is not.
    pub missing: Option<HeaderFact>,
    /// Whether the header is taken off. Envoy default: false.
    pub remove: bool,
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderFactSource {
    /// In a header.
    Header(HeaderName),
    /// In a cookie.
    Cookie(String),
}

/// A fact that is left.
/// Source: `envoy.extensions.filters.http.header_to_metadata.v3.Config.KeyValuePair`.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderFact {
    /// Under which name. Envoy default: `envoy.filters.http.header_to_metadata`.
    pub namespace: String,
    /// Under which key.
    pub key: String,
    /// In place of the value that was found, when not empty.
    pub value: String,
    /// A pattern, and what stands in place of what it matches in the value that was found.
    pub rewrite: Option<(Pattern, String)>,
    /// What it is read as.
    pub kind: HeaderFactKind,
    /// Whether the value is base64. Envoy default: false.
    pub base64: bool,
}

/// What a value is read as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeaderFactKind {
    /// A text.
    #[default]
    Text,
    /// A number; what is none is not left.
    Number,
}
