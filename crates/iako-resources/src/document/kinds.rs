//! Which kind a document is, and who reads it.

use std::sync::Arc;

use iako_schema::{Definition, definition};

use super::{
    Asked, Context, Read, ReadOptions, SpecReader, Wrap, annotations, metadata, published,
};
use crate::{
    Code, Diagnostic, Kind, Object, ObjectMeta, Origin, PassedOver, Resource, ResourceKey,
    Severity, gateway_api,
    istio::{
        authorization_policy, destination_rule, envoy_filter, extension, gateway, istio_operator,
        peer_authentication, proxy_config, refer::boolean_word, request_authentication,
        service_entry, sidecar, telemetry, virtual_service, workload_group,
    },
    kubernetes::{
        config, endpoints, pod, service,
        workload::{self, WorkloadKind},
    },
    own::{self, rate_limit},
    reader::{Cursor, Report, closest},
    support::{self, EXTENSIONS, GATEWAY_API, NETWORKING, SECURITY, TELEMETRY, UNSUPPORTED_KINDS},
    text::Node,
};

const INSTALL: &str = "install.istio.io";
const ALL: &[&str] = &["v1", "v1beta1", "v1alpha3"];

/// Group, kind, versions that are served.
static KINDS: &[(&str, Kind, &[&str])] = &[
    (NETWORKING, Kind::VirtualService, ALL),
    (NETWORKING, Kind::DestinationRule, ALL),
    (NETWORKING, Kind::Gateway, ALL),
    (NETWORKING, Kind::ServiceEntry, ALL),
    (NETWORKING, Kind::WorkloadEntry, ALL),
    (NETWORKING, Kind::Sidecar, ALL),
    (NETWORKING, Kind::WorkloadGroup, ALL),
    (NETWORKING, Kind::EnvoyFilter, &["v1alpha3"]),
    (NETWORKING, Kind::ProxyConfig, &["v1beta1"]),
    (EXTENSIONS, Kind::WasmPlugin, &["v1alpha1"]),
    (EXTENSIONS, Kind::TrafficExtension, &["v1alpha1"]),
    (GATEWAY_API, Kind::GatewayClass, &["v1", "v1beta1"]),
    (GATEWAY_API, Kind::ApiGateway, &["v1", "v1beta1"]),
    (GATEWAY_API, Kind::ListenerSet, &["v1"]),
    (GATEWAY_API, Kind::HttpRoute, &["v1", "v1beta1"]),
    (GATEWAY_API, Kind::GrpcRoute, &["v1", "v1alpha2"]),
    (GATEWAY_API, Kind::TlsRoute, &["v1", "v1alpha3", "v1alpha2"]),
    (GATEWAY_API, Kind::TcpRoute, &["v1", "v1alpha2"]),
    (GATEWAY_API, Kind::UdpRoute, &["v1", "v1alpha2"]),
    (GATEWAY_API, Kind::BackendTlsPolicy, &["v1", "v1alpha3"]),
    (GATEWAY_API, Kind::ReferenceGrant, &["v1", "v1beta1", "v1alpha2"]),
    (SECURITY, Kind::PeerAuthentication, &["v1", "v1beta1"]),
    (SECURITY, Kind::RequestAuthentication, &["v1", "v1beta1"]),
    (SECURITY, Kind::AuthorizationPolicy, &["v1", "v1beta1"]),
    (TELEMETRY, Kind::Telemetry, &["v1", "v1alpha1"]),
    (INSTALL, Kind::IstioOperator, &["v1alpha1"]),
    (own::GROUP, Kind::RateLimit, &["v1alpha1"]),
    ("", Kind::Namespace, &["v1"]),
    ("", Kind::Service, &["v1"]),
    ("", Kind::Endpoints, &["v1"]),
    ("discovery.k8s.io", Kind::EndpointSlice, &["v1", "v1beta1"]),
    ("", Kind::Pod, &["v1"]),
    ("apps", Kind::Deployment, &["v1"]),
    ("apps", Kind::StatefulSet, &["v1"]),
    ("apps", Kind::DaemonSet, &["v1"]),
    ("apps", Kind::ReplicaSet, &["v1"]),
    ("batch", Kind::Job, &["v1"]),
    ("", Kind::ServiceAccount, &["v1"]),
    ("", Kind::Secret, &["v1"]),
    ("", Kind::ConfigMap, &["v1"]),
];

