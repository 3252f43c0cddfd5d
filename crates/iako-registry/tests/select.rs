//! Which object counts for which workload, as Istio decides it.

#![expect(clippy::unwrap_used, reason = "tests may be blunt, and so may what they share")]

use iako_registry::{
    Change, MeshSnapshot, MeshState,
    select::{self, Subject},
};
use iako_resources::{Labels, ReadOptions, istio::peer_authentication::MutualTlsMode, read_text};
use iako_types::Namespace;

/// A mesh of objects given as `version kind namespace/name spec`, one a line.
fn mesh(objects: &str) -> std::sync::Arc<MeshSnapshot> {
    let documents: Vec<String> = objects
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let mut words = line.trim().splitn(4, ' ');
            let mut next = || words.next().unwrap();
            let (version, kind, name, spec) = (next(), next(), next(), next());
            let (namespace, name) = name.split_once('/').unwrap();
            format!(
                "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: '{name}', namespace: \
                 '{namespace}'}}\nspec: {spec}\n"
            )
        })
        .collect();
    let content = read_text(&documents.join("---\n"), "mesh.yaml", &ReadOptions::default());
    let errors: Vec<_> = content.diagnostics.iter().filter(|found| found.is_error()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    MeshState::default().apply(Change::Replace { source: "files".to_owned(), files: vec![content] })
}

struct Client {
    namespace: Namespace,
    labels: Labels,
}

impl Client {
    fn new(namespace: &str, app: &str) -> Self {
        let labels = Labels::from([("app".to_owned(), app.to_owned())]);
        Self { namespace: namespace.parse().unwrap(), labels }
    }

    fn subject(&self) -> Subject<'_> {
        Subject { namespace: &self.namespace, labels: &self.labels }
    }
}

fn rule_for(snapshot: &MeshSnapshot, client: &Client, host: &str) -> Option<(String, String)> {
    let service = snapshot.service(&host.parse().unwrap(), &client.namespace).unwrap();
    let rule = select::destination_rule(snapshot, client.subject(), service)?;
    let subsets: Vec<&str> = rule.spec.subsets.iter().map(|subset| subset.name.as_str()).collect();
    Some((format!("{}/{}", rule.meta.namespace, rule.meta.name), subsets.join(",")))
}

#[test]
fn mutual_tls_is_decided_by_port_then_workload_then_namespace_then_mesh() {
    let snapshot = mesh(
        "
security.istio.io/v1 PeerAuthentication istio-system/all {mtls: {mode: STRICT}}
security.istio.io/v1 PeerAuthentication istio-system/some {selector: {matchLabels: {app: a}}, mtls: {mode: DISABLE}}
security.istio.io/v1 PeerAuthentication n/all {mtls: {mode: UNSET}}
security.istio.io/v1 PeerAuthentication n/later {mtls: {mode: DISABLE}}
security.istio.io/v1 PeerAuthentication n/b {selector: {matchLabels: {app: b}}, mtls: {mode: PERMISSIVE}, portLevelMtls: {9090: {mode: DISABLE}, 9091: {mode: UNSET}}}
",
    );
    let of = |client: &Client| select::peer_authentication(&snapshot, client.subject());
    let a = of(&Client::new("n", "a"));
    assert_eq!(a.of_port(80), MutualTlsMode::Strict);
    assert_eq!(a.decided_by.unwrap().meta.name, "all");
    let b = of(&Client::new("n", "b"));
    assert_eq!(b.of_port(80), MutualTlsMode::Permissive);
    assert_eq!(b.of_port(9090), MutualTlsMode::Disable);
    assert_eq!(b.of_port(9091), MutualTlsMode::Permissive);
    assert_eq!(of(&Client::new("istio-system", "a")).of_port(80), MutualTlsMode::Disable);
    let nobody = mesh("");
    let default = select::peer_authentication(&nobody, Client::new("n", "a").subject());
    assert_eq!(default.of_port(80), MutualTlsMode::Permissive);
}

const SERVICES: &str = "
v1 Service n/cart {ports: [{port: 80}], clusterIP: None}
v1 Service m/cart {ports: [{port: 80}], clusterIP: None}
";

#[test]
fn a_destination_rule_is_looked_for_at_the_client_then_the_service_then_the_root() {
    let host = "cart.n.svc.cluster.local";
    let snapshot = mesh(&format!(
        "{SERVICES}
networking.istio.io/v1 DestinationRule istio-system/root {{host: '*.svc.cluster.local'}}
networking.istio.io/v1 DestinationRule n/wide {{host: '*.n.svc.cluster.local', subsets: [{{name: w}}]}}
networking.istio.io/v1 DestinationRule n/one {{host: cart, subsets: [{{name: v1}}]}}
networking.istio.io/v1 DestinationRule n/two {{host: cart, subsets: [{{name: v2}}, {{name: v1}}]}}
networking.istio.io/v1 DestinationRule c/own {{host: {host}, workloadSelector: {{matchLabels: {{app: a}}}}, exportTo: [.]}}
networking.istio.io/v1 DestinationRule m/hidden {{host: cart, exportTo: [.]}}
"
    ));
    let rule = |client: &Client| rule_for(&snapshot, client, host);
    let of_service = Some(("n/one".to_owned(), "v1,v2".to_owned()));
    assert_eq!(rule(&Client::new("c", "a")), Some(("c/own".to_owned(), String::new())));
    assert_eq!(rule(&Client::new("c", "b")), of_service);
    assert_eq!(rule(&Client::new("n", "b")), of_service);
    let hidden = rule_for(&snapshot, &Client::new("n", "b"), "cart.m.svc.cluster.local");
    assert_eq!(hidden, Some(("istio-system/root".to_owned(), String::new())));
}

