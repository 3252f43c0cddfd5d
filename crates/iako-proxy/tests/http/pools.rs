//! Connections to servers: how they are kept, shared and replaced, and that no request is lost by it.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use iako_rt::clock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::bench::{self, Backend, Bench, Exchange, request};
use super::frames::{ACK, Frame, HEADERS, SETTINGS, frame, goaway, reset, settings};
use super::to;

/// A server with a thread a connection, so that it closes idle ones within microseconds of their time.
#[derive(Debug)]
struct Closer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Requests on connections that were about to be closed: unused for nine tenths of their time.
    aged: Arc<AtomicUsize>,
    /// Connections that the server closed because they were idle.
    closed_idle: Arc<AtomicUsize>,
}

impl Closer {
    /// `idle` gives the idle time of each connection before its first request, its second and so on.
    fn start(
        idle: impl Fn(usize, usize) -> Duration + Send + Sync + 'static,
        answer: &'static str,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let [connections, aged, closed_idle] = [(); 3].map(|()| Arc::<AtomicUsize>::default());
        let (opened, late, closed) =
            (Arc::clone(&connections), Arc::clone(&aged), Arc::clone(&closed_idle));
        let idle = Arc::new(idle);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let number = opened.fetch_add(1, SeqCst);
                let (idle, late) = (Arc::clone(&idle), Arc::clone(&late));
                let closed = Arc::clone(&closed);
                std::thread::spawn(move || {
                    if answer_until_idle(stream, |wait| idle(number, wait), answer, &late) {
                        closed.fetch_add(1, SeqCst);
                    }
                });
            }
        });
        Self { address, connections, aged, closed_idle }
    }

    fn cluster(&self) -> Value {
        bench::cluster("be", &[self.address])
    }
}

/// Answers requests until none comes for long enough; false when the client ended it.
fn answer_until_idle(
    mut stream: std::net::TcpStream,
    idle: impl Fn(usize) -> Duration,
    answer: &str,
    aged: &AtomicUsize,
) -> bool {
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 4096];
    for wait in 0.. {
        stream.set_read_timeout(Some(idle(wait))).unwrap();
        let since = clock::now();
        let mut request = Vec::new();
        while !is_whole(&request) {
            match stream.read(&mut buffer) {
                Ok(count @ 1..) => {
                    if wait > 0 && request.is_empty() && clock::now() - since > idle(wait) * 9 / 10
                    {
                        aged.fetch_add(1, SeqCst);
                    }
                    request.extend_from_slice(&buffer[..count]);
                }
                Ok(_) => return false,
                Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
            }
        }
        if stream.write_all(answer.as_bytes()).is_err() {
            return false;
        }
    }
    false
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
        let length = head
            .to_lowercase()
            .split_once("content-length: ")
            .map(|(_, rest)| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
        body.len() >= length.unwrap_or(0)
    })
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
const METHODS: [&str; 4] = [
    GET,
    POST,
    "PATCH / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
];

/// Has each of these clients ask once, all at the same time.
async fn burst(clients: &mut Vec<tokio::net::TcpStream>, failed: &mut Vec<u16>) {
    let mut asking = JoinSet::new();
    for (number, mut client) in clients.drain(..).enumerate() {
        let text = METHODS[number % METHODS.len()];
        asking.spawn(async move {
            let status = request(&mut client, text).await.status;
            (client, status)
        });
    }
    for (client, status) in asking.join_all().await {
        clients.push(client);
        failed.extend((status != 200).then_some(status));
    }
}

async fn clients(bench: &Bench, count: usize) -> Vec<tokio::net::TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(bench.connect().await);
    }
    clients
}

