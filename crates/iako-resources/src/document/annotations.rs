//! Annotations of Istio's on Kubernetes' objects: whether they exist, belong there and mean something.

use iako_types::CidrRange;

use crate::{
    Code, Kind, Patch, Severity,
    reader::{Cursor, closest},
};

/// What an annotation may say.
#[derive(Clone, Copy)]
enum Says {
    /// Anything.
    Anything,
    /// `true` or `false`.
    Boolean,
    /// A number, from 0.
    Count,
    /// Ports, separated by commas; or all.
    Ports,
    /// Address ranges, separated by commas; or all.
    Ranges,
    /// How traffic is redirected.
    Interception,
}

/// Where an annotation belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Pod,
    Service,
    Namespace,
    /// Namespaces and Services.
    Traffic,
    /// Kinds that are none of Kubernetes' own.
    Elsewhere(&'static str),
    /// Every kind.
    Any,
}

/// Annotation, where it belongs, what it may say. Source: Istio's list of annotations.
static ANNOTATIONS: &[(&str, On, Says)] = &[
    ("alpha.istio.io/canonical-serviceaccounts", On::Service, Says::Anything),
    ("alpha.istio.io/kubernetes-serviceaccounts", On::Service, Says::Anything),
    ("ambient.istio.io/bypass-inbound-capture", On::Pod, Says::Boolean),
    ("ambient.istio.io/dns-capture", On::Pod, Says::Boolean),
    ("ambient.istio.io/redirection", On::Pod, Says::Anything),
    ("ambient.istio.io/waypoint-inbound-binding", On::Elsewhere("Gateway"), Says::Anything),
    ("galley.istio.io/analyze-suppress", On::Any, Says::Anything),
    ("gateway.istio.io/controller-version", On::Any, Says::Anything),
    ("gateway.istio.io/name-override", On::Elsewhere("Gateway"), Says::Anything),
    ("gateway.istio.io/service-account", On::Elsewhere("Gateway"), Says::Anything),
    ("inject.istio.io/templates", On::Pod, Says::Anything),
    ("istio.io/autoRegistrationGroup", On::Elsewhere("WorkloadEntry"), Says::Anything),
    ("istio.io/connectedAt", On::Elsewhere("WorkloadEntry"), Says::Anything),
    ("istio.io/disconnectedAt", On::Elsewhere("WorkloadEntry"), Says::Anything),
    ("istio.io/dry-run", On::Elsewhere("AuthorizationPolicy"), Says::Boolean),
    ("istio.io/reroute-virtual-interfaces", On::Pod, Says::Anything),
    ("istio.io/rev", On::Pod, Says::Anything),
    ("istio.io/use-waypoint-canary-weight", On::Traffic, Says::Anything),
    ("istio.io/workloadController", On::Elsewhere("WorkloadEntry"), Says::Anything),
    ("networking.istio.io/exportTo", On::Service, Says::Anything),
    ("networking.istio.io/service-type", On::Elsewhere("Gateway"), Says::Anything),
    ("networking.istio.io/traffic-distribution", On::Traffic, Says::Anything),
    ("prometheus.istio.io/merge-metrics", On::Pod, Says::Boolean),
    ("proxy.istio.io/config", On::Pod, Says::Anything),
    ("proxy.istio.io/overrides", On::Pod, Says::Anything),
    ("readiness.status.sidecar.istio.io/applicationPorts", On::Pod, Says::Ports),
    ("readiness.status.sidecar.istio.io/failureThreshold", On::Pod, Says::Count),
    ("readiness.status.sidecar.istio.io/initialDelaySeconds", On::Pod, Says::Count),
    ("readiness.status.sidecar.istio.io/periodSeconds", On::Pod, Says::Count),
    ("sidecar.istio.io/agentLogLevel", On::Pod, Says::Anything),
    ("sidecar.istio.io/bootstrapOverride", On::Pod, Says::Anything),
    ("sidecar.istio.io/componentLogLevel", On::Pod, Says::Anything),
    ("sidecar.istio.io/discoveryAddress", On::Pod, Says::Anything),
    ("sidecar.istio.io/extraStatTags", On::Pod, Says::Anything),
    ("sidecar.istio.io/inject", On::Pod, Says::Boolean),
    ("sidecar.istio.io/interceptionMode", On::Pod, Says::Interception),
    ("sidecar.istio.io/logLevel", On::Pod, Says::Anything),
    ("sidecar.istio.io/nativeSidecar", On::Pod, Says::Boolean),
    ("sidecar.istio.io/proxyCPU", On::Pod, Says::Anything),
    ("sidecar.istio.io/proxyCPULimit", On::Pod, Says::Anything),
    ("sidecar.istio.io/proxyImage", On::Pod, Says::Anything),
    ("sidecar.istio.io/proxyImageType", On::Pod, Says::Anything),
    ("sidecar.istio.io/proxyMemory", On::Pod, Says::Anything),
    ("sidecar.istio.io/proxyMemoryLimit", On::Pod, Says::Anything),
    ("sidecar.istio.io/rewriteAppHTTPProbers", On::Pod, Says::Boolean),
    ("sidecar.istio.io/statsCompression", On::Pod, Says::Anything),
    ("sidecar.istio.io/statsEvictionInterval", On::Pod, Says::Anything),
    ("sidecar.istio.io/statsFlushInterval", On::Pod, Says::Anything),
    ("sidecar.istio.io/statsHistogramBins", On::Pod, Says::Anything),
    ("sidecar.istio.io/statsHistogramBuckets", On::Pod, Says::Anything),
    ("sidecar.istio.io/statsInclusionPrefixes", On::Pod, Says::Anything),
    ("sidecar.istio.io/statsInclusionRegexps", On::Pod, Says::Anything),
    ("sidecar.istio.io/statsInclusionSuffixes", On::Pod, Says::Anything),
    ("sidecar.istio.io/status", On::Pod, Says::Anything),
    ("sidecar.istio.io/userVolume", On::Pod, Says::Anything),
    ("sidecar.istio.io/userVolumeMount", On::Pod, Says::Anything),
    ("status.sidecar.istio.io/port", On::Pod, Says::Count),
    ("topology.istio.io/controlPlaneClusters", On::Namespace, Says::Anything),
    ("traffic.istio.io/nodeSelector", On::Service, Says::Anything),
    ("traffic.sidecar.istio.io/excludeInboundPorts", On::Pod, Says::Ports),
    ("traffic.sidecar.istio.io/excludeInterfaces", On::Pod, Says::Anything),
    ("traffic.sidecar.istio.io/excludeOutboundIPRanges", On::Pod, Says::Ranges),
    ("traffic.sidecar.istio.io/excludeOutboundPorts", On::Pod, Says::Ports),
    ("traffic.sidecar.istio.io/includeInboundPorts", On::Pod, Says::Ports),
    ("traffic.sidecar.istio.io/includeOutboundIPRanges", On::Pod, Says::Ranges),
    ("traffic.sidecar.istio.io/includeOutboundPorts", On::Pod, Says::Ports),
    ("traffic.sidecar.istio.io/kubevirtInterfaces", On::Pod, Says::Anything),
];

