//! Large requests, whatever the pace of the server.

use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::{Backend, Bench, Exchange, Seen};

const UPLOAD_BYTES: usize = 60_000_000;

/// How a server reads.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// As much as there is.
    Fast,
    /// Little by little, and it lets everybody else go first.
    Slow,
    /// In turns: much, then little.
    Uneven,
}

/// Reads `content-length` requests and answers each with the sum of its bytes.
async fn summing(pace: Pace) -> Backend {
    Backend::start(move |stream, seen| sum(stream, seen, pace)).await
}

async fn sum(mut stream: TcpStream, seen: Arc<Seen>, pace: Pace) {
    let mut piece = vec![0; 256 * 1024];
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
                let rest = buffer.split_off(end + 4);
                break std::mem::replace(&mut buffer, rest);
            }
            let Ok(count @ 1..) = stream.read(&mut piece).await else { return };
            buffer.extend_from_slice(&piece[..count]);
        };
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let mut left: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        seen.add(head);
        let mut got = buffer.len();
        left -= got;
        let mut sum = buffer.drain(..).map(u64::from).sum::<u64>();
        let mut turn = 0;
        while left > 0 {
            turn += 1;
            let size = match pace {
                Pace::Slow => 8 * 1024,
                Pace::Uneven if turn % 64 < 32 => 2 * 1024,
                Pace::Fast | Pace::Uneven => piece.len(),
            };
            let size = size.min(left);
            let Ok(count @ 1..) = stream.read(&mut piece[..size]).await else { return };
            sum += piece[..count].iter().map(|byte| u64::from(*byte)).sum::<u64>();
            got += count;
            left -= count;
            if !matches!(pace, Pace::Fast) {
                tokio::task::yield_now().await;
            }
        }
        let answer = format!("{got} {sum}");
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(text.as_bytes()).await.unwrap();
    }
}

async fn upload(client: &mut TcpStream, bytes: usize) -> String {
    let head = format!("POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'u'; 100_000];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(piece.len());
        client.write_all(&piece[..count]).await.unwrap();
        left -= count;
    }
    Exchange::default().read(client, "POST").await.body
}

fn expected(bytes: usize) -> String {
    format!("{bytes} {}", bytes * usize::from(b'u'))
}

// An earlier build stopped for ever here: the pump slept on the side that was ready already.
#[tokio::test]
async fn an_upload_of_60_mb_arrives_whole_at_any_pace_of_the_server() {
    for pace in [Pace::Fast, Pace::Slow, Pace::Uneven] {
        let backend = summing(pace).await;
        let routes =
            json!([{"match": {"prefix": "/"}, "route": {"cluster": "be", "timeout": "0s"}}]);
        let bench = Bench::start(routes, &[("be", &backend)], json!({})).await;
        let mut client = bench.connect().await;
        for bytes in [UPLOAD_BYTES, 1, 65_537] {
            let answer = tokio::time::timeout(
                std::time::Duration::from_secs(120),
                upload(&mut client, bytes),
            );
            assert_eq!(answer.await.expect("the upload hangs"), expected(bytes), "{pace:?}");
        }
    }
}

#[tokio::test]
async fn parallel_uploads_of_60_mb_do_not_stop_each_other() {
    let fast = summing(Pace::Fast).await;
    let uneven = summing(Pace::Uneven).await;
    let route = |path: &str, cluster: &str| json!({"match": {"path": path}, "route": {"cluster": cluster, "timeout": "0s"}});
    let routes = json!([route("/up", "fast"), route("/slow", "uneven")]);
    let bench = Bench::start(routes, &[("fast", &fast), ("uneven", &uneven)], json!({})).await;
    let one = async {
        let mut client = bench.connect().await;
        upload(&mut client, UPLOAD_BYTES).await
    };
    let small = async {
        let mut client = bench.connect().await;
        for _ in 0..20 {
            assert_eq!(upload(&mut client, 70_000).await, expected(70_000));
        }
    };
    let all = async {
        tokio::join!(
            one,
            async {
                let mut client = bench.connect().await;
                upload(&mut client, UPLOAD_BYTES).await
            },
            small
        )
    };
    let (first, second, ()) =
        tokio::time::timeout(std::time::Duration::from_secs(120), all).await.expect("they hang");
    assert_eq!((first, second), (expected(UPLOAD_BYTES), expected(UPLOAD_BYTES)));
}
