//! Flow control from end to end: who does not read slows who writes, and nobody else.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bench::{self, Backend, Bench, detach};
use crate::frames::{Client, DATA, PING, SETTINGS, WINDOW_UPDATE, frame};

const TOTAL: usize = 96 << 20;

/// What may be under way: the sockets' buffers, which the system sizes, and our windows and queues.
const UNDER_WAY_MAX: usize = 48 << 20;

fn everywhere() -> Value {
    json!([{"match": {"prefix": "/"}, "route": {"cluster": "be", "timeout": "0s"}}])
}

/// A server of HTTP/2 that answers `/big` with much, as fast as it is taken, and the rest with little.
async fn flooding_http2(total: usize) -> Backend {
    Backend::start(move |stream, seen| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let seen = std::sync::Arc::clone(&seen);
            detach(async move {
                let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                if request.uri().path() != "/big" {
                    stream.send_data("small".into(), true).unwrap();
                    return;
                }
                let piece = Bytes::from(vec![b'x'; 64 * 1024]);
                let mut left = total;
                while left > 0 {
                    stream.reserve_capacity(piece.len());
                    let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
                    let Some(Ok(room)) = room else { return };
                    let part = piece.slice(..room.min(left).min(piece.len()));
                    left -= part.len();
                    seen.written.fetch_add(part.len(), Ordering::SeqCst);
                    stream.send_data(part, left == 0).unwrap();
                }
            });
        }
    })
    .await
}

async fn before_http2(backend: &Backend) -> Bench {
    let mut upstream = bench::cluster("be", &[backend.address()]);
    upstream["typed_extension_protocol_options"] = bench::http2_upstream();
    Bench::with_clusters(everywhere(), json!([upstream]), json!({})).await
}

/// Takes the rest of a stream, giving windows back.
async fn take(client: &mut Client, stream: u32, mut taken: usize) -> usize {
    loop {
        let seen = client.message().await.expect("closed within a response");
        if seen.stream != stream || seen.kind != DATA {
            continue;
        }
        taken += seen.payload.len();
        if seen.ends() {
            return taken;
        }
        let more = u32::try_from(seen.payload.len()).unwrap();
        if more > 0 {
            let mut updates = frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
            updates.extend(frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes()));
            client.send(&updates).await;
        }
    }
}

#[tokio::test]
async fn a_download_waits_for_a_client_that_does_not_read() {
    let plain = Backend::flooding(TOTAL).await;
    let multiplexed = flooding_http2(TOTAL).await;
    for (backend, bench) in [
        (&plain, Bench::start(everywhere(), &[("be", &plain)], json!({})).await),
        (&multiplexed, before_http2(&multiplexed).await),
    ] {
        // The client opens its windows and does not read, then it reads.
        let mut client = Client::greeted(&bench, &[(4, 16 << 20)]).await;
        client.send(&frame(WINDOW_UPDATE, 0, 0, &(16_u32 << 20).to_be_bytes())).await;
        client.get(1, "/big").await;
        let held = backend.settled(&bench).await;
        assert!(held < UNDER_WAY_MAX, "{held} bytes were taken while nobody read");
        assert_eq!(take(&mut client, 1, 0).await, TOTAL);
    }
}

