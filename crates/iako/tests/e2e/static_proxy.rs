//! `iako proxy -c FILE`: the data plane alone, as Envoy's own bootstrap files describe it.

use std::{fs, net::SocketAddr, path::Path};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    http1,
    rig::{Process, finished, iako, until},
};

const BOOTSTRAP: &str = r#"
static_resources:
  listeners:
    - name: in
      address: { socket_address: { address: LISTENER, port_value: 10000 } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: in
                codec_type: AUTO
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                        - match: { path: /told }
                          direct_response: { status: 418, body: { inline_string: told } }
                        - match: { prefix: / }
                          route: { cluster: app }
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
    - name: app
      type: STATIC
      connect_timeout: 1s
      load_assignment:
        cluster_name: app
        endpoints:
          - lb_endpoints:
              - endpoint: { address: { socket_address: { address: APP, port_value: 8080 } } }
"#;

/// The bootstrap for one test, in addresses of its own.
fn bootstrap(third: u8) -> (String, SocketAddr, String) {
    let (listener, app) = (format!("127.120.{third}.1"), format!("127.120.{third}.2"));
    let text = BOOTSTRAP.replace("LISTENER", &listener).replace("APP", &app);
    (text, format!("{listener}:10000").parse().unwrap(), app)
}

/// The built-in application, and a proxy before it.
fn start(folder: &Path, file: &str, text: &str, app: &str) -> (Process, Process) {
    let path = folder.join(file);
    fs::write(&path, text).unwrap();
    let app = iako(["app", "--name=echo", "--host", app]);
    let app = Process::start(app, folder.join("app.log"));
    let mut proxy = iako(["proxy", "--concurrency", "1", "-c"]);
    proxy.arg(path);
    (app, Process::start(proxy, folder.join("proxy.log")))
}

/// Polls until the whole way is open.
fn wait_until_served(address: SocketAddr) {
    until("the proxy serves", || {
        let answer = http1::ask(address, "GET /", &[("host", "echo")]).ok()?;
        (answer.status == 200).then_some(())
    });
}

/// A proxy with the application behind it, both ended when this is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    _processes: (Process, Process),
}

/// Starts both in addresses of their own and waits until they serve.
pub(crate) fn served(folder: &Path, third: u8) -> Served {
    let (text, address, app) = bootstrap(third);
    let processes = start(folder, "bootstrap.yaml", &text, &app);
    wait_until_served(address);
    Served { address, _processes: processes }
}

#[test]
fn a_bootstrap_in_yaml_is_served_over_http_1_and_2() {
    let folder = tempfile::tempdir().unwrap();
    let (text, address, app) = bootstrap(1);
    let _processes = start(folder.path(), "bootstrap.yaml", &text, &app);
    wait_until_served(address);

    let answer = http1::ask(address, "GET /a?status=201", &[("host", "echo")]).unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!((&answer.json()["service"], &answer.json()["path"]), (&json!("echo"), &json!("/a")));
    let told = http1::ask(address, "GET /told", &[("host", "echo")]).unwrap();
    assert_eq!((told.status, told.body.as_str()), (418, "told"));

    let (status, body) = over_http_2(address, "http://echo/h2");
    assert_eq!((status, &body["path"]), (200, &json!("/h2")), "{body}");
}

#[test]
fn a_bootstrap_in_json_is_served_and_an_upstream_may_speak_http_2_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (text, address, app) = bootstrap(2);
    let mut value: Value = serde_saphyr::from_str(&text).unwrap();
    value["static_resources"]["clusters"][0]["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}
        }
    });
    let _processes = start(folder.path(), "bootstrap.json", &value.to_string(), &app);
    wait_until_served(address);
    let answer = http1::ask(address, "GET /j", &[("host", "echo")]).unwrap();
    assert_eq!((answer.status, &answer.json()["path"]), (200, &json!("/j")), "{answer:?}");
}

/// A request over HTTP/2 without TLS, by prior knowledge (RFC 9113 §3.3).
fn over_http_2(address: SocketAddr, url: &str) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let scope = iako_rt::Scope::new();
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        scope.spawn("connection", async move { drop(connection.await) });
        let request = Request::get(url).body(Empty::<bytes::Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    })
}

/// What a refused file is told as: one message, with file, line and field.
fn refusal(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.yaml");
    fs::write(&path, text).unwrap();
    let answer = finished(["proxy", "-c", path.to_str().unwrap()]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert_eq!(answer.out, "");
    assert_eq!(answer.err.matches("error:").count(), 1, "{}", answer.err);
    assert!(answer.err.contains("broken.yaml"), "{}", answer.err);
    answer.err
}

#[test]
fn a_broken_bootstrap_is_refused_with_file_line_and_field() {
    let (text, ..) = bootstrap(3);
    let line = |wrong: &str| text.lines().position(|it| it.contains(wrong)).unwrap() + 1;

    let told = refusal(&text.replace("connect_timeout: 1s", "connect_timeout: soon"));
    assert!(told.contains("connect_timeout"), "{told}");
    assert!(told.contains(&format!("broken.yaml:{}", line("connect_timeout"))), "{told}");

    let told = refusal(&text.replace("stat_prefix", "stat_prefex"));
    assert!(told.contains("stat_prefex"), "{told}");
    assert!(told.contains(&format!("broken.yaml:{}", line("stat_prefix"))), "{told}");

    let told = refusal(&text.replace("name: app\n      type", "name: [\n      type"));
    assert!(told.contains("broken.yaml:"), "{told}");

    let missing = finished(["proxy", "-c", "/no/such/file.yaml"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("/no/such/file.yaml"), "{missing:?}");
}
