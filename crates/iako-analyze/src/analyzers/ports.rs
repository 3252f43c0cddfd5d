//! Ports of workloads that several services lead to.

use std::collections::{BTreeMap, BTreeSet};

use iako_registry::{MeshSnapshot, Service, Workload, WorkloadSource};
use iako_resources::{Code, Diagnostic};
use iako_types::AppProtocol;

use super::findings::Findings;

/// A service and its port that lead to a port of a workload.
type Way<'a> = (&'a Service, u16, AppProtocol);

/// Namespace and name of a workload, and one of its ports.
type Place<'a> = (&'a str, &'a str, u16);

/// Ports of workloads about which services disagree.
pub(super) fn conflicts(snapshot: &MeshSnapshot, findings: &mut Findings) {
    let mut reported = BTreeSet::new();
    for (workload, port, ways) in ways(snapshot) {
        let owner = &workload.owner;
        let subject = format!("{} {}/{}", owner.kind, workload.namespace, owner.name);
        if !reported.insert((subject.clone(), port)) {
            continue;
        }
        let Some(finding) = by_protocol(port, &ways).or_else(|| by_number(port, &ways)) else {
            continue;
        };
        let (code, message, help) = finding;
        let origin = workload.origin.clone();
        findings.push(Diagnostic::new(code, subject, origin, message).with_help(help));
    }
}

/// The ports of each workload with the services that lead to them.
fn ways(snapshot: &MeshSnapshot) -> Vec<(&Workload, u16, Vec<Way<'_>>)> {
    let mut found: BTreeMap<Place<'_>, (&Workload, Vec<Way<'_>>)> = BTreeMap::new();
    for service in &snapshot.services {
        for port in &service.ports {
            for endpoint in service.endpoints(port.number) {
                let Some(workload) = endpoint.workload.as_deref() else { continue };
                if workload.source != WorkloadSource::Pod {
                    continue;
                }
                let key = (workload.namespace.as_str(), workload.name.as_str(), endpoint.port);
                let entry = found.entry(key).or_insert_with(|| (workload, Vec::new()));
                entry.1.push((service, port.number, port.protocol));
            }
        }
    }
    found.into_iter().map(|((_, _, port), (workload, ways))| (workload, port, ways)).collect()
}

fn by_protocol(port: u16, ways: &[Way<'_>]) -> Option<(Code, String, &'static str)> {
    let datagrams = |protocol: AppProtocol| protocol == AppProtocol::Udp;
    let (first, number, spoken) = ways.first()?;
    // Datagrams and connections have ports of their own.
    let (other, other_number, differs) =
        ways.iter().find(|(_, _, it)| it != spoken && datagrams(*it) == datagrams(*spoken))?;
    let message = format!(
        "port {port} of the pods speaks {spoken} for the service {} (port {number}), but {differs} \
         for {} (port {other_number})",
        first.name, other.name
    );
    let help = "give both ports the same protocol, by their names or appProtocol";
    Some((Code::PortProtocolConflict, message, help))
}

fn by_number(port: u16, ways: &[Way<'_>]) -> Option<(Code, String, &'static str)> {
    let (first, number, spoken) = ways.first()?;
    let (other, differs, _) =
        ways.iter().find(|(_, it, protocol)| it != number && protocol == spoken)?;
    let message = format!(
        "port {port} of the pods is port {number} of the service {}, but port {differs} of {}",
        first.name, other.name
    );
    let help = "let all services of a workload call a port by one number";
    Some((Code::PortNumberConflict, message, help))
}
