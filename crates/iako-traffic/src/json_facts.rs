//! Facts that JSON content leaves for filters and logs.

use iako_proxy_config::{JsonFact, JsonFactKind, JsonRule, JsonRules};
use serde_json::{Map, Value};

use crate::Metadata;

/// Longest text that is left. Source: Envoy's filter.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Up to here a double holds every whole number.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What content was to the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonFinding {
    /// JSON, of which facts were left or not.
    Read,
    /// Nothing.
    Empty,
    /// No JSON.
    Invalid,
}

/// Whether content of a media type is read.
/// Source: `envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata.MatchRules`.
#[must_use]
pub fn json_is_read(rules: &JsonRules, media_type: &str) -> bool {
    if media_type.is_empty() {
        return rules.reads_untyped;
    }
    rules.media_types.iter().any(|own| own == media_type)
        || rules.media_type_pattern.as_ref().is_some_and(|pattern| pattern.is_match(media_type))
}

/// Leaves the facts of content that is not read for its media type. Says how many were left.
pub fn json_unread(rules: &JsonRules, metadata: &mut Metadata) -> usize {
    leave(rules.rules.iter().filter_map(failed).collect(), metadata)
}

/// Leaves the facts of content. Says what it was, and how many were left.
pub fn json_facts(
    rules: &JsonRules,
    content: &[u8],
    metadata: &mut Metadata,
) -> (JsonFinding, usize) {
    let rules = rules.rules.iter();
    let (finding, left): (_, Vec<_>) = if content.is_empty() {
        (JsonFinding::Empty, rules.filter_map(missing).collect())
    } else {
        match parse(content) {
            Some(Value::Object(object)) => {
                (JsonFinding::Read, rules.filter_map(|rule| fact(rule, &object)).collect())
            }
            // To Envoy a list is an object that has nothing.
            Some(Value::Array(_)) => {
                let nothing = Map::new();
                (JsonFinding::Read, rules.filter_map(|rule| fact(rule, &nothing)).collect())
            }
            Some(_) => (JsonFinding::Read, rules.filter_map(missing).collect()),
            None => (JsonFinding::Invalid, rules.filter_map(failed).collect()),
        }
    };
    (finding, leave(left, metadata))
}

/// What was there before counts, not what the same content leaves.
fn leave(mut left: Vec<(&JsonFact, Value)>, metadata: &mut Metadata) -> usize {
    left.retain(|(fact, _)| !(fact.keeps_existing && is_there(metadata, fact)));
    let count = left.len();
    for (fact, value) in left {
        metadata.set(&fact.namespace, &fact.key, value);
    }
    count
}

/// Content as JSON; none where Envoy's reader, which has whole numbers of 64 bits with a sign, does not
/// take it. Deeper than 128 levels nothing is read.
fn parse(content: &[u8]) -> Option<Value> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    serde_json::from_slice(content).ok().filter(is_taken)
}

fn is_taken(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_u64() || number.is_i64(),
        Value::Array(values) => values.iter().all(is_taken),
        Value::Object(members) => members.values().all(is_taken),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

fn is_there(metadata: &Metadata, fact: &JsonFact) -> bool {
    metadata.find(&fact.namespace, std::slice::from_ref(&fact.key)).is_some()
}

fn missing(rule: &JsonRule) -> Option<(&JsonFact, Value)> {
    let fact = rule.missing.as_ref()?;
    Some((fact, fact.value.clone()?))
}

fn failed(rule: &JsonRule) -> Option<(&JsonFact, Value)> {
    let fact = rule.error.as_ref()?;
    Some((fact, fact.value.clone()?))
}

/// What one rule leaves of an object.
fn fact<'r>(rule: &'r JsonRule, object: &Map<String, Value>) -> Option<(&'r JsonFact, Value)> {
    let (last, way) = rule.keys.split_last()?;
    let mut inner = Some(object);
    for key in way {
        inner = inner.and_then(|object| object.get(key)).and_then(Value::as_object);
    }
    let Some(inner) = inner else { return missing(rule) };
    // Envoy the same: a value of its own does not ask whether there is one.
    if let Some((fact, own)) =
        rule.present.as_ref().and_then(|fact| Some((fact, fact.value.clone()?)))
    {
        return Some((fact, own));
    }
    let Some(found) = inner.get(last).filter(|found| is_leaf(found)) else {
        return missing(rule);
    };
    let fact = rule.present.as_ref()?;
    let value = match fact.kind {
        JsonFactKind::Any => whole(found),
        JsonFactKind::Text => text(found).map(Value::from),
        JsonFactKind::Number => number(found).map(whole_number),
    };
    Some((fact, value?))
}

fn is_leaf(found: &Value) -> bool {
    match found {
        Value::Null | Value::Array(_) | Value::Object(_) => false,
        Value::String(text) => text.len() <= TEXT_BYTES_MAX,
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// A value as metadata has it, where numbers are doubles.
fn whole(found: &Value) -> Option<Value> {
    match found {
        Value::Number(number) => number.as_f64().map(whole_number),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Some(found.clone())
        }
    }
}

/// A double, written without a fraction where it has none.
fn whole_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole, and far below the type's limit"
        )]
        return Value::from(number as i64);
    }
    Value::from(number)
}