// Connections that idle until the server closes them, at the time of a common one; then requests just
// before that age.
#[tokio::test]
async fn connections_near_the_age_at_which_the_server_closes_them_are_not_used() {
    let limit = Duration::from_secs(5);
    let server = Closer::start(move |_, _| limit, OK);
    let bench = Bench::with_clusters(json!([to("be")]), json!([server.cluster()]), json!({})).await;
    let mut clients = clients(&bench, 80).await;
    let mut failed = Vec::new();
    // What is learned from: all connections idle until the server closes them.
    burst(&mut clients, &mut failed).await;
    bench.stat_is("cluster.be.upstream_cx_active", 0).await;
    assert_eq!(server.aged.load(SeqCst), 0);
    burst(&mut clients, &mut failed).await;
    bench::age(limit * 96 / 100).await;
    burst(&mut clients, &mut failed).await;
    assert_eq!(failed, [0_u16; 0]);
    assert_eq!(server.aged.load(SeqCst), 0, "connections near their end were used");
}

/// A client that asks now and then, and counts what goes wrong.
async fn ask_on(mut client: tokio::net::TcpStream, number: u64) -> usize {
    let mut failed = 0;
    for turn in 0..80 {
        let drawn = mixed(number * 1000 + turn);
        let text = METHODS[usize::try_from(drawn % 4).unwrap()];
        failed += usize::from(request(&mut client, text).await.status != 200);
        bench::age(Duration::from_millis(drawn / 7 % 100)).await;
    }
    failed
}

/// Numbers without a pattern.
fn mixed(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20
}

#[tokio::test]
async fn a_server_that_closes_by_chance_fails_no_request() {
    let idle = |number: usize, wait: usize| match wait {
        // Servers are patient with new connections.
        0 => Duration::from_secs(60),
        _ => Duration::from_millis(10 + mixed((number * 31 + wait) as u64) % 300),
    };
    let server = Closer::start(idle, OK);
    let bench = Bench::with_clusters(json!([to("be")]), json!([server.cluster()]), json!({})).await;
    let mut asking = JoinSet::new();
    for (number, client) in (0..).zip(clients(&bench, 10).await) {
        asking.spawn(ask_on(client, number));
    }
    let failed: usize = asking.join_all().await.into_iter().sum();
    assert_eq!(failed, 0);
    assert!(server.closed_idle.load(SeqCst) > 10, "the server closed connections meanwhile");
}

#[tokio::test]
async fn what_the_server_announces_counts_before_it_closes_anything() {
    for (announced, connections) in [(60, 1), (1, 2)] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout={announced}, max=9\r\n\r\nok"
        );
        let server = Closer::start(|_, _| Duration::from_secs(60), answer.leak());
        let bench =
            Bench::with_clusters(json!([to("be")]), json!([server.cluster()]), json!({})).await;
        let mut client = bench.connect().await;
        for _ in 0..2 {
            let answer = request(&mut client, POST).await;
            assert_eq!((answer.status, answer.field("keep-alive")), (200, None));
            // Longer than a connection may idle that ends after a second.
            bench::age(Duration::from_millis(900)).await;
        }
        assert_eq!(server.connections.load(SeqCst), connections, "announced {announced} s");
    }
}

