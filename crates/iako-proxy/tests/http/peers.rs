//! Proxies that tell each other who they are: Istio's peer metadata, its metrics and its ALPN names.
//!
//! Envoy has none of these filters, so that nothing is compared: what they do is as Istio documents
//! it. The headers are written and read on the wire, as another proxy of the mesh does.

use iako_telemetry::peer::{header_value, parse_header};
use serde_json::{Value, json};

use crate::bench::{self, Backend, Bench, request};
use crate::to;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const METADATA: &str = "x-envoy-peer-metadata";
const REQUESTS: &str = "istio_requests_total";

/// What this proxy's own workload is.
fn own_node() -> Value {
    json!({"id": "sidecar~10.0.0.1~cart-1.shop~shop.svc.cluster.local", "cluster": "cart.shop",
        "metadata": {"NAME": "cart-1", "NAMESPACE": "shop", "WORKLOAD_NAME": "cart",
            "CLUSTER_ID": "east", "LABELS": {"app": "cart", "version": "v2",
            "service.istio.io/canonical-name": "cart",
            "service.istio.io/canonical-revision": "v2"}}})
}

/// What the peer says of itself.
fn peer_header(workload: &str) -> String {
    header_value(&json!({"NAME": format!("{workload}-0"), "NAMESPACE": "front",
        "WORKLOAD_NAME": workload, "CLUSTER_ID": "west",
        "LABELS": {"app": workload, "version": "v1"}}))
}

fn extension(name: &str, type_url: &str, value: &Value) -> Value {
    json!({"name": name, "typed_config": {
        "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
        "type_url": type_url, "value": value}})
}

fn peers(value: &Value) -> Value {
    let url = "type.googleapis.com/io.istio.http.peer_metadata.Config";
    extension("istio.metadata_exchange", url, value)
}

fn metrics() -> Value {
    extension("istio.stats", "type.googleapis.com/stats.PluginConfig", &json!({}))
}

/// How istiod sets a listener up that serves the workload.
fn inbound() -> Value {
    let ways = json!([{"istio_headers": {}}, {"workload_discovery": {}}]);
    let config =
        json!({"downstream_discovery": ways, "downstream_propagation": [{"istio_headers": {}}]});
    json!({"node": own_node(), "listener": {"traffic_direction": "INBOUND"},
        "filters": [peers(&config), metrics()]})
}

/// How istiod sets a listener up through which the workload calls others.
fn outbound() -> Value {
    let ways = json!([{"istio_headers": {}}, {"workload_discovery": {}}]);
    let config = json!({"upstream_discovery": ways,
        "upstream_propagation": [{"istio_headers": {"skip_external_clusters": true}}]});
    json!({"node": own_node(), "listener": {"traffic_direction": "OUTBOUND"},
        "filters": [peers(&config), metrics()]})
}

/// The value of a header in a request as a server saw it.
fn sent<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn label<'a>(series: &'a str, name: &str) -> &'a str {
    let (_, rest) = series.split_once(&format!("{name}=\"")).expect(name);
    rest.split('"').next().unwrap()
}

async fn serving(answer: &'static str, settings: Value) -> (Backend, Bench) {
    let backend = Backend::answering(answer).await;
    let bench = Bench::start(json!([to("be")]), &[("be", &backend)], settings).await;
    (backend, bench)
}

/// A cluster with an endpoint of which the control plane said who it is.
fn told_cluster(backend: &Backend) -> Value {
    let mut cluster = bench::cluster("be", &[backend.address()]);
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["metadata"] =
        json!({"filter_metadata": {"istio": {"workload": "pay;bank;pay-svc;v7;south"}}});
    cluster
}

#[tokio::test]
async fn a_client_is_known_by_what_its_proxy_says() {
    let (_backend, bench) = serving(OK, inbound()).await;
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{METADATA}: {}\r\n\r\n", peer_header("web"));
    assert_eq!(request(&mut bench.connect().await, &text).await.status, 200);
    let series = &bench.series(REQUESTS, 1).await[0];
    let expected = [
        ("reporter", "destination"),
        ("source_workload", "web"),
        ("source_workload_namespace", "front"),
        ("source_app", "web"),
        ("source_version", "v1"),
        ("source_cluster", "west"),
        ("destination_workload", "cart"),
        ("destination_version", "v2"),
    ];
    for (name, value) in expected {
        assert_eq!(label(series, name), value, "{name} in {series}");
    }
}

