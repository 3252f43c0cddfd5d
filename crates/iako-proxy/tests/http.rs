//! HTTP through a whole proxy, on loopback: what clients and servers see.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may be blunt"
)]

#[path = "http/answers.rs"]
mod answers;
#[path = "http/bench.rs"]
mod bench;
#[path = "http/floods.rs"]
mod floods;
#[path = "http/flow.rs"]
mod flow;
#[path = "http/frames.rs"]
mod frames;
#[path = "http/grpc_web.rs"]
mod grpc_web;
#[path = "http/http2.rs"]
mod http2;
#[path = "http/logs.rs"]
mod logs;
#[path = "http/messages.rs"]
mod messages;
#[path = "http/peers.rs"]
mod peers;
#[path = "http/pools.rs"]
mod pools;
#[path = "http/rules.rs"]
mod rules;
#[path = "http/uploads.rs"]
mod uploads;
#[path = "http/upstreams.rs"]
mod upstreams;

use std::time::Duration;

use bench::{Backend, Bench, Exchange, request};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn to(cluster: &str) -> serde_json::Value {
    json!({"match": {"prefix": "/"}, "route": {"cluster": cluster}})
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection_each_way() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let bench = Bench::start(json!([to("be")]), &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    for _ in 0..3 {
        let answer = request(&mut client, "GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
        assert_eq!(answer.field("server"), Some("envoy"));
        assert!(answer.field("x-envoy-upstream-service-time").is_some());
    }
    // Pipelined: both are sent before either is answered.
    client
        .write_all(b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut exchange = Exchange::default();
    assert_eq!(exchange.read(&mut client, "GET").await.status, 200);
    assert_eq!(exchange.read(&mut client, "GET").await.status, 200);
    let seen = backend.requests();
    assert_eq!(seen.len(), 5);
    assert!(seen[0].starts_with("GET /a HTTP/1.1\r\nhost: a\r\n"), "{}", seen[0]);
    for field in [
        "x-forwarded-proto: http\r\n",
        "x-request-id: ",
        "x-envoy-expected-rq-timeout-ms: 15000\r\n",
    ] {
        assert!(seen[0].contains(field), "{field} missing in {}", seen[0]);
    }
    assert_eq!(backend.connections(), 1, "the upstream connection is kept");
}

// Envoy `enable_trailers`; RFC 9110 §6.5.1: credentials do not trail.
#[tokio::test]
async fn chunked_content_passes_both_ways_and_trailers_where_both_sides_enable_them() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n",
    )
    .await;
    let sent = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwxyz\r\n0\r\nx-up: 2\r\nauthorization: x\r\n\r\n";
    for (from_client, to_server) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut upstream = bench::cluster("be", &[backend.address()]);
        upstream["http_protocol_options"] = json!({"enable_trailers": to_server});
        let manager =
            json!({"manager": {"http_protocol_options": {"enable_trailers": from_client}}});
        let bench = Bench::with_clusters(json!([to("be")]), json!([upstream]), manager).await;
        let mut client = bench.connect().await;
        let answer = request(&mut client, sent).await;
        let passes = from_client && to_server;
        let (down, up) = if passes { ("x-t: 1\r\n", "x-up: 2\r\n") } else { ("", "") };
        assert_eq!((answer.body.as_str(), answer.trailers.as_str()), ("abcde", down));
        let seen = backend.requests();
        let last = seen.last().unwrap();
        assert!(last.ends_with(&format!("4\r\nwxyz\r\n0\r\n{up}\r\n")), "{last}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_retried_elsewhere_and_told_when_nobody_is_left() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let dead = Backend::dead().await;
    let retry = json!({"retry_on": "connect-failure", "num_retries": 3, "retry_back_off": {"base_interval": "0.001s"},
        "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config":
            {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}]});
    let routes = json!([
        {"match": {"path": "/dead"}, "route": {"cluster": "dead"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "both", "retry_policy": retry}},
    ]);
    let bench = Bench::with_clusters(
        routes,
        json!([
            bench::cluster("dead", &[dead]),
            bench::cluster("both", &[dead, backend.address()])
        ]),
        json!({}),
    )
    .await;
    let mut client = bench.connect().await;
    for _ in 0..6 {
        assert_eq!(
            request(&mut client, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx")
                .await
                .status,
            200
        );
    }
    let answer = request(&mut client, "GET /dead HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body,
        "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
    );
    assert!(bench.log().await.contains("503 UF upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"));
}

#[tokio::test]
async fn a_post_is_not_sent_twice_once_it_may_have_arrived() {
    let backend = Backend::closing_after_request().await;
    let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "be",
        "retry_policy": {"retry_on": "reset,5xx", "num_retries": 3, "retry_back_off": {"base_interval": "0.001s"}}}}]);
    let bench = Bench::start(routes, &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    let answer =
        request(&mut client, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx").await;
    assert_eq!(answer.status, 503);
    assert_eq!(backend.requests().len(), 1);
    let answer = request(&mut client, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(answer.status, 503);
    assert_eq!(backend.requests().len(), 5, "a GET is tried four times");
    assert!(bench.log().await.contains("503 URX,UC"));
}

#[tokio::test]
async fn times_and_circuit_breakers_bound_a_request() {
    let silent = Backend::silent().await;
    let routes = json!([
        {"match": {"path": "/slow"}, "route": {"cluster": "silent", "timeout": "0.05s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "full"}},
    ]);
    let mut full = bench::cluster("full", &[silent.address()]);
    full["circuit_breakers"] = json!({"thresholds": [{"max_pending_requests": 0}]});
    let clusters = json!([bench::cluster("silent", &[silent.address()]), full]);
    let bench = Bench::with_clusters(routes, clusters, json!({})).await;
    let mut client = bench.connect().await;
    let answer = request(&mut client, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (504, "upstream request timeout"));
    let answer = request(&mut client, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.field("x-envoy-overloaded")), (503, Some("true")));
    let log = bench.log().await;
    assert!(log.contains("504 UT response_timeout"), "{log}");
    assert!(log.contains("503 UO upstream_reset_before_response_started{overflow}"), "{log}");
}

#[tokio::test]
async fn routes_redirect_respond_rewrite_and_edit() {
    let backend =
        Backend::answering("HTTP/1.1 200 OK\r\nx-old: 1\r\ncontent-length: 0\r\n\r\n").await;
    let routes = json!([
        {"match": {"path": "/go"}, "redirect": {"host_redirect": "b.test"}},
        {"match": {"path": "/say"}, "direct_response": {"status": 201, "body": {"inline_string": "hi"}}},
        {"match": {"prefix": "/api/"}, "route": {"cluster": "be", "prefix_rewrite": "/v2/", "host_rewrite_literal": "in.test"},
         "request_headers_to_add": [{"header": {"key": "x-from", "value": "%REQ(:authority)%"}}],
         "response_headers_to_add": [{"header": {"key": "x-new", "value": "%RESPONSE_CODE_DETAILS%"}}],
         "response_headers_to_remove": ["x-old"]},
    ]);
    let bench = Bench::start(routes, &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    let answer = request(&mut client, "GET /go?x=1 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.field("location")), (301, Some("http://b.test/go?x=1")));
    let answer = request(&mut client, "GET /say HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (201, "hi"));
    let answer = request(&mut client, "GET /api/x?y HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    assert_eq!((answer.field("x-new"), answer.field("x-old")), (Some("via_upstream"), None));
    let seen = &backend.requests()[0];
    for part in [
        "GET /v2/x?y HTTP/1.1\r\nhost: in.test\r\n",
        "x-from: a.test\r\n",
        "x-envoy-original-path: /api/x?y\r\n",
        "x-envoy-original-host: a.test\r\n",
    ] {
        assert!(seen.contains(part), "{part} missing in {seen}");
    }
    let answer = request(&mut client, "GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (404, ""));
}

#[tokio::test]
async fn a_mirror_gets_a_copy_and_a_fault_is_injected() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let shadow = Backend::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
    let routes = json!([
        {"match": {"path": "/abort"}, "route": {"cluster": "be"}, "typed_per_filter_config": {"fault":
            {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
             "abort": {"http_status": 418, "percentage": {"numerator": 100}}}}},
        {"match": {"prefix": "/"}, "route": {"cluster": "be", "request_mirror_policies": [{"cluster": "shadow"}]}},
    ]);
    let fault = json!({"name": "fault", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"}});
    let bench =
        Bench::start(routes, &[("be", &backend), ("shadow", &shadow)], json!({"filters": [fault]}))
            .await;
    let mut client = bench.connect().await;
    let answer =
        request(&mut client, "POST /m HTTP/1.1\r\nhost: a.test\r\ncontent-length: 3\r\n\r\nabc")
            .await;
    assert_eq!(answer.status, 200);
    shadow.wait_for(1).await;
    let copy = &shadow.requests()[0];
    assert!(
        copy.starts_with("POST /m HTTP/1.1\r\nhost: a.test-shadow\r\n") && copy.ends_with("abc"),
        "{copy}"
    );
    let answer = request(&mut client, "GET /abort HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (418, "fault filter abort"));
    assert!(bench.log().await.contains("418 FI fault_filter_abort"));
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel_where_it_is_configured() {
    let backend = Backend::upgrading().await;
    let settings = json!({"manager": {"upgrade_configs": [{"upgrade_type": "websocket"}]}});
    let bench = Bench::start(json!([to("be")]), &[("be", &backend)], settings).await;
    let mut client = bench.connect().await;
    client
        .write_all(b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nearly")
        .await
        .unwrap();
    let mut exchange = Exchange::default();
    let answer = exchange.read(&mut client, "GET").await;
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("websocket")));
    client.write_all(b" late").await.unwrap();
    client.shutdown().await.unwrap();
    let mut echoed = exchange.rest();
    client.read_to_end(&mut echoed).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&echoed), "early late");
    assert!(backend.requests()[0].contains("connection: upgrade\r\nupgrade: websocket\r\n"));
    let mut other = bench.connect().await;
    let answer = request(
        &mut other,
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n",
    )
    .await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_the_connection_closed() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let bench = Bench::start(json!([to("be")]), &[("be", &backend)], json!({})).await;
    for (sent, status, body) in [
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            400,
            "Bad Request",
        ),
        ("GET / HTTP/1.0\r\n\r\n", 426, "Upgrade Required"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            400,
            "Bad Request",
        ),
    ] {
        let mut client = bench.connect().await;
        let answer = request(&mut client, sent).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{sent:?}");
        assert_eq!(answer.field("connection"), Some("close"));
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_slow_reader_slows_the_upstream() {
    const TOTAL: usize = 64 << 20;
    let backend = Backend::flooding(TOTAL).await;
    let bench = Bench::start(json!([to("be")]), &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    client.readable().await.unwrap();
    let held = backend.settled(&bench).await;
    // What is under way fits the sockets' buffers and one bounded queue of ours.
    assert!(held < TOTAL / 2, "{held} bytes were taken while nobody read");
    let mut exchange = Exchange::default();
    let answer = exchange.read(&mut client, "GET").await;
    assert_eq!(answer.body.len(), TOTAL);
}

#[tokio::test]
async fn grpc_over_http2_keeps_its_trailers_and_gets_replies_of_its_own() {
    let backend = Backend::http2_grpc().await;
    let mut upstream = bench::cluster("be", &[backend.address()]);
    upstream["typed_extension_protocol_options"] = bench::http2_upstream();
    let none = bench::cluster("none", &[]);
    let routes = json!([
        {"match": {"path": "/none"}, "route": {"cluster": "none"}},
        {"match": {"prefix": "/s/"}, "route": {"cluster": "be"}},
    ]);
    let trailers = json!({"manager": {"http_protocol_options": {"enable_trailers": true}}});
    let bench = Bench::with_clusters(routes, json!([upstream, none]), trailers).await;
    let sender = bench.connect_http2().await;
    let answer = bench::grpc(&sender, "/s/m", b"\0\0\0\0\x02hi").await;
    assert_eq!((answer.status, answer.grpc_status.as_deref()), (200, Some("0")));
    assert_eq!(answer.body, b"\0\0\0\0\x02hi", "the message comes back");
    let answer = bench::grpc(&sender, "/none", b"").await;
    assert_eq!((answer.status, answer.grpc_status.as_deref()), (200, Some("14")));
    assert_eq!(answer.message.as_deref(), Some("no healthy upstream"));
    let answer = bench::grpc(&sender, "/missing", b"").await;
    assert_eq!(answer.grpc_status.as_deref(), Some("12"));
    // The same server asked by an HTTP/1 client: trailers come after chunks.
    let mut client = bench.connect().await;
    let answer = request(
        &mut client,
        "POST /s/m HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\nte: trailers\r\ncontent-length: 7\r\n\r\n\0\0\0\0\x02hi",
    )
    .await;
    assert_eq!(answer.trailers, "grpc-status: 0\r\n");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_upstream() {
    let silent = Backend::silent().await;
    let bench = Bench::start(json!([to("be")]), &[("be", &silent)], json!({})).await;
    let mut client = bench.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    silent.wait_for(1).await;
    drop(client);
    tokio::time::timeout(Duration::from_secs(5), silent.closed()).await.unwrap();
    assert!(bench.log().await.contains("0 DC downstream_remote_disconnect"));
    let sender = bench.connect_http2().await;
    let call = bench::grpc(&sender, "/s/m", b"x");
    let gone = tokio::time::timeout(Duration::from_secs(5), async {
        tokio::select! {
            _ = call => panic!("nobody answers"),
            () = silent.wait_for(2) => {}
        }
    });
    gone.await.unwrap();
    drop(sender);
    tokio::time::timeout(Duration::from_secs(5), silent.closed()).await.unwrap();
    let log = bench.log_of(2).await;
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[tokio::test]
async fn an_http2_client_and_an_http1_server_understand_each_other() {
    let backend = Backend::answering(
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n",
    )
    .await;
    let mut upstream = bench::cluster("be", &[backend.address()]);
    upstream["http_protocol_options"] = json!({"enable_trailers": true});
    let bench = Bench::with_clusters(json!([to("be")]), json!([upstream]), json!({})).await;
    let sender = bench.connect_http2().await;
    let answer = bench::grpc(&sender, "/s/m?x=1", b"abc").await;
    assert_eq!((answer.status, answer.grpc_status.as_deref()), (200, Some("0")));
    assert_eq!(answer.body, b"ok");
    let seen = &backend.requests()[0];
    assert!(seen.starts_with("POST /s/m?x=1 HTTP/1.1\r\nhost: a.test\r\n"), "{seen}");
    assert!(seen.contains("te: trailers\r\n") && seen.ends_with("3\r\nabc\r\n0\r\n\r\n"), "{seen}");
}

#[tokio::test]
async fn a_client_is_told_to_continue_and_a_closed_idle_connection_is_replaced() {
    let backend = Backend::one_answer_each("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let bench = Bench::start(json!([to("be")]), &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    client
        .write_all(
            b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n",
        )
        .await
        .unwrap();
    let mut exchange = Exchange::default();
    assert_eq!(exchange.read(&mut client, "GET").await.status, 100);
    client.write_all(b"x").await.unwrap();
    assert_eq!(exchange.read(&mut client, "POST").await.status, 200);
    assert!(!backend.requests()[0].contains("\r\nexpect:"));
    // The server closes after each answer without having said so.
    for _ in 0..5 {
        assert_eq!(request(&mut client, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 200);
    }
    assert_eq!(backend.connections(), 6);
}

#[tokio::test]
async fn rules_refuse_and_failing_endpoints_are_set_aside() {
    let failing = Backend::answering("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").await;
    let mut cluster = bench::cluster("be", &[failing.address()]);
    cluster["outlier_detection"] = json!({"consecutive_5xx": 2, "max_ejection_percent": 100});
    cluster["common_lb_config"] = json!({"healthy_panic_threshold": {"value": 0}});
    let rbac = json!({"name": "rbac", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": {"action": "DENY", "policies": {"no-admin": {
            "permissions": [{"url_path": {"path": {"prefix": "/admin"}}}], "principals": [{"any": true}]}}}}});
    let settings = json!({"filters": [rbac]});
    let mut route = to("be");
    route["response_headers_to_add"] =
        json!([{"header": {"key": "x-status", "value": "%RESPONSE_CODE%"}}]);
    let bench = Bench::with_clusters(json!([route]), json!([cluster]), settings).await;
    let mut client = bench.connect().await;
    let answer = request(&mut client, "GET /admin HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (403, "RBAC: access denied"));
    assert_eq!(answer.field("x-status"), Some("403"), "a route's edits are on our own answers too");
    for _ in 0..2 {
        let answer = request(&mut client, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!((answer.status, answer.body.as_str()), (503, ""));
    }
    let answer = request(&mut client, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "no healthy upstream"));
    assert!(bench.log().await.contains("403 - rbac_access_denied_matched_policy[no-admin]"));
}

#[tokio::test]
async fn a_large_upload_arrives_whole_over_http2() {
    let backend = Backend::http2_grpc().await;
    let mut upstream = bench::cluster("be", &[backend.address()]);
    upstream["typed_extension_protocol_options"] = bench::http2_upstream();
    let bench = Bench::with_clusters(json!([to("be")]), json!([upstream]), json!({})).await;
    let mut client = bench.connect().await;
    let content = "y".repeat(5 << 20);
    let text =
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{content}", content.len());
    let (mut read, mut write) = client.split();
    let sending = async { write.write_all(text.as_bytes()).await.unwrap() };
    let reading = async {
        let mut all = Vec::new();
        while !all.ends_with(b"\r\n\r\n") || !all.windows(5).any(|part| part == b"\r\n0\r\n") {
            let mut piece = vec![0; 64 * 1024];
            let count = read.read(&mut piece).await.unwrap();
            assert!(count > 0, "the answer ended early");
            all.extend_from_slice(&piece[..count]);
        }
        all.iter().filter(|byte| **byte == b'y').count()
    };
    let ((), echoed) = tokio::join!(sending, reading);
    assert!(echoed >= content.len(), "{echoed} bytes came back");
}

/// The key and the token of RFC 7515 §A.3; the token expired in 2011.
const KEYS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 173\r\n\r\n\
    {\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"1\",\
    \"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\
    \"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\",\"use\":\"sig\",\"alg\":\"ES256\"}]}";
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

#[tokio::test]
async fn tokens_are_checked_with_keys_that_are_fetched_once() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let issuer = Backend::answering(KEYS).await;
    let jwt = json!({"name": "jwt", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"p": {"issuer": "joe", "remote_jwks": {
            "http_uri": {"uri": format!("http://{}/keys", issuer.address()), "cluster": "issuer", "timeout": "5s"}}}},
        "rules": [{"match": {"prefix": "/secure"}, "requires": {"provider_name": "p"}}]}});
    let backends = [("be", &backend), ("issuer", &issuer)];
    let bench = Bench::start(json!([to("be")]), &backends, json!({"filters": [jwt]})).await;
    let mut client = bench.connect().await;
    assert_eq!(request(&mut client, "GET /open HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 200);
    let answer = request(&mut client, "GET /secure HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (401, "Jwt is missing"));
    assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"http://a/secure\""));
    let sent = format!("GET /secure HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    let answer = request(&mut client, &sent).await;
    assert_eq!((answer.status, answer.body.as_str()), (401, "Jwt is expired"));
    let fetches = issuer.requests();
    assert_eq!(fetches.len(), 1);
    assert!(fetches[0].starts_with("GET /keys HTTP/1.1\r\n"), "{}", fetches[0]);
}
