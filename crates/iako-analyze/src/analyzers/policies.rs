//! Policies: whom they select, and whether they can do what they say.

use iako_registry::{GATEWAY_ANNOTATION, MeshSnapshot, Workload, WorkloadSource, select};
use iako_resources::{
    Code, Kind, Labels, Object,
    istio::{
        authorization_policy::{
            AuthorizationAction, AuthorizationRule, Condition, Operation, Source,
        },
        peer_authentication::MutualTlsMode,
    },
};

use super::{
    findings::{Findings, Part, selected, written},
    tokens::is_about_tokens,
};

/// Selectors that select nothing.
pub(super) fn empty_selectors(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.authorization_policies {
        let of = (Kind::AuthorizationPolicy, object.as_ref());
        check_selector(snapshot, of, object.spec.selector.as_ref(), findings);
    }
    for object in &snapshot.request_authentications {
        let of = (Kind::RequestAuthentication, object.as_ref());
        check_selector(snapshot, of, object.spec.selector.as_ref(), findings);
    }
    for object in &snapshot.peer_authentications {
        let of = (Kind::PeerAuthentication, object.as_ref());
        check_selector(snapshot, of, object.spec.selector.as_ref(), findings);
    }
    for object in &snapshot.telemetries {
        let of = (Kind::Telemetry, object.as_ref());
        check_selector(snapshot, of, object.spec.selector.as_ref(), findings);
    }
}

fn check_selector<T>(
    snapshot: &MeshSnapshot,
    (kind, object): (Kind, &Object<T>),
    selector: Option<&Labels>,
    findings: &mut Findings,
) {
    let Some(labels) = selector else { return };
    // Where no pod of a namespace was read, they may be elsewhere.
    let mut all = selected(snapshot, &object.meta.namespace, None);
    if all.all(|workload| workload.source == WorkloadSource::Pod && is_invented(workload)) {
        return;
    }
    if selected(snapshot, &object.meta.namespace, selector).next().is_some() {
        return;
    }
    let message = format!(
        "no workload of the namespace {} has the labels {}",
        object.meta.namespace,
        written(labels)
    );
    let help = "compare the selector with the labels of the pod templates";
    let part = Part { path: "spec.selector.matchLabels", line: 0 };
    findings.add(Code::SelectorMatchesNothing, (kind, object), &part, (message, help));
}

/// Whether nobody wrote the workload: the gateway that a Gateway asks for.
fn is_invented(workload: &Workload) -> bool {
    workload.annotations.contains_key(GATEWAY_ANNOTATION) && workload.owner.kind == "Gateway"
}

/// Policies about identities where clients may come without one.
///
/// A rule that names identities does not match a client without one: harmless when the rule allows,
/// a hole when it denies. A rule that excludes identities always matches such a client: the other
/// way round.
pub(super) fn identities(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.authorization_policies {
        for (at, rule) in object.spec.rules.iter().enumerate() {
            let (named, excluded) = (names_identities(rule), excludes_identities(rule));
            if !(named || excluded) {
                continue;
            }
            let namespace = &object.meta.namespace;
            let weak = selected(snapshot, namespace, object.spec.selector.as_ref())
                .find_map(|workload| weakness(snapshot, workload));
            let Some((mode, workload)) = weak else { continue };
            let denies = object.spec.action == AuthorizationAction::Deny;
            let hole = if denies { named } else { excluded };
            if mode == MutualTlsMode::Permissive && !hole {
                continue;
            }
            let (subject, allowed) = (
                format!("{}/{}", workload.namespace, workload.owner.name),
                if mode == MutualTlsMode::Disable { "only" } else { "too" },
            );
            let effect = match (denies, mode) {
                (true, _) if named => "such clients are never refused by this rule",
                (false, _) if excluded => "such clients always match this rule",
                (true | false, _) => {
                    "no client of it has an identity, so that the rule never matches"
                }
            };
            let message = format!("{subject} accepts plain text {allowed}; {effect}");
            let of = (Kind::AuthorizationPolicy, object.as_ref());
            let path = &format!("spec.rules[{at}]");
            let part = Part { path, line: rule.line };
            let help = "set a PeerAuthentication with mode STRICT for these workloads";
            findings.add(Code::IdentityWithoutMutualTls, of, &part, (message, help));
        }
    }
}

fn weakness<'a>(
    snapshot: &MeshSnapshot,
    workload: &'a Workload,
) -> Option<(MutualTlsMode, &'a Workload)> {
    let accepted = select::peer_authentication(snapshot, workload.into());
    let modes = std::iter::once(accepted.mode).chain(accepted.ports.values().copied());
    let weakest = modes.filter(|mode| *mode != MutualTlsMode::Strict);
    // A port without TLS is worse than one with both.
    let weakest = weakest.max_by_key(|mode| *mode == MutualTlsMode::Disable)?;
    Some((weakest, workload))
}

fn names_identities(rule: &AuthorizationRule) -> bool {
    let source = |source: &Source| {
        !(source.principals.any_of.is_empty()
            && source.namespaces.any_of.is_empty()
            && source.service_accounts.any_of.is_empty()
            && source.trust_domains.any_of.is_empty())
    };
    rule.sources.iter().any(source) || rule.conditions.iter().any(|c| identity(c, Listed::Named))
}

fn excludes_identities(rule: &AuthorizationRule) -> bool {
    let source = |source: &Source| {
        !(source.principals.none_of.is_empty()
            && source.namespaces.none_of.is_empty()
            && source.service_accounts.none_of.is_empty()
            && source.trust_domains.none_of.is_empty())
    };
    rule.sources.iter().any(source) || rule.conditions.iter().any(|c| identity(c, Listed::Excluded))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    Named,
    Excluded,
}

