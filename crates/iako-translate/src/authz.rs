//! From `AuthorizationPolicy` objects to the proxy's access rules.
//!
//! One filter per action, in the order AUDIT, CUSTOM, DENY, ALLOW, so that a refusal always wins. On
//! opaque connections, conditions about requests cannot be asked: an ALLOW rule with one of them is
//! left out, a DENY rule loses only those conditions. Both err on the side of refusing.

mod permission;
mod principal;

use iako_proxy_config::{Permission, Policy, Principal, Rbac, RbacAction, RbacRules};
use iako_resources::{
    AuthorizationPolicy, Kind, MeshConfig, Object,
    istio::authorization_policy::{AuthorizationAction, AuthorizationRule, Operation, Source},
};

pub(crate) use principal::{claim_match, claim_value};

use crate::origin::rule_origin;

/// What the rules are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Requests.
    Http,
    /// Opaque connections.
    Tcp,
}

/// The access rules of the policies that apply to one workload, in the order of their evaluation.
pub(crate) fn rbac_filters(
    policies: &[&Object<AuthorizationPolicy>],
    layer: Layer,
    mesh: &MeshConfig,
) -> Vec<Rbac> {
    use AuthorizationAction::{Allow, Audit, Custom, Deny};
    let actions = [Audit, Custom, Deny, Allow].into_iter();
    actions.filter_map(|action| rbac_of_action(policies, action, layer, mesh)).collect()
}

fn rbac_of_action(
    policies: &[&Object<AuthorizationPolicy>],
    action: AuthorizationAction,
    layer: Layer,
    mesh: &MeshConfig,
) -> Option<Rbac> {
    let rules_of = |dry_run: bool| {
        let mut chosen = policies
            .iter()
            .filter(|policy| policy.spec.action == action && policy.spec.dry_run == dry_run)
            .peekable();
        chosen.peek()?;
        let mut rules = RbacRules { action: rbac_action(action), ..RbacRules::default() };
        for policy in chosen {
            add_policy(&mut rules, policy, layer, mesh);
        }
        Some(rules)
    };
    let (enforced, shadow) = (rules_of(false), rules_of(true));
    if enforced.is_none() && shadow.is_none() {
        return None;
    }
    let word = if action == AuthorizationAction::Allow { "allow" } else { "deny" };
    let shadow_prefix =
        if shadow.is_some() { format!("istio_dry_run_{word}_") } else { String::new() };
    let stat_prefix = if layer == Layer::Tcp { "tcp.".to_owned() } else { String::new() };
    Some(Rbac {
        rules: enforced,
        shadow_rules: shadow,
        matcher: None,
        shadow_matcher: None,
        shadow_prefix,
        stat_prefix,
        counts_policies: false,
        deny_delay: None,
    })
}

const fn rbac_action(action: AuthorizationAction) -> RbacAction {
    match action {
        AuthorizationAction::Allow => RbacAction::Allow,
        // Nobody is asked yet, and an authorizer that is not there says no.
        AuthorizationAction::Deny | AuthorizationAction::Custom => RbacAction::Deny,
        AuthorizationAction::Audit => RbacAction::Log,
    }
}

fn add_policy(
    rules: &mut RbacRules,
    object: &Object<AuthorizationPolicy>,
    layer: Layer,
    mesh: &MeshConfig,
) {
    let name = |index: usize| {
        format!("ns[{}]-policy[{}]-rule[{index}]", object.meta.namespace, object.meta.name)
    };
    if object.spec.rules.is_empty() {
        // A policy without rules never matches. It stands here all the same, so that whoever asks
        // why a request was refused can be told its name.
        let nothing = Policy {
            permissions: vec![Permission::Not(Box::new(Permission::Any))],
            principals: vec![Principal::Not(Box::new(Principal::Any))],
            condition: None,
            origin: Some(rule_origin(Kind::AuthorizationPolicy, object, object.origin.line)),
        };
        rules.policies.insert(name(0), nothing);
    }
    for (index, rule) in object.spec.rules.iter().enumerate() {
        let Some(mut policy) = policy_of_rule(rule, object.spec.action, layer, mesh) else {
            continue;
        };
        policy.origin = Some(rule_origin(Kind::AuthorizationPolicy, object, rule.line));
        rules.policies.insert(name(index), policy);
    }
}

fn policy_of_rule(
    rule: &AuthorizationRule,
    action: AuthorizationAction,
    layer: Layer,
    mesh: &MeshConfig,
) -> Option<Policy> {
    if layer == Layer::Tcp && action == AuthorizationAction::Allow && rule_needs_http(rule) {
        return None;
    }
    let any_source = [Source::default()];
    let any_operation = [Operation::default()];
    let sources = if rule.sources.is_empty() { &any_source[..] } else { &rule.sources };
    let operations = if rule.operations.is_empty() { &any_operation[..] } else { &rule.operations };
    let terms = principal::Terms { layer, mesh };
    Some(Policy {
        permissions: operations
            .iter()
            .map(|operation| permission::of_operation(operation, &rule.conditions, layer))
            .collect(),
        principals: sources
            .iter()
            .map(|source| terms.of_source(source, &rule.conditions))
            .collect(),
        condition: None,
        origin: None,
    })
}

fn rule_needs_http(rule: &AuthorizationRule) -> bool {
    rule.operations.iter().any(Operation::needs_http)
        || rule.sources.iter().any(principal::source_needs_http)
        || rule
            .conditions
            .iter()
            .any(iako_resources::istio::authorization_policy::Condition::needs_http)
}
