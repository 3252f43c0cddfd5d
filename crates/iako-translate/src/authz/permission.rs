//! What is asked for: operations and the conditions about the destination.

use iako_proxy_config::{Permission, UriTemplate};
use iako_resources::istio::authorization_policy::{
    Condition, Operation, PathMatch, ValueMatch, Values,
};

use super::Layer;
use crate::text::{Case, header_text, value_match};

/// An operation together with every condition about the destination.
pub(super) fn of_operation(
    operation: &Operation,
    conditions: &[Condition],
    layer: Layer,
) -> Permission {
    let mut all = Vec::new();
    if layer == Layer::Http {
        push(&mut all, &operation.hosts, |value| header(":authority", value, Case::Ignored));
        push(&mut all, &operation.methods, |value| header(":method", value, Case::Counts));
        push(&mut all, &operation.paths, path);
    }
    push(&mut all, &operation.ports, |port| Permission::DestinationPort(*port..=*port));
    for condition in conditions {
        push_condition(&mut all, condition);
    }
    match all.len() {
        0 => Permission::Any,
        1 => all.pop().unwrap_or(Permission::Any),
        _ => Permission::And(all),
    }
}

fn push_condition(all: &mut Vec<Permission>, condition: &Condition) {
    match condition {
        Condition::DestinationIp(values) => {
            push(all, values, |range| Permission::DestinationIp(*range));
        }
        Condition::DestinationPort(values) => {
            push(all, values, |port| Permission::DestinationPort(*port..=*port));
        }
        Condition::ServerName(values) => {
            push(all, values, |value| Permission::ServerName(value_match(value, Case::Counts)));
        }
        Condition::Header(..)
        | Condition::SourceIp(_)
        | Condition::RemoteIp(_)
        | Condition::SourceNamespace(_)
        | Condition::SourcePrincipal(_)
        | Condition::SourceServiceAccount(_)
        | Condition::SourceTrustDomain(_)
        | Condition::RequestPrincipal(_)
        | Condition::RequestAudiences(_)
        | Condition::RequestPresenter(_)
        | Condition::RequestClaim(..)
        | Condition::FilterMetadata { .. } => {}
    }
}

fn header(name: &str, value: &ValueMatch, case: Case) -> Permission {
    header_text(name, value_match(value, case))
        .map_or_else(|| Permission::Not(Box::new(Permission::Any)), Permission::Header)
}

fn path(path: &PathMatch) -> Permission {
    match path {
        PathMatch::Value(value) => Permission::Path(value_match(value, Case::Counts)),
        PathMatch::Template(text) => match UriTemplate::parse(text) {
            Ok(template) => Permission::PathTemplate(template),
            // Refused when the document was read; nothing is meant by it.
            Err(_invalid) => Permission::Not(Box::new(Permission::Any)),
        },
    }
}

fn push<T>(all: &mut Vec<Permission>, values: &Values<T>, of: impl Fn(&T) -> Permission) {
    let one_of = |values: &[T]| {
        let mut found: Vec<Permission> = values.iter().map(&of).collect();
        match found.len() {
            1 => found.pop().unwrap_or(Permission::Any),
            _ => Permission::Or(found),
        }
    };
    if !values.any_of.is_empty() {
        all.push(one_of(&values.any_of));
    }
    if !values.none_of.is_empty() {
        all.push(Permission::Not(Box::new(one_of(&values.none_of))));
    }
}
