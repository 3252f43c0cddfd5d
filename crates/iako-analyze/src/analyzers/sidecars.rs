//! Sidecar objects: what they let their workloads know.

use iako_registry::MeshSnapshot;
use iako_resources::{Code, Kind, istio::sidecar::EgressNamespace};

use super::findings::{Findings, Part, nearest};

/// Hosts that a Sidecar lets through and that no service has.
pub(super) fn egress_hosts(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.sidecars {
        for egress in object.spec.egress.iter().flatten() {
            let in_scope = |namespace: &iako_types::Namespace| match &egress.namespace {
                EgressNamespace::Any => true,
                EgressNamespace::Named(named) => named == namespace,
                EgressNamespace::Nothing => false,
            };
            let services: Vec<_> =
                snapshot.services.iter().filter(|it| in_scope(&it.namespace)).collect();
            // Where nothing of a namespace was read, its services may be elsewhere.
            let exists = services.iter().any(|it| {
                egress.host.covers(&it.host)
                    || it.host.covers(&egress.host)
                    || it.aliases.iter().any(|alias| egress.host.matches(alias))
            });
            if services.is_empty() || egress.excluded || exists {
                continue;
            }
            let text = egress.host.to_string();
            let names: Vec<String> = services.iter().map(|it| it.host.to_string()).collect();
            let help = nearest(&text, names.iter().map(String::as_str)).map_or_else(
                || "name the full host of a service that its workloads call".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            let message = format!("no service has the host {text}");
            let of = (Kind::Sidecar, object.as_ref());
            findings.add(
                Code::EgressHostNotFound,
                of,
                &Part { path: "spec.egress", line: 0 },
                (message, &help),
            );
        }
    }
}