/// Annotations that are old, and what took their place.
const OLD: &[(&str, &str)] = &[
    ("sidecar.istio.io/inject", "the label sidecar.istio.io/inject"),
    ("sidecar.istio.io/discoveryAddress", "discoveryAddress in proxy.istio.io/config"),
    ("traffic.sidecar.istio.io/kubevirtInterfaces", "istio.io/reroute-virtual-interfaces"),
];

/// What an object is, to annotations.
fn place_of(kind: Kind) -> Option<On> {
    let places =
        [(Kind::Pod, On::Pod), (Kind::Service, On::Service), (Kind::Namespace, On::Namespace)];
    let own = places.into_iter().find(|(known, _)| *known == kind).map(|(_, place)| place);
    own.or_else(|| is_template(kind).then_some(On::Any))
}

/// Whether objects of a kind make pods of a template.
const fn is_template(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::ReplicaSet | Kind::Job
    )
}

/// Reports annotations of an object, and of the pods that it makes.
pub(super) fn check(root: &Cursor<'_>, kind: Kind) {
    let Some(place) = place_of(kind) else { return };
    check_metadata(root, &["metadata"], place);
    if is_template(kind) {
        check_metadata(root, &["spec", "template", "metadata"], On::Pod);
    }
}

/// Reports the annotations and labels of the metadata at a path.
fn check_metadata(root: &Cursor<'_>, path: &[&str], place: On) {
    let mut found = Some(root.node());
    for key in path {
        found = found.and_then(|node| node.get(key));
    }
    let Some(metadata) = found else { return };
    let path = path.join(".");
    if let Some(labels) = metadata.get("labels") {
        let labels = root.elsewhere(labels, &format!("{path}.labels"));
        check_labels(&labels);
    }
    let Some(annotations) = metadata.get("annotations") else { return };
    let labelled =
        metadata.get("labels").is_some_and(|it| it.get("sidecar.istio.io/inject").is_some());
    for (key, cursor) in root.elsewhere(annotations, &format!("{path}.annotations")).entries() {
        let is_old_twin = labelled && key == "sidecar.istio.io/inject";
        if !is_old_twin {
            check_one(key, &cursor, place);
        }
    }
}

