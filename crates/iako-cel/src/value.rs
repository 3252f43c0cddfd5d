//! What expressions are worth.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::attribute::{Facts, HeadersOf, MetadataOf, Root, StateOf};
use crate::number;

/// A value of an expression, borrowed from the expression and the facts where it can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that is not negative.
    Uint(u64),
    /// A number with a point.
    Double(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// A duration, in nanoseconds.
    Duration(i128),
    /// A moment, in nanoseconds since 1970.
    Timestamp(i128),
    /// A list.
    List(Arc<Vec<Self>>),
    /// Keys and values, in the order in which they were written.
    Map(Arc<Vec<(Self, Self)>>),
    /// An object of metadata.
    Struct(Cow<'a, Map<String, Json>>),
    /// A list of metadata.
    Items(Cow<'a, Vec<Json>>),
    /// A type.
    Type(&'static str),
    /// Something with named fields, such as a locality.
    Record(Record<'a>),
    /// The attributes below a name.
    Root(Root),
    /// Headers.
    Headers(HeadersOf),
    /// Metadata, whole.
    Metadata(MetadataOf),
    /// Metadata by namespace.
    Namespaces(MetadataOf),
    /// Metadata with types, of which there is none.
    NoNamespaces,
}

/// Named fields.
pub type Record<'a> = Arc<Vec<(&'static str, Value<'a>)>>;

impl<'a> Value<'a> {
    /// A borrowed text.
    #[must_use]
    pub const fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A fact of metadata.
    #[must_use]
    pub fn json(value: &'a Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(value) => Self::Double(value.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(items) => Self::Items(Cow::Borrowed(items)),
            Json::Object(fields) => Self::Struct(Cow::Borrowed(fields)),
        }
    }

    /// The same of a fact that nobody keeps.
    #[must_use]
    pub fn owned_json(value: Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(value) => Self::Double(value.as_f64().unwrap_or(f64::NAN)),
            Json::String(text) => Self::Text(Cow::Owned(text)),
            Json::Array(items) => Self::Items(Cow::Owned(items)),
            Json::Object(fields) => Self::Struct(Cow::Owned(fields)),
        }
    }

    /// The name of its type.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::List(_) | Self::Items(_) => "list",
            Self::Map(_)
            | Self::Struct(_)
            | Self::Root(_)
            | Self::Headers(_)
            | Self::Namespaces(_)
            | Self::NoNamespaces => "map",
            Self::Type(_) => "type",
            Self::Record(_) => "message",
            Self::Metadata(_) => "envoy.config.core.v3.Metadata",
        }
    }

    /// Whether two values are equal, numbers of whatever kind; things that cannot be compared are not.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        if let Some(order) = number::compare(self, other) {
            return order == Ordering::Equal;
        }
        match (self.items(), other.items()) {
            (Some(own), Some(other)) => {
                let mut pairs = own.iter().zip(&other);
                return own.len() == other.len() && pairs.all(|(own, other)| own.equals(other));
            }
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => return false,
        }
        match (self.entries(), other.entries()) {
            (Some(own), Some(other)) => {
                let has = |key: &Self, value: &Self| {
                    other.iter().any(|(name, found)| name.equals(key) && found.equals(value))
                };
                own.len() == other.len() && own.iter().all(|(key, value)| has(key, value))
            }
            (None, None) => self == other,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Which of two comes first; none where neither does.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(own), Self::Bool(other)) => Some(own.cmp(other)),
            (Self::Text(own), Self::Text(other)) => Some(own.cmp(other)),
            (Self::Bytes(own), Self::Bytes(other)) => Some(own.cmp(other)),
            (Self::Duration(own), Self::Duration(other))
            | (Self::Timestamp(own), Self::Timestamp(other)) => Some(own.cmp(other)),
            _ => number::compare(self, other),
        }
    }

    /// The elements of a list.
    pub(crate) fn items(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items.to_vec()),
            Self::Items(Cow::Borrowed(items)) => Some(items.iter().map(Self::json).collect()),
            Self::Items(Cow::Owned(items)) => {
                Some(items.iter().cloned().map(Self::owned_json).collect())
            }
            _ => None,
        }
    }

    /// The entries of a map that is here whole.
    fn entries(&self) -> Option<Vec<(Self, Self)>> {
        let key = |key: &String| Self::Text(Cow::Owned(key.clone()));
        match self {
            Self::Map(entries) => Some(entries.to_vec()),
            Self::Struct(fields) => Some(
                fields
                    .iter()
                    .map(|(name, value)| (key(name), Self::owned_json(value.clone())))
                    .collect(),
            ),
            Self::NoNamespaces => Some(Vec::new()),
            _ => None,
        }
    }

    /// As a line of text shows it. Source: Envoy's `%CEL(…)%`.
    #[must_use]
    pub fn shown(&self, facts: &dyn Facts) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed("NULL"),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::Uint(value) => Cow::Owned(value.to_string()),
            Self::Double(value) => Cow::Owned(number::six_digits(*value)),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes),
            Self::Duration(nanos) => Cow::Owned(crate::time::duration_units(*nanos)),
            Self::Timestamp(nanos) => Cow::Owned(crate::time::moment(*nanos, "+00:00")),
            Self::List(_) | Self::Items(_) => Cow::Borrowed("CelList value"),
            Self::Map(_)
            | Self::Struct(_)
            | Self::Root(_)
            | Self::Headers(_)
            | Self::Namespaces(_)
            | Self::NoNamespaces => Cow::Borrowed("CelMap value"),
            Self::Type(_) => Cow::Borrowed("CelType value"),
            Self::Record(fields) => {
                let fields = fields.iter().filter(|(_, value)| *value != Self::text(""));
                let shown = |(name, value): &(&str, Self)| match value {
                    Self::Text(text) => format!("{name}: {} ", Json::from(text.as_ref())),
                    other => format!("{name} {{ {} }} ", other.shown(facts)),
                };
                Cow::Owned(fields.map(shown).collect())
            }
            Self::Metadata(of) => Cow::Owned(shown_metadata(*of, facts)),
        }
    }

    /// As JSON holds it; null where it has no form there. Source: Envoy's `%TYPED_CEL(…)%`.
    #[must_use]
    pub fn to_json(&self, facts: &dyn Facts) -> Json {
        match self {
            Self::Null | Self::Type(_) | Self::Root(_) => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Double(value) => Json::from(*value),
            Self::Text(text) => Json::from(text.as_ref()),
            Self::Bytes(bytes) => Json::from(crate::strings::base64(bytes)),
            Self::Duration(nanos) => Json::from(crate::time::duration_seconds(*nanos)),
            Self::Timestamp(nanos) => Json::from(crate::time::moment(*nanos, "Z")),
            Self::List(items) => items.iter().map(|item| item.to_json(facts)).collect(),
            Self::Items(items) => Json::Array(items.to_vec()),
            Self::Map(entries) => {
                let named = entries
                    .iter()
                    .map(|(key, value)| (key.shown(facts).into_owned(), value.to_json(facts)));
                Json::Object(sorted(named.collect()))
            }
            Self::Struct(fields) => Json::Object(sorted(fields.clone().into_owned())),
            Self::Headers(of) => {
                let headers = facts.headers(*of);
                let named = headers.into_iter().map(|(name, value)| (name, Json::from(value)));
                Json::Object(sorted(named.collect()))
            }
            Self::Record(fields) => {
                let fields = fields.iter().filter(|(_, value)| *value != Self::text(""));
                fields.map(|(name, value)| ((*name).to_owned(), value.to_json(facts))).collect()
            }
            Self::Namespaces(of) => Json::Object(namespaces(*of, facts)),
            Self::NoNamespaces => Json::Object(Map::new()),
            Self::Metadata(of) => {
                let found = namespaces(*of, facts);
                let name = "filter_metadata".to_owned();
                let whole = (!found.is_empty()).then_some((name, Json::Object(found)));
                Json::Object(whole.into_iter().collect())
            }
        }
    }
}

