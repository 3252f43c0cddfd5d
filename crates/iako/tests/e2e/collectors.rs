//! What a proxy still holds for collectors when it ends.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    http1,
    rig::{Process, iako, until},
    stand,
};

/// Takes requests of HTTP/1 with content, and tells what they asked for.
fn collect(stream: TcpStream, told: &mpsc::Sender<String>) {
    let mut stream = BufReader::new(stream);
    while let Ok(head) = stand::read_head(&mut stream) {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut content = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
        stream.read_exact(&mut content).unwrap();
        told.send(head.lines().next().unwrap().to_owned()).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.get_mut().write_all(answer).unwrap();
    }
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    let socket = json!({"address": address.ip(), "port_value": address.port()});
    let endpoint = json!({"endpoint": {"address": {"socket_address": socket}}});
    json!({"name": name, "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}})
}

/// A proxy whose spans and records wait for company that does not come.
fn bootstrap(listener: SocketAddr, app: SocketAddr, collector: SocketAddr) -> Value {
    let of = "type.googleapis.com/envoy";
    let service = |path: &str| {
        let uri = format!("http://collector{path}");
        json!({"http_uri": {"uri": uri, "cluster": "collector", "timeout": "5s"}})
    };
    let tracing = json!({"name": "envoy.tracers.opentelemetry", "typed_config": {
        "@type": format!("{of}.config.trace.v3.OpenTelemetryConfig"),
        "service_name": "s", "http_service": service("/v1/traces")}});
    let log = json!({"name": "otel", "typed_config": {
        "@type": format!("{of}.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"),
        "log_name": "l", "http_service": service("/v1/logs"), "buffer_flush_interval": "600s"}});
    let router = json!({"name": "envoy.filters.http.router", "typed_config": {
        "@type": format!("{of}.extensions.filters.http.router.v3.Router")}});
    let manager = json!({
        "@type": format!("{of}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in", "http_filters": [router],
        "tracing": {"provider": tracing}, "access_log": [log],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}]}});
    let layer = json!({"tracing.opentelemetry.min_flush_spans": 100_000,
        "tracing.opentelemetry.flush_interval_ms": 600_000});
    json!({
        "layered_runtime": {"layers": [{"name": "s", "static_layer": layer}]},
        "static_resources": {
            "listeners": [{"name": "in",
                "address": {"socket_address": {"address": listener.ip(), "port_value": listener.port()}},
                "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}],
            "clusters": [cluster("app", app), cluster("collector", collector)],
        },
    })
}

#[test]
fn spans_and_records_that_wait_are_told_when_the_proxy_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (told, heard) = mpsc::channel();
    let collector = stand::server(move |stream| collect(stream, &told));
    let listener: SocketAddr = "127.120.90.1:10000".parse().unwrap();
    let text = bootstrap(listener, stand::server(stand::little), collector).to_string();
    let path = folder.path().join("bootstrap.json");
    fs::write(&path, text).unwrap();
    let mut proxy = iako(["proxy", "--concurrency", "1", "-c"]);
    proxy.arg(path);
    let mut proxy = Process::start(proxy, folder.path().join("proxy.log"));
    until("the proxy serves", || {
        let answer = http1::ask(listener, "GET /", &[("host", "a")]).ok()?;
        (answer.status == 200).then_some(())
    });
    assert!(heard.try_recv().is_err(), "nothing is told while there is time");
    proxy.signal(Signal::TERM);
    assert!(proxy.end().success());
    let mut asked: Vec<String> = heard.try_iter().collect();
    asked.sort();
    assert_eq!(asked, ["POST /v1/logs HTTP/1.1", "POST /v1/traces HTTP/1.1"]);
}