#[tokio::test]
async fn a_post_is_sent_again_when_its_connection_was_closed_before_it() {
    let backend = Backend::one_answer_each(OK).await;
    let bench = Bench::start(json!([to("be")]), &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    for _ in 0..20 {
        assert_eq!(request(&mut client, POST).await.status, 200);
    }
    assert_eq!(backend.requests().len(), 20, "none arrived twice");
}

#[tokio::test]
async fn requests_wait_in_their_order_and_no_more_than_may() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let backend = Backend::answering_when(OK, Arc::clone(&gate)).await;
    let mut cluster = bench::cluster("be", &[backend.address()]);
    cluster["circuit_breakers"] =
        json!({"thresholds": [{"max_connections": 1, "max_pending_requests": 3}]});
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    let mut clients = clients(&bench, 5).await;
    for (number, client) in clients.iter_mut().take(4).enumerate() {
        let text = format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n");
        client.write_all(text.as_bytes()).await.unwrap();
        bench.stat_is("cluster.be.upstream_rq_pending_total", number as u64 + 1).await;
    }
    assert_eq!(request(&mut clients[4], GET).await.status, 503, "a fourth may not wait");
    gate.add_permits(4);
    for client in clients.iter_mut().take(4) {
        assert_eq!(Exchange::default().read(client, "GET").await.status, 200);
    }
    let paths: Vec<String> =
        backend.requests().iter().map(|text| text.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(paths, ["/0", "/1", "/2", "/3"]);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_request_is_active_until_its_response_has_ended() {
    let backend = Backend::flooding(64 << 20).await;
    let bench = Bench::start(json!([to("be")]), &[("be", &backend)], json!({})).await;
    let mut client = bench.connect().await;
    client.write_all(GET.as_bytes()).await.unwrap();
    client.read_exact(&mut [0; 4096]).await.unwrap();
    assert_eq!(bench.stat("cluster.be.upstream_rq_active").await, 1);
    drop(client);
    bench.stat_is("cluster.be.upstream_rq_active", 0).await;
}

#[tokio::test]
async fn connections_end_after_as_many_requests_and_at_the_age_that_is_configured() {
    let backend = Backend::answering(OK).await;
    let mut cluster = bench::cluster("be", &[backend.address()]);
    let mut options = bench::http1_upstream();
    let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    options[key]["common_http_protocol_options"] = json!({"max_requests_per_connection": 2});
    cluster["typed_extension_protocol_options"] = options.clone();
    let mut aged = bench::cluster("aged", &[backend.address()]);
    options[key]["common_http_protocol_options"] = json!({"max_connection_duration": "0.05s", "max_connection_duration_jitter": {"value": 50}});
    aged["typed_extension_protocol_options"] = options;
    let routes = json!([{"match": {"prefix": "/aged"}, "route": {"cluster": "aged"}}, to("be")]);
    let bench = Bench::with_clusters(routes, json!([cluster, aged]), json!({})).await;
    let mut client = bench.connect().await;
    for _ in 0..6 {
        assert_eq!(request(&mut client, GET).await.status, 200);
    }
    assert_eq!(backend.connections(), 3);
    for _ in 0..3 {
        let text = "GET /aged HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(request(&mut client, text).await.status, 200);
        bench.stat_is("cluster.aged.upstream_cx_active", 0).await;
    }
    assert_eq!(backend.connections(), 6);
}

#[tokio::test]
async fn an_endpoint_is_reached_at_its_other_address() {
    let backend = Backend::answering(OK).await;
    let mut cluster = bench::cluster("be", &[Backend::dead().await]);
    let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    let (ip, port) = (backend.address().ip().to_string(), backend.address().port());
    endpoint["additional_addresses"] =
        json!([{"address": {"socket_address": {"address": ip, "port_value": port}}}]);
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    let mut client = bench.connect().await;
    assert_eq!(request(&mut client, POST).await.status, 200);
}

/// What an HTTP/2 server does with the requests of one connection.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Answer,
    /// Ends the connection without having looked at anything.
    GoAway,
    /// Refuses the first request, answers the others.
    RefuseFirst,
    /// Allows so many requests at once, and answers when they are there, and so many in all.
    Gather(usize, usize),
}

/// An HTTP/2 server written by hand, to be as odd as is needed.
#[derive(Debug, Default)]
struct Http2Server {
    connections: AtomicUsize,
    requests: AtomicUsize,
    open_max: Mutex<usize>,
}

impl Http2Server {
    fn start(manner: impl Fn(usize) -> Manner + Send + 'static) -> (Arc<Self>, Value) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut cluster = bench::cluster("be", &[listener.local_addr().unwrap()]);
        cluster["typed_extension_protocol_options"] = bench::http2_upstream();
        let server = Arc::new(Self::default());
        let serving = Arc::clone(&server);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let manner = manner(serving.connections.fetch_add(1, SeqCst));
                let server = Arc::clone(&serving);
                std::thread::spawn(move || server.serve(stream, manner));
            }
        });
        (server, cluster)
    }

    /// Ends with the connection.
    fn serve(&self, mut stream: std::net::TcpStream, manner: Manner) -> Option<()> {
        stream.set_nodelay(true).unwrap();
        stream.read_exact(&mut [0; 24]).ok()?;
        let told = match manner {
            Manner::Gather(streams, _) => vec![(3, u32::try_from(streams).unwrap())],
            Manner::Answer | Manner::GoAway | Manner::RefuseFirst => Vec::new(),
        };
        stream.write_all(&settings(&told)).ok()?;
        let (mut open, mut refused) = (Vec::new(), false);
        loop {
            let seen = Frame::read(&mut stream).ok()?;
            match seen.kind {
                SETTINGS if seen.flags & ACK == 0 => {
                    stream.write_all(&frame(SETTINGS, ACK, 0, &[])).ok()?;
                }
                HEADERS => {
                    self.requests.fetch_add(1, SeqCst);
                    open.push(seen.stream);
                    let mut most = self.open_max.lock();
                    *most = open.len().max(*most);
                }
                _ => {}
            }
            let answered = match manner {
                Manner::GoAway if !open.is_empty() => {
                    stream.write_all(&goaway(0, 0)).ok()?;
                    // What is not answered ends with the connection.
                    open.clear();
                    Vec::new()
                }
                Manner::RefuseFirst if !refused && !open.is_empty() => {
                    refused = true;
                    stream.write_all(&reset(open.remove(0), 7)).ok()?;
                    Vec::new()
                }
                Manner::Gather(streams, _) if open.len() < streams => Vec::new(),
                Manner::Gather(_, total) => {
                    while self.requests.load(SeqCst) < total {
                        std::thread::yield_now();
                    }
                    std::mem::take(&mut open)
                }
                Manner::Answer | Manner::GoAway | Manner::RefuseFirst => std::mem::take(&mut open),
            };
            for id in answered {
                // `:status: 200`, and the end.
                stream.write_all(&frame(HEADERS, 5, id, &[0x88])).ok()?;
            }
        }
    }
}

