//! HTTP/2 through the proxy: what reaches the other side, and how streams end there.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::bench::{self, Backend, Bench, Exchange, Seen, detach, read_request, request};
use crate::frames::{
    CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, block, frame,
    request as block_of,
};

fn everywhere() -> Value {
    json!([{"match": {"prefix": "/"}, "route": {"cluster": "be", "timeout": "0s"}}])
}

/// A proxy before a server of HTTP/2.
async fn before_http2(backend: &Backend, settings: Value) -> Bench {
    let mut upstream = bench::cluster("be", &[backend.address()]);
    upstream["typed_extension_protocol_options"] = bench::http2_upstream();
    Bench::with_clusters(everywhere(), json!([upstream]), settings).await
}

/// A server of HTTP/2 that does with each request what `serve` does.
async fn http2<F>(
    serve: impl Fn(http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>, Arc<Seen>) -> F
    + Clone
    + Send
    + 'static,
) -> Backend
where
    F: Future<Output = ()> + Send + 'static,
{
    Backend::start(move |stream: TcpStream, seen| {
        let serve = serve.clone();
        async move {
            let mut builder = h2::server::Builder::new();
            builder.enable_connect_protocol();
            let mut connection = builder.handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                detach(serve(request, respond, Arc::clone(&seen)));
            }
        }
    })
    .await
}

fn ok() -> http::Response<()> {
    http::Response::new(())
}

