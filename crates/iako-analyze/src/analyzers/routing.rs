//! VirtualServices: where they send, and where they are bound.

use iako_registry::{MeshSnapshot, Service, select};
use iako_resources::{
    Code, Kind, Labels, Object, Severity, VirtualService,
    istio::virtual_service::{Destination, GatewayRef, HttpAction},
};
use iako_types::HostPattern;

use super::findings::{Findings, Part, nearest, severity_of_unknown, virtual_services};

/// A destination, its field and its line.
type Place<'a> = (&'a Destination, String, u32);

/// Destinations whose host, subset or port does not exist.
pub(super) fn destinations(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in virtual_services(snapshot) {
        for (destination, path, line) in places(&object.spec) {
            check(snapshot, object, &(destination, path, line), findings);
        }
    }
}

fn places(spec: &VirtualService) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    for (at, rule) in spec.http.iter().enumerate() {
        if let HttpAction::Route(targets) = &rule.action {
            places.extend(targets.iter().enumerate().map(|(to, target)| {
                let path = format!("spec.http[{at}].route[{to}].destination");
                (&target.destination, path, target.line)
            }));
        }
        places.extend(rule.mirrors.iter().enumerate().map(|(to, mirror)| {
            (&mirror.destination, format!("spec.http[{at}].mirrors[{to}].destination"), rule.line)
        }));
    }
    let tls = spec.tls.iter().map(|rule| &rule.route).enumerate();
    let tcp = spec.tcp.iter().map(|rule| &rule.route).enumerate();
    let streams = tls.map(|found| ("tls", found)).chain(tcp.map(|found| ("tcp", found)));
    for (kind, (at, targets)) in streams {
        places.extend(targets.iter().enumerate().map(|(to, target)| {
            let path = format!("spec.{kind}[{at}].route[{to}].destination");
            (&target.destination, path, target.line)
        }));
    }
    places
}

fn check(
    snapshot: &MeshSnapshot,
    object: &Object<VirtualService>,
    place: &Place<'_>,
    findings: &mut Findings,
) {
    let (destination, path, line) = place;
    let of = (Kind::VirtualService, object);
    let Some(service) = snapshot.service(&destination.host, &object.meta.namespace) else {
        let path = &format!("{path}.host");
        let message = format!("the host {} is in no registry", destination.host);
        let known = snapshot.services.iter().filter_map(|service| service.hostname());
        let help = match nearest(destination.host.as_str(), known.map(|host| host.as_str())) {
            Some(near) => format!("did you mean {near}?"),
            None => "define a Service or a ServiceEntry of this name, or name another host".into(),
        };
        let pattern = HostPattern::Exact(destination.host.clone());
        let part = Part { path, line: *line };
        findings.add(Code::HostNotFound, of, &part, (message, &help)).severity =
            severity_of_unknown(snapshot, &pattern);
        check_subset_by_host(snapshot, object, place, findings);
        return;
    };
    check_port(service, of, (destination, path, *line), findings);
    check_subset(snapshot, service, of, &(destination, path.clone(), *line), findings);
}

/// A subset of a host that no registry knows, which may be defined by a rule all the same. Without
/// any rule for the host the rule may be where we cannot look, as the host may.
fn check_subset_by_host(
    snapshot: &MeshSnapshot,
    object: &Object<VirtualService>,
    (destination, path, line): &Place<'_>,
    findings: &mut Findings,
) {
    let Some(subset) = &destination.subset else { return };
    let rules = snapshot.destination_rules.iter();
    let mut rules = rules.filter(|rule| rule.spec.host.matches(&destination.host)).peekable();
    let severity = if rules.peek().is_some() { Severity::Error } else { Severity::Warning };
    if rules.any(|rule| rule.spec.subset(subset).is_some()) {
        return;
    }
    let message = format!("no DestinationRule defines the subset {subset} of {}", destination.host);
    let help = "add a DestinationRule with this subset and the labels of its pods";
    let path = &format!("{path}.subset");
    let of = (Kind::VirtualService, object);
    let part = Part { path, line: *line };
    findings.add(Code::SubsetNotFound, of, &part, (message, help)).severity = severity;
}

