//! Rules of RFC 9110 §7, RFC 9112 §9 and RFC 9113 that only a whole proxy shows.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::bench::{self, Backend, Bench, Exchange, read_request, request};
use crate::frames::{Client, END_STREAM, RST_STREAM, data, headers, reset};
use crate::to;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn before(backend: &Backend, settings: Value) -> Bench {
    Bench::start(json!([to("be")]), &[("be", backend)], settings).await
}

/// Everything until the proxy has closed; it must not be cut off by a reset.
async fn rest_of(client: &mut TcpStream) -> String {
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    String::from_utf8(read).unwrap()
}

/// The head of a request, and nothing of what follows it.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn rfc9110_7_3_a_request_goes_where_its_route_says_whatever_its_target_names() {
    let (backend, named) = (Backend::answering(OK).await, Backend::answering(OK).await);
    let bench = before(&backend, json!({})).await;
    let mut client = bench.connect().await;
    let text = format!("GET http://{}/x HTTP/1.1\r\nhost: a\r\n\r\n", named.address());
    assert_eq!(request(&mut client, &text).await.status, 200);
    assert_eq!(named.connections(), 0);
    let asked = format!("GET /x HTTP/1.1\r\nhost: {}\r\n", named.address());
    assert!(backend.requests()[0].starts_with(&asked), "{:?}", backend.requests());
}

#[tokio::test]
async fn rfc9110_7_4_a_scheme_that_the_connection_has_not_is_not_passed_on() {
    let (told, mut hears) = mpsc::channel(4);
    let multiplexed = Backend::start(move |stream, _| {
        let told = told.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                told.send(request.uri().scheme_str().map(str::to_owned)).await.unwrap();
                respond.send_response(http::Response::new(()), true).unwrap();
            }
        }
    })
    .await;
    let plain = Backend::answering(OK).await;
    let mut upstream = bench::cluster("h2", &[multiplexed.address()]);
    upstream["typed_extension_protocol_options"] = bench::http2_upstream();
    let clusters = json!([upstream, bench::cluster("h1", &[plain.address()])]);
    let routes = json!([{"match": {"prefix": "/2"}, "route": {"cluster": "h2"}}, to("h1")]);
    let bench = Bench::with_clusters(routes, clusters, json!({})).await;
    let mut old = bench.connect().await;
    let mut client = Client::greeted(&bench, &[]).await;
    for (place, path) in (0..).zip(["/1", "/2"]) {
        let text = format!("GET https://a{path} HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(request(&mut old, &text).await.status, 200);
        let secure =
            [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", path)];
        client.send(&headers(1 + 2 * place, END_STREAM, &secure)).await;
        assert_eq!(client.answer().await.0, 200);
    }
    let seen = plain.requests();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|head| head.contains("\r\nx-forwarded-proto: http\r\n")), "{seen:?}");
    for _ in 0..2 {
        assert_eq!(hears.recv().await.unwrap().as_deref(), Some("http"));
    }
}

#[tokio::test]
async fn rfc9110_7_5_an_upload_goes_on_while_its_response_comes() {
    let backend = Backend::start(|mut stream, seen| async move {
        read_head(&mut stream).await;
        let first = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n";
        stream.write_all(first).await.unwrap();
        let mut content = [0; 8];
        stream.read_exact(&mut content).await.unwrap();
        seen.add(String::from_utf8(content.to_vec()).unwrap());
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    })
    .await;
    let bench = before(&backend, json!({})).await;
    let mut client = bench.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut exchange = Exchange::default();
    assert_eq!(exchange.read_head(&mut client).await.status, 200);
    client.write_all(b"the rest").await.unwrap();
    let mut content = exchange.rest();
    while !content.ends_with(b"0\r\n\r\n") {
        assert!(client.read_buf(&mut content).await.unwrap() > 0, "{content:?}");
    }
    assert_eq!(backend.requests(), ["the rest"]);
}

