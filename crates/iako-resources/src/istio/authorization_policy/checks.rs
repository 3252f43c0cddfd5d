//! Policies that mean something else than they seem to.

use super::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, PathMatch, Source, ValueMatch,
};
use crate::{Code, reader::Cursor};

/// Most service accounts of one source. Source: Istio's schema.
const ACCOUNTS_MAX: usize = 16;

/// Reports a policy that can never match, or that refuses more than it seems to.
pub(super) fn report(cursor: &Cursor<'_>, policy: &AuthorizationPolicy) {
    if policy.rules.is_empty() && policy.action == AuthorizationAction::Deny {
        let message = "a DENY policy without rules never matches; write rules: [{}] to refuse all";
        cursor.report(Code::MissingField, message);
    }
    if policy.action != AuthorizationAction::Deny {
        return;
    }
    for rule in &policy.rules {
        if only_http(rule) {
            let message = format!(
                "the rule on line {} asks about requests only; opaque connections have none, so \
                 it refuses all of them",
                rule.line
            );
            cursor.report(Code::BroaderThanMeant, message);
        }
    }
}

/// Whether nothing of the rule is left on an opaque connection, though it says something.
fn only_http(rule: &AuthorizationRule) -> bool {
    let by_source = rule.sources.iter().any(|source| {
        !(source.principals.is_empty()
            && source.namespaces.is_empty()
            && source.service_accounts.is_empty()
            && source.trust_domains.is_empty()
            && source.ip_blocks.is_empty()
            && source.remote_ip_blocks.is_empty())
    });
    let by_operation = rule.operations.iter().any(|operation| !operation.ports.is_empty());
    let by_condition = rule.conditions.iter().any(|condition| !condition.needs_http());
    let says_something =
        !(rule.sources.is_empty() && rule.operations.is_empty() && rule.conditions.is_empty());
    says_something && !by_source && !by_operation && !by_condition
}

/// Reports parts of a source that do not go together.
pub(super) fn report_source(cursor: &Cursor<'_>, source: &Source) {
    let accounts = &source.service_accounts;
    let named = !source.principals.is_empty() || !source.namespaces.is_empty();
    if !accounts.is_empty() && named {
        let message =
            "serviceAccounts says it all; principals and namespaces cannot stand beside it";
        cursor.report(Code::Conflict, message);
    }
    if accounts.any_of.len() > ACCOUNTS_MAX || accounts.none_of.len() > ACCOUNTS_MAX {
        cursor
            .report(Code::BadValue, format!("at most {ACCOUNTS_MAX} service accounts are allowed"));
    }
}

/// Reads a path, with or without a template.
pub(super) fn read_path(cursor: &Cursor<'_>) -> Option<PathMatch> {
    let text = cursor.text()?;
    if text.is_empty() {
        cursor.report(Code::EmptyValue, "the value is empty");
        return None;
    }
    if !text.contains(['{', '}']) {
        return Some(PathMatch::Value(ValueMatch::new(&text)));
    }
    match template_problem(&text) {
        None => Some(PathMatch::Template(text)),
        Some(problem) => {
            cursor.report(Code::BadValue, format!("{text:?} is no path template: {problem}"));
            None
        }
    }
}

fn template_problem(text: &str) -> Option<&'static str> {
    let mut after_rest = false;
    for segment in text.strip_prefix('/').unwrap_or(text).split('/') {
        let is_operator = matches!(segment, "{*}" | "{**}");
        if after_rest && is_operator {
            return Some("{**} is the last operator");
        }
        if !is_operator && segment.contains(['{', '}']) {
            return Some("{*} and {**} are whole segments");
        }
        if !is_operator && segment.contains('*') {
            return Some("a star stands only inside {*} or {**}");
        }
        after_rest |= segment == "{**}";
    }
    None
}

/// Reports a key that names nothing.
pub(super) fn report_key(cursor: &Cursor<'_>, key: &str) {
    if key.starts_with("experimental.envoy.filters.") {
        let message = format!("{key} reads the metadata of Envoy filters, which comes later");
        cursor.report(Code::FieldRefused, message);
        return;
    }
    let message = format!("there is no condition {key:?}");
    cursor.report_with_help(
        Code::UnknownEnum,
        message,
        "conditions are request.headers[name], source.ip, remote.ip, source.namespace, \
         source.principal, source.serviceAccount, source.trustDomain, request.auth.principal, \
         request.auth.audiences, request.auth.presenter, request.auth.claims[name], \
         destination.ip, destination.port and connection.sni",
    );
}