fn sorted(fields: Map<String, Json>) -> Map<String, Json> {
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields.into_iter().collect()
}

fn namespaces(of: MetadataOf, facts: &dyn Facts) -> Map<String, Json> {
    let mut names = facts.namespaces(of);
    names.sort();
    let found = names.into_iter().filter_map(|name| {
        let fields = facts.metadata(of, &name)?.into_owned();
        Some((name, Json::Object(fields)))
    });
    found.collect()
}

/// As protocol buffers print a message in one line.
fn shown_metadata(of: MetadataOf, facts: &dyn Facts) -> String {
    let mut shown = String::new();
    for (name, fields) in namespaces(of, facts) {
        let name = Json::from(name);
        shown.push_str(&format!("filter_metadata {{ key: {name} value {{ "));
        if let Json::Object(fields) = fields {
            shown_fields(&fields, &mut shown);
        }
        shown.push_str("} } ");
    }
    shown
}

fn shown_fields(fields: &Map<String, Json>, shown: &mut String) {
    for (key, value) in fields {
        shown.push_str(&format!("fields {{ key: {} value {{ ", Json::from(key.as_str())));
        shown_value(value, shown);
        shown.push_str("} } ");
    }
}

fn shown_value(value: &Json, shown: &mut String) {
    match value {
        Json::Null => shown.push_str("null_value: NULL_VALUE "),
        Json::Bool(value) => shown.push_str(&format!("bool_value: {value} ")),
        Json::Number(value) => {
            let value = number::shortest(value.as_f64().unwrap_or(f64::NAN));
            shown.push_str(&format!("number_value: {value} "));
        }
        Json::String(text) => {
            shown.push_str(&format!("string_value: {} ", Json::from(text.as_str())));
        }
        Json::Array(items) => {
            shown.push_str("list_value { ");
            for item in items {
                shown.push_str("values { ");
                shown_value(item, shown);
                shown.push_str("} ");
            }
            shown.push_str("} ");
        }
        Json::Object(fields) => {
            shown.push_str("struct_value { ");
            shown_fields(fields, shown);
            shown.push_str("} ");
        }
    }
}

/// Objects of filters stand below their root; what each prints as are bytes, as Envoy has it.
pub(crate) fn state<'a>(facts: &'a dyn Facts, root: Root, key: &str) -> Option<Value<'a>> {
    let of =
        if root == Root::UpstreamFilterState { StateOf::Upstream } else { StateOf::Downstream };
    Some(match facts.state(of, key)? {
        Cow::Borrowed(text) => Value::Bytes(Cow::Borrowed(text.as_bytes())),
        Cow::Owned(text) => Value::Bytes(Cow::Owned(text.into_bytes())),
    })
}