#[test]
fn policies_of_mesh_namespace_and_workload_count_together() {
    let snapshot = mesh(
        "
security.istio.io/v1 AuthorizationPolicy n/own {selector: {matchLabels: {app: a}}, rules: [{}]}
security.istio.io/v1 AuthorizationPolicy n/all {rules: [{}]}
security.istio.io/v1 AuthorizationPolicy m/all {rules: [{}]}
security.istio.io/v1 AuthorizationPolicy istio-system/mesh {action: DENY, rules: [{}]}
security.istio.io/v1 AuthorizationPolicy istio-system/some {selector: {matchLabels: {app: a}}, rules: [{}]}
",
    );
    let names = |client: &Client| {
        let found = select::authorization_policies(&snapshot, client.subject());
        found.iter().map(|policy| policy.meta.name.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&Client::new("n", "a")), "mesh all own some");
    assert_eq!(names(&Client::new("n", "b")), "mesh all");
}

#[test]
fn the_nearest_sidecar_object_counts_alone() {
    let snapshot = mesh(
        "
networking.istio.io/v1 Sidecar istio-system/root {egress: [{hosts: ['*/*']}]}
networking.istio.io/v1 Sidecar n/all {egress: [{hosts: [./*]}]}
networking.istio.io/v1 Sidecar n/own {workloadSelector: {labels: {app: a}}, egress: [{hosts: [~/*]}]}
",
    );
    let name =
        |client: &Client| select::sidecar(&snapshot, client.subject()).unwrap().meta.name.clone();
    assert_eq!(name(&Client::new("n", "a")), "own");
    assert_eq!(name(&Client::new("n", "b")), "all");
    assert_eq!(name(&Client::new("m", "a")), "root");
}

#[test]
fn virtual_services_come_in_the_order_that_decides_about_a_host() {
    let route = "http: [{route: [{destination: {host: cart.n.svc.cluster.local}}]}]";
    let snapshot = mesh(&format!(
        "
networking.istio.io/v1 VirtualService m/public {{hosts: [a.b], {route}}}
networking.istio.io/v1 VirtualService m/given {{hosts: [a.b], exportTo: ['n', c], {route}}}
networking.istio.io/v1 VirtualService n/private {{hosts: [a.b], exportTo: [.], {route}}}
networking.istio.io/v1 VirtualService m/hidden {{hosts: [a.b], exportTo: [.], {route}}}
networking.istio.io/v1 VirtualService n/outside {{hosts: [a.b], gateways: [gw], {route}}}
networking.istio.io/v1 Gateway n/gw {{selector: {{istio: in}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}]}}
"
    ));
    let namespace = "n".parse().unwrap();
    let names = |found: Vec<&std::sync::Arc<_>>| {
        let name = |object: &&std::sync::Arc<
            iako_resources::Object<iako_resources::VirtualService>,
        >| object.meta.name.clone();
        found.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    let inside = select::virtual_services_for_sidecar(&snapshot, &namespace);
    assert_eq!(names(inside), "private given public");
    let gateway = snapshot.gateways.first().unwrap();
    let outside = select::virtual_services_for_gateway(&snapshot, gateway, &namespace);
    assert_eq!(names(outside), "outside");
}

#[test]
fn telemetry_goes_from_wide_to_narrow() {
    let snapshot = mesh(
        "
telemetry.istio.io/v1 Telemetry istio-system/mesh {metrics: [{providers: [{name: prometheus}]}], accessLogging: [{providers: [{name: envoy}]}]}
telemetry.istio.io/v1 Telemetry n/all {metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, disabled: true}]}], tracing: [{randomSamplingPercentage: 5}]}
telemetry.istio.io/v1 Telemetry n/later {accessLogging: [{disabled: true}]}
telemetry.istio.io/v1 Telemetry n/own {selector: {matchLabels: {app: a}}, accessLogging: [{disabled: true}]}
",
    );
    let a = select::telemetry(&snapshot, Client::new("n", "a").subject());
    assert_eq!(a.metrics_providers, ["prometheus"]);
    assert_eq!(a.metrics_overrides.len(), 1);
    let logging = a.access_logging.unwrap();
    assert_eq!(
        (logging[0].disabled, logging[0].providers.as_slice()),
        (Some(true), &["envoy".to_owned()][..])
    );
    let b = select::telemetry(&snapshot, Client::new("n", "b").subject());
    assert_eq!(b.access_logging.unwrap()[0].disabled, None);
    assert_eq!(b.tracing.random_sampling.unwrap().as_f64(), 5.0);
}