// RFC 9113 §8.1: END_STREAM stands on the last frame that says something.
#[tokio::test]
async fn messages_end_on_their_last_frame() {
    let backend = Backend::start(|mut stream, seen| async move {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            let answer: &[u8] = match request.split(' ').nth(1).unwrap() {
                "/none" => b"HTTP/1.1 204 No Content\r\n\r\n",
                "/zero" => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                "/some" => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                _ => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\ngrpc-status: 0\r\n\r\n",
            };
            seen.add(request);
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let mut upstream = bench::cluster("be", &[backend.address()]);
    upstream["http_protocol_options"] = json!({"enable_trailers": true});
    let bench = Bench::with_clusters(everywhere(), json!([upstream]), json!({})).await;
    let mut client = Client::greeted(&bench, &[]).await;
    for (stream, path, frames) in [
        (1, "/none", &[(HEADERS, true)][..]),
        (3, "/zero", &[(HEADERS, true)]),
        (5, "/some", &[(HEADERS, false), (DATA, true)]),
        (7, "/trailers", &[(HEADERS, false), (HEADERS, true)]),
    ] {
        client.get(stream, path).await;
        let mut seen = Vec::new();
        loop {
            let frame = client.message().await.unwrap();
            let ends = frame.ends();
            seen.push((frame.kind, ends));
            if ends {
                break;
            }
        }
        assert_eq!(seen, frames, "{path}");
    }
    assert!(backend.requests().iter().all(|request| !request.contains("transfer-encoding")));
}

#[tokio::test]
async fn a_client_that_gives_up_is_told_to_the_server() {
    let (told, mut hears) = mpsc::channel(4);
    let backend = http2(move |_request, mut respond, seen| {
        let told = told.clone();
        async move {
            seen.add(String::new());
            let reason = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            told.send(reason.unwrap()).await.unwrap();
        }
    })
    .await;
    let bench = before_http2(&backend, json!({})).await;
    let mut client = Client::greeted(&bench, &[]).await;
    client.get(1, "/").await;
    backend.wait_for(1).await;
    client.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await;
    assert_eq!(hears.recv().await, Some(h2::Reason::CANCEL));
    // A connection that is gone gives up what was on it.
    client.get(3, "/").await;
    backend.wait_for(2).await;
    drop(client);
    assert_eq!(hears.recv().await, Some(h2::Reason::CANCEL));
    // So does a client of HTTP/1 that closes.
    let mut old = bench.connect().await;
    old.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    backend.wait_for(3).await;
    drop(old);
    assert_eq!(hears.recv().await, Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_server_that_breaks_off_is_told_to_the_client() {
    for (reason, code) in [
        (h2::Reason::ENHANCE_YOUR_CALM, 0xb),
        (h2::Reason::CANCEL, 0x8),
        // A client that heard of a refusal would send the request again.
        (h2::Reason::REFUSED_STREAM, 0x2),
        (h2::Reason::PROTOCOL_ERROR, 0x2),
    ] {
        let backend = http2(move |_request, mut respond, _seen| async move {
            let mut stream = respond.send_response(ok(), false).unwrap();
            stream.send_data("part".into(), false).unwrap();
            tokio::task::yield_now().await;
            stream.send_reset(reason);
        })
        .await;
        let bench = before_http2(&backend, json!({})).await;
        let mut client = Client::greeted(&bench, &[]).await;
        client.get(1, "/").await;
        let frame = loop {
            let frame = client.message().await.unwrap();
            if frame.kind == RST_STREAM {
                break frame;
            }
        };
        assert!([code, 0x2].contains(&frame.number()) && frame.stream == 1, "{reason}: {frame:?}");
    }
    // HTTP/1 has no codes: less content than announced.
    let backend =
        Backend::one_answer_each("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive!").await;
    let bench = Bench::start(everywhere(), &[("be", &backend)], json!({})).await;
    let mut client = Client::greeted(&bench, &[]).await;
    client.get(1, "/").await;
    let (head, _) = client.next_head().await;
    assert!(!head.ends());
    assert_eq!(client.message().await.unwrap().payload, b"five!");
    let reset = client.message().await.unwrap();
    assert_eq!((reset.kind, reset.number()), (RST_STREAM, 0x2));
    // A server that stops within its message speaks no HTTP, as Envoy sees it.
    assert!(bench.log().await.contains("upstream_reset_after_response_started{protocol_error}"));
}

#[tokio::test]
async fn a_refused_stream_is_tried_again_and_never_refused_to_the_client() {
    let backend = http2(move |_request, mut respond, seen| async move {
        seen.add(String::new());
        respond.send_reset(h2::Reason::REFUSED_STREAM);
    })
    .await;
    let bench = before_http2(&backend, json!({})).await;
    let mut client = Client::greeted(&bench, &[]).await;
    client.get(1, "/").await;
    let (status, content) = client.answer().await;
    assert_eq!(status, 503);
    assert!(String::from_utf8(content).unwrap().ends_with("remote refused stream reset"));
}

// RFC 8441: a client of HTTP/2 before a server of HTTP/1.
#[tokio::test]
async fn an_extended_connect_becomes_an_upgrade() {
    let backend = Backend::upgrading().await;
    let settings = json!({"manager": {"upgrade_configs": [{"upgrade_type": "websocket"}],
        "http2_protocol_options": {"allow_connect": true}}});
    let bench = Bench::start(everywhere(), &[("be", &backend)], settings).await;
    let mut client = Client::over(bench.connect().await);
    client.greet(&[]).await;
    let told = client.frame().await.unwrap();
    assert!(told.payload.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]), "{told:?}");
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", "/chat"),
        ("sec-websocket-version", "13"),
    ];
    client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
    let (head, answer) = client.next_head().await;
    assert_eq!((answer.status(), head.ends()), (200, false));
    // RFC 8441 §5: the key was ours, and so is its answer.
    assert_eq!(answer.fields().text(iako_http::Known::SecWebsocketAccept), None);
    client.send(&frame(DATA, 0, 1, b"to and")).await;
    assert_eq!(client.message().await.unwrap().payload, b"to and");
    client.send(&frame(DATA, END_STREAM, 1, b" fro")).await;
    let mut rest = Vec::new();
    loop {
        let frame = client.message().await.unwrap();
        assert_eq!(frame.kind, DATA, "{frame:?}");
        rest.extend_from_slice(&frame.payload);
        if frame.ends() {
            break;
        }
    }
    assert_eq!(rest, b" fro");
    let seen = &backend.requests()[0];
    assert!(seen.starts_with("GET /chat HTTP/1.1\r\nhost: a.test\r\n"), "{seen}");
    assert!(seen.contains("connection: upgrade\r\nupgrade: websocket\r\n"), "{seen}");
}

// RFC 8441 §5: to such a client any 2xx is the tunnel.
#[tokio::test]
async fn an_extended_connect_that_the_server_does_not_understand_is_refused() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>").await;
    let settings = json!({"manager": {"upgrade_configs": [{"upgrade_type": "websocket"}],
        "http2_protocol_options": {"allow_connect": true}}});
    let bench = Bench::start(everywhere(), &[("be", &backend)], settings).await;
    let mut client = Client::over(bench.connect().await);
    client.greet(&[]).await;
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", "/chat"),
        ("sec-websocket-version", "13"),
    ];
    client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
    let (head, answer) = client.next_head().await;
    assert_eq!((answer.status(), head.ends()), (502, true));
}