fn identity(condition: &Condition, listed: Listed) -> bool {
    let named = listed == Listed::Named;
    match condition {
        Condition::SourceNamespace(values)
        | Condition::SourcePrincipal(values)
        | Condition::SourceTrustDomain(values) => {
            !(if named { &values.any_of } else { &values.none_of }).is_empty()
        }
        Condition::SourceServiceAccount(values) => {
            !(if named { &values.any_of } else { &values.none_of }).is_empty()
        }
        Condition::Header(..)
        | Condition::SourceIp(_)
        | Condition::RemoteIp(_)
        | Condition::RequestPrincipal(_)
        | Condition::RequestAudiences(_)
        | Condition::RequestPresenter(_)
        | Condition::RequestClaim(..)
        | Condition::DestinationIp(_)
        | Condition::DestinationPort(_)
        | Condition::ServerName(_)
        | Condition::FilterMetadata { .. } => false,
    }
}

/// Policies about tokens where nothing checks them.
pub(super) fn tokens(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.authorization_policies {
        for (at, rule) in object.spec.rules.iter().enumerate() {
            let asks = rule.sources.iter().any(|source| !source.request_principals.is_empty())
                || rule.conditions.iter().any(is_about_tokens);
            if !asks {
                continue;
            }
            let unchecked =
                selected(snapshot, &object.meta.namespace, object.spec.selector.as_ref()).find(
                    |workload| {
                        select::request_authentications(snapshot, (*workload).into()).is_empty()
                    },
                );
            let Some(workload) = unchecked else { continue };
            let message = format!(
                "no RequestAuthentication checks tokens for {}/{}, so that no request ever has one",
                workload.namespace, workload.owner.name
            );
            let of = (Kind::AuthorizationPolicy, object.as_ref());
            let path = &format!("spec.rules[{at}]");
            let part = Part { path, line: rule.line };
            let help = "add a RequestAuthentication with the issuer and its keys";
            findings.add(Code::TokenNeverChecked, of, &part, (message, help));
        }
    }
}

/// Rules about requests on ports that carry opaque bytes.
pub(super) fn http_rules_on_tcp(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.authorization_policies {
        let Some((at, rule)) =
            object.spec.rules.iter().enumerate().find(|(_, rule)| needs_http(rule))
        else {
            continue;
        };
        let workloads = selected(snapshot, &object.meta.namespace, object.spec.selector.as_ref());
        let Some((workload, port)) =
            workloads.into_iter().find_map(|workload| tcp_port(snapshot, workload))
        else {
            continue;
        };
        let effect = match object.spec.action {
            AuthorizationAction::Allow => "the rule never allows anything there",
            AuthorizationAction::Deny => "there the rule refuses more than it says",
            AuthorizationAction::Audit => "there the rule marks more than it says",
            AuthorizationAction::Custom => "there the rule asks about more than it says",
        };
        let message = format!(
            "port {port} of {}/{} carries opaque bytes, of which methods, paths, hosts, headers and \
             tokens cannot be asked; {effect}",
            workload.namespace, workload.owner.name
        );
        let of = (Kind::AuthorizationPolicy, object.as_ref());
        let path = &format!("spec.rules[{at}]");
        let part = Part { path, line: rule.line };
        let help = "limit the rule to ports that carry HTTP, with to.operation.ports";
        findings.add(Code::BroaderThanMeant, of, &part, (message, help));
    }
}

fn needs_http(rule: &AuthorizationRule) -> bool {
    let ports_only = rule.operations.iter().any(|operation| !operation.ports.is_empty());
    !ports_only
        && (rule.operations.iter().any(Operation::needs_http)
            || rule.sources.iter().any(|source| !source.request_principals.is_empty())
            || rule.conditions.iter().any(Condition::needs_http))
}

fn tcp_port<'a>(snapshot: &MeshSnapshot, workload: &'a Workload) -> Option<(&'a Workload, u16)> {
    snapshot.services_of(workload).into_iter().find_map(|(service, number, target)| {
        service.port(number)?.protocol.is_tcp().then_some((workload, target))
    })
}

/// Policies that refuse everything.
pub(super) fn deny_all(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.authorization_policies {
        let spec = &object.spec;
        let empty = |rule: &AuthorizationRule| {
            rule.sources.is_empty() && rule.operations.is_empty() && rule.conditions.is_empty()
        };
        let everything = spec.rules.iter().position(empty);
        let message = match (spec.action, everything) {
            (AuthorizationAction::Allow, _) if spec.rules.is_empty() => {
                "an ALLOW policy without rules allows nothing, which refuses every request"
            }
            (AuthorizationAction::Deny, Some(_)) => {
                "a rule without conditions refuses every request"
            }
            _ => continue,
        };
        let scope = match (&spec.selector, object.meta.namespace == snapshot.mesh.root_namespace) {
            (Some(labels), _) => format!("to workloads with {}", written(labels)),
            (None, true) => "to the whole mesh".to_owned(),
            (None, false) => format!("to the namespace {}", object.meta.namespace),
        };
        let of = (Kind::AuthorizationPolicy, object.as_ref());
        let part = Part { path: "spec.rules", line: 0 };
        let help = "right as a start to which other policies add; otherwise add rules";
        findings.add(Code::DenyAll, of, &part, (format!("{message} {scope}"), help));
    }
}