fn check_one(key: &str, cursor: &Cursor<'_>, place: On) {
    if !key
        .split_once('/')
        .is_some_and(|(domain, _)| domain == "istio.io" || domain.ends_with(".istio.io"))
    {
        return;
    }
    // A problem of its own, said by whoever reads the object.
    if key.starts_with("internal.istio.io/") {
        return;
    }
    let Some((_, on, says)) = ANNOTATIONS.iter().find(|(known, ..)| *known == key) else {
        let message = format!("Istio has no annotation {key}");
        let names: Vec<&str> = ANNOTATIONS.iter().map(|(name, ..)| *name).collect();
        match closest(key, &names) {
            Some(name) => {
                let patch = Patch::rename(cursor.path(), name);
                let help = format!("did you mean {name}?");
                cursor.report_with_patch(Code::UnknownAnnotation, (message, help), patch);
            }
            None => cursor.report(Code::UnknownAnnotation, message),
        }
        return;
    };
    if let Some((_, successor)) = OLD.iter().find(|(old, _)| *old == key) {
        let message = format!("{key} is old; use {successor}");
        cursor.report_as(Severity::Info, Code::Deprecated, message);
    }
    if !belongs(*on, place) {
        let (message, help) = misplaced(key, *on, place);
        cursor.report_with_help(Code::MisplacedAnnotation, message, help);
        return;
    }
    if let Some(problem) = cursor.node().as_text().and_then(|text| problem(text, *says)) {
        cursor.report(Code::BadAnnotation, format!("{key}: {problem}"));
    }
}

fn belongs(on: On, place: On) -> bool {
    match on {
        On::Any => true,
        On::Traffic => matches!(place, On::Service | On::Namespace),
        On::Pod | On::Service | On::Namespace | On::Elsewhere(_) => on == place,
    }
}

fn misplaced(key: &str, on: On, place: On) -> (String, &'static str) {
    match (on, place) {
        (On::Pod, On::Any) => (
            format!("{key} is for pods, and here it is on the object that makes them"),
            "move it to spec.template.metadata.annotations",
        ),
        (On::Pod, _) => (format!("{key} is for pods"), "move it to the pods"),
        (On::Service, _) => (format!("{key} is for Services"), "move it to the Service"),
        (On::Namespace, _) => (format!("{key} is for Namespaces"), "move it to the Namespace"),
        (On::Traffic, _) => {
            (format!("{key} is for Services and Namespaces"), "move it to the Service")
        }
        (On::Elsewhere(kind), _) => {
            (format!("{key} is for the kind {kind}"), "move it to an object of this kind")
        }
        (On::Any, _) => (key.to_owned(), "remove it"),
    }
}