#[tokio::test]
async fn what_the_proxy_of_a_client_said_does_not_reach_the_application() {
    let (backend, bench) = serving(OK, inbound()).await;
    let text = format!(
        "GET / HTTP/1.1\r\nhost: a\r\n{METADATA}: {}\r\n{METADATA}-id: sidecar~web\r\n\r\n",
        peer_header("web")
    );
    assert_eq!(request(&mut bench.connect().await, &text).await.status, 200);
    assert!(!backend.requests()[0].contains("peer-metadata"), "{}", backend.requests()[0]);
}

#[tokio::test]
async fn a_client_that_said_who_it_is_hears_who_answers() {
    let (_backend, bench) = serving(OK, inbound()).await;
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{METADATA}: {}\r\n\r\n", peer_header("web"));
    let answer = request(&mut bench.connect().await, &text).await;
    let told = parse_header(answer.field(METADATA).unwrap().as_bytes()).unwrap();
    assert_eq!((told.workload.as_str(), told.namespace.as_str()), ("cart", "shop"));
    assert_eq!((told.cluster.as_str(), told.canonical_service.as_str()), ("east", "cart"));
    let id = "sidecar~10.0.0.1~cart-1.shop~shop.svc.cluster.local";
    assert_eq!(answer.field("x-envoy-peer-metadata-id"), Some(id));
}

#[tokio::test]
async fn a_client_outside_of_the_mesh_hears_nothing_of_it() {
    let (_backend, bench) = serving(OK, inbound()).await;
    let answer = request(&mut bench.connect().await, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.field(METADATA)), (200, None));
    assert_eq!(answer.field("x-envoy-peer-metadata-id"), None);
    let series = &bench.series(REQUESTS, 1).await[0];
    assert_eq!(label(series, "source_workload"), "unknown");
    assert_eq!(label(series, "source_app"), "unknown");
}

#[tokio::test]
async fn what_cannot_be_read_makes_an_unknown_client_and_goes_no_further() {
    let (backend, bench) = serving(OK, inbound()).await;
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{METADATA}: not base64!\r\n\r\n");
    assert_eq!(request(&mut bench.connect().await, &text).await.status, 200);
    assert!(!backend.requests()[0].contains("peer-metadata"), "{}", backend.requests()[0]);
    let series = &bench.series(REQUESTS, 1).await[0];
    assert_eq!(label(series, "source_workload"), "unknown");
}

#[tokio::test]
async fn a_server_is_told_who_calls() {
    let (backend, bench) = serving(OK, outbound()).await;
    let answer = request(&mut bench.connect().await, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    let head = &backend.requests()[0];
    let told = parse_header(sent(head, METADATA).unwrap().as_bytes()).unwrap();
    assert_eq!((told.workload.as_str(), told.namespace.as_str()), ("cart", "shop"));
    let id = "sidecar~10.0.0.1~cart-1.shop~shop.svc.cluster.local";
    assert_eq!(sent(head, "x-envoy-peer-metadata-id"), Some(id));
}

#[tokio::test]
async fn a_server_outside_of_the_mesh_is_told_nothing() {
    let backend = Backend::answering(OK).await;
    let mut cluster = bench::cluster("be", &[backend.address()]);
    cluster["metadata"] = json!({"filter_metadata": {"istio": {"external": true}}});
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), outbound()).await;
    let answer = request(&mut bench.connect().await, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert!(!backend.requests()[0].contains("peer-metadata"), "{}", backend.requests()[0]);
}

#[tokio::test]
async fn an_application_cannot_speak_for_its_workload() {
    let (backend, bench) = serving(OK, outbound()).await;
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{METADATA}: {}\r\n\r\n", peer_header("admin"));
    assert_eq!(request(&mut bench.connect().await, &text).await.status, 200);
    let head = &backend.requests()[0];
    assert_eq!(head.matches("x-envoy-peer-metadata: ").count(), 1, "{head}");
    let told = parse_header(sent(head, METADATA).unwrap().as_bytes()).unwrap();
    assert_eq!(told.workload, "cart");
}

