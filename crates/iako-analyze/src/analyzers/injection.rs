//! Who gets a sidecar: labels of namespaces, images that an injector fills in.

use iako_registry::MeshSnapshot;
use iako_resources::{Code, Diagnostic, Kind, Labels, Object, kubernetes::pod::PodSpec};

use super::findings::{Findings, Part};

const ENABLED: &str = "istio-injection";
const REVISION: &str = "istio.io/rev";
const MODE: &str = "istio.io/dataplane-mode";
const INJECT: &str = "sidecar.istio.io/inject";

/// Namespaces with several labels that each decide about sidecars.
pub(super) fn namespace_labels(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for object in snapshot.namespaces.values() {
        let labels = &object.meta.labels;
        if labels.get(ENABLED).is_some_and(|value| value == "disabled") {
            continue;
        }
        let deciding: Vec<String> = [ENABLED, REVISION, MODE]
            .into_iter()
            .filter_map(|key| Some(format!("{key}={}", labels.get(key)?)))
            .collect();
        if deciding.len() < 2 {
            continue;
        }
        let message = format!("the labels {} each decide about sidecars", deciding.join(" and "));
        let subject = format!("Namespace {}", object.meta.name);
        let help = "keep one of them";
        findings.push(
            Diagnostic::new(Code::InjectionLabels, subject, object.origin.clone(), message)
                .at("metadata.labels")
                .with_help(help),
        );
    }
}

/// Pods whose proxy waits for an injector that nobody asks for.
pub(super) fn images(snapshot: &MeshSnapshot, findings: &mut Findings) {
    for pod in snapshot.pods.iter().filter(|pod| waits(&pod.spec.spec)) {
        let message = "a pod that is written by hand with the image auto cannot start".to_owned();
        let help = "let a Deployment make the pod, or name the image";
        let part = Part { path: "spec.containers", line: 0 };
        findings.add(Code::ImageNotInjected, (Kind::Pod, pod), &part, (message, help));
    }
    for template in snapshot.templates.iter().filter(|template| waits(&template.spec.pod)) {
        // What the namespace asks for is only known where it is defined.
        let Some(namespace) = snapshot.namespaces.get(&template.meta.namespace) else { continue };
        let asked = asks(&template.spec.labels) || asks(&namespace.meta.labels);
        if asked || template.spec.annotations.get(INJECT).is_some_and(|value| value == "true") {
            continue;
        }
        report(template.spec.kind.kind(), template, findings);
    }
}

fn report<T>(kind: Kind, template: &Object<T>, findings: &mut Findings) {
    let message = format!(
        "the image auto is filled in by the injector, but neither the pods nor the namespace {} \
         ask for a sidecar",
        template.meta.namespace
    );
    let help = "add the label sidecar.istio.io/inject: \"true\" to the template";
    let part = Part { path: "spec.template.spec.containers", line: 0 };
    findings.add(Code::ImageNotInjected, (kind, template), &part, (message, help));
}

/// Whether a container of the proxy has the image that an injector replaces.
fn waits(pod: &PodSpec) -> bool {
    pod.containers.iter().any(|it| it.name == "istio-proxy" && it.image == "auto")
}

fn asks(labels: &Labels) -> bool {
    labels.contains_key(REVISION)
        || labels.get(INJECT).is_some_and(|value| value == "true")
        || labels.get(ENABLED).is_some_and(|value| value == "enabled")
}