#[tokio::test]
async fn an_upload_waits_for_a_server_that_does_not_read() {
    let (go, waits) = tokio::sync::watch::channel(false);
    let backend = Backend::start(move |mut stream, seen| {
        let mut waits = waits.clone();
        async move {
            stream.read_exact(&mut [0; 16]).await.unwrap();
            waits.wait_for(|go| *go).await.unwrap();
            let mut piece = vec![0; 1 << 20];
            let mut tail = Vec::new();
            loop {
                let count = stream.read(&mut piece).await.unwrap();
                seen.written.fetch_add(count, Ordering::SeqCst);
                tail.extend_from_slice(&piece[count.saturating_sub(8)..count]);
                if count == 0 || tail.ends_with(b"0\r\n\r\n") {
                    break;
                }
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let bench = Bench::start(everywhere(), &[("be", &backend)], json!({})).await;
    let sender = bench.connect_http2().await;
    let mut ready = sender.clone().ready().await.unwrap();
    let request = http::Request::post("http://a.test/").body(()).unwrap();
    let (response, mut stream) = ready.send_request(request, false).unwrap();
    let piece = Bytes::from(vec![b'u'; 64 * 1024]);
    let mut sent = 0;
    let mut opened = false;
    while sent < TOTAL {
        stream.reserve_capacity(piece.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context));
        // Without room for so many turns of the proxy, there will be none.
        let room = tokio::select! {
            biased;
            room = room => Some(room),
            () = bench.turns(20), if !opened => None,
        };
        match room {
            Some(room) => {
                let part = piece.slice(..room.unwrap().unwrap().min(piece.len()));
                sent += part.len();
                stream.send_data(part, false).unwrap();
            }
            None => {
                assert!(sent < UNDER_WAY_MAX, "{sent} bytes were taken while nobody read");
                opened = true;
                go.send_replace(true);
            }
        }
    }
    assert!(opened, "everything was taken while nobody read");
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stalled_stream_stalls_no_other() {
    let plain = Backend::start(|mut stream, seen| async move {
        let mut buffer = Vec::new();
        while let Some(request) = bench::read_request(&mut stream, &mut buffer).await {
            let big = request.starts_with("GET /big");
            seen.add(request);
            let length = if big { TOTAL } else { 5 };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let piece = vec![b'x'; length.min(64 * 1024)];
            for _ in 0..length / piece.len() {
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let multiplexed = flooding_http2(TOTAL).await;
    for bench in [
        Bench::start(everywhere(), &[("be", &plain)], json!({})).await,
        before_http2(&multiplexed).await,
    ] {
        let mut client = Client::greeted(&bench, &[]).await;
        // Much of the connection's window is left: only the stream has none.
        client.send(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 24).to_be_bytes())).await;
        client.get(1, "/big").await;
        assert_eq!(client.next_head().await.1.status(), 200);
        let mut got = 0;
        while got < 65_535 {
            got += client.message().await.unwrap().payload.len();
        }
        // The server goes on until what lies between is full.
        bench.turns(20).await;
        for stream in (3..63).step_by(2) {
            client.get(stream, "/small").await;
            assert_eq!(client.answer().await.1.len(), 5);
        }
    }
}

#[tokio::test]
async fn a_stalled_upload_stalls_no_other() {
    let backend = Backend::start(|mut stream, seen| async move {
        let mut buffer = Vec::new();
        let mut head = vec![0; 10];
        stream.read_exact(&mut head).await.unwrap();
        if head.starts_with(b"POST /hold") {
            seen.add("hold".to_owned());
            std::future::pending::<()>().await;
        }
        buffer.extend_from_slice(&head);
        while let Some(request) = bench::read_request(&mut stream, &mut buffer).await {
            seen.add(request);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let bench = Bench::start(everywhere(), &[("be", &backend)], json!({})).await;
    let sender = bench.connect_http2().await;
    let hold = async {
        let mut ready = sender.clone().ready().await.unwrap();
        let request = http::Request::post("http://a.test/hold").body(()).unwrap();
        let (_response, mut stream) = ready.send_request(request, false).unwrap();
        loop {
            stream.reserve_capacity(64 * 1024);
            let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
            let Some(Ok(room)) = room else { return };
            stream.send_data(vec![b'h'; room].into(), false).unwrap();
        }
    };
    let others = async {
        backend.wait_for(1).await;
        for _ in 0..50 {
            let mut ready = sender.clone().ready().await.unwrap();
            let request = http::Request::post("http://a.test/go").body(()).unwrap();
            let (response, mut stream) = ready.send_request(request, false).unwrap();
            stream.send_data(vec![b'g'; 30_000].into(), true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
        }
    };
    tokio::select! {
        () = hold => panic!("the upload that is held ends"),
        () = others => {}
    }
}

// RFC 9113 §6.9.2: a window of zero, and one that grows later.
#[tokio::test]
async fn content_waits_for_a_window_that_opens_late() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let bench = Bench::start(everywhere(), &[("be", &backend)], json!({})).await;
    let mut client = Client::greeted(&bench, &[(4, 0)]).await;
    client.get(1, "/").await;
    let (head, _) = client.next_head().await;
    assert!(!head.ends());
    client.send(&frame(WINDOW_UPDATE, 0, 1, &3_u32.to_be_bytes())).await;
    assert_eq!(client.message().await.unwrap().payload, b"hel");
    client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10])).await;
    let last = client.message().await.unwrap();
    assert_eq!((last.payload.as_slice(), last.ends()), (&b"lo"[..], true));
    assert_eq!(last.stream, 1);
}

/// The window that a new client is told for each of its streams.
async fn told_window(bench: &Bench) -> u32 {
    let mut client = Client::greeted(bench, &[]).await;
    let settings = client.frame().await.unwrap();
    assert_eq!(settings.kind, SETTINGS);
    let (settings, _) = settings.payload.as_chunks::<6>();
    let window = settings.iter().find(|setting| setting[1] == 4).unwrap();
    u32::from_be_bytes([window[2], window[3], window[4], window[5]])
}

// What a client was told that it may send cannot be taken back. So those that come while much is held are
// told less: otherwise each would add a window to the memory that is short already.
#[tokio::test]
async fn while_much_is_held_new_clients_are_told_to_send_less() {
    let backend = Backend::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let fault = json!({"name": "fault", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
         "delay": {"fixed_delay": "600s", "percentage": {"numerator": 100}}}});
    let bench = Bench::start(everywhere(), &[("be", &backend)], json!({"filters": [fault]})).await;
    assert_eq!(told_window(&bench).await, 256 << 10);
    let mut stalled = Vec::new();
    // 22 MiB each, which nobody reads: the requests wait in a delay.
    for _ in 0..3 {
        let mut client = Client::greeted(&bench, &[]).await;
        for stream in (1..181).step_by(2) {
            client.post(stream, "/", &[]).await;
            client.send(&frame(DATA, 0, stream, &[0; 16_384]).repeat(16)).await;
            client.send(&frame(PING, 0, 0, &[7; 8])).await;
            while client.frame().await.unwrap().kind != PING {}
        }
        stalled.push(client);
    }
    assert_eq!(told_window(&bench).await, 64 << 10);
    drop(stalled);
    while told_window(&bench).await != 256 << 10 {
        tokio::task::yield_now().await;
    }
}
