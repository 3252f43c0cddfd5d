//! From YAML to a mesh: what users of the registry rely on.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use iako_registry::{
    Change, LocalPodRole, MeshSnapshot, MeshState, Readiness, local_findings, local_pods,
};
use iako_resources::{ReadOptions, Resource, read_text};

const NETWORK: Ipv4Addr = Ipv4Addr::new(127, 15, 0, 0);

const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: { name: cart }
spec:
  selector: { app: cart }
  ports: [{ name: http, port: 80, targetPort: web }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: cart-v1 }
spec:
  replicas: 2
  selector: { matchLabels: { app: cart } }
  template:
    metadata: { labels: { app: cart, version: v1 } }
    spec:
      serviceAccountName: cart
      containers:
        - { name: app, command: [cart], ports: [{ name: web, containerPort: 8080 }] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: in }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['*'] }]
";

fn replace(state: &mut MeshState, source: &str, text: &str) -> Arc<MeshSnapshot> {
    let files = vec![read_text(text, "shop.yaml", &ReadOptions::default())];
    state.apply(Change::Replace { source: source.to_owned(), files })
}

#[test]
fn a_directory_that_does_not_run_is_looked_at_as_if_it_did() {
    let mut state = MeshState::inventing_pods(NETWORK);
    let snapshot = replace(&mut state, "shop", SHOP);
    assert!(snapshot.diagnostics.is_empty(), "{:?}", snapshot.diagnostics);
    let cart = snapshot.services.iter().find(|service| service.name == "cart").unwrap();
    assert_eq!(cart.hostname().unwrap().as_str(), "cart.default.svc.cluster.local");
    let endpoints: Vec<String> = cart
        .endpoints(80)
        .iter()
        .map(|it| format!("{}:{} {} {}", it.address, it.port, it.ready, it.mutual_tls))
        .collect();
    assert_eq!(endpoints, ["127.15.1.2:8080 true true", "127.15.1.3:8080 true true"]);
    let first = &cart.endpoints(80)[0];
    let identity = first.identity.as_ref().unwrap();
    assert_eq!(identity.as_str(), "spiffe://cluster.local/ns/default/sa/cart");
    assert_eq!(first.workload.as_ref().unwrap().owner.name, "cart-v1");
}

#[test]
fn pods_are_planned_with_addresses_that_stay() {
    let mut state = MeshState::default();
    let snapshot = replace(&mut state, "shop", SHOP);
    let pods = local_pods(&snapshot, NETWORK, &BTreeMap::new());
    let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["istio-ingressgateway", "cart-v1-0", "cart-v1-1"]);
    let gateway = &pods[0];
    assert_eq!(gateway.role, LocalPodRole::Gateway);
    assert_eq!(gateway.ports[0].port, 8080);
    assert_eq!(pods[1].app_address, Ipv4Addr::new(127, 15, 129, 2));

    let earlier =
        pods.iter().map(|pod| ((pod.namespace.clone(), pod.name.clone()), pod.address)).collect();
    let fewer = replace(&mut state, "shop", &SHOP.replace("replicas: 2", "replicas: 1"));
    let pods_now = local_pods(&fewer, NETWORK, &earlier);
    assert_eq!(pods_now.len(), 2);
    assert_eq!(pods_now[1].address, pods[1].address);
}

#[test]
fn what_a_kubelet_writes_of_a_pod_is_what_was_planned() {
    let mut state = MeshState::default();
    let snapshot = replace(&mut state, "shop", SHOP);
    let pods = local_pods(&snapshot, NETWORK, &BTreeMap::new());
    let files = pods
        .iter()
        .map(|pod| {
            let late = pod.name == "cart-v1-1";
            let readiness = if late { Readiness::NotReady } else { Readiness::Ready };
            let text = pod.to_json(readiness).to_string();
            read_text(&text, &pod.name, &ReadOptions::default())
        })
        .collect();
    let running = state.apply(Change::Replace { source: "pods".to_owned(), files });
    let cart = running.services.iter().find(|service| service.name == "cart").unwrap();
    let ready: Vec<bool> = cart.endpoints(80).iter().map(|it| it.ready).collect();
    assert_eq!(ready, [true, false]);
    let workload = cart.endpoints(80)[0].workload.clone().unwrap();
    assert_eq!(workload.app_address, Some(Ipv4Addr::new(127, 15, 129, 2).into()));
    assert_eq!(workload.owner.kind, "Deployment");
    // The gateway runs now, so it is not planned again beside itself.
    assert_eq!(running.workloads.len(), 3);
}

#[test]
fn an_edit_that_breaks_an_object_leaves_its_last_good_version_and_says_so() {
    let mut state = MeshState::default();
    let good = replace(&mut state, "shop", SHOP);
    let broken = replace(&mut state, "shop", &SHOP.replace("port: 80,", "port: eighty,"));
    assert_ne!(good.version, broken.version);
    let cart = broken.services.iter().find(|service| service.name == "cart").unwrap();
    assert_eq!(cart.ports[0].number, 80);
    let told: Vec<String> = broken.diagnostics.iter().map(|found| found.code.to_string()).collect();
    assert!(told.len() >= 2, "{told:?}");
    assert!(broken.diagnostics.iter().any(|found| found.message.contains("previous version")));

    let unreadable = replace(&mut state, "shop", "kind: [");
    assert_eq!(unreadable.services.len(), 1);
    assert_eq!(unreadable.gateways.len(), 1);

    let mended = replace(&mut state, "shop", SHOP);
    assert!(mended.diagnostics.is_empty());
}

