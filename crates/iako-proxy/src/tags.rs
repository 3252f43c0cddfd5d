//! Values of tags, of spans and of entries in logs alike.

use iako_proxy_config::{MetadataPlace, TagMetadata, TagValue};
use iako_telemetry::AccessRecord;
use iako_telemetry::access_log::further::MetadataOf;
use serde_json::Value;

use crate::environment;
use crate::http::mutations::{self, Absent};

/// The value of a tag; none where it is left out.
pub(crate) fn value(value: &TagValue, record: &AccessRecord<'_>) -> Option<String> {
    let or = |found: Option<String>, default: &str| {
        found.or_else(|| (!default.is_empty()).then(|| default.to_owned()))
    };
    match value {
        TagValue::Literal(text) => Some(text.clone()),
        TagValue::Environment { name, default } => {
            or(environment::variable(name).map(str::to_owned), default)
        }
        TagValue::Header { name, default } => {
            let sent = record.request_headers.first_value(name.as_str());
            or(sent.map(|sent| String::from_utf8_lossy(sent).into_owned()), default)
        }
        TagValue::Metadata { source, place, default } => {
            or(of_metadata(*source, place, record), default)
        }
        TagValue::Format(format) => Some(rendered(format, record)).filter(|text| !text.is_empty()),
    }
}

/// A text with operators.
pub(crate) fn rendered(format: &str, record: &AccessRecord<'_>) -> String {
    let text = mutations::render_with(format, record, Absent::Empty);
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}

fn of_metadata(
    source: TagMetadata,
    place: &MetadataPlace,
    record: &AccessRecord<'_>,
) -> Option<String> {
    let of = match source {
        TagMetadata::Request => MetadataOf::Dynamic,
        TagMetadata::Route => MetadataOf::Route,
        TagMetadata::Cluster => MetadataOf::Cluster,
        TagMetadata::Host => MetadataOf::Endpoint,
    };
    let facts = record.further.metadata(of, &place.key)?;
    let (first, rest) = place.path.split_first()?;
    text(rest.iter().try_fold(facts.get(first)?, |value, key| value.get(key))?)
}

/// A fact as a tag tells it: text as it is, everything else as JSON.
fn text(fact: &Value) -> Option<String> {
    match fact {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(fact.to_string())
        }
    }
}
