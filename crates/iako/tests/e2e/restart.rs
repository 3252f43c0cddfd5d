//! One process of `iako proxy` after the other, and clients that notice nothing.

mod clients;
mod upstream;

use std::{fs, net::SocketAddr, path::PathBuf};

use tempfile::TempDir;

use crate::{
    http1,
    rig::{Process, alone, finished, iako, until},
};
use clients::{Requests, Stream, WebSocket};
use upstream::Upstream;

const BOOTSTRAP: &str = r#"
admin: { address: { socket_address: { address: LISTENER, port_value: 15000 } } }
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
                upgrade_configs: [{ upgrade_type: websocket }]
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                        - { match: { prefix: /grpc }, route: { cluster: grpc, timeout: 0s } }
                        - { match: { prefix: / }, route: { cluster: app, timeout: 0s } }
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
    - name: app
      connect_timeout: 5s
      load_assignment:
        cluster_name: app
        endpoints:
          - lb_endpoints:
              - endpoint: { address: { socket_address: { address: APP, port_value: 8080 } } }
    - name: grpc
      connect_timeout: 5s
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http2_protocol_options: {} }
      load_assignment:
        cluster_name: grpc
        endpoints:
          - lb_endpoints:
              - endpoint: { address: { socket_address: { address: APP, port_value: 8080 } } }
"#;

/// A proxy that is replaced by the next process of it, again and again, in addresses of its own.
struct Stand {
    folder: TempDir,
    bootstrap: String,
    listener: SocketAddr,
    admin: SocketAddr,
    started: usize,
    _upstream: Upstream,
}

impl Stand {
    fn new(third: u8) -> Self {
        let (listener, app) = (format!("127.121.{third}.1"), format!("127.121.{third}.2"));
        Self {
            folder: tempfile::tempdir().unwrap(),
            bootstrap: BOOTSTRAP.replace("LISTENER", &listener).replace("APP", &app),
            listener: format!("{listener}:10000").parse().unwrap(),
            admin: format!("{listener}:15000").parse().unwrap(),
            started: 0,
            _upstream: Upstream::start(format!("{app}:8080").parse().unwrap()),
        }
    }

    fn meeting_place(&self) -> PathBuf {
        self.folder.path().join("meet.sock")
    }

    /// Starts the next process with this bootstrap; it need not serve yet.
    fn process(&mut self, bootstrap: &str, words: &[&str]) -> Process {
        self.started += 1;
        let path = self.folder.path().join(format!("bootstrap-{}.yaml", self.started));
        fs::write(&path, bootstrap).unwrap();
        let mut command = iako(["proxy", "--concurrency", "2", "--drain", "60s", "-c"]);
        command.arg(path).arg("--hot-restart").arg(self.meeting_place()).args(words);
        Process::start(command, self.folder.path().join(format!("proxy-{}.log", self.started)))
    }

    /// Starts the first process and waits until it serves.
    fn first(&mut self) -> Process {
        let bootstrap = self.bootstrap.clone();
        let process = self.process(&bootstrap, &[]);
        until("the proxy serves", || http1::ask(self.listener, "GET /", HOST).ok());
        process
    }

    /// Starts the next process and waits until it has taken over.
    fn next(&mut self, bootstrap: &str) -> Process {
        let process = self.process(bootstrap, &[]);
        until("the next process takes over", || {
            process.words().contains("took over from the process before").then_some(())
        });
        process
    }

    /// A statistic, as the process says that answers operators now.
    fn statistic(&self, name: &str) -> Option<u64> {
        let page = http1::ask(self.admin, "GET /stats", HOST).ok()?.body;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line?.parse().ok()
    }
}

const HOST: &[(&str, &str)] = &[("host", "app")];