// RFC 6455 §4.1: the key was ours, so that only we can tell that its answer is none.
#[tokio::test]
async fn an_extended_connect_whose_server_does_not_answer_the_key_is_refused() {
    let settings = json!({"manager": {"upgrade_configs": [{"upgrade_type": "websocket"}],
        "http2_protocol_options": {"allow_connect": true}}});
    for accept in ["", "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"] {
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n{accept}\r\n"
        );
        let backend = Backend::answering(Box::leak(head.into_boxed_str())).await;
        let bench = Bench::start(everywhere(), &[("be", &backend)], settings.clone()).await;
        let mut client = Client::greeted(&bench, &[]).await;
        let mut fields = vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "a.test"),
            (":path", "/chat"),
            ("sec-websocket-version", "13"),
        ];
        client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
        let (head, answer) = client.next_head().await;
        assert_eq!((answer.status(), head.ends()), (502, true), "{accept:?}");
        let stop = client.message().await.unwrap();
        assert_eq!((stop.kind, stop.stream, stop.number()), (RST_STREAM, 1, 0), "{accept:?}");
        assert!(bench.log().await.contains("502 - websocket_handshake_unsuccessful"));
        if accept.is_empty() {
            continue;
        }
        // A key of the client's is the client's to check.
        fields.push(("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="));
        client.send(&frame(HEADERS, END_HEADERS, 3, &block(&fields))).await;
        let (_, answer) = client.next_head().await;
        let told = answer.fields().text(iako_http::Known::SecWebsocketAccept);
        assert_eq!((answer.status(), told), (200, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    }
}

// RFC 8441 §3: unless it was offered, `:protocol` is malformed.
#[tokio::test]
async fn an_extended_connect_is_refused_where_it_is_not_configured() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let settings = json!({"manager": {"upgrade_configs": [{"upgrade_type": "websocket"}]}});
    let bench = Bench::start(everywhere(), &[("be", &backend)], settings).await;
    let mut client = Client::greeted(&bench, &[]).await;
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "a.test"),
        (":path", "/chat"),
    ];
    client.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
    let reset = client.message().await.unwrap();
    assert_eq!((reset.kind, reset.number()), (RST_STREAM, 0x1));
    client.get(3, "/").await;
    assert_eq!(client.answer().await.0, 200, "the connection is none the worse for it");
}

