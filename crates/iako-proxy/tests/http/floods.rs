//! Clients that cost more than they pay: each is bounded and counted, and others are left alone.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bench::{Backend, Bench, request};
use crate::frames::{
    CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, request as block_of,
};

const CALM: u32 = 0xb;

fn everywhere() -> Value {
    json!([{"match": {"prefix": "/"}, "route": {"cluster": "be", "timeout": "0s"}}])
}

async fn started() -> (Backend, Bench) {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let bench = Bench::start(everywhere(), &[("be", &backend)], json!({})).await;
    (backend, bench)
}

/// What a flood is made of: frames before it, then the frame of each round.
struct Flood {
    name: &'static str,
    before: Vec<u8>,
    round: fn(u32) -> Vec<u8>,
    rounds: u32,
}

fn floods() -> Vec<Flood> {
    let post = || frame(HEADERS, END_HEADERS, 1, &block_of("POST", "/", &[]));
    vec![
        Flood {
            name: "premature_reset_flood",
            before: Vec::new(),
            round: |round| {
                let stream = round * 2 + 1;
                let mut both = frame(HEADERS, END_HEADERS, stream, &block_of("POST", "/", &[]));
                both.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                both
            },
            rounds: 5_000,
        },
        Flood {
            // Streams that are reset by us, because what comes on them is wrong.
            name: "premature_reset_flood",
            before: Vec::new(),
            round: |round| {
                let stream = round * 2 + 1;
                let mut both = frame(HEADERS, END_HEADERS, stream, &block_of("POST", "/", &[]));
                both.extend(frame(WINDOW_UPDATE, 0, stream, &[0; 4]));
                both
            },
            rounds: 5_000,
        },
        Flood {
            name: "inbound_continuation_frames_flood",
            before: frame(HEADERS, END_STREAM, 1, &block_of("GET", "/", &[])),
            round: |_| frame(CONTINUATION, 0, 1, &crate::frames::block(&[("x-a", "b")])),
            rounds: 10_000,
        },
        Flood {
            name: "inbound_empty_frames_flood",
            before: post(),
            round: |_| frame(DATA, 0, 1, b""),
            rounds: 10_000,
        },
        Flood {
            name: "inbound_priority_frames_flood",
            before: post(),
            round: |_| frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9]),
            rounds: 10_000,
        },
        Flood {
            name: "inbound_window_update_frames_flood",
            before: post(),
            round: |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
            rounds: 10_000,
        },
        Flood {
            name: "inbound_settings_frames_flood",
            before: post(),
            round: |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]),
            rounds: 10_000,
        },
        Flood {
            // Asked for and never read: the socket's buffers take the first of the answers.
            name: "outbound_control_flood",
            before: post(),
            round: |_| frame(PING, 0, 0, &[7; 8]).repeat(1_000),
            rounds: 3_000,
        },
    ]
}

#[tokio::test]
async fn a_flood_closes_its_connection_and_no_other() {
    for flood in floods() {
        let (_backend, bench) = started().await;
        let mut neighbour = bench.connect().await;
        let mut other = Client::greeted(&bench, &[]).await;
        other.get(1, "/").await;
        assert_eq!(other.answer().await.0, 200);
        let mut client = Client::over(bench.connect_narrow().await);
        client.greet(&[]).await;
        client.send(&flood.before).await;
        for round in 0..flood.rounds {
            if !client.try_send(&(flood.round)(round)).await {
                break;
            }
        }
        let name = format!("http2.{}", flood.name);
        let counted = bench.stat_is(&name, 1);
        tokio::time::timeout(Duration::from_secs(10), counted).await.expect(flood.name);
        while client.frame().await.is_some() {}
        other.get(3, "/").await;
        assert_eq!(other.answer().await, (200, b"ok".to_vec()), "{}", flood.name);
        let text = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(request(&mut neighbour, text).await.status, 200, "{}", flood.name);
    }
}

#[tokio::test]
async fn a_flood_is_told_why() {
    let (_backend, bench) = started().await;
    let mut client = Client::greeted(&bench, &[]).await;
    client.post(1, "/", &[]).await;
    for _ in 0..10 {
        if !client.try_send(&frame(DATA, 0, 1, b"")).await {
            break;
        }
    }
    assert_eq!(client.goaway().await.1, CALM);
    assert!(bench.log().await.contains("0 DPE http2.inbound_empty_frames_flood"));
}

// A head in 4 MB of CONTINUATION, and one that unfolds from a few octets.
#[tokio::test]
async fn heads_that_unfold_are_bounded() {
    let (_backend, bench) = started().await;
    let mut client = Client::greeted(&bench, &[]).await;
    // One field of 3,000 octets into the table, then references to it: 60 KiB is the limit.
    let mut block = block_of("GET", "/", &[]);
    block.extend_from_slice(&[0x40, 1, b'x', 0x7f, 0xb9, 0x16]);
    block.extend(std::iter::repeat_n(b'v', 3000));
    block.extend(std::iter::repeat_n(0xbe, 1000));
    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)).await;
    let reset = client.message().await.unwrap();
    assert_eq!((reset.kind, reset.stream), (RST_STREAM, 1));
    client.get(3, "/").await;
    assert_eq!(client.answer().await.0, 200, "the table is still in step");
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let manager = json!({"manager": {"request_headers_timeout": "0.2s"}});
    let bench = Bench::start(everywhere(), &[("be", &backend)], manager).await;
    // Between two frames of a head, within one, and before any of it.
    let part = frame(HEADERS, END_STREAM, 1, &block_of("GET", "/", &[]));
    for bytes in [part.as_slice(), &part[..20], &part[..3]] {
        let mut client = Client::greeted(&bench, &[]).await;
        client.send(bytes).await;
        // No stream was looked at.
        assert_eq!(client.goaway().await, (0, CALM));
    }
    assert_eq!(bench.stat("http.in.downstream_rq_timeout").await, 3);
    assert_eq!(bench.log().await, "0 - request_header_timeout\n", "of the head that had begun");
    let mut old = bench.connect().await;
    old.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let mut answer = String::new();
    old.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_and_its_neighbour_served() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let manager = json!({"manager": {"request_timeout": "0.3s"}});
    let bench = Bench::start(everywhere(), &[("be", &backend)], manager).await;
    let mut client = Client::greeted(&bench, &[]).await;
    client.post(1, "/slow", &[("content-length", "100")]).await;
    client.send(&frame(DATA, 0, 1, b"one")).await;
    client.get(3, "/").await;
    assert_eq!(client.answer().await, (200, b"ok".to_vec()));
    assert_eq!(client.answer().await, (408, b"request timeout".to_vec()));
}

// Frames of one octet while nothing is read: the requests wait in a delay. A stream's window takes
// 65,535 of them, the connection 262,144.
#[tokio::test]
async fn tiny_frames_that_nobody_takes_are_bounded() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let fault = json!({"name": "fault", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
         "delay": {"fixed_delay": "60s", "percentage": {"numerator": 100}}}});
    let settings = json!({"filters": [fault]});
    let bench = Bench::start(everywhere(), &[("be", &backend)], settings).await;
    let mut client = Client::greeted(&bench, &[]).await;
    'flood: for stream in [1, 3, 5, 7, 9] {
        client.post(stream, "/", &[]).await;
        let many = frame(DATA, 0, stream, b"x").repeat(1000);
        for _ in 0..60 {
            if !client.try_send(&many).await {
                break 'flood;
            }
        }
    }
    let counted = bench.stat_is("http2.inbound_tiny_frames_flood", 1);
    tokio::time::timeout(Duration::from_secs(10), counted).await.unwrap();
}