/// So many requests in all, and so many processes one after the other, each with a WebSocket and a
/// stream of gRPC that live on in the process before.
fn restarted_under_load(third: u8, requests: u64, restarts: u64) {
    let _alone = alone();
    let mut stand = Stand::new(third);
    let mut serving = stand.first();
    let load = Requests::start(stand.listener);
    let bootstrap = stand.bootstrap.clone();
    for restart in 1..=restarts {
        load.wait_for(requests * restart / (restarts + 1));
        let mut socket = WebSocket::open(stand.listener);
        let mut stream = Stream::open(stand.listener);
        let next = stand.next(&bootstrap);
        for number in 0..3 {
            socket.echo(&format!("{restart}-{number}"));
            stream.echo(&format!("{restart}-{number}"));
        }
        drop((socket, stream));
        let mut before = std::mem::replace(&mut serving, next);
        assert!(before.end().success(), "a process that was taken over from ends well");
        assert_eq!(stand.statistic("server.hot_restart_epoch"), Some(restart));
    }
    load.wait_for(requests);
    let outcome = load.end();
    assert_eq!(outcome.failed, Vec::<String>::new());
    assert!(outcome.answered >= requests);
    eprintln!("{} requests, {restarts} restarts, none failed", outcome.answered);
    // One more to see that the proxy serves, and one stream for each restart.
    let expected = outcome.answered + restarts + 1;
    let counted = || stand.statistic("http.in.downstream_rq_2xx");
    until("numbers of all processes are one", || (counted() == Some(expected)).then_some(()));
}

#[test]
fn no_request_fails_and_no_stream_breaks_while_processes_take_over_from_each_other() {
    restarted_under_load(1, 20_000, 3);
}

/// The same at length: `cargo test --release -p iako --test e2e -- --ignored a_million`.
#[test]
#[ignore = "takes some minutes; run it before a release"]
fn a_million_requests_and_twenty_restarts() {
    restarted_under_load(2, 1_000_000, 20);
}

#[test]
fn a_process_that_fails_or_is_refused_changes_nothing_for_the_one_that_serves() {
    let mut stand = Stand::new(3);
    let mut serving = stand.first();
    // Its own port is taken by the upstream of the test.
    let clash = stand.bootstrap.replace("10000", "8080").replace("127.121.3.1", "127.121.3.2");
    let mut failed = stand.process(&clash, &[]);
    assert_eq!(failed.end().code(), Some(1), "{}", failed.words());
    let mut wrong_epoch = stand.process(&stand.bootstrap.clone(), &["--restart-epoch", "5"]);
    assert_eq!(wrong_epoch.end().code(), Some(1));
    assert!(wrong_epoch.words().contains("this is restart 1, not 5"), "{}", wrong_epoch.words());
    let path = stand.meeting_place();
    let broken = stand.folder.path().join("broken.yaml");
    fs::write(&broken, "static_resources: 7").unwrap();
    let words = ["proxy", "-c", broken.to_str().unwrap(), "--hot-restart", path.to_str().unwrap()];
    assert_eq!(finished(words).code, Some(1));

    assert_eq!(http1::ask(stand.listener, "GET /", HOST).unwrap().status, 200);
    assert_eq!(stand.statistic("server.state"), Some(0));
    let bootstrap = stand.bootstrap.clone();
    let _next = stand.next(&bootstrap);
    assert!(serving.end().success());
}

#[test]
fn a_process_begins_anew_where_the_one_before_was_killed() {
    let mut stand = Stand::new(4);
    let mut killed = stand.first();
    killed.signal(rustix::process::Signal::KILL);
    killed.end();
    let _serving = stand.first();
    assert_eq!(stand.statistic("server.hot_restart_epoch"), Some(0));
}

#[test]
fn listeners_that_the_next_configuration_does_not_have_close_and_new_ones_open() {
    let mut stand = Stand::new(5);
    let mut serving = stand.first();
    let kept = http1::Connection::open(stand.listener).unwrap();
    let moved = stand.bootstrap.replace("port_value: 10000", "port_value: 10001");
    let next = stand.next(&moved);
    let new = SocketAddr::new(stand.listener.ip(), 10001);
    assert_eq!(http1::ask(new, "GET /", HOST).unwrap().status, 200);
    until("the old address is closed", || http1::Connection::open(stand.listener).err());
    // Who was there already is served to the end.
    let mut kept = kept;
    let last = kept.ask("GET /", HOST).unwrap();
    assert_eq!(last.status, 200);
    assert!(last.head.to_ascii_lowercase().contains("connection: close"), "{}", last.head);
    assert!(serving.end().success());
    drop(next);
}
