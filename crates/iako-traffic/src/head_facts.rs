//! Facts that heads leave for filters and logs, and parameters that are changed.

use std::{borrow::Cow, fmt};

use iako_proxy_config::{
    AppendAction, HeaderFact, HeaderFactKind, HeaderFactRule, HeaderFactSource, HeaderName,
    MetadataEntry, QueryEdit,
};
use serde_json::{Map, Value};

use crate::text::{cookie_value, decode_parameter, split_path};
use crate::{Headers, Metadata, RequestHead, base64};

/// The first length of a value that is not left. Source: Envoy's filter, 8 KiB.
const VALUE_BYTES_MAX: usize = 8 * 1024;

/// Whose head is looked at.
#[derive(Clone, Copy)]
pub enum HeadOf<'h> {
    /// A request's, its pseudo-headers with it.
    Request(&'h RequestHead<'h>),
    /// A response's.
    Response(&'h dyn Headers),
}

impl fmt::Debug for HeadOf<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Request(_) => "Request",
            Self::Response(_) => "Response",
        })
    }
}

impl<'h> HeadOf<'h> {
    fn value(&self, name: &str, nth: usize) -> Option<&'h [u8]> {
        match self {
            Self::Request(head) => head.value(name, nth),
            Self::Response(headers) => headers.value(name, nth),
        }
    }
}

/// What rules make of a head.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeaderFacts {
    /// Facts: name, key, value.
    pub facts: Vec<(String, String, Value)>,
    /// Headers that are taken off.
    pub remove: Vec<HeaderName>,
}

/// Asks rules of a head, in order.
/// Source: `envoy.extensions.filters.http.header_to_metadata.v3.Config`.
#[must_use]
pub fn header_facts(rules: &[HeaderFactRule], whose: &HeadOf<'_>) -> HeaderFacts {
    let mut found = HeaderFacts::default();
    for rule in rules {
        let value = match &rule.source {
            HeaderFactSource::Header(name) => joined(whose, name.as_str()),
            HeaderFactSource::Cookie(name) => cookie(whose, name),
        };
        let fact = match &value {
            Some(value) => rule.present.as_ref().and_then(|fact| left(fact, value)),
            None => rule.missing.as_ref().and_then(|fact| left(fact, "")),
        };
        found.facts.extend(fact);
        if let (Some(_), true, HeaderFactSource::Header(name)) = (value, rule.remove, &rule.source)
        {
            found.remove.push(name.clone());
        }
    }
    found
}

/// All values of a header with commas between; none when there is none.
fn joined(whose: &HeadOf<'_>, name: &str) -> Option<String> {
    let values = (0..).map_while(|nth| whose.value(name, nth));
    let texts: Vec<Cow<'_, str>> = values.map(crate::text::lossy).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

fn cookie(whose: &HeadOf<'_>, name: &str) -> Option<String> {
    let mut values = (0..).map_while(|nth| whose.value("cookie", nth));
    values.find_map(|value| cookie_value(&String::from_utf8_lossy(value), name).map(str::to_owned))
}

fn left(fact: &HeaderFact, found: &str) -> Option<(String, String, Value)> {
    let text: Cow<'_, str> = match &fact.rewrite {
        Some((pattern, by)) => Cow::Owned(pattern.replace_all(found, by)),
        None if fact.value.is_empty() => Cow::Borrowed(found),
        None => Cow::Borrowed(&fact.value),
    };
    if text.is_empty() || text.len() >= VALUE_BYTES_MAX {
        return None;
    }
    let text = if fact.base64 {
        Cow::Owned(String::from_utf8(base64::decode(&text)?).ok()?)
    } else {
        text
    };
    let value = match fact.kind {
        HeaderFactKind::Text => Value::from(&*text),
        HeaderFactKind::Number => Value::from(text.parse::<f64>().ok()?),
    };
    Some((fact.namespace.clone(), fact.key.clone(), value))
}

/// Leaves configured facts. Says how many were not left because something was there.
/// Source: `envoy.extensions.filters.http.set_metadata.v3.Metadata.allow_overwrite`.
pub fn set_facts(entries: &[MetadataEntry], metadata: &mut Metadata) -> usize {
    let mut denied = 0;
    for entry in entries {
        match metadata.of(&entry.namespace) {
            Some(there) if entry.joins => join(there, &entry.value),
            Some(_) => denied += 1,
            None => metadata.leave(&entry.namespace, entry.value.clone()),
        }
    }
    denied
}

