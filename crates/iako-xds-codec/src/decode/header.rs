//! Edits of headers.

use iako_xds_api::envoy::config::common::mutation_rules::v3 as rules;
use iako_xds_api::envoy::config::core::v3 as core;

use super::{matcher, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{AppendAction, HeaderEdit, HeaderMutations, HeaderName, HeaderValueOption};

/// The four lists of edits that every level of a route table has.
#[derive(Clone, Copy)]
pub(super) struct Lists<'c> {
    pub(super) request_add: &'c [core::HeaderValueOption],
    pub(super) request_remove: &'c [String],
    pub(super) response_add: &'c [core::HeaderValueOption],
    pub(super) response_remove: &'c [String],
}

/// The four lists of a message.
macro_rules! lists {
    ($config:expr) => {
        header::Lists {
            request_add: &$config.request_headers_to_add,
            request_remove: &$config.request_headers_to_remove,
            response_add: &$config.response_headers_to_add,
            response_remove: &$config.response_headers_to_remove,
        }
    };
}
pub(super) use lists;

pub(super) fn mutations(lists: Lists<'_>, at: &At<'_>) -> Result<HeaderMutations, Fault> {
    Ok(HeaderMutations {
        request_add: additions(lists.request_add, &at.field("request_headers_to_add"))?,
        request_remove: removals(lists.request_remove, &at.field("request_headers_to_remove"))?,
        response_add: additions(lists.response_add, &at.field("response_headers_to_add"))?,
        response_remove: removals(lists.response_remove, &at.field("response_headers_to_remove"))?,
    })
}

/// Headers to add or set.
pub(super) fn additions(
    options: &[core::HeaderValueOption],
    at: &At<'_>,
) -> Result<Vec<HeaderValueOption>, Fault> {
    wire::list(options, at, addition)
}

fn addition(option: &core::HeaderValueOption, at: &At<'_>) -> Result<HeaderValueOption, Fault> {
    use core::header_value_option::HeaderAppendAction;
    let at_header = at.field("header");
    let header =
        option.header.as_ref().ok_or_else(|| at_header.missing("write `key` and `value`"))?;
    let at_action = at.field("append_action");
    let action = match wire::known::<HeaderAppendAction>(option.append_action, &at_action)? {
        // The old field says whether a value is appended; it counts when the new one is not set.
        HeaderAppendAction::AppendIfExistsOrAdd if option.append == Some(false) => {
            AppendAction::OverwriteOrAdd
        }
        HeaderAppendAction::AppendIfExistsOrAdd => AppendAction::AppendOrAdd,
        HeaderAppendAction::AddIfAbsent => AppendAction::AddIfAbsent,
        HeaderAppendAction::OverwriteIfExistsOrAdd => AppendAction::OverwriteOrAdd,
        HeaderAppendAction::OverwriteIfExists => AppendAction::OverwriteIfExists,
    };
    let value = if header.raw_value.is_empty() {
        header.value.clone()
    } else {
        String::from_utf8(header.raw_value.to_vec()).map_err(|_binary| {
            at_header.field("raw_value").invalid("is not UTF-8 text", "write the value as text")
        })?
    };
    Ok(HeaderValueOption {
        name: changeable(&header.key, &at_header.field("key"))?,
        value,
        action,
        keep_empty: option.keep_empty_value,
    })
}

/// Headers to remove.
pub(super) fn removals(names: &[String], at: &At<'_>) -> Result<Vec<HeaderName>, Fault> {
    wire::list(names, at, |name, at| changeable(name, at))
}

/// The name of a header that may be changed: not those that say where a request goes.
fn changeable(name: &str, at: &At<'_>) -> Result<HeaderName, Fault> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        let help = "use the rewrites of the route for the host and the path";
        return Err(at.invalid("may not be changed as a header", help));
    }
    wire::header_name(name, at)
}

/// One change to headers.
pub(super) fn edit(config: &rules::HeaderMutation, at: &At<'_>) -> Result<HeaderEdit, Fault> {
    use rules::header_mutation::Action;
    Ok(match &config.action {
        Some(Action::Remove(name)) => HeaderEdit::Remove(changeable(name, &at.field("remove"))?),
        Some(Action::Append(option)) => HeaderEdit::Add(addition(option, &at.field("append"))?),
        Some(Action::RemoveOnMatch(wanted)) => {
            let at = at.field("remove_on_match");
            let at = at.field("key_matcher");
            let names = wanted.key_matcher.as_ref();
            let names = names.ok_or_else(|| at.missing("write which names"))?;
            HeaderEdit::RemoveMatching(matcher::text(names, &at)?)
        }
        None => return Err(at.missing("write `append`, `remove` or `remove_on_match`")),
    })
}