fn check_port(
    service: &Service,
    of: (Kind, &Object<VirtualService>),
    (destination, path, line): (&Destination, &str, u32),
    findings: &mut Findings,
) {
    let ports: Vec<String> = service.ports.iter().map(|port| port.number.to_string()).collect();
    let ports = ports.join(", ");
    let path = &format!("{path}.port");
    let part = Part { path, line };
    match destination.port {
        Some(number) if service.port(number).is_none() => {
            let message = format!("{} has no port {number}", service.host);
            let help = format!("its ports are {ports}; the port of the pods is not meant here");
            findings.add(Code::PortNotFound, of, &part, (message, &help));
        }
        None if service.ports.len() > 1 => {
            let message = format!("{} has several ports, so one must be named", service.host);
            let help = format!("add port.number with one of {ports}");
            findings.add(Code::PortRequired, of, &part, (message, &help));
        }
        Some(_) | None => {}
    }
}

fn check_subset(
    snapshot: &MeshSnapshot,
    service: &Service,
    of: (Kind, &Object<VirtualService>),
    (destination, path, line): &Place<'_>,
    findings: &mut Findings,
) {
    let Some(subset) = &destination.subset else { return };
    let labels = Labels::new();
    let client = select::Subject { namespace: &of.1.meta.namespace, labels: &labels };
    let rule = select::destination_rule(snapshot, client, service);
    if rule.as_ref().is_some_and(|rule| rule.spec.subset(subset).is_some()) {
        return;
    }
    let (message, help) = match &rule {
        None => (
            format!(
                "the subset {subset} of {} is not defined: it has no DestinationRule",
                service.host
            ),
            "add a DestinationRule with this subset and the labels of its pods".to_owned(),
        ),
        Some(rule) => {
            let known = rule.spec.subsets.iter().map(|subset| subset.name.as_str());
            let near = nearest(subset, known.clone());
            let list = known.collect::<Vec<_>>().join(", ");
            let help = near.map_or_else(
                || format!("its subsets are {list}"),
                |near| format!("did you mean {near}?"),
            );
            let (namespace, name) = (&rule.meta.namespace, &rule.meta.name);
            let message =
                format!("the DestinationRule {namespace}/{name} defines no subset {subset}");
            (message, help)
        }
    };
    let path = &format!("{path}.subset");
    findings.add(Code::SubsetNotFound, of, &Part { path, line: *line }, (message, &help));
}

/// Hosts that two VirtualServices claim in the sidecars.
pub(super) fn host_conflicts(snapshot: &MeshSnapshot, findings: &mut Findings) {
    let default = &snapshot.mesh.default_virtual_service_export_to;
    let mut owners: Vec<(&HostPattern, &Object<VirtualService>)> = Vec::new();
    let in_sidecars = snapshot
        .virtual_services
        .iter()
        .filter(|object| object.spec.gateways.contains(&GatewayRef::Mesh));
    for object in in_sidecars {
        for (at, host) in object.spec.hosts.iter().enumerate() {
            let visible = |other: &Object<VirtualService>| {
                let exported = other.spec.export_to.as_ref().unwrap_or(default);
                exported.includes(&object.meta.namespace)
            };
            let owner = owners.iter().find(|(claimed, other)| *claimed == host && visible(other));
            if let Some((_, owner)) = owner {
                let message = format!(
                    "the host {host} is claimed by VirtualService {}/{} at {} already; in the \
                     sidecars the rules here do nothing for it",
                    owner.meta.namespace, owner.meta.name, owner.origin
                );
                let path = &format!("spec.hosts[{at}]");
                let help = "put the rules of one host into one VirtualService";
                let of = (Kind::VirtualService, object.as_ref());
                findings.add(Code::HostConflict, of, &Part { path, line: 0 }, (message, help));
            } else {
                owners.push((host, object));
            }
        }
    }
}
