//! What operators see and steer.

use std::{net::SocketAddr, sync::Arc};

use iako_proxy::{Proxy, ProxyHandle};
use iako_proxy_config::{AdminAddress, DownstreamTls, DownstreamTransport, TlsOptions};
use iako_rt::Scope;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Root, any_port, ask, bootstrap, cluster, echo, settings, tcp_listener};

pub(crate) async fn fetch(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.parse().unwrap(), body.to_owned())
}

async fn started(scope: &Scope) -> (ProxyHandle, SocketAddr) {
    let root = Root::new();
    let mut secure = tcp_listener("secure", "be");
    let options = TlsOptions { certificates: vec![root.source("a.test")], ..TlsOptions::default() };
    secure.chains[0].transport =
        DownstreamTransport::Tls(Box::new(DownstreamTls { options, ..DownstreamTls::default() }));
    let listeners = vec![tcp_listener("in", "be"), secure];
    let mut bootstrap = bootstrap(listeners, vec![cluster("be", &[echo(scope, "a").await])]);
    bootstrap.admin = Some(AdminAddress::Socket(any_port()));
    let mut settings = settings(bootstrap);
    settings.health = Some(any_port());
    settings.log_level = Some(Arc::new(|level| match level {
        "debug" => Ok(()),
        other => Err(format!("{other} is no level")),
    }));
    let proxy = Proxy::start(settings).await.unwrap();
    proxy.ready().await;
    let admin = proxy.admin_address().unwrap();
    (proxy, admin)
}

#[tokio::test]
async fn the_pages_show_what_the_proxy_is_and_does() {
    let scope = Scope::new();
    let (proxy, admin) = started(&scope).await;
    let address = proxy.listener_address("in").unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    ask(&mut client, "x", 3).await;
    let page = async |path: &str| {
        let (status, body) = fetch(admin, "GET", path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    };
    assert_eq!(page("/ready").await, "LIVE\n");
    assert!(page("/listeners").await.contains(&format!("in::{address}\n")));
    let clusters = page("/clusters").await;
    assert!(clusters.contains("::health_flags::healthy\n"), "{clusters}");
    let stats = page("/stats?filter=upstream_cx").await;
    assert!(stats.contains("cluster.be.upstream_cx_total: 1\n"), "{stats}");
    assert!(page("/stats/prometheus").await.contains("envoy_server_concurrency"));
    let info: Value = serde_json::from_str(&page("/server_info").await).unwrap();
    assert_eq!(info["state"], "LIVE");
    let dump = page("/config_dump").await;
    assert!(!dump.contains("PRIVATE KEY"));
    let dump: Value = serde_json::from_str(&dump).unwrap();
    let listeners = dump["configs"].as_array().unwrap().iter();
    let listeners = listeners.flat_map(|one| one["static_listeners"].as_array().cloned());
    assert_eq!(listeners.flatten().count(), 2, "{dump}");
    let clusters: Value = serde_json::from_str(&page("/clusters?format=json").await).unwrap();
    assert_eq!(clusters["cluster_statuses"][0]["name"], "be");
    let certificates: Value = serde_json::from_str(&page("/certs").await).unwrap();
    assert!(certificates["certificates"].is_array());
    assert_eq!(fetch(admin, "GET", "/nothing").await.0, 404);
    proxy.shutdown().await;
}

#[tokio::test]
async fn an_operator_steers_the_proxy() {
    let scope = Scope::new();
    let (proxy, admin) = started(&scope).await;
    let health = proxy.health_address().unwrap();
    assert_eq!(fetch(health, "GET", "/healthz/ready").await.0, 200);
    assert_eq!(fetch(health, "POST", "/quitquitquit").await.0, 404);
    assert_eq!(fetch(admin, "GET", "/quitquitquit").await.0, 405);
    assert_eq!(fetch(admin, "POST", "/healthcheck/fail").await.0, 200);
    assert_eq!(fetch(health, "GET", "/healthz/ready").await.0, 503);
    assert_eq!(fetch(admin, "POST", "/healthcheck/ok").await.0, 200);
    assert_eq!(fetch(admin, "POST", "/logging?level=debug").await.0, 200);
    assert_eq!(fetch(admin, "POST", "/logging?level=loud").await.0, 400);
    let address = proxy.listener_address("in").unwrap();
    assert_eq!(fetch(admin, "POST", "/drain_listeners").await.0, 200);
    crate::support::eventually("the socket closes", || async {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    assert_eq!(fetch(admin, "GET", "/ready").await.0, 503);
    assert_eq!(fetch(admin, "POST", "/quitquitquit").await.0, 200);
    proxy.stopped().await;
}
