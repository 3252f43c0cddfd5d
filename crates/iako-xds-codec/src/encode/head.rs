//! Filters that look at heads and change them, or leave facts for others.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::http::{
    header_mutation::v3 as mutation_pb, header_to_metadata::v3 as facts_pb,
    set_metadata::v3 as metadata_pb,
};
use prost_types::{Value, value::Kind};

use super::{header, matcher};
use crate::text;
use iako_proxy_config::{
    AppendAction, HeaderFact, HeaderFactKind, HeaderFactRule, HeaderFactSource,
    HeaderMutationFilter, HeaderToMetadata, MessageEdits, QueryEdit, SetMetadata,
};

pub(super) fn header_mutation(value: &HeaderMutationFilter) -> mutation_pb::HeaderMutation {
    mutation_pb::HeaderMutation {
        mutations: Some(edits(&value.edits)),
        most_specific_header_mutations_wins: value.narrowest_wins,
    }
}

/// The changes of a filter or of a route.
pub(super) fn edits(value: &MessageEdits) -> mutation_pb::Mutations {
    mutation_pb::Mutations {
        request_mutations: value.request.iter().map(header::edit).collect(),
        query_parameter_mutations: value.query.iter().map(query_edit).collect(),
        response_mutations: value.response.iter().map(header::edit).collect(),
        ..Default::default()
    }
}

fn query_edit(value: &QueryEdit) -> core::KeyValueMutation {
    use core::key_value_append::KeyValueAppendAction as Action;
    match value {
        QueryEdit::Remove(name) => core::KeyValueMutation { append: None, remove: name.clone() },
        QueryEdit::Add { name, value, action } => {
            let action = match action {
                AppendAction::AppendOrAdd => Action::AppendIfExistsOrAdd,
                AppendAction::AddIfAbsent => Action::AddIfAbsent,
                AppendAction::OverwriteOrAdd => Action::OverwriteIfExistsOrAdd,
                AppendAction::OverwriteIfExists => Action::OverwriteIfExists,
            };
            let value = Value { kind: Some(Kind::StringValue(value.clone())) };
            let record = core::KeyValuePair { key: name.clone(), value: Some(value) };
            let append = core::KeyValueAppend {
                record: Some(record),
                action: action.into(),
                ..Default::default()
            };
            core::KeyValueMutation { append: Some(append), remove: String::new() }
        }
    }
}

pub(super) fn set_metadata(value: &SetMetadata) -> metadata_pb::Config {
    let entries = value.entries.iter().map(|entry| metadata_pb::Metadata {
        metadata_namespace: entry.namespace.clone(),
        allow_overwrite: entry.joins,
        value: Some(text::struct_from_json(&entry.value)),
        ..Default::default()
    });
    metadata_pb::Config { metadata: entries.collect(), ..Default::default() }
}

pub(super) fn header_to_metadata(value: &HeaderToMetadata) -> facts_pb::Config {
    facts_pb::Config {
        request_rules: value.request.iter().map(rule).collect(),
        response_rules: value.response.iter().map(rule).collect(),
        ..Default::default()
    }
}

fn rule(value: &HeaderFactRule) -> facts_pb::config::Rule {
    let (header, cookie) = match &value.source {
        HeaderFactSource::Header(name) => (name.as_str().to_owned(), String::new()),
        HeaderFactSource::Cookie(name) => (String::new(), name.clone()),
    };
    facts_pb::config::Rule {
        header,
        cookie,
        on_header_present: value.present.as_ref().map(fact),
        on_header_missing: value.missing.as_ref().map(fact),
        remove: value.remove,
    }
}

fn fact(value: &HeaderFact) -> facts_pb::config::KeyValuePair {
    use facts_pb::config::{ValueEncode, ValueType};
    let kind = match value.kind {
        HeaderFactKind::Text => ValueType::String,
        HeaderFactKind::Number => ValueType::Number,
    };
    let encode = if value.base64 { ValueEncode::Base64 } else { ValueEncode::None };
    let rewrite = value.rewrite.as_ref();
    facts_pb::config::KeyValuePair {
        metadata_namespace: value.namespace.clone(),
        key: value.key.clone(),
        value: value.value.clone(),
        regex_value_rewrite: rewrite.map(|(pattern, by)| matcher::substitution(pattern, by)),
        r#type: kind.into(),
        encode: encode.into(),
    }
}
