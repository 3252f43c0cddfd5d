//! Servers that break the rules, or close: what becomes of requests, and what an operator is told.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::bench::{self, Backend, Bench, request};
use crate::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PING, SETTINGS, block, frame,
    goaway, reset, settings, window_update,
};
use crate::logs::Logs;
use crate::to;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";

/// `:status: 200`.
const OK: &[u8] = &[0x88];

/// Accepts connections of HTTP/2 and does with each what `serve` does, in a thread of its own.
fn http2(serve: impl Fn(usize, &mut TcpStream) + Clone + Send + 'static) -> (SocketAddr, Value) {
    let listener = narrow_listener();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for number in 0.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let serve = serve.clone();
            std::thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                let greeted = stream.read_exact(&mut [0; 24]);
                if greeted.is_ok() && stream.write_all(&frame(SETTINGS, 0, 0, &[])).is_ok() {
                    serve(number, &mut stream);
                }
            });
        }
    });
    let mut cluster = bench::cluster("be", &[address]);
    cluster["typed_extension_protocol_options"] = bench::http2_upstream();
    (address, cluster)
}

/// The system takes little on its connections that is not read: that it is not is noticed soon.
fn narrow_listener() -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(64).unwrap();
    socket.into()
}

/// Reads a whole request; its stream.
fn next_request(stream: &mut TcpStream) -> std::io::Result<u32> {
    request_and(stream, 0)
}

/// Reads a whole request and so many acknowledgements of our settings, in any order; its stream.
fn request_and(stream: &mut TcpStream, mut acknowledgements: usize) -> std::io::Result<u32> {
    let (mut open, mut ended) = (None, false);
    loop {
        let seen = Frame::read(stream)?;
        match seen.kind {
            SETTINGS if seen.flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            SETTINGS => acknowledgements = acknowledgements.saturating_sub(1),
            HEADERS => (open, ended) = (Some(seen.stream), seen.ends()),
            DATA => ended |= seen.ends(),
            _ => {}
        }
        if let Some(id) = open.filter(|_| ended && acknowledgements == 0) {
            return Ok(id);
        }
    }
}

/// Writes to a peer that reads until it has had enough.
fn pour(stream: &mut TcpStream, mut round: impl FnMut() -> Vec<u8>) {
    while stream.write_all(&round()).is_ok() {}
}