// A relay leads back to the proxy itself. Each pass holds a request of the cluster.
#[tokio::test]
async fn rfc9110_7_6_a_request_that_comes_back_ends_at_the_circuit_breaker() {
    let proxy = Arc::new(OnceLock::new());
    let known = Arc::clone(&proxy);
    let relay = Backend::start(move |mut stream, _| {
        let proxy = Arc::clone(&known);
        async move {
            let mut back = TcpStream::connect(proxy.get().copied().unwrap()).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut stream, &mut back).await);
        }
    })
    .await;
    let mut cluster = bench::cluster("be", &[relay.address()]);
    cluster["circuit_breakers"] = json!({"thresholds": [{"max_requests": 20}]});
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    proxy.set(bench.address()).unwrap();
    let answer = request(&mut bench.connect().await, GET).await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.ends_with("reset reason: overflow"), "{}", answer.body);
    assert!(relay.connections() <= 21, "the last has no request any more");
    bench.stat_is("cluster.be.upstream_rq_active", 0).await;
}

#[tokio::test]
async fn rfc9110_7_7_target_and_content_arrive_as_they_were_sent() {
    let target = "/A//b/./%2e%2E/c%2Fd;p=1/?q=%20&&a=B?/../x%zz";
    let content: Vec<u8> = (0..=255).collect();
    let kept = "cache-control: no-transform\r\ncontent-encoding: gzip\r\netag: \"x\"\r\n\
                content-type: text/html\r\ncontent-length: 256\r\n";
    let answer: &'static [u8] =
        [format!("HTTP/1.1 200 OK\r\n{kept}\r\n").as_bytes(), &content].concat().leak();
    let (told, mut hears) = mpsc::channel(1);
    let backend = Backend::start(move |mut stream, seen| {
        let told = told.clone();
        async move {
            seen.add(read_head(&mut stream).await);
            let mut content = vec![0; 256];
            stream.read_exact(&mut content).await.unwrap();
            told.send(content).await.unwrap();
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let bench = before(&backend, json!({})).await;
    let mut client = bench.connect().await;
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: Shop.Test.\r\naccept-encoding: gzip, br\r\n{kept}\r\n"
    );
    client.write_all(&[head.as_bytes(), &content].concat()).await.unwrap();
    let mut exchange = Exchange::default();
    let answer = exchange.read_head(&mut client).await;
    let mut read = exchange.rest();
    while read.len() < content.len() {
        assert!(client.read_buf(&mut read).await.unwrap() > 0, "{read:?}");
    }
    assert_eq!(read, content);
    assert_eq!(hears.recv().await.unwrap(), content);
    let seen = backend.requests().remove(0);
    assert!(seen.starts_with(&format!("POST {target} HTTP/1.1\r\nhost: Shop.Test.\r\n")), "{seen}");
    for line in kept.split_terminator("\r\n") {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line} in {seen}");
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(answer.field(name), Some(value));
    }
}

#[tokio::test]
async fn rfc9110_7_8_a_client_is_told_to_continue_before_its_protocol_changes() {
    let backend = Backend::upgrading().await;
    let manager = json!({"manager": {"upgrade_configs": [{"upgrade_type": "websocket"}]}});
    let bench = before(&backend, manager).await;
    let mut client = bench.connect().await;
    let asked = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 expect: 100-continue\r\n\r\n";
    client.write_all(asked.as_bytes()).await.unwrap();
    let mut exchange = Exchange::default();
    assert_eq!(exchange.read_head(&mut client).await.status, 100);
    let switched = exchange.read_head(&mut client).await;
    assert_eq!((switched.status, switched.field("upgrade")), (101, Some("websocket")));
    assert_eq!(switched.field("connection"), Some("upgrade"));
}

#[tokio::test]
async fn rfc9112_9_5_whoever_waits_too_long_sees_an_orderly_end() {
    let backend = Backend::answering(OK).await;
    let manager = json!({"manager": {"common_http_protocol_options": {"idle_timeout": "0.1s"}}});
    let bench = before(&backend, manager).await;
    let mut client = bench.connect().await;
    assert_eq!(request(&mut client, GET).await.status, 200);
    assert_eq!(rest_of(&mut client).await, "");
}

#[tokio::test]
async fn rfc9112_9_5_a_connection_that_its_other_end_closed_is_closed_here_too() {
    let backend = Backend::one_answer_each(OK).await;
    let bench = before(&backend, json!({})).await;
    let mut client = bench.connect().await;
    assert_eq!(request(&mut client, GET).await.status, 200);
    // Nothing is asked of either connection any more.
    bench.stat_is("cluster.be.upstream_cx_active", 0).await;
    assert_eq!(bench.stat("http.in.downstream_cx_active").await, 1);
    drop(client);
    bench.stat_is("http.in.downstream_cx_active", 0).await;
}

#[tokio::test]
async fn rfc9112_9_5_an_upload_that_its_server_refuses_stops() {
    let (told, mut hears) = mpsc::channel(1);
    let backend = Backend::start(move |mut stream, _| {
        let told = told.clone();
        async move {
            read_head(&mut stream).await;
            let answer =
                b"HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig";
            stream.write_all(answer).await.unwrap();
            let mut uploaded = Vec::new();
            drop(stream.read_to_end(&mut uploaded).await);
            told.send(uploaded.len()).await.unwrap();
        }
    })
    .await;
    let bench = before(&backend, json!({})).await;
    let mut client = bench.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\nfirst";
    client.write_all(head.as_bytes()).await.unwrap();
    let answer = Exchange::default().read(&mut client, "POST").await;
    assert_eq!((answer.status, answer.body.as_str()), (413, "big"));
    assert_eq!(answer.field("connection"), Some("close"));
    // The client has said no more, and has not closed: that the server sees an end is the proxy's doing.
    assert_eq!(hears.recv().await, Some("first".len()));
}

#[tokio::test]
async fn rfc9112_9_6_after_close_nothing_further_is_served() {
    let backend = Backend::answering(OK).await;
    let bench = before(&backend, json!({})).await;
    let mut client = bench.connect().await;
    let both = format!("GET /1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n{GET}");
    client.write_all(both.as_bytes()).await.unwrap();
    let all = rest_of(&mut client).await;
    assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{all}");
    assert!(all.contains("\r\nconnection: close\r\n") && all.ends_with("\r\n\r\nok"), "{all}");
    assert_eq!(backend.requests().len(), 1);
    // The same where it is the proxy that has had enough.
    let options = json!({"common_http_protocol_options": {"max_requests_per_connection": 1}});
    let bench = before(&backend, json!({"manager": options})).await;
    let mut client = bench.connect().await;
    client.write_all(GET.repeat(2).as_bytes()).await.unwrap();
    let all = rest_of(&mut client).await;
    assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{all}");
    assert!(all.contains("\r\nconnection: close\r\n"), "{all}");
    assert_eq!(backend.requests().len(), 2);
}

#[tokio::test]
async fn rfc9112_9_6_a_server_that_says_close_is_asked_no_more_and_left() {
    let (told, mut hears) = mpsc::channel(4);
    let backend = Backend::start(move |mut stream, seen| {
        let told = told.clone();
        async move {
            let mut buffer = Vec::new();
            let mut served = 0;
            while let Some(request) = read_request(&mut stream, &mut buffer).await {
                seen.add(request);
                served += 1;
                let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
            told.send(served).await.unwrap();
        }
    })
    .await;
    let bench = before(&backend, json!({})).await;
    let mut client = bench.connect().await;
    for _ in 0..2 {
        let answer = request(&mut client, GET).await;
        assert_eq!((answer.status, answer.field("connection")), (200, None));
        assert_eq!(hears.recv().await, Some(1), "the proxy closes, the server does not");
    }
    assert_eq!(backend.connections(), 2);
}

// What is written ahead of a reset may be lost: so the proxy reads what still comes.
#[tokio::test]
async fn rfc9112_9_6_the_last_response_is_not_lost_to_what_the_client_still_sends() {
    let backend = Backend::answering(OK).await;
    let routes = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 403}}]);
    let bench = Bench::start(routes, &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&vec![b'x'; 8_000_000]).await.unwrap();
    let all = rest_of(&mut client).await;
    assert!(all.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{all}");
    assert!(all.contains("\r\nconnection: close\r\n"), "{all}");
    assert_eq!(backend.connections(), 0);
}