/// What is wrong with a value.
fn problem(text: &str, says: Says) -> Option<String> {
    let mut parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    match says {
        Says::Anything => None,
        Says::Boolean => (text.parse::<bool>().is_err())
            .then(|| format!("{text:?} is neither \"true\" nor \"false\"")),
        Says::Count => text.parse::<u32>().is_err().then(|| format!("{text:?} is no number")),
        Says::Ports | Says::Ranges if text == "*" => None,
        Says::Ports => parts
            .find(|part| part.parse::<u16>().is_err())
            .map(|part| format!("{part:?} is no port; write numbers with commas between them")),
        Says::Ranges => parts
            .find(|part| part.parse::<CidrRange>().is_err())
            .map(|part| format!("{part:?} is no range of addresses, such as 10.0.0.0/8")),
        Says::Interception => (!matches!(text, "REDIRECT" | "TPROXY" | "NONE"))
            .then(|| format!("{text:?} is none of REDIRECT, TPROXY and NONE")),
    }
}

/// Labels that decide about sidecars have few values.
fn check_labels(labels: &Cursor<'_>) {
    const DECIDING: &[(&str, &[&str])] = &[
        ("sidecar.istio.io/inject", &["true", "false"]),
        ("istio-injection", &["enabled", "disabled"]),
        ("istio.io/dataplane-mode", &["ambient", "none"]),
        ("security.istio.io/tlsMode", &["istio", "disabled"]),
    ];
    for (key, cursor) in labels.entries() {
        let Some((_, allowed)) = DECIDING.iter().find(|(known, _)| *known == key) else { continue };
        let Some(text) = cursor.node().as_text().filter(|text| !allowed.contains(text)) else {
            continue;
        };
        let message = format!("{key}: {text:?} means nothing; write {}", allowed.join(" or "));
        cursor.report(Code::BadAnnotation, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Code, ReadOptions, read_text};

    fn found(text: &str) -> Vec<(Code, String)> {
        let content = read_text(text, "a.yaml", &ReadOptions::default());
        content.diagnostics.into_iter().map(|found| (found.code, found.path)).collect()
    }

    #[test]
    fn annotations_are_looked_up_by_name_place_and_value() {
        let pod = |annotations: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations: {{{annotations}}}\nspec: {{containers: [{{name: a}}]}}\n"
            )
        };
        assert_eq!(found(&pod("iako.io/owner: x, example.com/y: z")), []);
        assert_eq!(found(&pod("traffic.sidecar.istio.io/excludeInboundPorts: '80, 81'")), []);
        let codes = |text: &str| found(text).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        assert_eq!(codes(&pod("sidecar.istio.io/injct: 'true'")), [Code::UnknownAnnotation]);
        assert_eq!(codes(&pod("sidecar.istio.io/interceptionMode: SOME")), [Code::BadAnnotation]);
        assert_eq!(codes(&pod("networking.istio.io/exportTo: '*'")), [Code::MisplacedAnnotation]);
        assert_eq!(codes(&pod("sidecar.istio.io/inject: 'false'")), [Code::Deprecated]);
    }

    #[test]
    fn annotations_of_a_template_are_those_of_its_pods() {
        let deployment = |outer: &str, inner: &str| {
            format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a, annotations: {{{outer}}}}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  template:\n    metadata: {{labels: {{a: b}}, annotations: {{{inner}}}}}\n    spec: {{containers: [{{name: a}}]}}\n"
            )
        };
        let cpu = "sidecar.istio.io/proxyCPU: 100m";
        assert_eq!(found(&deployment("", cpu)), []);
        let outside = found(&deployment(cpu, ""));
        assert!(matches!(outside.as_slice(), [(Code::MisplacedAnnotation, _)]), "{outside:?}");
    }

    #[test]
    fn labels_that_decide_about_sidecars_are_read_too() {
        let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {istio-injection: 'on'}}\n";
        assert_eq!(
            found(text),
            [(Code::BadAnnotation, "metadata.labels.istio-injection".to_owned())]
        );
    }
}