#[tokio::test]
async fn a_server_is_known_by_what_its_proxy_answers_and_the_application_does_not_see_it() {
    let answer: &'static str = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{METADATA}: {}\r\n{METADATA}-id: x\r\n\r\nok",
        peer_header("pay")
    )
    .leak();
    let (_backend, bench) = serving(answer, outbound()).await;
    let answer = request(&mut bench.connect().await, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.field(METADATA)), (200, None));
    assert_eq!(answer.field("x-envoy-peer-metadata-id"), None);
    let series = &bench.series(REQUESTS, 1).await[0];
    assert_eq!(label(series, "reporter"), "source");
    assert_eq!(label(series, "source_workload"), "cart");
    assert_eq!(label(series, "destination_workload"), "pay");
    assert_eq!(label(series, "destination_workload_namespace"), "front");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_known_by_what_the_control_plane_said() {
    let backend = Backend::answering(OK).await;
    let clusters = json!([told_cluster(&backend)]);
    let bench = Bench::with_clusters(json!([to("be")]), clusters, outbound()).await;
    let answer = request(&mut bench.connect().await, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    let series = &bench.series(REQUESTS, 1).await[0];
    let expected = [
        ("destination_workload", "pay"),
        ("destination_workload_namespace", "bank"),
        ("destination_canonical_service", "pay-svc"),
        ("destination_canonical_revision", "v7"),
        ("destination_cluster", "south"),
    ];
    for (name, value) in expected {
        assert_eq!(label(series, name), value, "{name} in {series}");
    }
}

#[tokio::test]
async fn what_a_server_says_of_itself_counts_before_what_the_control_plane_said() {
    let answer: &'static str = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{METADATA}: {}\r\n\r\nok",
        peer_header("other")
    )
    .leak();
    let backend = Backend::answering(answer).await;
    let clusters = json!([told_cluster(&backend)]);
    let bench = Bench::with_clusters(json!([to("be")]), clusters, outbound()).await;
    let answer = request(&mut bench.connect().await, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    let series = &bench.series(REQUESTS, 1).await[0];
    assert_eq!(label(series, "destination_workload"), "other");
}

#[tokio::test]
async fn without_discovery_by_headers_they_pass_and_are_not_believed() {
    let mut settings = inbound();
    settings["filters"] = json!([peers(&json!({})), metrics()]);
    let (backend, bench) = serving(OK, settings).await;
    let header = peer_header("web");
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{METADATA}: {header}\r\n\r\n");
    let answer = request(&mut bench.connect().await, &text).await;
    assert_eq!((answer.status, answer.field(METADATA)), (200, None));
    assert_eq!(sent(&backend.requests()[0], METADATA), Some(header.as_str()));
    let series = &bench.series(REQUESTS, 1).await[0];
    assert_eq!(label(series, "source_workload"), "unknown");
}

#[tokio::test]
async fn peers_that_change_on_one_connection_are_told_apart() {
    let (_backend, bench) = serving(OK, inbound()).await;
    let mut client = bench.connect().await;
    for workload in ["web", "batch", "web"] {
        let header = peer_header(workload);
        let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{METADATA}: {header}\r\n\r\n");
        assert_eq!(request(&mut client, &text).await.status, 200);
    }
    // A request is counted after its answer, so that the last one may not be there yet.
    let mut counts = (0, 0);
    for _ in 0..1_000 {
        let series = bench.series(REQUESTS, 2).await;
        let count = |workload: &str| -> u32 {
            let wanted = format!("source_workload=\"{workload}\"");
            let own = series.iter().find(|series| series.contains(&wanted)).unwrap();
            own.rsplit(' ').next().unwrap().parse().unwrap()
        };
        counts = (count("web"), count("batch"));
        if counts.0 + counts.1 == 3 {
            break;
        }
    }
    assert_eq!(counts, (2, 1));
}

#[tokio::test]
async fn metrics_tell_status_flags_and_protocol_of_a_refused_request() {
    let mut settings = inbound();
    let deny = json!({"name": "rbac", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": {"action": "ALLOW", "policies": {}}}});
    settings["filters"].as_array_mut().unwrap().insert(1, deny);
    let (_backend, bench) = serving(OK, settings).await;
    let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{METADATA}: {}\r\n\r\n", peer_header("web"));
    assert_eq!(request(&mut bench.connect().await, &text).await.status, 403);
    let series = &bench.series(REQUESTS, 1).await[0];
    let expected = [
        ("response_code", "403"),
        ("request_protocol", "http"),
        ("source_workload", "web"),
        ("connection_security_policy", "none"),
    ];
    for (name, value) in expected {
        assert_eq!(label(series, name), value, "{name} in {series}");
    }
}
