//! DestinationRules: whom they configure.

use iako_registry::MeshSnapshot;
use iako_resources::{Code, Kind, selects};
use iako_types::HostPattern;

use super::findings::{Findings, Part, nearest, written};

/// Rules for hosts that no registry knows.
pub(super) fn unused_rules(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.destination_rules {
        let host = &object.spec.host;
        if snapshot.services.iter().any(|service| host.covers(&service.host)) {
            continue;
        }
        let of = (Kind::DestinationRule, object.as_ref());
        let part = Part { path: "spec.host", line: 0 };
        let code = match host {
            HostPattern::Exact(_) => Code::HostNotFound,
            HostPattern::Any | HostPattern::Below(_) => Code::DestinationRuleUnused,
        };
        let message = format!("the host {host} is in no registry; the rule applies to nothing");
        let text = host.to_string();
        let known: Vec<String> =
            snapshot.services.iter().map(|service| service.host.to_string()).collect();
        let help = nearest(&text, known.iter().map(String::as_str)).map_or_else(
            || "define a Service or a ServiceEntry of this name, or name another host".to_owned(),
            |near| format!("did you mean {near}?"),
        );
        findings.add(code, of, &part, (message, &help));
    }
}

/// Subsets without an endpoint.
pub(super) fn empty_subsets(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.destination_rules {
        let services: Vec<_> = snapshot
            .services
            .iter()
            .filter(|service| object.spec.host.covers(&service.host))
            .filter(|service| service.endpoints.values().any(|found| !found.is_empty()))
            .collect();
        // A service without any endpoint is a finding of its own.
        if services.is_empty() {
            continue;
        }
        for (at, subset) in object.spec.subsets.iter().enumerate() {
            let mut endpoints =
                services.iter().flat_map(|service| service.endpoints.values().flatten());
            if endpoints.any(|endpoint| selects(&subset.labels, &endpoint.labels)) {
                continue;
            }
            let message = format!(
                "no endpoint of {} has the labels {} of the subset {}",
                object.spec.host,
                written(&subset.labels),
                subset.name
            );
            let path = &format!("spec.subsets[{at}].labels");
            let help = "give the pods these labels, or the subset theirs";
            let of = (Kind::DestinationRule, object.as_ref());
            let part = Part { path, line: subset.line };
            findings.add(Code::SubsetWithoutEndpoints, of, &part, (message, help));
        }
    }
}