#[tokio::test]
async fn a_request_above_the_last_stream_of_a_goaway_goes_elsewhere_rfc_9113_6_8() {
    let manner = |number| if number < 2 { Manner::GoAway } else { Manner::Answer };
    let (server, cluster) = Http2Server::start(manner);
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    let mut client = bench.connect().await;
    for _ in 0..3 {
        assert_eq!(request(&mut client, POST).await.status, 200);
    }
    assert_eq!(server.connections.load(SeqCst), 3);
}

#[tokio::test]
async fn a_refused_stream_is_opened_again_rfc_9113_8_7() {
    let (server, cluster) = Http2Server::start(|_| Manner::RefuseFirst);
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    let mut client = bench.connect().await;
    assert_eq!(request(&mut client, POST).await.status, 200);
    assert_eq!(server.requests.load(SeqCst), 2);
    assert_eq!(server.connections.load(SeqCst), 1, "a refusal is no fault of the connection");
}

#[tokio::test]
async fn as_many_connections_are_opened_as_the_servers_stream_limit_makes_necessary() {
    let (server, cluster) = Http2Server::start(|_| Manner::Gather(2, 6));
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    // One after the other, so that the limit is known once it counts.
    let mut clients = clients(&bench, 6).await;
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(GET.as_bytes()).await.unwrap();
        while server.requests.load(SeqCst) <= number {
            tokio::task::yield_now().await;
        }
    }
    for client in &mut clients {
        assert_eq!(Exchange::default().read(client, "GET").await.status, 200);
    }
    assert_eq!(*server.open_max.lock(), 2);
    assert_eq!(server.connections.load(SeqCst), 3);
}

#[tokio::test]
async fn requests_wait_for_a_stream_where_no_more_connections_are_allowed() {
    let (server, mut cluster) = Http2Server::start(|_| Manner::Gather(2, 0));
    cluster["circuit_breakers"] = json!({"thresholds": [{"max_connections": 1}]});
    let bench = Bench::with_clusters(json!([to("be")]), json!([cluster]), json!({})).await;
    let mut clients = clients(&bench, 6).await;
    for client in &mut clients {
        client.write_all(GET.as_bytes()).await.unwrap();
    }
    for client in &mut clients {
        assert_eq!(Exchange::default().read(client, "GET").await.status, 200);
    }
    assert_eq!(server.connections.load(SeqCst), 1);
}