#[test]
fn the_same_content_makes_no_new_version() {
    let mut state = MeshState::default();
    let one = replace(&mut state, "shop", SHOP);
    let two = replace(&mut state, "shop", SHOP);
    assert!(Arc::ptr_eq(&one, &two));
}

#[test]
fn a_misspelt_kind_does_not_remove_its_object() {
    let mut state = MeshState::default();
    let _good = replace(&mut state, "shop", SHOP);
    let broken = replace(&mut state, "shop", &SHOP.replace("kind: Gateway", "kind: Gatway"));
    assert_eq!(broken.gateways.len(), 1, "{:?}", broken.diagnostics);
    let removed = replace(&mut state, "shop", SHOP.rsplit_once("---").unwrap().0);
    assert_eq!(removed.gateways.len(), 0);
}

#[test]
fn what_is_outside_the_mesh_is_reached_without_its_mutual_tls() {
    let text = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: pay }
spec:
  hosts: [pay.example.com]
  ports: [{ number: 443, name: tls, protocol: TLS }]
  resolution: STATIC
  endpoints: [{ address: 127.9.9.9, labels: { security.istio.io/tlsMode: istio }, weight: 3 }]
";
    let snapshot = replace(&mut MeshState::default(), "shop", text);
    let host = "pay.example.com".parse().unwrap();
    let service = snapshot.service(&host, &"default".parse().unwrap()).unwrap();
    let endpoint = &service.endpoints(443)[0];
    assert!(service.mesh_external && !endpoint.mutual_tls);
    assert_eq!((endpoint.port, endpoint.weight), (443, 3));
}

#[test]
fn what_does_not_run_here_is_told() {
    let text = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: app }
spec:
  template:
    spec:
      containers: [{ name: app, command: [app], envFrom: [{ configMapRef: { name: a } }] }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: image-only }
spec: { template: { spec: { containers: [{ name: app, image: nginx }] } } }
";
    let snapshot = replace(&mut MeshState::default(), "shop", text);
    let found: Vec<String> = local_findings(&snapshot)
        .iter()
        .map(|found| format!("{} {} {}", found.subject, found.code, found.path))
        .collect();
    let expected =
        ["Deployment default/app IAKO0041 envFrom", "Deployment default/image-only IAKO0043 "];
    assert_eq!(found, expected);
}

#[test]
fn a_gateway_without_a_selector_asks_for_the_ingress_gateway() {
    let mut state = MeshState::default();
    let text = SHOP.replace("selector: { istio: ingressgateway }", "selector: {}");
    let pods = local_pods(&replace(&mut state, "shop", &text), NETWORK, &BTreeMap::new());
    let gateways: Vec<_> = pods.iter().filter(|pod| pod.role == LocalPodRole::Gateway).collect();
    assert_eq!(gateways.len(), 1);
    assert_eq!(gateways[0].name, "istio-ingressgateway");
    assert_eq!(gateways[0].ports[0].port, 8080);
}

#[test]
fn entries_by_name_are_endpoints_too() {
    let text = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: old }
spec:
  hosts: [old.example.com]
  location: MESH_INTERNAL
  ports: [{ number: 80, name: http, protocol: HTTP, targetPort: 8080 }]
  resolution: DNS
  workloadSelector: { labels: { app: old } }
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: { name: one }
spec: { address: one.example.com, labels: { app: old }, weight: 2 }
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: { name: two }
spec: { address: 127.9.9.9, labels: { app: old }, ports: { http: 9090 } }
";
    let snapshot = replace(&mut MeshState::default(), "shop", text);
    let host = "old.example.com".parse().unwrap();
    let service = snapshot.service(&host, &"default".parse().unwrap()).unwrap();
    let endpoints = service.endpoints(80).iter().map(|it| format!("{}:{}", it.address, it.port));
    let endpoints: Vec<String> = endpoints.collect();
    assert_eq!(endpoints, ["127.9.9.9:9090", "one.example.com:8080"]);
}

#[test]
fn the_order_in_which_objects_come_does_not_matter() {
    let content = read_text(SHOP, "shop.yaml", &ReadOptions::default());
    let snapshot = |resources: Vec<Resource>| {
        let mut state = MeshState::default();
        for resource in resources {
            state.apply(Change::Upsert { source: "api".to_owned(), resource });
        }
        MeshSnapshot::clone(&state.snapshot())
    };
    let forwards = snapshot(content.resources.clone());
    let backwards = snapshot(content.resources.into_iter().rev().collect());
    assert_eq!(forwards.services.len(), 1);
    assert_eq!(forwards, backwards);
}