/// Reads one document that is no list.
pub(super) fn read(node: &Node, origin: &Origin, options: &ReadOptions) -> Read {
    let origin = origin.at(node.span);
    let text = |key: &str| node.get(key).and_then(Node::as_text);
    let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        let is_foreign = node.get("apiVersion").is_none() && node.get("kind").is_none();
        if is_foreign && options.asked == Asked::InDirectory {
            return Read { passed: Some(PassedOver::NotKubernetes), ..Read::default() };
        }
        let message = "the document has no apiVersion and kind, so it is no object".to_owned();
        let mut diagnostic = Diagnostic::new(Code::NotAnObject, "", origin, message);
        if node.get("apiVersion").is_none() {
            // Other programs keep YAML beside ours, such as the values of a chart.
            diagnostic.severity = Severity::Warning;
        }
        return with(diagnostic);
    };
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let known = KINDS.iter().find(|(known, name, _)| *known == group && name.name() == kind);
    match known {
        Some((_, kind, versions)) => {
            let wrong_version = (!versions.contains(&version)).then(|| {
                format!("{kind} has no version {version:?}; it has {}", versions.join(", "))
            });
            let published = definition(group, kind.name()).map(|found| (found, version));
            let build = Known { node, origin: &origin, options, group, published };
            read_known(&build, *kind, wrong_version)
        }
        None => read_unknown(node, &origin, (group, version), kind),
    }
}

fn with(diagnostic: Diagnostic) -> Read {
    Read { diagnostics: vec![diagnostic], ..Read::default() }
}

/// The subject of a document before its metadata is checked.
fn subject_of(node: &Node, kind: &str, default_namespace: &str) -> String {
    let metadata = node.get("metadata");
    let text = |key: &str| metadata.and_then(|node| node.get(key)).and_then(Node::as_text);
    match (text("namespace"), text("name")) {
        (_, Some(name)) if kind == "Namespace" => format!("{kind} {name}"),
        (namespace, Some(name)) => {
            format!("{kind} {}/{name}", namespace.unwrap_or(default_namespace))
        }
        (_, None) => kind.to_owned(),
    }
}

fn read_unknown(node: &Node, origin: &Origin, (group, version): (&str, &str), kind: &str) -> Read {
    let subject = subject_of(node, kind, "default");
    let place = node.get("kind").map_or_else(|| origin.clone(), |node| origin.at(node.span));
    let unsupported = UNSUPPORTED_KINDS.iter().filter(|(known, ..)| *known == group);
    let unsupported: Vec<_> = unsupported.collect();
    if let Some((_, _, why)) = unsupported.iter().find(|(_, name, _)| *name == kind) {
        let message = format!("{kind} has no effect here: {why}");
        let mut diagnostics =
            vec![Diagnostic::new(Code::UnsupportedKind, &subject, place, message).at("kind")];
        // Nobody reads it, but an API server would.
        if let Some(found) = definition(group, kind) {
            published::check(node, (found, version), (&subject, origin), &mut diagnostics);
        }
        return Read { diagnostics, ..Read::default() };
    }
    let ours = [NETWORKING, SECURITY, TELEMETRY, EXTENSIONS, GATEWAY_API].contains(&group)
        || group.ends_with(".istio.io")
        || group == "iako.io";
    if !ours {
        // Other Kubernetes kinds are none of our business.
        let why = match group {
            "kustomize.config.k8s.io" => PassedOver::Kustomization,
            _ => PassedOver::OtherKind,
        };
        return Read { passed: Some(why), ..Read::default() };
    }
    let message = format!("{group} has no kind {kind:?}");
    let diagnostic = Diagnostic::new(Code::UnknownKind, subject, place, message).at("kind");
    let own = KINDS.iter().filter(|(known, ..)| *known == group).map(|(_, kind, _)| kind.name());
    let names: Vec<&str> = own.chain(unsupported.iter().map(|(_, kind, _)| *kind)).collect();
    let elsewhere = KINDS.iter().find(|(_, known, _)| known.name() == kind);
    with(match (closest(kind, &names), elsewhere) {
        (Some(name), _) => diagnostic.with_help(format!("did you mean {name}?")),
        (None, Some(("", ..))) => diagnostic.with_help(format!("{kind} has apiVersion v1")),
        (None, Some((group, ..))) => diagnostic.with_help(format!("{kind} belongs to {group}")),
        (None, None) => diagnostic,
    })
}

/// A document of a kind that has a reader.
struct Known<'a> {
    node: &'a Node,
    origin: &'a Origin,
    options: &'a ReadOptions,
    group: &'a str,
    /// The published definition of its kind, and the version that it names.
    published: Option<(&'static Definition, &'a str)>,
}

