//! Services and workloads: whether they find each other.

use std::collections::BTreeSet;

use iako_registry::{
    GATEWAY_ANNOTATION, MeshSnapshot, Service, ServicePort, ServiceSource, WorkloadSource,
};
use iako_resources::{Code, Diagnostic, Severity};
use iako_types::AppProtocol;

use super::findings::Findings;

fn subject(service: &Service) -> String {
    let kind = match service.source {
        ServiceSource::Kubernetes => "Service",
        ServiceSource::ServiceEntry => "ServiceEntry",
    };
    format!("{kind} {}/{}", service.namespace, service.name)
}

/// Services without endpoints, and ports that do not say what they speak.
pub(super) fn services(snapshot: &MeshSnapshot, findings: &mut Findings) {
    let kubernetes =
        snapshot.services.iter().filter(|service| service.source == ServiceSource::Kubernetes);
    for service in kubernetes {
        // Where no pod of a namespace was read, they may be elsewhere.
        let looked = snapshot.workloads.iter().any(|it| it.namespace == service.namespace);
        let empty = looked && service.endpoints.values().all(Vec::is_empty);
        if empty && !service.ports.is_empty() {
            let message = format!("no pod carries the labels that {} selects", service.host);
            findings.push(
                Diagnostic::new(
                    Code::ServiceWithoutEndpoints,
                    subject(service),
                    service.origin.clone(),
                    message,
                )
                .at("spec.selector")
                .with_help("compare the selector with the labels of the pod template"),
            );
        }
        for (at, port) in service.ports.iter().enumerate() {
            let opaque = matches!(port.protocol, AppProtocol::Tcp | AppProtocol::Unknown);
            if service.mesh_external && opaque {
                external_port(service, (at, port), findings);
            }
            if service.mesh_external || port.protocol != AppProtocol::Unknown {
                continue;
            }
            let name = if port.name.is_empty() {
                "it has no name"
            } else {
                "its name has no known prefix"
            };
            let message = format!("port {} does not say what it speaks: {name}", port.number);
            findings.push(
                Diagnostic::new(
                    Code::ProtocolNotDeclared,
                    subject(service),
                    service.origin.clone(),
                    message,
                )
                .at(format!("spec.ports[{at}].name"))
                .with_help("name it http-…, grpc-… or tcp-…, or set appProtocol"),
            );
        }
    }
}

/// An opaque port of an ExternalName service.
fn external_port(service: &Service, (at, port): (usize, &ServicePort), findings: &mut Findings) {
    let message = format!(
        "port {} carries opaque bytes, and the service has no address: connections are recognised \
         by the port alone",
        port.number
    );
    findings.push(
        Diagnostic::new(Code::ExternalNamePort, subject(service), service.origin.clone(), message)
            .at(format!("spec.ports[{at}].name"))
            .with_help(
                "name the port http-…, https-… or tls-…, or write a ServiceEntry with addresses",
            ),
    );
}

/// Target ports that the pods do not declare.
pub(super) fn target_ports(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for service in &snapshot.services {
        for (at, port) in service.ports.iter().enumerate() {
            let wrong = service.endpoints(port.number).iter().find_map(|endpoint| {
                let workload = endpoint.workload.as_deref()?;
                let declared = &workload.ports;
                let known = declared.is_empty()
                    || declared.iter().any(|declared| declared.port == endpoint.port);
                (!known).then_some((endpoint.port, workload))
            });
            let Some((target, workload)) = wrong else { continue };
            let declared: Vec<String> =
                workload.ports.iter().map(|port| port.port.to_string()).collect();
            let message = format!(
                "port {} sends to port {target} of the pods, which {}/{} does not declare; it \
                 declares {}",
                port.number,
                workload.namespace,
                workload.owner.name,
                declared.join(", ")
            );
            let mut found = Diagnostic::new(
                Code::TargetPortNotFound,
                subject(service),
                service.origin.clone(),
                message,
            )
            .at(format!("spec.ports[{at}].targetPort"))
            .with_help("name a containerPort of the pods, or declare the port there");
            // Containers may listen on ports that they do not declare.
            found.severity = Severity::Info;
            findings.push(found);
        }
    }
}

/// Workloads that no service names, and namespaces that nothing defines.
pub(super) fn unnamed(snapshot: &MeshSnapshot, findings: &mut Findings) {
    let served: BTreeSet<(&str, &str)> = snapshot
        .services
        .iter()
        .flat_map(|service| service.endpoints.values().flatten())
        .filter_map(|endpoint| endpoint.workload.as_deref())
        .map(|workload| (workload.namespace.as_str(), workload.name.as_str()))
        .collect();
    let mut reported = BTreeSet::new();
    for workload in &snapshot.workloads {
        let gateway = workload.annotations.contains_key(GATEWAY_ANNOTATION);
        let known = served.contains(&(workload.namespace.as_str(), workload.name.as_str()));
        let silent = workload.ports.is_empty();
        // Where no Service of a namespace was read, they may be elsewhere.
        let looked = snapshot.services.iter().any(|service| {
            service.source == ServiceSource::Kubernetes && service.namespace == workload.namespace
        });
        if gateway || known || silent || !looked || workload.source != WorkloadSource::Pod {
            continue;
        }
        let owner = &workload.owner;
        let subject = format!("{} {}/{}", owner.kind, workload.namespace, owner.name);
        if !reported.insert(subject.clone()) {
            continue;
        }
        let message = "no Service selects its pods, so that nobody can call them by a name";
        findings.push(
            Diagnostic::new(
                Code::WorkloadWithoutService,
                subject,
                workload.origin.clone(),
                message.to_owned(),
            )
            .with_help("add a Service whose selector takes the labels of the pods"),
        );
    }
    missing_namespaces(snapshot, findings);
}

/// Reported only where namespaces are defined at all: many directories leave that to others.
fn missing_namespaces(snapshot: &MeshSnapshot, findings: &mut Findings) {
    if snapshot.namespaces.is_empty() {
        return;
    }
    let mut reported = BTreeSet::new();
    for template in &snapshot.templates {
        let namespace = &template.meta.namespace;
        let known = snapshot.namespaces.contains_key(namespace)
            || namespace.as_str() == "default"
            || *namespace == snapshot.mesh.root_namespace;
        if known || !reported.insert(namespace.clone()) {
            continue;
        }
        let subject = format!("{} {namespace}/{}", template.spec.kind.kind(), template.meta.name);
        let message = format!("the namespace {namespace} is not defined");
        let diagnostic =
            Diagnostic::new(Code::MissingNamespace, subject, template.origin.clone(), message)
                .at("metadata.namespace")
                .with_help("add a Namespace object");
        findings.push(diagnostic);
    }
}
