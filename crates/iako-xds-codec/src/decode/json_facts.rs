//! Values that JSON content leaves for other filters.

use iako_xds_api::envoy::extensions::filters::http::json_to_metadata::v3::{
    JsonToMetadata as Message, json_to_metadata as pb,
};

use super::{matcher, wire};
use crate::problem::{At, Fault};
use crate::text;
use iako_proxy_config::{
    JSON_MEDIA_TYPE, JSON_METADATA, JsonFact, JsonFactKind, JsonRule, JsonRules, JsonToMetadata,
};

pub(super) fn filter(config: &Message, at: &At<'_>) -> Result<JsonToMetadata, Fault> {
    let of = |rules: Option<&pb::MatchRules>, field: &'static str| {
        rules.map(|rules| self::rules(rules, &at.field(field))).transpose()
    };
    let request = of(config.request_rules.as_ref(), "request_rules")?;
    let response = of(config.response_rules.as_ref(), "response_rules")?;
    Ok(JsonToMetadata { request, response })
}

fn rules(config: &pb::MatchRules, at: &At<'_>) -> Result<JsonRules, Fault> {
    let at_rules = at.field("rules");
    let rules = wire::list(&config.rules, &at_rules, rule)?;
    if rules.is_empty() {
        return Err(at_rules.missing("write what values leave"));
    }
    let at_types = at.field("allow_content_types");
    let mut media_types = wire::list(&config.allow_content_types, &at_types, |name, at| {
        if name.is_empty() {
            return Err(at.missing("write a media type"));
        }
        Ok(name.clone())
    })?;
    let at_pattern = at.field("allow_content_types_regex");
    let pattern = config.allow_content_types_regex.as_ref();
    let pattern =
        pattern.map(|pattern| matcher::pattern(&pattern.regex, &at_pattern)).transpose()?;
    if media_types.is_empty() {
        media_types.push(JSON_MEDIA_TYPE.to_owned());
    }
    Ok(JsonRules {
        rules,
        media_types,
        media_type_pattern: pattern,
        reads_untyped: config.allow_empty_content_type,
    })
}

fn rule(config: &pb::Rule, at: &At<'_>) -> Result<JsonRule, Fault> {
    let at_keys = at.field("selectors");
    let keys = wire::list(&config.selectors, &at_keys, |selector, at| match &selector.selector {
        Some(pb::selector::Selector::Key(key)) if !key.is_empty() => Ok(key.clone()),
        Some(_) | None => Err(at.field("key").missing("write the name of a member")),
    })?;
    if keys.is_empty() {
        return Err(at_keys.missing("write where the value is"));
    }
    let fact_at = |config: Option<&pb::KeyValuePair>, field: &'static str| {
        config.map(|config| fact(config, &at.field(field))).transpose()
    };
    let present = fact_at(config.on_present.as_ref(), "on_present")?;
    let missing = fact_at(config.on_missing.as_ref(), "on_missing")?;
    let error = fact_at(config.on_error.as_ref(), "on_error")?;
    if present.is_none() && missing.is_none() {
        return Err(at.missing("write `on_present` or `on_missing`"));
    }
    for (fact, field) in [(&missing, "on_missing"), (&error, "on_error")] {
        if fact.as_ref().is_some_and(|fact| fact.value.is_none()) {
            let at = at.field(field);
            return Err(at.field("value").missing("write what stands for the value"));
        }
    }
    Ok(JsonRule { keys, present, missing, error })
}

fn fact(config: &pb::KeyValuePair, at: &At<'_>) -> Result<JsonFact, Fault> {
    if config.key.is_empty() {
        return Err(at.field("key").missing("write the key of the fact"));
    }
    let kind = match wire::known::<pb::ValueType>(config.r#type, &at.field("type"))? {
        pb::ValueType::ProtobufValue => JsonFactKind::Any,
        pb::ValueType::String => JsonFactKind::Text,
        pb::ValueType::Number => JsonFactKind::Number,
    };
    let namespace = match config.metadata_namespace.as_str() {
        "" => JSON_METADATA.to_owned(),
        name => name.to_owned(),
    };
    let value = config.value_type.as_ref();
    let value = value.map(|pb::key_value_pair::ValueType::Value(value)| text::value_to_json(value));
    Ok(JsonFact {
        namespace,
        key: config.key.clone(),
        value,
        kind,
        keeps_existing: config.preserve_existing_metadata_value,
    })
}