type Flood = (&'static str, fn(u32, &mut TcpStream));

fn floods() -> Vec<Flood> {
    vec![
        ("inbound_settings_frames_flood", |_, stream| {
            pour(stream, || settings(&[(3, 9)]).repeat(100));
        }),
        ("inbound_window_update_frames_flood", |_, stream| {
            pour(stream, || window_update(0, 1).repeat(100));
        }),
        ("inbound_empty_frames_flood", |id, stream| {
            drop(stream.write_all(&frame(HEADERS, END_HEADERS, id, OK)));
            pour(stream, || frame(DATA, 0, id, b"").repeat(100));
        }),
        ("inbound_continuation_frames_flood", |id, stream| {
            drop(stream.write_all(&frame(HEADERS, 0, id, OK)));
            pour(stream, || frame(CONTINUATION, 0, id, &block(&[("x-a", "b")])));
        }),
        ("outbound_control_flood", |_, stream| {
            pour(stream, || frame(PING, 0, 0, &[7; 8]).repeat(1000));
        }),
        ("rx_messaging_error", |_, stream| {
            // DATA of no stream.
            drop(stream.write_all(&frame(DATA, 0, 0, b"x")));
            pour(stream, || frame(PING, 0, 0, &[7; 8]));
        }),
    ]
}

#[tokio::test]
async fn a_flood_of_an_upstream_is_counted_and_told_once_with_cluster_address_and_rule() {
    let logs = Logs::collect();
    for (name, flood) in floods() {
        let (address, cluster) = http2(move |_, stream| {
            if let Ok(id) = next_request(stream) {
                flood(id, stream);
            }
        });
        let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
        let mut client = bench.connect().await;
        // An empty frame comes behind the head of a response, which then breaks off.
        if name == "inbound_empty_frames_flood" {
            tokio::io::AsyncWriteExt::write_all(&mut client, GET.as_bytes()).await.unwrap();
        } else {
            assert_eq!(request(&mut client, GET).await.status, 502, "{name}");
            assert!(bench.log().await.contains("502 UPE"), "{name}");
        }
        let counted = format!("cluster.be.http2.{name}");
        let counted = bench.stat_is(&counted, 1);
        tokio::time::timeout(Duration::from_secs(10), counted).await.expect(name);
        assert_eq!(bench.stat(&format!("http2.{name}")).await, 0, "it was no client");
        let told: Vec<String> = logs
            .lines()
            .into_iter()
            .filter(|line| line.contains(&format!("address={address}")))
            .filter(|line| line.starts_with("INFO"))
            .collect();
        let [line] = told.as_slice() else { panic!("{name}: {told:?}") };
        assert!(line.contains("cluster=be"), "{line}");
        assert!(line.contains("kind=") || line.contains("violation="), "{line}");
    }
}

#[tokio::test]
async fn a_stream_that_an_upstream_breaks_is_counted_and_its_connection_kept() {
    let connections = Arc::new(AtomicUsize::new(0));
    let opened = Arc::clone(&connections);
    let (_, cluster) = http2(move |_, stream| {
        opened.fetch_add(1, SeqCst);
        for number in 0.. {
            let Ok(id) = next_request(stream) else { return };
            // The first answer has a name in upper case.
            let head =
                if number == 0 { block(&[(":status", "200"), ("X-A", "b")]) } else { OK.to_vec() };
            if stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, &head)).is_err() {
                return;
            }
        }
    });
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    let mut client = bench.connect().await;
    assert_eq!(request(&mut client, GET).await.status, 502);
    assert_eq!(request(&mut client, GET).await.status, 200);
    assert_eq!(bench.stat("cluster.be.http2.rx_messaging_error").await, 1);
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test]
async fn interim_responses_have_one_bound_whatever_the_upstream_speaks() {
    let answer = |interims: usize| -> &'static str {
        let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(interims);
        let last = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        Box::leak(format!("{early}{last}").into_boxed_str())
    };
    for (interims, status) in [(64, 200), (65, 502)] {
        let (_, multiplexed) = http2(move |_, stream| {
            while let Ok(id) = next_request(stream) {
                let early = frame(HEADERS, END_HEADERS, id, &block(&[(":status", "103")]));
                let last = frame(HEADERS, END_HEADERS | END_STREAM, id, OK);
                drop(stream.write_all(&[early.repeat(interims), last].concat()));
            }
        });
        let plain = Backend::answering(answer(interims)).await;
        for cluster in [multiplexed, bench::cluster("be", &[plain.address()])] {
            let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
            let mut client = bench.connect().await;
            let mut exchange = crate::Exchange::default();
            tokio::io::AsyncWriteExt::write_all(&mut client, GET.as_bytes()).await.unwrap();
            let last = loop {
                let head = exchange.read_head(&mut client).await;
                if head.status >= 200 {
                    break head.status;
                }
            };
            assert_eq!(last, status, "after {interims}");
        }
    }
}

/// A server of HTTP/2 that answers, and closes without a word what nobody uses for so long; only its
/// first two connections, so that the last one is avoided for what was learned and for nothing else.
fn closing_idle(limit: Duration) -> (Arc<Visits>, Value) {
    let visits = Arc::new(Visits::default());
    let seen = Arc::clone(&visits);
    let (_, cluster) = http2(move |number, stream| {
        seen.opened.fetch_add(1, SeqCst);
        stream.set_read_timeout((number < 2).then_some(limit)).unwrap();
        while let Ok(id) = next_request(stream) {
            seen.last.store(number, SeqCst);
            drop(stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, OK)));
        }
        drop(stream.shutdown(std::net::Shutdown::Both));
        seen.closed.fetch_add(1, SeqCst);
    });
    (visits, cluster)
}

#[derive(Debug, Default)]
struct Visits {
    opened: AtomicUsize,
    closed: AtomicUsize,
    /// The connection that the last request came on.
    last: AtomicUsize,
}