fn read_known(document: &Known<'_>, kind: Kind, wrong_version: Option<String>) -> Read {
    let Known { node, origin, options, group, published } = *document;
    let table = support::table_of(group, kind.name());
    let subject = subject_of(node, kind.name(), options.default_namespace.as_str());
    let report = Report::new(subject.clone(), origin.clone(), table);
    let root = Cursor::new(node, "", "", &report);
    if let Some(message) = wrong_version {
        root.report(Code::UnknownVersion, message);
    }
    let meta = match node.get("metadata") {
        Some(metadata) => {
            let cursor = Cursor::new(metadata, "metadata", "metadata", &report);
            metadata::read(&cursor, options, kind)
        }
        None if kind == Kind::IstioOperator => Some(metadata::unnamed(options)),
        None => {
            root.report(Code::BadMetadata, "metadata.name is missing");
            None
        }
    };
    let Some(meta) = meta else {
        return Read { diagnostics: report.into_diagnostics(), ..Read::default() };
    };
    let key = ResourceKey { kind, namespace: meta.namespace.clone(), name: meta.name.clone() };
    let build = Build { root: &root, meta, origin, options, kind };
    annotations::check(&root, kind);
    let resource = build.read();
    let text = |key: &str| node.get(key).and_then(Node::as_text).unwrap_or_default();
    let group = text("apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    let waits = UNSUPPORTED_KINDS.iter().find(|(of, name, _)| *of == group && *name == kind.name());
    if let Some((_, _, why)) = waits {
        let message = format!("{kind} is read and checked, not yet applied: {why}");
        root.at("kind").report(Code::UnsupportedKind, message);
    }
    if let Some(published) = published {
        report.extend(|said| published::check(node, published, (&subject, origin), said));
    }
    let resource = resource.filter(|_| !report.has_errors());
    Read {
        refused: resource.is_none().then_some(key),
        resource,
        diagnostics: report.into_diagnostics(),
        passed: None,
    }
}

/// What an object is built from.
struct Build<'a, 'r> {
    root: &'r Cursor<'a>,
    meta: ObjectMeta,
    origin: &'r Origin,
    options: &'r ReadOptions,
    kind: Kind,
}

impl Build<'_, '_> {
    fn read(&self) -> Option<Resource> {
        match self.kind {
            Kind::VirtualService => self.istio(virtual_service::parse, Resource::VirtualService),
            Kind::DestinationRule => self.istio(destination_rule::parse, Resource::DestinationRule),
            Kind::Gateway => self.istio(gateway::parse, Resource::Gateway),
            Kind::ServiceEntry => self.istio(service_entry::parse, Resource::ServiceEntry),
            Kind::WorkloadEntry => {
                self.istio(service_entry::parse_workload_entry, Resource::WorkloadEntry)
            }
            Kind::Sidecar => self.istio(sidecar::parse, Resource::Sidecar),
            Kind::WorkloadGroup => self.istio(workload_group::parse, Resource::WorkloadGroup),
            Kind::EnvoyFilter => self.istio(envoy_filter::parse, Resource::EnvoyFilter),
            Kind::ProxyConfig => self.istio(proxy_config::parse, Resource::ProxyConfig),
            Kind::WasmPlugin => self.istio(extension::parse_wasm_plugin, Resource::WasmPlugin),
            Kind::TrafficExtension => {
                self.istio(extension::parse_traffic_extension, Resource::TrafficExtension)
            }
            Kind::GatewayClass => {
                self.istio(gateway_api::gateway::parse_class, Resource::GatewayClass)
            }
            Kind::ApiGateway => self.istio(gateway_api::gateway::parse, Resource::ApiGateway),
            Kind::ListenerSet => self.istio(gateway_api::gateway::parse_set, Resource::ListenerSet),
            Kind::HttpRoute => self.istio(gateway_api::http_route::parse, Resource::HttpRoute),
            Kind::GrpcRoute => self.istio(gateway_api::route::parse_grpc, Resource::GrpcRoute),
            Kind::TlsRoute => self.istio(gateway_api::route::parse_stream, Resource::TlsRoute),
            Kind::TcpRoute => self.istio(gateway_api::route::parse_stream, Resource::TcpRoute),
            Kind::UdpRoute => self.istio(gateway_api::route::parse_stream, Resource::UdpRoute),
            Kind::BackendTlsPolicy => {
                self.istio(gateway_api::policy::parse_backend_tls, Resource::BackendTlsPolicy)
            }
            Kind::ReferenceGrant => {
                self.istio(gateway_api::policy::parse_grant, Resource::ReferenceGrant)
            }
            Kind::PeerAuthentication => {
                self.istio(peer_authentication::parse, Resource::PeerAuthentication)
            }
            Kind::RequestAuthentication => {
                self.istio(request_authentication::parse, Resource::RequestAuthentication)
            }
            Kind::AuthorizationPolicy => {
                self.istio(authorization_policy::parse, Resource::AuthorizationPolicy)
            }
            Kind::Telemetry => self.istio(telemetry::parse, Resource::Telemetry),
            Kind::IstioOperator => self.whole(istio_operator::parse, Resource::IstioOperator),
            Kind::RateLimit => {
                let message = "RateLimit has no effect here: it is read and checked, but proxies \
                               are not told of it yet";
                self.root.report(Code::UnsupportedKind, message);
                self.istio(rate_limit::parse, Resource::RateLimit)
            }
            Kind::Namespace => Some(Resource::Namespace(self.object(()))),
            Kind::ServiceAccount => Some(Resource::ServiceAccount(self.object(()))),
            Kind::Service => self.whole(service::parse, Resource::Service),
            Kind::Endpoints => self.whole(endpoints::parse_endpoints, Resource::Endpoints),
            Kind::EndpointSlice => self.whole(endpoints::parse_slice, Resource::EndpointSlice),
            Kind::Pod => self.whole(pod::parse, Resource::Pod),
            Kind::Deployment => self.workload(WorkloadKind::Deployment),
            Kind::StatefulSet => self.workload(WorkloadKind::StatefulSet),
            Kind::DaemonSet => self.workload(WorkloadKind::DaemonSet),
            Kind::ReplicaSet => self.workload(WorkloadKind::ReplicaSet),
            Kind::Job => self.workload(WorkloadKind::Job),
            Kind::Secret => self.whole(config::parse_secret, Resource::Secret),
            Kind::ConfigMap => self.whole(config::parse_config_map, Resource::ConfigMap),
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            namespace: &self.meta.namespace,
            name: &self.meta.name,
            labels: &self.meta.labels,
            annotations: &self.meta.annotations,
            cluster_domain: &self.options.cluster_domain,
        }
    }

    fn object<T>(&self, spec: T) -> Arc<Object<T>> {
        Arc::new(Object { meta: self.meta.clone(), origin: self.origin.clone(), spec })
    }

    /// An object of Istio's: only `spec` says something.
    fn istio<T>(&self, read: SpecReader<T>, wrap: Wrap<T>) -> Option<Resource> {
        let context = self.context();
        self.check_annotations();
        let fields = self.root.fields();
        for known in ["apiVersion", "kind", "metadata", "status"] {
            fields.get_or_null(known);
        }
        let spec = match fields.get("spec") {
            // The support table names fields below `spec`.
            Some(spec) => spec.with_pattern(""),
            None => {
                let policies = [SECURITY, TELEMETRY];
                let is_policy = KINDS
                    .iter()
                    .any(|(group, kind, _)| *kind == self.kind && policies.contains(group));
                if !is_policy {
                    let message = "the field spec is missing";
                    fields.report("spec", Code::MissingField, message);
                    return None;
                }
                self.root.empty("spec")
            }
        };
        Some(wrap(self.object(read(&spec, &context)?)))
    }

    /// An object of Kubernetes'; the reader takes what the mesh needs.
    fn whole<T>(&self, read: SpecReader<T>, wrap: Wrap<T>) -> Option<Resource> {
        let context = self.context();
        Some(wrap(self.object(read(self.root, &context)?)))
    }

    fn workload(&self, kind: WorkloadKind) -> Option<Resource> {
        let spec = workload::parse(self.root, kind)?;
        Some(Resource::Workload(self.object(spec)))
    }

    fn check_annotations(&self) {
        let annotation = |key: &str| format!("annotations[{key:?}]");
        const DRY_RUN: &str = "istio.io/dry-run";
        let root = self.root;
        if let Some(value) = self.meta.annotations.get(DRY_RUN) {
            if self.kind != Kind::AuthorizationPolicy {
                let message = format!("the annotation {DRY_RUN} is for AuthorizationPolicy alone");
                root.report_metadata(&annotation(DRY_RUN), message);
            } else if boolean_word(value).is_none() {
                let message =
                    format!("the annotation {DRY_RUN} is \"true\" or \"false\", not {value:?}");
                root.report_metadata(&annotation(DRY_RUN), message);
            }
        }
        let internal = self.meta.annotations.keys().find(|k| k.starts_with("internal.istio.io/"));
        if let Some(key) = internal {
            let message = format!("the annotation {key} is not for users");
            root.report_metadata(&annotation(key), message);
        }
    }
}
