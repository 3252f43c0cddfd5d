//! What a message is, apart from its plain form: interim responses, no content, content until the
//! end of the connection, refused upgrades, letters of names, odd paths.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::{self, Backend, Bench, Exchange, read_request, request};

fn everywhere(cluster: &str) -> Value {
    json!([{"match": {"prefix": "/"}, "route": {"cluster": cluster}}])
}

/// What the proxy says until it closes.
async fn all_of(client: &mut TcpStream, text: &str) -> String {
    client.write_all(text.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    String::from_utf8(read).unwrap()
}

// RFC 9110 §15.2, RFC 8297.
#[tokio::test]
async fn interim_responses_reach_the_client_with_their_fields() {
    let backend = Backend::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 102 Processing\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let manager = json!({"manager": {"http_protocol_options": {"accept_http_10": true}}});
    let bench = Bench::start(everywhere("be"), &[("be", &backend)], manager).await;
    let mut client = bench.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut exchange = Exchange::default();
    let hints = exchange.read(&mut client, "HEAD").await;
    assert_eq!((hints.status, hints.field("link")), (103, Some("</a.css>; rel=preload")));
    let second = exchange.read(&mut client, "HEAD").await;
    assert_eq!(second.status, 102, "100 is answered by the proxy, so the server's stays here");
    let answer = exchange.read(&mut client, "GET").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    // A client of HTTP/1.0 knows none of them.
    let mut old = bench.connect().await;
    let all = all_of(&mut old, "GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
    assert!(all.starts_with("HTTP/1.0 200 OK\r\n"), "{all}");
}

// RFC 9110 §10.1.1; Envoy `proxy_100_continue`.
#[tokio::test]
async fn a_server_is_asked_whether_to_continue_when_that_is_configured() {
    let backend = Backend::start(|mut stream, seen| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let text = String::from_utf8(head).unwrap();
        let refused = text.contains("/no");
        seen.add(text);
        if refused {
            let answer = b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            return;
        }
        stream.write_all(b"HTTP/1.1 100 Continue\r\nx-go: 1\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 3]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let manager = json!({"manager": {"proxy_100_continue": true}});
    let bench = Bench::start(everywhere("be"), &[("be", &backend)], manager).await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
        )
    };
    let mut client = bench.connect().await;
    client.write_all(head("/yes").as_bytes()).await.unwrap();
    let mut exchange = Exchange::default();
    let go = exchange.read(&mut client, "HEAD").await;
    assert_eq!((go.status, go.field("x-go")), (100, Some("1")));
    client.write_all(b"abc").await.unwrap();
    assert_eq!(exchange.read(&mut client, "POST").await.status, 200);
    let mut client = bench.connect().await;
    assert_eq!(request(&mut client, &head("/no")).await.status, 417);
    assert!(backend.requests().iter().all(|seen| seen.contains("\r\nexpect: 100-continue\r\n")));
}

// RFC 9110 §9.3.2, §15.3.5, §15.4.5; RFC 9112 §6.3.
#[tokio::test]
async fn what_has_no_content_leaves_the_connection_in_step() {
    for (answer, length) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: \"x\"\r\n\r\n", Some("5")),
    ] {
        let backend = Backend::answering(answer).await;
        let bench = Bench::start(everywhere("be"), &[("be", &backend)], json!({})).await;
        let mut client = bench.connect().await;
        for _ in 0..2 {
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut exchange = Exchange::default();
            let read = exchange.read(&mut client, "HEAD").await;
            assert_eq!(read.field("content-length"), length, "{answer}");
            assert_eq!(read.field("transfer-encoding"), None);
            assert!(exchange.rest().is_empty());
        }
        assert_eq!(backend.connections(), 1);
    }
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let bench = Bench::start(everywhere("be"), &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    for _ in 0..2 {
        client.write_all(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(Exchange::default().read_head(&mut client).await.status, 200);
    }
    assert_eq!(backend.connections(), 1);
}

// RFC 9112 §6.3, case 8.
#[tokio::test]
async fn content_that_ends_with_the_connection_arrives_whole_and_ends_the_message() {
    let backend = Backend::one_answer_each("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    let bench = Bench::start(everywhere("be"), &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    for _ in 0..2 {
        let answer = request(&mut client, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.body, "until the end");
    }
}

// Case upgrade/websocket-refused of the differential suite.
#[tokio::test]
async fn a_refused_upgrade_keeps_its_body_but_for_the_one_that_was_not_understood() {
    for (answer, body, details) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nno tunnel",
            "",
            "- websocket_handshake_unsuccessful",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwrong\r\n0\r\n\r\n",
            "wrong",
            "- via_upstream",
        ),
        ("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n", "", "- via_upstream"),
    ] {
        let backend = Backend::answering(answer).await;
        let manager = json!({"manager": {"upgrade_configs": [{"upgrade_type": "websocket"}]}});
        let bench = Bench::start(everywhere("be"), &[("be", &backend)], manager).await;
        let mut client = bench.connect().await;
        let read = request(
            &mut client,
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await;
        assert_eq!((read.body.as_str(), read.field("connection")), (body, Some("close")));
        assert!(bench.log().await.contains(details));
    }
}

// Envoy's CONNECT: a route of its own, and the upgrade type `CONNECT`.
#[tokio::test]
async fn connect_becomes_a_tunnel_where_it_is_configured() {
    let backend = Backend::start(|mut stream, seen| async move {
        let mut buffer = Vec::new();
        let Some(head) = read_request(&mut stream, &mut buffer).await else { return };
        seen.add(head);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        stream.write_all(&buffer).await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.shutdown().await.unwrap();
    })
    .await;
    let routes = json!([{"match": {"connect_matcher": {}}, "route": {"cluster": "be"}}]);
    let manager = json!({"manager": {"upgrade_configs": [{"upgrade_type": "CONNECT"}]}});
    let bench = Bench::start(routes, &[("be", &backend)], manager).await;
    let mut client = bench.connect().await;
    client.write_all(b"CONNECT far.test:443 HTTP/1.1\r\nhost: far.test:443\r\n\r\n").await.unwrap();
    let mut exchange = Exchange::default();
    assert_eq!(exchange.read_head(&mut client).await.status, 200);
    client.write_all(b"opaque").await.unwrap();
    client.shutdown().await.unwrap();
    let mut echoed = exchange.rest();
    client.read_to_end(&mut echoed).await.unwrap();
    assert_eq!(echoed, b"opaque");
    assert!(backend.requests()[0].starts_with("CONNECT far.test:443 HTTP/1.1\r\n"));
}

// Envoy `header_key_format`, formatter `preserve_case`: who reads a head keeps its letters, and they go
// out whatever the other side is told.
#[tokio::test]
async fn letters_of_names_stay_as_they_were_where_the_reader_keeps_them() {
    let backend =
        Backend::answering("HTTP/1.1 200 OK\r\nX-OlD-Name: 1\r\nContent-LENGTH: 0\r\n\r\n").await;
    let keep = json!({"header_key_format": {"stateful_formatter": {"name": "preserve_case",
        "typed_config": {"@type":
            "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"}}}});
    let sent = "POST / HTTP/1.1\r\nHost: a\r\nX-SoMe-CaSe: v\r\nContent-Length: 1\r\n\r\nx";
    for (requests, responses) in [(true, false), (false, true)] {
        let mut upstream = bench::cluster("be", &[backend.address()]);
        if responses {
            upstream["http_protocol_options"] = keep.clone();
        }
        let settings =
            if requests { json!({"manager": {"http_protocol_options": keep}}) } else { json!({}) };
        let bench = Bench::with_clusters(everywhere("be"), json!([upstream]), settings).await;
        let mut client = bench.connect().await;
        let answer = request(&mut client, sent).await;
        let names = if responses {
            ["X-OlD-Name", "Content-LENGTH"]
        } else {
            ["x-old-name", "content-length"]
        };
        assert!(names.iter().all(|name| answer.field(name).is_some()), "{names:?} in {answer:?}");
        let seen = backend.requests();
        let last = seen.last().unwrap();
        let lines = if requests {
            ["Host: a\r\n", "X-SoMe-CaSe: v\r\n", "Content-Length: 1\r\n"]
        } else {
            ["host: a\r\n", "x-some-case: v\r\n", "content-length: 1\r\n"]
        };
        assert!(lines.iter().all(|line| last.contains(line)), "{lines:?} in {last}");
    }
}

// Envoy `path_with_escaped_slashes_action`, `merge_slashes`, `normalize_path`.
#[tokio::test]
async fn odd_paths_become_what_is_configured() {
    for (action, status, location, seen) in [
        ("KEEP_UNCHANGED", 200, None, Some("/a%2Fb/c")),
        ("REJECT_REQUEST", 400, None, None),
        ("UNESCAPE_AND_REDIRECT", 307, Some("/a/b/c?q=%2F"), None),
        ("UNESCAPE_AND_FORWARD", 200, None, Some("/a/b/c")),
    ] {
        let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let manager = json!({"manager": {"normalize_path": true, "merge_slashes": true,
            "path_with_escaped_slashes_action": action}});
        let bench = Bench::start(everywhere("be"), &[("be", &backend)], manager).await;
        let mut client = bench.connect().await;
        let text = "GET /x/../a%2Fb//./c?q=%2F HTTP/1.1\r\nhost: a\r\n\r\n";
        let answer = request(&mut client, text).await;
        assert_eq!((answer.status, answer.field("location")), (status, location), "{action}");
        let start = seen.map(|path| format!("GET {path}?q=%2F HTTP/1.1\r\n"));
        let requests = backend.requests();
        assert_eq!(requests.len(), usize::from(start.is_some()), "{action}");
        if let Some(start) = start {
            assert!(requests[0].starts_with(&start), "{action}: {}", requests[0]);
        }
    }
}

// RFC 9110 §7.6.2.
#[tokio::test]
async fn max_forwards_is_counted_down_and_ends_at_zero() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let bench = Bench::start(everywhere("be"), &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    let ask = |method: &str, left: &str| {
        format!("{method} / HTTP/1.1\r\nhost: a\r\nmax-forwards: {left}\r\n\r\n")
    };
    for (method, status) in [("OPTIONS", 200), ("TRACE", 501)] {
        assert_eq!(request(&mut client, &ask(method, "0")).await.status, status);
    }
    assert_eq!(backend.connections(), 0, "they end here");
    for (method, left) in [("OPTIONS", "1"), ("TRACE", "5"), ("GET", "0"), ("OPTIONS", "x")] {
        assert_eq!(request(&mut client, &ask(method, left)).await.body, "ok");
    }
    let seen = backend.requests();
    for (request, left) in seen.iter().zip(["0", "4", "0", "x"]) {
        assert!(request.contains(&format!("max-forwards: {left}\r\n")), "{request}");
    }
    assert_eq!(seen.len(), 4);
}

// RFC 9112 §3.2; Envoy the same.
#[tokio::test]
async fn a_request_that_names_no_host_is_refused_by_any_version() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let manager = json!({"manager": {"http_protocol_options": {"accept_http_10": true}}});
    let bench = Bench::start(everywhere("be"), &[("be", &backend)], manager).await;
    for head in
        ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nhost:\r\n\r\n"]
    {
        let mut client = bench.connect().await;
        let all = all_of(&mut client, head).await;
        assert!(all.contains(" 400 Bad Request\r\n"), "{head:?}: {all}");
    }
    assert_eq!(backend.connections(), 0);
}

// RFC 8441 §5: the client sends no key, and the server opens nothing without.
#[tokio::test]
async fn a_websocket_over_http2_reaches_a_server_of_http1() {
    let backend = Backend::upgrading().await;
    let settings = json!({"manager": {
        "http2_protocol_options": {"allow_connect": true},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
    }});
    let bench = Bench::start(everywhere("be"), &[("be", &backend)], settings).await;
    let mut sender = bench.connect_http2().await;
    while !sender.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let asked = http::Request::builder()
        .method("CONNECT")
        .uri("http://a/chat")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    let (response, mut stream) = sender.send_request(asked, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    stream.send_data("ping".into(), true).unwrap();
    let echoed = response.into_body().data().await.unwrap().unwrap();
    assert_eq!(echoed, "ping");
    let seen = backend.requests().remove(0);
    assert!(seen.starts_with("GET /chat HTTP/1.1\r\nhost: a\r\n"), "{seen}");
    assert!(seen.contains("connection: upgrade\r\nupgrade: websocket\r\n"), "{seen}");
    let key = seen.split("sec-websocket-key: ").nth(1).and_then(|rest| rest.split('\r').next());
    assert_eq!(key.map(|key| (key.len(), &key[22..])), Some((24, "==")), "{seen}");
}