#[tokio::test]
async fn the_idle_time_of_an_http2_server_is_learned_too() {
    let limit = Duration::from_millis(300);
    let (visits, cluster) = closing_idle(limit);
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    let mut client = bench.connect().await;
    for round in 1..=2 {
        assert_eq!(request(&mut client, GET).await.status, 200);
        while visits.closed.load(SeqCst) < round {
            tokio::task::yield_now().await;
        }
        bench.stat_is("cluster.be.upstream_cx_active", 0).await;
    }
    // A connection of that age gets no request any more, though the server has not closed it.
    assert_eq!(request(&mut client, GET).await.status, 200);
    bench::age(limit * 3 / 2).await;
    assert_eq!(request(&mut client, POST).await.status, 200);
    assert_eq!((visits.last.load(SeqCst), visits.opened.load(SeqCst)), (3, 4));
}

// Every second connection is over before it begins, so that some requests find theirs going away
// between the moment at which they get it and the one at which they use it.
#[tokio::test]
async fn a_request_whose_new_connection_goes_away_at_once_gets_another_one() {
    let (_, cluster) = http2(|number, stream| {
        if number % 2 == 0 {
            drop(stream.write_all(&goaway(0, 0)));
            while Frame::read(stream).is_ok() {}
        } else if let Ok(id) = next_request(stream) {
            let answer = frame(HEADERS, END_HEADERS | END_STREAM, id, OK);
            drop(stream.write_all(&[answer, goaway(id, 0)].concat()));
            while Frame::read(stream).is_ok() {}
        }
    });
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    let mut client = bench.connect().await;
    for _ in 0..20 {
        assert_eq!(request(&mut client, POST).await.status, 200);
    }
}

// What is learned of such a server is that no kept connection can be used; a new one can.
#[tokio::test]
async fn a_server_that_closes_after_every_answer_gets_one_connection_for_each_request() {
    let opened = Arc::new(AtomicUsize::new(0));
    let (answered, may_close) = std::sync::mpsc::channel();
    let (counted, may_close) = (Arc::clone(&opened), Arc::new(Mutex::new(may_close)));
    let (_, cluster) = http2(move |_, stream| {
        counted.fetch_add(1, SeqCst);
        if let Ok(id) = request_and(stream, 1) {
            drop(stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, OK)));
            // Once nobody uses it any more: what is cut off teaches nothing.
            _ = may_close.lock().recv();
        }
    });
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    let mut client = bench.connect().await;
    for number in 1..=6 {
        assert_eq!(request(&mut client, GET).await.status, 200);
        answered.send(()).unwrap();
        bench.stat_is("cluster.be.upstream_cx_active", 0).await;
        assert_eq!(opened.load(SeqCst), number);
    }
}

/// Lets a connection grow old: that its age is another one is what a proxy would learn from.
#[expect(clippy::disallowed_methods, reason = "the age is the stimulus, nothing waits for it")]
fn age(time: Duration) {
    std::thread::sleep(time);
}

// RFC 9113 §6.8: after GOAWAY it is known what was not looked at, so that nothing has to be learned.
#[tokio::test]
async fn a_server_that_announces_its_end_teaches_nothing() {
    let visits = Arc::new(Visits::default());
    let seen = Arc::clone(&visits);
    let (_, cluster) = http2(move |number, stream| {
        seen.opened.fetch_add(1, SeqCst);
        // Connections end at ages that have nothing in common: the first three soon after a request.
        while let Ok(id) = next_request(stream) {
            drop(stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, OK)));
            if number < 3 {
                age(Duration::from_millis(1 << (3 * number)));
                drop(stream.write_all(&goaway(1, 0)));
                break;
            }
        }
        seen.closed.fetch_add(1, SeqCst);
    });
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    let mut client = bench.connect().await;
    for round in 1..=3 {
        assert_eq!(request(&mut client, GET).await.status, 200);
        while visits.closed.load(SeqCst) < round {
            tokio::task::yield_now().await;
        }
        bench.stat_is("cluster.be.upstream_cx_active", 0).await;
    }
    for _ in 0..5 {
        assert_eq!(request(&mut client, POST).await.status, 200);
    }
    assert_eq!(visits.opened.load(SeqCst), 4, "a kept connection is as good as a new one");
}

