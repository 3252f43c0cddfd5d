//! Edits of headers.

use iako_xds_api::envoy::config::common::mutation_rules::v3 as rules;
use iako_xds_api::envoy::config::core::v3 as core;

use super::matcher;
use iako_proxy_config::{AppendAction, HeaderEdit, HeaderName, HeaderValueOption};

pub(super) fn additions(values: &[HeaderValueOption]) -> Vec<core::HeaderValueOption> {
    values.iter().map(addition).collect()
}

fn addition(value: &HeaderValueOption) -> core::HeaderValueOption {
    use core::header_value_option::HeaderAppendAction;
    let action = match value.action {
        AppendAction::AppendOrAdd => HeaderAppendAction::AppendIfExistsOrAdd,
        AppendAction::AddIfAbsent => HeaderAppendAction::AddIfAbsent,
        AppendAction::OverwriteOrAdd => HeaderAppendAction::OverwriteIfExistsOrAdd,
        AppendAction::OverwriteIfExists => HeaderAppendAction::OverwriteIfExists,
    };
    core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: value.name.as_str().to_owned(),
            value: value.value.clone(),
            ..Default::default()
        }),
        append_action: action.into(),
        keep_empty_value: value.keep_empty,
        ..Default::default()
    }
}

pub(super) fn removals(values: &[HeaderName]) -> Vec<String> {
    values.iter().map(|name| name.as_str().to_owned()).collect()
}

pub(super) fn edit(value: &HeaderEdit) -> rules::HeaderMutation {
    use rules::header_mutation::{Action, RemoveOnMatch};
    let action = match value {
        HeaderEdit::Add(option) => Action::Append(addition(option)),
        HeaderEdit::Remove(name) => Action::Remove(name.as_str().to_owned()),
        HeaderEdit::RemoveMatching(names) => {
            Action::RemoveOnMatch(RemoveOnMatch { key_matcher: Some(matcher::text(names)) })
        }
    };
    rules::HeaderMutation { action: Some(action) }
}
