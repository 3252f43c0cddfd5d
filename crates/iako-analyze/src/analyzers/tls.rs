//! TLS that clients speak, and TLS that servers accept.

use iako_registry::{MeshSnapshot, Service, select};
use iako_resources::{
    Code, DestinationRule, Kind, Object,
    istio::{destination_rule::ClientTlsMode, peer_authentication::MutualTlsMode},
};

use super::findings::{Findings, Part};

/// DestinationRules that make clients speak what a server refuses.
pub(super) fn conflicts(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in &snapshot.destination_rules {
        let covered = snapshot
            .services
            .iter()
            .filter(|service| object.spec.host.covers(&service.host) && !service.mesh_external);
        for service in covered {
            let found = service
                .ports
                .iter()
                .find_map(|port| conflict(snapshot, object, service, port.number));
            if let Some(message) = found {
                let of = (Kind::DestinationRule, object.as_ref());
                let help = "use ISTIO_MUTUAL, or remove tls: clients then find out themselves what \
                            each server accepts";
                let part = Part { path: "spec.trafficPolicy.tls.mode", line: 0 };
                findings.add(Code::MutualTlsConflict, of, &part, (message, help));
            }
        }
    }
}

fn conflict(
    snapshot: &MeshSnapshot,
    rule: &Object<DestinationRule>,
    service: &Service,
    port: u16,
) -> Option<String> {
    let subsets = rule.spec.subsets.iter().map(|subset| Some(subset.name.as_str()));
    let spoken = std::iter::once(None).chain(subsets).find_map(|subset| {
        let mode = rule.spec.effective(subset, port).tls?.mode;
        let refused_by = service.endpoints(port).iter().find_map(|endpoint| {
            let workload = endpoint.workload.as_deref().filter(|_| endpoint.mutual_tls)?;
            let accepted = select::peer_authentication(snapshot, workload.into());
            let accepted_mode = accepted.of_port(endpoint.port);
            refuses(accepted_mode, mode).then_some((accepted_mode, accepted.decided_by))
        })?;
        Some((mode, refused_by))
    });
    let (mode, (accepted, decided_by)) = spoken?;
    let by = decided_by.map_or_else(
        || "by default".to_owned(),
        |object| {
            let meta = &object.meta;
            format!("by PeerAuthentication {}/{} at {}", meta.namespace, meta.name, object.origin)
        },
    );
    Some(format!(
        "clients of {}:{port} speak {}, but its workloads accept {} only, {by}",
        service.host,
        spoken_name(mode),
        accepted_name(accepted)
    ))
}

const fn refuses(accepted: MutualTlsMode, spoken: ClientTlsMode) -> bool {
    match accepted {
        MutualTlsMode::Strict => !matches!(spoken, ClientTlsMode::IstioMutual),
        MutualTlsMode::Disable => matches!(spoken, ClientTlsMode::IstioMutual),
        MutualTlsMode::Permissive => {
            matches!(spoken, ClientTlsMode::Simple | ClientTlsMode::Mutual)
        }
    }
}

const fn spoken_name(mode: ClientTlsMode) -> &'static str {
    match mode {
        ClientTlsMode::Disable => "plain text (DISABLE)",
        ClientTlsMode::Simple => "TLS of their own (SIMPLE)",
        ClientTlsMode::Mutual => "TLS of their own (MUTUAL)",
        ClientTlsMode::IstioMutual => "the mesh's mutual TLS (ISTIO_MUTUAL)",
    }
}

const fn accepted_name(mode: MutualTlsMode) -> &'static str {
    match mode {
        MutualTlsMode::Strict => "the mesh's mutual TLS (STRICT)",
        MutualTlsMode::Disable => "plain text (DISABLE)",
        MutualTlsMode::Permissive => "the mesh's mutual TLS and plain text (PERMISSIVE)",
    }
}