/// What a server says to a POST that it has read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// GOAWAY, whose last stream comes before it.
    LastBelow,
    /// GOAWAY, whose last stream it is.
    LastIsIt,
    /// RST_STREAM with REFUSED_STREAM.
    Refused,
    /// RST_STREAM with CANCEL.
    Cancelled,
    /// That it says nothing more.
    Nothing,
}

/// The stream and the content of the next POST.
fn next_post(stream: &mut TcpStream) -> std::io::Result<(u32, String)> {
    let mut content = Vec::new();
    loop {
        let seen = Frame::read(stream)?;
        match seen.kind {
            SETTINGS if seen.flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            DATA => {
                content.extend_from_slice(&seen.payload);
                if seen.ends() {
                    return Ok((seen.stream, String::from_utf8(content).unwrap()));
                }
            }
            _ => {}
        }
    }
}

/// Serves POSTs; the first of all is answered with a word.
fn serve_posts(
    stream: &mut TcpStream,
    word: Word,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    loop {
        let (id, content) = next_post(stream)?;
        seen.lock().push(content);
        if seen.lock().len() > 1 {
            stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, OK))?;
            continue;
        }
        match word {
            Word::LastBelow => stream.write_all(&goaway(id - 1, 0))?,
            Word::LastIsIt => stream.write_all(&goaway(id, 0))?,
            Word::Refused => stream.write_all(&reset(id, 7))?,
            Word::Cancelled => stream.write_all(&reset(id, 8))?,
            Word::Nothing => {}
        }
        if matches!(word, Word::LastBelow | Word::LastIsIt | Word::Nothing) {
            // The end in order: everything was read and will be.
            stream.shutdown(std::net::Shutdown::Write)?;
            while Frame::read(stream).is_ok() {}
            return Ok(());
        }
    }
}

// RFC 9113 §8.7. The server has read each of them whole; only its word proves that it did not look.
#[tokio::test]
async fn rfc9113_8_7_a_post_is_sent_again_when_its_server_says_that_it_did_not_look_at_it() {
    for (word, status, posts, connections) in [
        (Word::LastBelow, 200, 2, 2),
        (Word::Refused, 200, 2, 1),
        (Word::LastIsIt, 503, 1, 1),
        (Word::Cancelled, 503, 1, 1),
        (Word::Nothing, 503, 1, 1),
    ] {
        let contents = Arc::new(Mutex::new(Vec::new()));
        let opened = Arc::new(AtomicUsize::new(0));
        let (seen, counted) = (Arc::clone(&contents), Arc::clone(&opened));
        let (_, cluster) = http2(move |_, stream| {
            counted.fetch_add(1, SeqCst);
            drop(serve_posts(stream, word, &seen));
        });
        let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
        assert_eq!(request(&mut bench.connect().await, POST).await.status, status, "{word:?}");
        assert_eq!(*contents.lock(), vec!["body"; posts], "{word:?}");
        assert_eq!(opened.load(SeqCst), connections, "{word:?}");
    }
}

// What reaches the system of a server before it closes ends in an abort, which proves nothing. How often
// that happens, and how often a POST is proven to be unseen, is the machine's choice.
#[tokio::test]
async fn a_post_that_a_closing_http2_server_may_have_seen_is_not_sent_again() {
    let posts = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&posts);
    let (_, cluster) = http2(move |_, stream| {
        if let Ok(id) = request_and(stream, 1) {
            seen.fetch_add(1, SeqCst);
            drop(stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, id, OK)));
        }
    });
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    let mut client = bench.connect().await;
    let mut answered = 0;
    for _ in 0..20 {
        match request(&mut client, POST).await.status {
            200 => answered += 1,
            503 => client = bench.connect().await,
            other => panic!("{other}"),
        }
    }
    assert_eq!(posts.load(SeqCst), answered, "what was answered arrived once, what was not never");
}