// RFC 8441: a client of HTTP/1 before a server of HTTP/2.
#[tokio::test]
async fn an_upgrade_becomes_an_extended_connect() {
    let backend = http2(|request, mut respond, seen| async move {
        let protocol = request.extensions().get::<h2::ext::Protocol>().unwrap().as_str().to_owned();
        seen.add(format!("{} {} {protocol}", request.method(), request.uri().path()));
        let mut stream = respond.send_response(ok(), false).unwrap();
        let mut body = request.into_body();
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
            stream.send_data(data, false).unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    let settings = json!({"manager": {"upgrade_configs": [{"upgrade_type": "websocket"}]}});
    let bench = before_http2(&backend, settings).await;
    let mut client = bench.connect().await;
    client
        .write_all(
            b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await
        .unwrap();
    let mut exchange = Exchange::default();
    let answer = exchange.read_head(&mut client).await;
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("websocket")));
    // RFC 6455 §1.3: the client opens nothing without, and the server knows of no key.
    assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client.write_all(b"to and fro").await.unwrap();
    client.shutdown().await.unwrap();
    let mut echoed = exchange.rest();
    client.read_to_end(&mut echoed).await.unwrap();
    assert_eq!(String::from_utf8(echoed).unwrap(), "to and fro");
    assert_eq!(backend.requests(), ["CONNECT /ws websocket"]);
}

// RFC 7540 §3.2.
#[tokio::test]
async fn a_client_of_http1_may_ask_for_http2() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let bench = Bench::start(everywhere(), &[("be", &backend)], json!({})).await;
    let mut stream = bench.connect().await;
    stream
        .write_all(
            b"GET /first HTTP/1.1\r\nhost: a.test\r\nconnection: Upgrade, HTTP2-Settings\r\n\
              upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
        )
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert_eq!(
        head,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n"
    );
    let mut client = Client::over(stream);
    client.greet(&[]).await;
    assert_eq!(client.answer().await, (200, b"ok".to_vec()), "the answer comes on stream 1");
    client.get(3, "/second").await;
    assert_eq!(client.answer().await, (200, b"ok".to_vec()));
    let seen = backend.requests();
    assert!(seen[0].starts_with("GET /first ") && seen[1].starts_with("GET /second "), "{seen:?}");
    assert!(!seen[0].contains("upgrade") && !seen[0].contains("http2-settings"), "{}", seen[0]);
    // Without the settings it is a request of HTTP/1.1.
    let mut old = bench.connect().await;
    let text = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    assert_eq!(request(&mut old, text).await.status, 200);
}

#[tokio::test]
async fn interim_responses_and_expectations_cross_versions() {
    let backend = Backend::start(|mut stream, seen| async move {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            seen.add(request);
            let answer = b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n\
                HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let bench = Bench::start(everywhere(), &[("be", &backend)], json!({})).await;
    let mut client = Client::greeted(&bench, &[]).await;
    client.post(1, "/", &[("expect", "100-continue"), ("content-length", "2")]).await;
    let (_, go) = client.next_head().await;
    assert_eq!(go.status(), 100, "the client need not wait");
    client.send(&frame(DATA, END_STREAM, 1, b"hi")).await;
    let (hints, head) = client.next_head().await;
    assert_eq!((head.status(), hints.ends()), (103, false));
    assert_eq!(head.fields().text("link"), Some("<x>"));
    let (last, head) = client.next_head().await;
    assert_eq!((head.status(), last.ends()), (200, true));
    assert!(backend.requests()[0].ends_with("\r\n\r\nhi"), "{:?}", backend.requests());
}

// RFC 9113 §8.1.1.
#[tokio::test]
async fn a_malformed_request_costs_its_stream_and_nothing_else() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let bench = Bench::start(everywhere(), &[("be", &backend)], json!({})).await;
    let mut client = Client::greeted(&bench, &[]).await;
    for (stream, more) in [
        (1, ("x-Upper", "v")),
        (3, ("connection", "close")),
        (5, ("te", "gzip")),
        (7, (":late", "v")),
        (9, ("x-line", "a\r\nx-more: b")),
        (11, ("transfer-encoding", "chunked")),
    ] {
        let fields = block_of("GET", "/", &[more]);
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields)).await;
        let reset = client.message().await.unwrap();
        assert_eq!((reset.kind, reset.stream, reset.number()), (RST_STREAM, stream, 1), "{more:?}");
    }
    // More content than announced, and less.
    for (stream, length) in [(13, "1"), (15, "5")] {
        client.post(stream, "/", &[("content-length", length)]).await;
        client.send(&frame(DATA, END_STREAM, stream, b"abc")).await;
        let reset = client.message().await.unwrap();
        assert_eq!((reset.kind, reset.stream, reset.number()), (RST_STREAM, stream, 1));
    }
    client.get(17, "/").await;
    assert_eq!(client.answer().await.0, 200);
}