/// A server's end of TLS that agrees to these protocols.
fn acceptor(protocols: &[&str]) -> tokio_rustls::TlsAcceptor {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    let certificate = names.self_signed(&key).unwrap().der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

/// Accepts TLS, and tells how the proxy ended each connection on which it was asked once.
async fn secure(answer: &'static str) -> (Backend, mpsc::Receiver<std::io::Result<usize>>) {
    let acceptor = acceptor(&[]);
    let (told, hears) = mpsc::channel(4);
    let backend = Backend::start(move |stream, _| {
        let (acceptor, told) = (acceptor.clone(), told.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut buffer = Vec::new();
            while !buffer.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut buffer).await.unwrap() > 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            if answer.contains("connection: close") {
                told.send(stream.read(&mut [0; 1]).await).await.unwrap();
            }
            // Dropped without a word of TLS.
        }
    })
    .await;
    (backend, hears)
}

/// A cluster that is reached by TLS.
fn secured(mut cluster: Value) -> Value {
    cluster["transport_socket"] = json!({"name": "tls", "typed_config": {"@type":
        "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"}});
    cluster
}

async fn before_secure(backend: &Backend) -> Bench {
    let cluster = secured(bench::cluster("be", &[backend.address()]));
    Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await
}

#[tokio::test]
async fn rfc9112_9_8_a_response_is_whole_or_not_whatever_tls_says_at_its_end() {
    let (backend, _) = secure("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole").await;
    let bench = before_secure(&backend).await;
    let mut client = bench.connect().await;
    assert_eq!(request(&mut client, GET).await.body, "whole");
    // Content that lasts until the end has none without the alert that says so.
    let (backend, _) = secure("HTTP/1.1 200 OK\r\n\r\ncut").await;
    let bench = before_secure(&backend).await;
    let mut client = bench.connect().await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let all = rest_of(&mut client).await;
    assert!(all.ends_with("\r\n\r\n3\r\ncut\r\n"), "not ended by a last chunk: {all:?}");
}