/// Joins facts with those that are there: lists become longer, objects are joined, all else is replaced.
fn join(there: &mut Map<String, Value>, with: &Map<String, Value>) {
    for (key, value) in with {
        match (there.get_mut(key), value) {
            (Some(Value::Object(there)), Value::Object(with)) => join(there, with),
            (Some(Value::Array(there)), Value::Array(with)) => there.extend(with.iter().cloned()),
            (Some(there), value) => *there = value.clone(),
            (None, value) => {
                there.insert(key.clone(), value.clone());
            }
        }
    }
}

/// A target with changed parameters; none when nothing changes. `value` is asked for the text of a value.
#[must_use]
pub fn edit_query(
    path_and_query: &str,
    edits: &[QueryEdit],
    value: &dyn Fn(&str) -> String,
) -> Option<String> {
    let (path, query) = split_path(path_and_query);
    let mut pairs: Vec<Cow<'_, str>> =
        query.split('&').filter(|pair| !pair.is_empty()).map(Cow::Borrowed).collect();
    let is_named = |pair: &str, name: &str| {
        decode_parameter(pair.split_once('=').map_or(pair, |(own, _)| own)) == name
    };
    let mut changed = false;
    for edit in edits {
        match edit {
            QueryEdit::Remove(name) => {
                let before = pairs.len();
                pairs.retain(|pair| !is_named(pair, name));
                changed |= pairs.len() != before;
            }
            QueryEdit::Add { name, value: text, action } => {
                let there = pairs.iter().any(|pair| is_named(pair, name));
                let (replaces, adds) = match action {
                    AppendAction::AppendOrAdd => (false, true),
                    AppendAction::AddIfAbsent => (false, !there),
                    AppendAction::OverwriteOrAdd => (true, true),
                    AppendAction::OverwriteIfExists => (there, there),
                };
                if replaces {
                    pairs.retain(|pair| !is_named(pair, name));
                }
                if adds {
                    let (name, text) = (encoded(name), encoded(&value(text)));
                    pairs.push(Cow::Owned(format!("{name}={text}")));
                }
                changed |= replaces || adds;
            }
        }
    }
    changed.then(|| {
        let query = pairs.join("&");
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    })
}

/// A name or value as it stands in a target. Source: RFC 3986 §2.3.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(name: &str, value: &str, action: AppendAction) -> QueryEdit {
        QueryEdit::Add { name: name.into(), value: value.into(), action }
    }

    #[test]
    fn parameters_are_added_set_and_removed() {
        let edit = |target: &str, edit: QueryEdit| edit_query(target, &[edit], &str::to_owned);
        let append = add("a", "x y", AppendAction::AppendOrAdd);
        assert_eq!(edit("/p?a=1", append).as_deref(), Some("/p?a=1&a=x%20y"));
        let set = add("a", "2", AppendAction::OverwriteOrAdd);
        assert_eq!(edit("/p?a=1&b=3&a=4", set).as_deref(), Some("/p?b=3&a=2"));
        assert_eq!(edit("/p?a=1", add("a", "2", AppendAction::AddIfAbsent)), None);
        assert_eq!(edit("/p", add("a", "2", AppendAction::OverwriteIfExists)), None);
        assert_eq!(edit("/p?a=1", QueryEdit::Remove("a".into())).as_deref(), Some("/p"));
    }

    #[test]
    fn joined_facts_grow_and_others_stay() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let entry =
            |joins, value| MetadataEntry { namespace: "n".into(), value: object(value), joins };
        let mut metadata = Metadata::default();
        let first = entry(false, serde_json::json!({"l": [1], "o": {"a": 1}, "t": "x"}));
        let denied =
            set_facts(&[first, entry(false, serde_json::json!({"t": "y"}))], &mut metadata);
        assert_eq!(denied, 1);
        let more = entry(true, serde_json::json!({"l": [2], "o": {"b": 2}, "t": "z"}));
        assert_eq!(set_facts(&[more], &mut metadata), 0);
        let wanted = serde_json::json!({"l": [1, 2], "o": {"a": 1, "b": 2}, "t": "z"});
        assert_eq!(metadata.of("n").cloned(), Some(object(wanted)));
    }
}