/// Texts are as C++ writes them; an empty one is not left.
fn text(found: &Value) -> Option<String> {
    let text = match found {
        Value::Bool(value) => u8::from(*value).to_string(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.to_string(),
            (None, Some(0.0)) => "0".to_owned(),
            (None, number) => format!("{:.6}", number?),
        },
        Value::String(text) => text.clone(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn number(found: &Value) -> Option<f64> {
    let number = match found {
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => {
            let text = text.trim();
            match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
                Some(digits) => f64::from(u32::from_str_radix(digits, 16).ok()?),
                None => text.parse().ok()?,
            }
        }
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    // Metadata here has no place for what is no number.
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::JSON_METADATA;
    use serde_json::json;

    use super::*;

    fn fact(key: &str, kind: JsonFactKind, value: Option<Value>) -> Option<JsonFact> {
        let namespace = JSON_METADATA.to_owned();
        Some(JsonFact { namespace, key: key.into(), value, kind, keeps_existing: false })
    }

    fn rules(rules: Vec<JsonRule>) -> JsonRules {
        JsonRules {
            rules,
            media_types: vec!["application/json".into()],
            media_type_pattern: None,
            reads_untyped: false,
        }
    }

    fn at(path: &[&str], present: Option<JsonFact>) -> JsonRule {
        let keys = path.iter().map(|&key| key.to_owned()).collect();
        let missing = fact("any", JsonFactKind::Any, Some(json!("missing")));
        let error = fact("any", JsonFactKind::Any, Some(json!("error")));
        JsonRule { keys, present, missing, error }
    }

    fn left(rules: &JsonRules, content: &str) -> Value {
        let mut metadata = Metadata::default();
        json_facts(rules, content.as_bytes(), &mut metadata);
        metadata.of(JSON_METADATA).cloned().map_or(Value::Null, Value::Object)
    }

    #[test]
    fn values_are_left_as_envoy_reads_them() {
        let rules = rules(vec![
            at(&["a"], fact("any", JsonFactKind::Any, None)),
            JsonRule { missing: None, ..at(&["a"], fact("text", JsonFactKind::Text, None)) },
            JsonRule { missing: None, ..at(&["a"], fact("number", JsonFactKind::Number, None)) },
        ]);
        for (content, expected) in [
            (r#"{"a":1.5}"#, json!({"any": 1.5, "text": "1.500000", "number": 1.5})),
            (r#"{"a":true}"#, json!({"any": true, "text": "1", "number": 1})),
            (r#"{"a":"0x10"}"#, json!({"any": "0x10", "text": "0x10", "number": 16})),
            (r#"{"a":" 1e3"}"#, json!({"any": " 1e3", "text": " 1e3", "number": 1000})),
            (r#"{"a":""}"#, json!({"any": ""})),
            (r#"{"a":null}"#, json!({"any": "missing"})),
            (r#"{"a":[1]}"#, json!({"any": "missing"})),
            ("[]", json!({"any": "missing"})),
            ("7", json!({"any": "missing"})),
            ("", json!({"any": "missing"})),
            ("{", json!({"any": "error"})),
            (r#"{"a":9223372036854775808}"#, json!({"any": "error"})),
            ("\u{feff}{\"a\":1}", json!({"any": 1, "text": "1", "number": 1})),
        ] {
            assert_eq!(left(&rules, content), expected, "{content}");
        }
    }

    #[test]
    fn a_value_of_its_own_is_left_where_its_object_is() {
        let own = fact("any", JsonFactKind::Any, Some(json!("own")));
        let rules = rules(vec![at(&["a", "b"], own)]);
        assert_eq!(left(&rules, r#"{"a":{}}"#), json!({"any": "own"}));
        assert_eq!(left(&rules, r#"{"a":1}"#), json!({"any": "missing"}));
    }

    #[test]
    fn what_was_there_stays_where_a_rule_says_so() {
        let keep = |key: &str| {
            let fact = fact("any", JsonFactKind::Any, None);
            at(&[key], fact.map(|fact| JsonFact { keeps_existing: true, ..fact }))
        };
        let mut metadata = Metadata::default();
        let content = br#"{"a":1,"b":2}"#;
        json_facts(&rules(vec![keep("a"), keep("b")]), content, &mut metadata);
        json_facts(&rules(vec![keep("a")]), content, &mut metadata);
        assert_eq!(metadata.find(JSON_METADATA, &["any".to_owned()]), Some(&json!(2)));
    }

    #[test]
    fn media_types_are_read_as_they_are_written() {
        let plain = rules(Vec::new());
        assert!(json_is_read(&plain, "application/json"));
        assert!(!json_is_read(&plain, "application/json; charset=utf-8"));
        assert!(!json_is_read(&plain, ""));
    }
}
