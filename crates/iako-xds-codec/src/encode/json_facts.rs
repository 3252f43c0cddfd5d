//! Values that JSON content leaves for other filters.

use iako_xds_api::envoy::extensions::filters::http::json_to_metadata::v3::{
    JsonToMetadata as Message, json_to_metadata as pb,
};

use super::matcher;
use crate::text;
use iako_proxy_config::{JsonFact, JsonFactKind, JsonRule, JsonRules, JsonToMetadata};

pub(super) fn filter(value: &JsonToMetadata) -> Message {
    Message {
        request_rules: value.request.as_ref().map(rules),
        response_rules: value.response.as_ref().map(rules),
    }
}

fn rules(value: &JsonRules) -> pb::MatchRules {
    pb::MatchRules {
        rules: value.rules.iter().map(rule).collect(),
        allow_content_types: value.media_types.clone(),
        allow_empty_content_type: value.reads_untyped,
        allow_content_types_regex: value.media_type_pattern.as_ref().map(matcher::regex),
    }
}

fn rule(value: &JsonRule) -> pb::Rule {
    let selector =
        |key: &String| pb::Selector { selector: Some(pb::selector::Selector::Key(key.clone())) };
    pb::Rule {
        selectors: value.keys.iter().map(selector).collect(),
        on_present: value.present.as_ref().map(fact),
        on_missing: value.missing.as_ref().map(fact),
        on_error: value.error.as_ref().map(fact),
    }
}

fn fact(value: &JsonFact) -> pb::KeyValuePair {
    let kind = match value.kind {
        JsonFactKind::Any => pb::ValueType::ProtobufValue,
        JsonFactKind::Text => pb::ValueType::String,
        JsonFactKind::Number => pb::ValueType::Number,
    };
    let own = value.value.as_ref().map(text::value_from_json);
    pb::KeyValuePair {
        metadata_namespace: value.namespace.clone(),
        key: value.key.clone(),
        r#type: kind.into(),
        preserve_existing_metadata_value: value.keeps_existing,
        value_type: own.map(pb::key_value_pair::ValueType::Value),
    }
}