#[tokio::test]
async fn rfc9112_9_8_a_server_hears_the_end_of_tls_before_that_of_the_connection() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let (backend, mut hears) = secure(answer).await;
    let bench = before_secure(&backend).await;
    assert_eq!(request(&mut bench.connect().await, GET).await.status, 200);
    let end = hears.recv().await.unwrap();
    assert!(matches!(end, Ok(0)), "the alert came: {end:?}");
}

// RFC 9113 §3.2, §3.3.
#[tokio::test]
async fn rfc9113_3_3_http2_over_tls_is_agreed_upon_as_h2_and_nothing_else() {
    for (protocols, status) in [(&["http/1.1", "h2"][..], 200), (&["h2c", "h2-16"], 503)] {
        let acceptor = acceptor(protocols);
        let backend = Backend::start(move |stream, seen| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
                seen.add(String::from_utf8(agreed).unwrap());
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_response(http::Response::new(()), true).unwrap();
                }
            }
        })
        .await;
        let mut cluster = secured(bench::cluster("be", &[backend.address()]));
        cluster["typed_extension_protocol_options"] = bench::http2_upstream();
        let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
        assert_eq!(request(&mut bench.connect().await, GET).await.status, status);
        let expected: &[&str] = if status == 200 { &["h2"] } else { &[] };
        assert_eq!(backend.requests(), expected);
    }
}

