//! Gateways: who runs them, and which of them get in each other's way.

use std::collections::BTreeSet;

use iako_registry::{MeshSnapshot, Workload};
use iako_resources::{
    Code, Gateway, Kind, Object, Severity,
    istio::gateway::{Server, ServerProtocol, ServerTlsSettings},
    selects,
};

use super::findings::{Findings, Part, written};

fn workloads<'a>(
    snapshot: &'a MeshSnapshot,
    gateway: &'a Object<Gateway>,
) -> impl Iterator<Item = &'a Workload> {
    let all = snapshot.workloads.iter().map(AsRef::as_ref);
    all.filter(|workload: &&Workload| selects(&gateway.spec.selector, &workload.labels))
}

/// Gateways whose labels no workload carries.
pub(super) fn without_workload(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for gateway in &snapshot.gateways {
        if workloads(snapshot, gateway).next().is_some() {
            continue;
        }
        let message = format!("no workload has the labels {}", written(&gateway.spec.selector));
        let help = "give the pods of a gateway these labels";
        let of = (Kind::Gateway, gateway.as_ref());
        let part = Part { path: "spec.selector", line: 0 };
        findings.add(Code::GatewayWithoutWorkload, of, &part, (message, help));
    }
}

/// What a port carries: ports can be shared only by servers that carry the same.
fn carried(protocol: ServerProtocol) -> &'static str {
    match protocol {
        ServerProtocol::Http
        | ServerProtocol::Http2
        | ServerProtocol::Grpc
        | ServerProtocol::GrpcWeb => "plain HTTP",
        ServerProtocol::Https | ServerProtocol::Tls => "TLS",
        ServerProtocol::Tcp => "opaque bytes",
    }
}

/// Servers that claim one port in different protocols, or one TLS host.
pub(super) fn conflicts(snapshot: &MeshSnapshot, findings: &mut Findings) {
    let mut older: Vec<(&Object<Gateway>, &Server)> = Vec::new();
    for gateway in &snapshot.gateways {
        for (at, server) in gateway.spec.servers.iter().enumerate() {
            let found = older.iter().find_map(|(other, claimed)| {
                let same_port = claimed.port == server.port && claimed.bind == server.bind;
                let together = shares_a_workload(snapshot, gateway, other);
                if !(same_port && together) {
                    return None;
                }
                clash(claimed, server).map(|what| (*other, what))
            });
            if let Some((other, what)) = found {
                let message = format!(
                    "{what} of Gateway {}/{} at {}; the older one wins",
                    other.meta.namespace, other.meta.name, other.origin
                );
                let path = &format!("spec.servers[{at}]");
                let of = (Kind::Gateway, gateway.as_ref());
                let part = Part { path, line: server.line };
                let help = "use another port or other hosts, or select another gateway";
                findings.add(Code::GatewayConflict, of, &part, (message, help));
            }
            older.push((gateway, server));
        }
    }
}

fn clash(claimed: &Server, server: &Server) -> Option<String> {
    let (theirs, ours) = (carried(claimed.protocol), carried(server.protocol));
    if theirs != ours || theirs == "opaque bytes" {
        return Some(format!("port {} carries {ours} here, but {theirs} in a server", server.port));
    }
    if theirs != "TLS" {
        // Plain HTTP servers of one port share their hosts and rules.
        return None;
    }
    let common =
        server.hosts.iter().find(|own| claimed.hosts.iter().any(|other| other.host == own.host))?;
    Some(format!("the host {} on port {} is that of a server", common.host, server.port))
}

fn shares_a_workload(
    snapshot: &MeshSnapshot,
    gateway: &Object<Gateway>,
    other: &Object<Gateway>,
) -> bool {
    if gateway.spec.selector == other.spec.selector {
        return true;
    }
    workloads(snapshot, gateway).any(|workload| selects(&other.spec.selector, &workload.labels))
}

