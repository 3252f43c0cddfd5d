//! Policies that mean something else than they seem to.

use super::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, Condition, PathMatch, Source,
    ValueMatch,
};
use crate::{Code, reader::Cursor};

/// Most service accounts of one source. Source: Istio's schema.
const ACCOUNTS_MAX: usize = 16;

/// Reports a policy that can never match, or that refuses more than it seems to.
pub(super) fn report(cursor: &Cursor<'_>, policy: &AuthorizationPolicy) {
    if policy.rules.is_empty() && policy.action == AuthorizationAction::Deny {
        let message = "a DENY policy without rules never matches; write rules: [{}] to refuse all";
        cursor.at("rules").report(Code::MissingField, message);
    }
    if policy.action == AuthorizationAction::Custom {
        report_custom(cursor, policy);
    } else if policy.provider.is_some() {
        let message = "only a policy with action CUSTOM has a provider";
        cursor.at("provider").report(Code::Conflict, message);
    }
    if policy.action != AuthorizationAction::Deny {
        return;
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        if only_http(rule) {
            let message = "the rule asks about requests only; opaque connections have none, so it \
                           refuses all of them";
            cursor.at(&format!("rules[{index}]")).report(Code::BroaderThanMeant, message);
        }
    }
}

/// Reports what a policy that asks an external authorizer cannot have.
fn report_custom(cursor: &Cursor<'_>, policy: &AuthorizationPolicy) {
    let message = "action CUSTOM asks nobody yet: everything that its rules match is refused";
    cursor.at("action").report(Code::FieldIgnored, message);
    if policy.rules.is_empty() {
        let message =
            "a CUSTOM policy without rules never matches; write rules: [{}] to ask about all";
        cursor.at("rules").report(Code::MissingField, message);
    }
    if policy.provider.is_none() {
        let message = "action CUSTOM needs the name of an extension provider";
        cursor.at("provider.name").report(Code::MissingField, message);
    }
    let unsupported = |place: &str| {
        let message = "the authorizer is asked before identities and tokens are known, so a CUSTOM \
                       policy cannot ask for them";
        cursor.at(place).report(Code::Conflict, message);
    };
    for (index, rule) in policy.rules.iter().enumerate() {
        for (number, source) in rule.sources.iter().enumerate() {
            for field in identity_fields(source) {
                unsupported(&format!("rules[{index}].from[{number}].source.{field}"));
            }
        }
        for (number, condition) in rule.conditions.iter().enumerate() {
            if asks_identity(condition) {
                unsupported(&format!("rules[{index}].when[{number}].key"));
            }
        }
    }
}

/// The fields of a source that ask who the peer or the user is.
fn identity_fields(source: &Source) -> Vec<&'static str> {
    let Source { principals, request_principals, namespaces, service_accounts, .. } = source;
    let named = [
        ("principals", "notPrincipals", principals),
        ("requestPrincipals", "notRequestPrincipals", request_principals),
        ("namespaces", "notNamespaces", namespaces),
        ("trustDomains", "notTrustDomains", &source.trust_domains),
    ];
    let mut fields = Vec::new();
    let mut add = |any: &'static str, none: &'static str, has_any: bool, has_none: bool| {
        fields.extend(has_any.then_some(any));
        fields.extend(has_none.then_some(none));
    };
    for (any, none, values) in named {
        add(any, none, !values.any_of.is_empty(), !values.none_of.is_empty());
    }
    let accounts = service_accounts;
    let (any, none) = (!accounts.any_of.is_empty(), !accounts.none_of.is_empty());
    add("serviceAccounts", "notServiceAccounts", any, none);
    fields
}

const fn asks_identity(condition: &Condition) -> bool {
    match condition {
        Condition::SourceNamespace(_)
        | Condition::SourcePrincipal(_)
        | Condition::SourceServiceAccount(_)
        | Condition::SourceTrustDomain(_)
        | Condition::RequestPrincipal(_)
        | Condition::RequestAudiences(_)
        | Condition::RequestPresenter(_)
        | Condition::RequestClaim(..) => true,
        Condition::Header(..)
        | Condition::SourceIp(_)
        | Condition::RemoteIp(_)
        | Condition::DestinationIp(_)
        | Condition::DestinationPort(_)
        | Condition::ServerName(_)
        | Condition::FilterMetadata { .. } => false,
    }
}

/// Whether a part of the rule that says something leaves nothing on an opaque connection.
/// Source: Istio's admission check, which looks at `to` alone when it is there, else at `from`.
fn only_http(rule: &AuthorizationRule) -> bool {
    let by_source = rule.sources.iter().any(|source| {
        !(source.principals.is_empty()
            && source.namespaces.is_empty()
            && source.service_accounts.is_empty()
            && source.ip_blocks.is_empty()
            && source.remote_ip_blocks.is_empty())
    });
    let by_operation = rule.operations.iter().any(|operation| !operation.ports.is_empty());
    match (rule.sources.is_empty(), rule.operations.is_empty()) {
        (_, false) => !by_operation,
        (false, true) => !by_source,
        (true, true) => {
            !rule.conditions.is_empty() && rule.conditions.iter().all(Condition::needs_http)
        }
    }
}

/// Reports parts of a source that do not go together.
pub(super) fn report_source(cursor: &Cursor<'_>, source: &Source) {
    let accounts = &source.service_accounts;
    let named = !source.principals.is_empty() || !source.namespaces.is_empty();
    if !accounts.is_empty() && named {
        let message =
            "serviceAccounts says it all; principals and namespaces cannot stand beside it";
        cursor.at("serviceAccounts").report(Code::Conflict, message);
    }
    if accounts.any_of.len() > ACCOUNTS_MAX || accounts.none_of.len() > ACCOUNTS_MAX {
        let message = format!("at most {ACCOUNTS_MAX} service accounts are allowed");
        cursor.at("serviceAccounts").report(Code::BadValue, message);
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
