//! DestinationRules: whom they configure.

use iako_registry::MeshSnapshot;
use iako_resources::{
    Code, Kind,
    istio::destination_rule::{ClientTlsMode, ClientTlsSettings, DestinationRule},
    selects,
};
use iako_types::HostPattern;

use super::findings::{Findings, Part, nearest, severity_of_unknown, written};

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
        findings.add(code, of, &part, (message, &help)).severity =
            severity_of_unknown(snapshot, host);
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

/// Rules that speak TLS to servers whose authority they do not name.
pub(super) fn system_roots(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.destination_rules {
        for (path, port, tls) in tls_settings(&object.spec) {
            let trusts_machine = matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)
                && tls.ca_certificates.is_none()
                && !tls.insecure_skip_verify;
            let credential = tls.credential_name.as_ref();
            if !trusts_machine || (credential.is_some() && object.spec.workload_selector.is_some())
            {
                continue;
            }
            let at = port.map(|port| format!(" at port {port}")).unwrap_or_default();
            let host = &object.spec.host;
            let message = credential.map_or_else(
                || {
                    format!(
                        "the certificate of {host}{at} is checked against the roots of the machine \
                         that the proxy runs on, because no caCertificates are named"
                    )
                },
                |name| {
                    format!(
                        "the credential {name} for {host}{at} is given to gateways; Istio's sidecars \
                         use it only where the rule selects workloads, and check against the roots \
                         of their machine otherwise"
                    )
                },
            );
            let help = "right for a host of the internet; for an authority of your own name \
                        caCertificates or a credentialName";
            let of = (Kind::DestinationRule, object.as_ref());
            findings.add(Code::SystemRoots, of, &Part { path: &path, line: 0 }, (message, help));
        }
    }
}

/// The TLS settings of a rule with their fields and ports: its own, and those of its subsets.
fn tls_settings(rule: &DestinationRule) -> Vec<(String, Option<u16>, &ClientTlsSettings)> {
    let mut found = Vec::new();
    let subsets = rule.subsets.iter().enumerate();
    let of_subsets = subsets
        .map(|(at, subset)| (format!("spec.subsets[{at}].trafficPolicy"), &subset.traffic_policy));
    let own = std::iter::once(("spec.trafficPolicy".to_owned(), &rule.traffic_policy));
    for (path, policy) in own.chain(of_subsets) {
        found.extend(policy.policy.tls.iter().map(|tls| (format!("{path}.tls"), None, tls)));
        for (at, (port, policy)) in policy.port_level.iter().enumerate() {
            let path = format!("{path}.portLevelSettings[{at}].tls");
            found.extend(policy.tls.iter().map(|tls| (path.clone(), Some(*port), tls)));
        }
    }
    found
}
