//! Tokens: whether somebody who checks them also requires them.

use iako_registry::{MeshSnapshot, Workload, select};
use iako_resources::{
    Code, Kind, Labels, Object,
    istio::authorization_policy::{AuthorizationPolicy, Condition},
};

use super::findings::{Findings, Part, selected};

/// RequestAuthentications whose workloads let requests without a token pass.
pub(super) fn not_required(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.request_authentications {
        if object.spec.rules.is_empty() {
            continue;
        }
        let selector: Option<&Labels> = object.spec.selector.as_ref();
        let open = selected(snapshot, &object.meta.namespace, selector)
            .find(|workload| !asks_for_token(snapshot, workload));
        let Some(workload) = open else { continue };
        let message = format!(
            "requests without a token reach {}/{}: wrong tokens are refused, but no \
             AuthorizationPolicy asks for one",
            workload.namespace, workload.owner.name
        );
        let help = "add an AuthorizationPolicy that allows requestPrincipals: [\"*\"] only";
        let of = (Kind::RequestAuthentication, object.as_ref());
        let part = Part { path: "spec.jwtRules", line: 0 };
        findings.add(Code::TokenNotRequired, of, &part, (message, help));
    }
}

fn asks_for_token(snapshot: &MeshSnapshot, workload: &Workload) -> bool {
    let policies = select::authorization_policies(snapshot, workload.into());
    policies.into_iter().any(|policy| mentions_tokens(policy))
}

fn mentions_tokens(policy: &Object<AuthorizationPolicy>) -> bool {
    policy.spec.rules.iter().any(|rule| {
        rule.sources.iter().any(|source| !source.request_principals.is_empty())
            || rule.conditions.iter().any(is_about_tokens)
    })
}

/// Whether a condition can be met by a verified token alone.
pub(super) const fn is_about_tokens(condition: &Condition) -> bool {
    matches!(
        condition,
        Condition::RequestPrincipal(_)
            | Condition::RequestAudiences(_)
            | Condition::RequestPresenter(_)
            | Condition::RequestClaim(..)
    )
}