#[tokio::test]
async fn rfc9113_8_5_a_tunnel_that_breaks_breaks_at_both_ends() {
    let backend = Backend::start(|mut stream, seen| async move {
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        if word == *b"die!" {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            return;
        }
        stream.write_all(b"here").await.unwrap();
        let end = stream.read(&mut [0; 1]).await;
        seen.add(end.map_or_else(|error| format!("{:?}", error.kind()), |_| "end".to_owned()));
    })
    .await;
    let routes = json!([{"match": {"connect_matcher": {}}, "route": {"cluster": "be",
        "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}}]);
    let settings = json!({"manager": {"http2_protocol_options": {"allow_connect": true}}});
    let bench = Bench::start(routes, &[("be", &backend)], settings).await;
    let mut client = Client::greeted(&bench, &[]).await;
    let connect = [(":method", "CONNECT"), (":authority", "far.test:443")];
    for (stream, word) in [(1, b"die!"), (3, b"live"), (5, b"live")] {
        client.send(&headers(stream, 0, &connect)).await;
        assert_eq!(client.next_head().await.1.status(), 200);
        client.send(&data(stream, 0, word)).await;
        let frame = client.message().await.unwrap();
        match stream {
            // The server's connection is reset: CONNECT_ERROR.
            1 => assert_eq!((frame.kind, frame.stream, frame.number()), (RST_STREAM, 1, 0xa)),
            // The client's stream is reset.
            3 => {
                client.send(&reset(stream, 8)).await;
                backend.wait_for(1).await;
            }
            // It ends.
            _ => {
                client.send(&data(stream, END_STREAM, b"")).await;
                backend.wait_for(2).await;
            }
        }
    }
    assert_eq!(backend.requests(), ["ConnectionReset", "end"]);
}

// RFC 9113 §6.8, §9.1: what of a connection was looked at its server knows before it ends.
#[tokio::test]
async fn rfc9113_9_1_a_server_is_told_before_its_connection_closes() {
    let (told, mut hears) = mpsc::channel(4);
    let backend = Backend::start(move |mut stream, _| {
        let told = told.clone();
        async move {
            stream.read_exact(&mut [0; 24]).await.unwrap();
            stream.write_all(&crate::frames::settings(&[])).await.unwrap();
            let mut reader = Client::over(stream);
            while let Some(frame) = reader.frame().await {
                match frame.kind {
                    crate::frames::HEADERS => {
                        let answer = headers(frame.stream, END_STREAM, &[(":status", "200")]);
                        reader.send(&answer).await;
                    }
                    crate::frames::GOAWAY => told.send(Some(frame.goaway())).await.unwrap(),
                    _ => {}
                }
            }
            told.send(None).await.unwrap();
        }
    })
    .await;
    let mut cluster = bench::cluster("be", &[backend.address()]);
    let mut options = bench::http2_upstream();
    options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["common_http_protocol_options"] =
        json!({"idle_timeout": "0.1s"});
    cluster["typed_extension_protocol_options"] = options;
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    assert_eq!(request(&mut bench.connect().await, GET).await.status, 200);
    // No stream of the server's was looked at, and nothing went wrong; then comes the end.
    assert_eq!(hears.recv().await.unwrap(), Some((0, 0)));
    assert_eq!(hears.recv().await.unwrap(), None);
}

#[tokio::test]
async fn rfc9112_9_3_a_request_that_is_not_read_whole_ends_its_connection() {
    let backend = Backend::answering(OK).await;
    let routes = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 403}}]);
    let bench = Bench::start(routes, &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    let (mut reading, mut writing) = client.split();
    let begun = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\npart";
    writing.write_all(begun.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("connection: close\r\n") {
        assert!(reading.read_buf(&mut read).await.unwrap() > 0);
    }
    // What follows is no request any more.
    drop(writing.write_all(GET.repeat(3).as_bytes()).await);
    drop(writing.shutdown().await);
    reading.read_to_end(&mut read).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&read).matches("HTTP/1.1 ").count(), 1);
}