#[tokio::test]
async fn a_long_head_is_sent_and_read_in_parts() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let bench = Bench::start(everywhere(), &[("be", &backend)], json!({})).await;
    let mut client = Client::greeted(&bench, &[]).await;
    let value = "v".repeat(100);
    let more: Vec<_> = (0..80).map(|_| ("x-long", value.as_str())).collect();
    let fields = block_of("GET", "/", &more);
    let parts: Vec<&[u8]> = fields.chunks(4000).collect();
    client.send(&frame(HEADERS, END_STREAM, 1, parts[0])).await;
    for (place, part) in parts.iter().enumerate().skip(1) {
        let flags = if place + 1 == parts.len() { END_HEADERS } else { 0 };
        client.send(&frame(CONTINUATION, flags, 1, part)).await;
    }
    assert_eq!(client.answer().await.0, 200);
    assert_eq!(backend.requests()[0].matches("x-long: ").count(), 80);
}

// RFC 9113 §6.8: two steps, and nothing under way is lost.
#[tokio::test]
async fn a_drain_tells_the_client_and_lets_it_end() {
    let told = Arc::new(tokio::sync::Semaphore::new(0));
    let waits = Arc::clone(&told);
    let backend = http2(move |_request, mut respond, seen| {
        let told = Arc::clone(&waits);
        async move {
            seen.add(String::new());
            let mut stream = respond.send_response(ok(), false).unwrap();
            // The response ends only after its client was told to go.
            told.acquire().await.unwrap().forget();
            stream.send_data("whole".into(), true).unwrap();
        }
    })
    .await;
    let bench = before_http2(&backend, json!({})).await;
    let mut client = Client::greeted(&bench, &[]).await;
    client.get(1, "/").await;
    backend.wait_for(1).await;
    let drained = bench.drain();
    let rest = async {
        let mut goaways = Vec::new();
        let mut content = Vec::new();
        while let Some(seen) = client.frame().await {
            match seen.kind {
                GOAWAY => {
                    goaways.push(seen.goaway());
                    told.add_permits(1);
                }
                DATA => content.extend_from_slice(&seen.payload),
                6 if seen.flags == 0 => {
                    // The proxy asks whether its word has come.
                    client.send(&frame(6, 1, 0, &seen.payload)).await;
                }
                _ => {}
            }
        }
        (goaways, content)
    };
    let ((), (goaways, content)) = tokio::join!(drained, rest);
    assert_eq!(goaways, [(0x7fff_ffff, 0), (1, 0)]);
    assert_eq!(content, b"whole");
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_a_word() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for options in [
        json!({"idle_timeout": "0.2s"}),
        json!({"max_connection_duration": "0.2s"}),
        json!({"max_requests_per_connection": 1}),
    ] {
        let manager = json!({"manager": {"common_http_protocol_options": options}});
        let bench = Bench::start(everywhere(), &[("be", &backend)], manager).await;
        let mut client = Client::greeted(&bench, &[]).await;
        client.get(1, "/").await;
        let mut goaways = Vec::new();
        let mut answered = false;
        while let Some(seen) = client.frame().await {
            match seen.kind {
                HEADERS => answered = client.head(&seen).status() == 200 && seen.ends(),
                GOAWAY => goaways.push(seen.goaway()),
                6 if seen.flags == 0 => {
                    client.send(&frame(6, 1, 0, &seen.payload)).await;
                }
                _ => {}
            }
        }
        assert_eq!((answered, goaways.last()), (true, Some(&(1, 0))), "{options}");
    }
}

// Envoy `connection_keepalive`.
#[tokio::test]
async fn a_client_that_vanished_is_found_out() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let manager = json!({"manager": {"http2_protocol_options":
        {"connection_keepalive": {"interval": "0.1s", "timeout": "0.3s"}}}});
    let bench = Bench::start(everywhere(), &[("be", &backend)], manager).await;
    let mut client = Client::greeted(&bench, &[]).await;
    let mut answered = 0;
    while let Some(seen) = client.frame().await {
        if seen.kind == 6 && seen.flags == 0 {
            answered += 1;
            if answered <= 2 {
                client.send(&frame(6, 1, 0, &seen.payload)).await;
            }
        }
    }
    assert_eq!(answered, 3, "two probes were answered, the third was not");
}
