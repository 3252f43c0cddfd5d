//! Filters that look at heads and change them, or leave facts for others.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::http::{
    header_mutation::v3 as mutation_pb, header_to_metadata::v3 as facts_pb,
    set_metadata::v3 as metadata_pb,
};
use prost_types::value::Kind;

use super::{header, matcher, wire};
use crate::problem::{At, Fault};
use crate::text;
use iako_proxy_config::{
    AppendAction, HeaderFact, HeaderFactKind, HeaderFactRule, HeaderFactSource,
    HeaderMutationFilter, HeaderToMetadata, MessageEdits, MetadataEntry, QueryEdit, SetMetadata,
};

pub(super) fn header_mutation(
    config: &mutation_pb::HeaderMutation,
    at: &At<'_>,
) -> Result<HeaderMutationFilter, Fault> {
    Ok(HeaderMutationFilter {
        edits: edits(config.mutations.as_ref(), &at.field("mutations"))?,
        narrowest_wins: config.most_specific_header_mutations_wins,
    })
}

/// The changes of a filter or of a route.
pub(super) fn edits(
    config: Option<&mutation_pb::Mutations>,
    at: &At<'_>,
) -> Result<MessageEdits, Fault> {
    let Some(config) = config else { return Ok(MessageEdits::default()) };
    let at_query = at.field("query_parameter_mutations");
    Ok(MessageEdits {
        request: wire::list(
            &config.request_mutations,
            &at.field("request_mutations"),
            header::edit,
        )?,
        query: wire::list(&config.query_parameter_mutations, &at_query, query_edit)?,
        response: wire::list(
            &config.response_mutations,
            &at.field("response_mutations"),
            header::edit,
        )?,
    })
}

fn query_edit(config: &core::KeyValueMutation, at: &At<'_>) -> Result<QueryEdit, Fault> {
    use core::key_value_append::KeyValueAppendAction as Action;
    let Some(append) = &config.append else {
        return match config.remove.as_str() {
            "" => Err(at.missing("write `append` or `remove`")),
            name => Ok(QueryEdit::Remove(name.to_owned())),
        };
    };
    let at = at.field("append");
    let at_record = at.field("record");
    let record = append.record.as_ref();
    let record = record.ok_or_else(|| at_record.missing("write `key` and `value`"))?;
    let value = match record.value.as_ref().and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(value)) => value.clone(),
        Some(_) | None => {
            return Err(at_record.field("value").invalid("is no text", "write a text"));
        }
    };
    let action = match wire::known::<Action>(append.action, &at.field("action"))? {
        Action::AppendIfExistsOrAdd => AppendAction::AppendOrAdd,
        Action::AddIfAbsent => AppendAction::AddIfAbsent,
        Action::OverwriteIfExistsOrAdd => AppendAction::OverwriteOrAdd,
        Action::OverwriteIfExists => AppendAction::OverwriteIfExists,
    };
    Ok(QueryEdit::Add { name: record.key.clone(), value, action })
}

pub(super) fn set_metadata(
    config: &metadata_pb::Config,
    at: &At<'_>,
) -> Result<SetMetadata, Fault> {
    let mut entries = Vec::new();
    if let Some(value) = &config.value {
        entries.push(MetadataEntry {
            namespace: config.metadata_namespace.clone(),
            value: text::struct_to_json(value),
            joins: true,
        });
    }
    let further = wire::list(&config.metadata, &at.field("metadata"), |entry, at| {
        if entry.metadata_namespace.is_empty() {
            return Err(at.field("metadata_namespace").missing("write a name for the facts"));
        }
        let value = entry.value.as_ref();
        let value = value.ok_or_else(|| at.field("value").missing("write the facts"))?;
        Ok(MetadataEntry {
            namespace: entry.metadata_namespace.clone(),
            value: text::struct_to_json(value),
            joins: entry.allow_overwrite,
        })
    })?;
    entries.extend(further);
    Ok(SetMetadata { entries })
}

pub(super) fn header_to_metadata(
    config: &facts_pb::Config,
    at: &At<'_>,
) -> Result<HeaderToMetadata, Fault> {
    Ok(HeaderToMetadata {
        request: wire::list(&config.request_rules, &at.field("request_rules"), rule)?,
        response: wire::list(&config.response_rules, &at.field("response_rules"), rule)?,
    })
}

fn rule(config: &facts_pb::config::Rule, at: &At<'_>) -> Result<HeaderFactRule, Fault> {
    let source = match (config.header.as_str(), config.cookie.as_str()) {
        ("", "") => return Err(at.missing("write `header` or `cookie`")),
        (name, "") => HeaderFactSource::Header(wire::header_name(name, &at.field("header"))?),
        ("", name) => HeaderFactSource::Cookie(name.to_owned()),
        _ => return Err(at.invalid("names a header and a cookie", "write one rule for each")),
    };
    let fact_at = |config: Option<&facts_pb::config::KeyValuePair>, field: &'static str| {
        config.map(|config| fact(config, &at.field(field))).transpose()
    };
    let present = fact_at(config.on_header_present.as_ref(), "on_header_present")?;
    let missing = fact_at(config.on_header_missing.as_ref(), "on_header_missing")?;
    if present.is_none() && missing.is_none() {
        return Err(at.missing("write `on_header_present` or `on_header_missing`"));
    }
    if missing.as_ref().is_some_and(|missing| missing.value.is_empty()) {
        let at = at.field("on_header_missing");
        return Err(at.field("value").missing("write what stands for a missing header"));
    }
    Ok(HeaderFactRule { source, present, missing, remove: config.remove })
}

fn fact(config: &facts_pb::config::KeyValuePair, at: &At<'_>) -> Result<HeaderFact, Fault> {
    use facts_pb::config::{ValueEncode, ValueType};
    if config.key.is_empty() {
        return Err(at.field("key").missing("write the key of the fact"));
    }
    let at_kind = at.field("type");
    let kind = match wire::known::<ValueType>(config.r#type, &at_kind)? {
        ValueType::String => HeaderFactKind::Text,
        ValueType::Number => HeaderFactKind::Number,
        ValueType::ProtobufValue => {
            return Err(at_kind.invalid("cannot be a protobuf value", "use STRING or NUMBER"));
        }
    };
    let at_rewrite = at.field("regex_value_rewrite");
    let rewrite = config.regex_value_rewrite.as_ref();
    let rewrite = rewrite.map(|rewrite| matcher::substitution(rewrite, &at_rewrite)).transpose()?;
    if rewrite.is_some() && !config.value.is_empty() {
        return Err(at_rewrite.invalid("stands beside `value`", "write one of the two"));
    }
    let namespace = match config.metadata_namespace.as_str() {
        "" => "envoy.filters.http.header_to_metadata".to_owned(),
        name => name.to_owned(),
    };
    let encode = wire::known::<ValueEncode>(config.encode, &at.field("encode"))?;
    Ok(HeaderFact {
        namespace,
        key: config.key.clone(),
        value: config.value.clone(),
        rewrite,
        kind,
        base64: encode == ValueEncode::Base64,
    })
}
