//! What the workloads of a directory ask for and do not get on this machine.

use iako_resources::{Code, Diagnostic, Labels, ObjectMeta, Origin, kubernetes::pod::PodSpec};

use super::plan::role_of;
use crate::MeshSnapshot;

/// A pod, or the template of pods.
struct Candidate<'a> {
    kind: String,
    meta: &'a ObjectMeta,
    origin: &'a Origin,
    spec: &'a PodSpec,
    labels: &'a Labels,
    annotations: &'a Labels,
}

/// The workloads for which nothing runs on this machine because no container gives a command, and
/// fields of the others that a local process has no use for.
#[must_use]
pub fn local_findings(snapshot: &MeshSnapshot) -> Vec<Diagnostic> {
    let templates = snapshot.templates.iter().map(|template| Candidate {
        kind: template.spec.kind.kind().to_string(),
        meta: &template.meta,
        origin: &template.origin,
        spec: &template.spec.pod,
        labels: &template.spec.labels,
        annotations: &template.spec.annotations,
    });
    let waiting = snapshot.pods.iter().filter(|pod| pod.spec.ip.is_none());
    let pods = waiting.map(|pod| Candidate {
        kind: "Pod".to_owned(),
        meta: &pod.meta,
        origin: &pod.origin,
        spec: &pod.spec.spec,
        labels: &pod.meta.labels,
        annotations: &pod.meta.annotations,
    });
    templates.chain(pods).flat_map(|candidate| findings(&candidate, snapshot)).collect()
}

fn findings(candidate: &Candidate<'_>, snapshot: &MeshSnapshot) -> Vec<Diagnostic> {
    let Candidate { kind, meta, origin, spec, labels, annotations } = candidate;
    let subject = format!("{kind} {}/{}", meta.namespace, meta.name);
    let finding =
        |code, message: String| Diagnostic::new(code, &subject, Origin::clone(origin), message);
    if role_of(spec, labels, annotations, snapshot).is_none() {
        let message = "no container gives a command, so nothing runs for it on this machine";
        let finding = finding(Code::NoEffect, message.to_owned());
        return vec![finding.with_help("give a container a command; images are not pulled")];
    }
    let of_containers = spec.containers.iter().flat_map(|container| &container.unread);
    let unread = spec.unread.iter().chain(of_containers);
    unread
        .map(|field| {
            let message =
                format!("{field} has no effect on this machine: processes run as they are");
            finding(Code::FieldIgnored, message).at(*field)
        })
        .collect()
}