/// Credentials that are no secret in the namespace of the gateway's workload.
pub(super) fn missing_secrets(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for gateway in &snapshot.gateways {
        let namespaces: BTreeSet<_> =
            workloads(snapshot, gateway).map(|workload| workload.namespace.clone()).collect();
        for (at, server) in gateway.spec.servers.iter().enumerate() {
            let Some(tls) = &server.tls else { continue };
            let names = tls.credential_names.iter().chain(&tls.ca_cert_credential_name);
            for (name, namespace) in
                names.flat_map(|name| namespaces.iter().map(move |namespace| (name, namespace)))
            {
                if snapshot.secrets.contains_key(&(namespace.clone(), name.clone())) {
                    continue;
                }
                let message = format!("there is no Secret {namespace}/{name}");
                let help = "a credential is a Secret in the namespace of the gateway's workload";
                let path = &format!("spec.servers[{at}].tls.credentialName");
                let of = (Kind::Gateway, gateway.as_ref());
                let part = Part { path, line: server.line };
                // Secrets are often kept apart from what a repository shows.
                let keeps_secrets = snapshot.secrets.keys().any(|(own, _)| own == namespace);
                findings.add(Code::SecretNotFound, of, &part, (message, help)).severity =
                    if keeps_secrets { Severity::Error } else { Severity::Warning };
            }
        }
    }
}

/// Certificates that several Gateways show on one port.
pub(super) fn shared_certificates(snapshot: &MeshSnapshot, findings: &mut Findings) {
    let mut older: Vec<(&Object<Gateway>, &Server, &str)> = Vec::new();
    for gateway in &snapshot.gateways {
        for (at, server) in gateway.spec.servers.iter().enumerate() {
            let Some(shown) = server.tls.as_ref().and_then(certificate) else { continue };
            let found = older.iter().find(|(other, claimed, certificate)| {
                *certificate == shown
                    && claimed.port == server.port
                    && (&other.meta.namespace, &other.meta.name)
                        != (&gateway.meta.namespace, &gateway.meta.name)
                    && shares_a_workload(snapshot, gateway, other)
            });
            if let Some((other, ..)) = found {
                let message = format!(
                    "the certificate {shown} is also that of Gateway {}/{} at {}",
                    other.meta.namespace, other.meta.name, other.origin
                );
                let help = "serve all hosts of a certificate by one Gateway, or give each its own";
                let path = &format!("spec.servers[{at}].tls");
                let of = (Kind::Gateway, gateway.as_ref());
                let part = Part { path, line: server.line };
                findings.add(Code::SharedCertificate, of, &part, (message, help));
            }
            older.push((gateway, server, shown));
        }
    }
}

/// What names the certificate of a server that is terminated here.
fn certificate(tls: &ServerTlsSettings) -> Option<&str> {
    let by_name = tls.credential_names.first().map(String::as_str);
    by_name.or_else(|| tls.certificates.first().map(|files| files.certificate.as_str()))
}

/// Ports of Gateways that no service before them leads to.
pub(super) fn ports_without_service(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for gateway in &snapshot.gateways {
        let reached: BTreeSet<u16> = workloads(snapshot, gateway)
            .flat_map(|workload| snapshot.services_of(workload))
            .flat_map(|(_, number, target)| [number, target])
            .collect();
        // Without any service, clients come by other ways, such as the ports of a machine.
        if reached.is_empty() {
            continue;
        }
        for (at, server) in gateway.spec.servers.iter().enumerate() {
            if reached.contains(&server.port) {
                continue;
            }
            let known: Vec<String> = reached.iter().map(ToString::to_string).collect();
            let message = format!(
                "no service before the gateway leads to port {}; they lead to {}",
                server.port,
                known.join(", ")
            );
            let help = "add the port to the Service of the gateway's pods";
            let path = &format!("spec.servers[{at}].port.number");
            let of = (Kind::Gateway, gateway.as_ref());
            let part = Part { path, line: server.line };
            findings.add(Code::GatewayPortNotOnService, of, &part, (message, help));
        }
    }
}
