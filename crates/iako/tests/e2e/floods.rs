//! Peers that cost more than they pay: what the kernel says that they cost, what is counted, what an
//! operator is told, and that others are served meanwhile.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use iako_testkit::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PING, PRIORITY, block, data,
    frame, headers, reset, settings, window_update,
};
use serde_json::json;

use crate::{
    http1,
    rig::until,
    stand::{Bystander, Cost, Server, Speaks, Stand, little, read_head, request, server},
};

/// What the memory may grow by. Generous: a worker keeps what it needed.
const MEMORY_MAX: u64 = 64 << 20;

/// Processor time. Generous: of a debug build, for tens of thousands of frames.
const CPU_MAX: Duration = Duration::from_secs(15);

/// What a flood is made of: frames before it, then the frames of each round.
struct Flood {
    /// Envoy's statistic where it has one.
    statistic: &'static str,
    /// As an operator is told.
    rule: &'static str,
    before: Vec<u8>,
    round: fn(u32) -> Vec<u8>,
    rounds: u32,
}

fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request("POST", "/", &[]))
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn of_clients() -> Vec<Flood> {
    let flood =
        |statistic, rule, before, round, rounds| Flood { statistic, rule, before, round, rounds };
    vec![
        flood(
            "http.in.downstream_rq_too_many_premature_resets",
            "too many streams were reset early",
            Vec::new(),
            |round| [post(round * 2 + 1), reset(round * 2 + 1, 8)].concat(),
            20_000,
        ),
        // Streams that we reset, because what comes on them is wrong.
        flood(
            "http.in.downstream_rq_too_many_premature_resets",
            "too many streams were reset early",
            Vec::new(),
            |round| [post(round * 2 + 1), window_update(round * 2 + 1, 0)].concat(),
            20_000,
        ),
        flood(
            "http2.inbound_continuation_frames_flood",
            "too many CONTINUATION frames",
            frame(HEADERS, END_STREAM, 1, &request("GET", "/", &[])),
            |_| frame(CONTINUATION, 0, 1, &block(&[("x-a", "b")])),
            50_000,
        ),
        // Asked for and never read.
        flood(
            "http2.outbound_control_flood",
            "too many control frames wait to be written",
            post(1),
            |_| frame(PING, 0, 0, &[7; 8]).repeat(1_000),
            5_000,
        ),
        flood(
            "http2.inbound_settings_frames_flood",
            "too many SETTINGS frames",
            post(1),
            |_| settings(&[(3, 1)]),
            50_000,
        ),
        flood(
            "http2.inbound_empty_frames_flood",
            "too many frames without content in a row",
            post(1),
            |_| data(1, 0, b""),
            50_000,
        ),
        flood(
            "http2.inbound_window_update_frames_flood",
            "too many WINDOW_UPDATE frames",
            post(1),
            |_| window_update(0, 1),
            50_000,
        ),
        flood(
            "http2.inbound_priority_frames_flood",
            "too many PRIORITY frames",
            post(1),
            |_| frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9]),
            50_000,
        ),
        // Octet by octet on requests that wait.
        flood(
            "http2.inbound_tiny_frames_flood",
            "too many tiny frames",
            (1..17)
                .step_by(2)
                .flat_map(|stream| {
                    let wait = [("x-envoy-fault-delay-request", "100000")];
                    frame(HEADERS, END_HEADERS, stream, &request("POST", "/", &wait))
                })
                .collect(),
            |round| data(round / 60 * 2 + 1, 0, b"x").repeat(1_000),
            480,
        ),
    ]
}

/// What was there before something happened.
struct Before<'a> {
    stand: &'a Stand,
    cost: Cost,
    lines: usize,
    bystander: Bystander,
}

impl<'a> Before<'a> {
    fn of(stand: &'a Stand) -> Self {
        let (cost, lines) = (stand.cost(), stand.lines().len());
        Self { stand, cost, lines, bystander: Bystander::start(stand) }
    }

    /// Checks the bystander and what it cost; the lines that were written.
    fn check(self, what: &str, memory_max: u64) -> Vec<String> {
        let waited = self.bystander.end();
        let now = self.stand.cost();
        let cpu = now.cpu.saturating_sub(self.cost.cpu);
        let waited_for_cpu = now.waited.saturating_sub(self.cost.waited);
        let grown = now.resident.saturating_sub(self.cost.resident);
        let longest = waited.iter().max().unwrap();
        eprintln!(
            "{what}: {cpu:?}, {waited_for_cpu:?} of others, {} KiB more, peak {} MiB; \
             {} others served, {longest:?} at most",
            grown >> 10,
            now.peak >> 20,
            waited.len(),
        );
        assert!(cpu < CPU_MAX, "{what}: {cpu:?}");
        assert!(grown < memory_max, "{what}: {grown} octets more");
        self.stand.lines().split_off(self.lines)
    }
}

/// The one line that tells of a flood.
fn check_line(lines: &[String], facts: &[&str]) {
    let told: Vec<&String> = lines.iter().filter(|line| line.contains(" floods ")).collect();
    assert_eq!(told.len(), 1, "told once: {lines:#?}");
    for fact in facts {
        assert!(told[0].contains(fact), "{fact}: {}", told[0]);
    }
}

#[test]
fn floods_of_clients_cost_little_are_counted_and_told_once() {
    let stand = Stand::start(1, &json!({}), &[("app", Speaks::Http1, server(little))]);
    for flood in of_clients() {
        let count = stand.statistic(flood.statistic);
        let before = Before::of(&stand);
        let mut client = stand.connect_http2(&[]);
        client.write_all(&flood.before).unwrap();
        for round in 0..flood.rounds {
            if client.write_all(&(flood.round)(round)).is_err() {
                break;
            }
        }
        until(flood.statistic, || (stand.statistic(flood.statistic) > count).then_some(()));
        until("a line of it", || {
            let lines = stand.lines();
            lines[before.lines..].iter().any(|line| line.contains(" floods ")).then_some(())
        });
        let lines = before.check(flood.statistic, MEMORY_MAX);
        assert_eq!(stand.statistic(flood.statistic), count + 1);
        let client = format!("client={}", client.local_addr().unwrap());
        check_line(&lines, &["a client floods", "listener=door", &client, flood.rule]);
    }
}

type Pour = fn(u32, &mut TcpStream);

/// Writes as long as the proxy takes it.
fn pour(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

const OK: &[(&str, &str)] = &[(":status", "200")];

fn of_servers() -> Vec<(&'static str, &'static str, &'static str, Pour)> {
    vec![
        ("evil0", "inbound_settings_frames_flood", "too many SETTINGS frames", |_, stream| {
            pour(stream, &settings(&[(3, 9)]).repeat(100));
        }),
        (
            "evil1",
            "inbound_window_update_frames_flood",
            "too many WINDOW_UPDATE frames",
            |_, stream| pour(stream, &window_update(0, 1).repeat(100)),
        ),
        (
            "evil2",
            "inbound_empty_frames_flood",
            "too many frames without content in a row",
            |id, stream| {
                drop(stream.write_all(&headers(id, 0, OK)));
                pour(stream, &data(id, 0, b"").repeat(100));
            },
        ),
        (
            "evil3",
            "inbound_continuation_frames_flood",
            "too many CONTINUATION frames",
            |id, stream| {
                drop(stream.write_all(&frame(HEADERS, 0, id, &block(OK))));
                pour(stream, &frame(CONTINUATION, 0, id, &block(&[("x-a", "b")])));
            },
        ),
        (
            "evil4",
            "outbound_control_flood",
            "too many control frames wait to be written",
            |_, stream| pour(stream, &frame(PING, 0, 0, &[7; 8]).repeat(1_000)),
        ),
        ("evil5", "inbound_priority_frames_flood", "too many PRIORITY frames", |_, stream| {
            pour(stream, &frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9]).repeat(100));
        }),
    ]
}

/// Serves one request of HTTP/2 by what `flood` does.
fn evil(mut stream: TcpStream, flood: Pour) {
    let greeted = stream.read_exact(&mut [0; 24]);
    if greeted.is_err() || stream.write_all(&settings(&[])).is_err() {
        return;
    }
    while let Ok(seen) = Frame::read(&mut stream) {
        if seen.kind == HEADERS {
            return flood(seen.stream, &mut stream);
        }
    }
}

#[test]
fn floods_of_servers_cost_little_are_counted_and_told_once() {
    let mut servers: Vec<Server> = vec![("app", Speaks::Http1, server(little))];
    for (name, _, _, flood) in of_servers() {
        servers.push((name, Speaks::Http2, server(move |stream| evil(stream, flood))));
    }
    let stand = Stand::start(2, &json!({}), &servers);
    for (cluster, statistic, rule, _) in of_servers() {
        let before = Before::of(&stand);
        let statistic = format!("cluster.{cluster}.http2.{statistic}");
        // Whatever becomes of the request.
        drop(http1::ask(stand.listener, &format!("GET /{cluster}"), &[("host", "a.test")]));
        until(&statistic, || (stand.statistic(&statistic) > 0).then_some(()));
        until("a line of it", || {
            let lines = stand.lines();
            lines[before.lines..].iter().any(|line| line.contains(" floods ")).then_some(())
        });
        let lines = before.check(&statistic, MEMORY_MAX);
        assert_eq!(stand.statistic(&statistic), 1);
        check_line(&lines, &["an upstream floods", &format!("cluster={cluster}"), rule]);
    }
}

/// Heads that unfold from a few octets, and such with more fields than may be: their streams are reset,
/// until so many early resets are a flood themselves.
#[test]
fn heads_that_are_too_large_cost_little_and_are_counted() {
    let stand = Stand::start(3, &json!({}), &[("app", Speaks::Http1, server(little))]);
    // One field of 3,000 octets into the table, then references to it.
    let mut unfolding = request("GET", "/", &[]);
    unfolding.extend_from_slice(&[0x40, 1, b'x', 0x7f, 0xb9, 0x16]);
    unfolding.extend(std::iter::repeat_n(b'v', 3_000));
    unfolding.extend(std::iter::repeat_n(0xbe, 1_000));
    let many: Vec<(&str, &str)> = vec![("x-a", "b"); 1_000];
    for (what, head) in [("unfolding", unfolding), ("many", request("GET", "/", &many))] {
        let count = stand.statistic("http2.header_overflow");
        let before = Before::of(&stand);
        let mut client = stand.connect_http2(&[]);
        for round in 0..5_000 {
            let head = frame(HEADERS, END_HEADERS | END_STREAM, round * 2 + 1, &head);
            if client.write_all(&head).is_err() {
                break;
            }
        }
        until(what, || (stand.statistic("http2.header_overflow") > count + 100).then_some(()));
        until("a line of it", || {
            let lines = stand.lines();
            lines[before.lines..].iter().any(|line| line.contains(" floods ")).then_some(())
        });
        let lines = before.check(what, MEMORY_MAX);
        check_line(&lines, &["listener=door", "too many streams were reset early"]);
    }
    let before = Before::of(&stand);
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n\r\n", "v".repeat(100 << 10));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x-a: b\r\n".repeat(1_000));
    for head in [long, many] {
        for _ in 0..100 {
            let mut client = stand.connect();
            drop(client.write_all(head.as_bytes()));
            let mut answer = Vec::new();
            drop(client.read_to_end(&mut answer));
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
    }
    before.check("heads of HTTP/1", MEMORY_MAX);
    assert!(stand.statistic("http.in.downstream_cx_protocol_error") >= 200);
}

/// Reads what comes until the proxy ends the connection.
fn ended(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // An end by a reset is one.
    let _ended = stream.read_to_end(&mut rest);
    rest
}

#[test]
fn heads_and_contents_that_never_end_are_given_up() {
    let manager = json!({"request_headers_timeout": "1s", "request_timeout": "2s"});
    let stand = Stand::start(4, &manager, &[("app", Speaks::Http1, server(little))]);
    let before = Before::of(&stand);
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let mut client = stand.connect();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a").unwrap();
        old.push(client);
        let mut client = stand.connect_http2(&[]);
        client.write_all(&frame(HEADERS, 0, 1, &request("GET", "/", &[]))).unwrap();
        new.push(client);
    }
    for client in old {
        let answer = ended(client);
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    }
    new.into_iter().for_each(|client| drop(ended(client)));
    before.check("heads that never end", MEMORY_MAX);
    let late = ["downstream_rq_timeout", "downstream_rq_header_timeout"]
        .map(|name| stand.statistic(&format!("http.in.{name}")));
    assert!(late.iter().sum::<u64>() >= 400, "{late:?}");

    let before = Before::of(&stand);
    let count = stand.statistic("http.in.downstream_rq_timeout");
    let mut old = Vec::new();
    for _ in 0..200 {
        let mut client = stand.connect();
        client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nx").unwrap();
        old.push(client);
    }
    let mut new = stand.connect_http2(&[]);
    for stream in (1..200).step_by(2) {
        new.write_all(&[post(stream), data(stream, 0, b"x")].concat()).unwrap();
    }
    for client in old {
        let answer = ended(client);
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    }
    until("the end of all", || {
        (stand.statistic("http.in.downstream_rq_timeout") >= count + 300).then_some(())
    });
    before.check("contents that never end", MEMORY_MAX);
}

/// Answers with content that never ends.
fn endless(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    if read_head(&mut stream).is_ok() {
        drop(stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"));
        pour(stream.get_mut(), &vec![b'x'; 64 << 10]);
    }
}

/// Clients that ask for much and read nothing: each holds no more than its windows and the queues of
/// its streams, until it has been idle for too long.
#[test]
fn readers_that_do_not_read_hold_little_and_are_given_up() {
    let manager = json!({"stream_idle_timeout": "3s"});
    let servers: [Server; 2] =
        [("app", Speaks::Http1, server(little)), ("endless", Speaks::Http1, server(endless))];
    let stand = Stand::start(5, &manager, &servers);
    let before = Before::of(&stand);
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = stand.connect();
        client.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        clients.push(client);
        // Windows as large as they can be, of which nothing is taken.
        let mut client = stand.connect_http2(&[(4, 0x7fff_ffff)]);
        client.write_all(&window_update(0, 0x7000_0000)).unwrap();
        for stream in [1, 3, 5] {
            let get = request("GET", "/endless", &[]);
            client.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &get)).unwrap();
        }
        clients.push(client);
    }
    until("all were given up", || {
        (stand.statistic("http.in.downstream_rq_idle_timeout") >= 200).then_some(())
    });
    // A worker's buffers and those of 200 streams.
    before.check("readers that do not read", 192 << 20);
    drop(clients);
}

/// Answers with as much as a stream may hold, and rests: a thousand servers that write as long as the
/// system takes it would have the processors for seconds, and the proxy would wait for its turn.
fn ample(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    if read_head(&mut stream).is_ok() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
        drop(stream.get_mut().write_all(head));
        drop(stream.get_mut().write_all(&vec![b'x'; 512 << 10]));
        let _ended = stream.read(&mut [0; 1]);
    }
}

#[test]
fn a_thousand_downloads_that_wait_for_a_window_leave_others_served() {
    let servers: [Server; 2] =
        [("app", Speaks::Http1, server(little)), ("ample", Speaks::Http1, server(ample))];
    let stand = Stand::start(6, &json!({}), &servers);
    let before = Before::of(&stand);
    let mut client = stand.connect_http2(&[(4, 0)]);
    for stream in (1..2_000).step_by(2) {
        let get = request("GET", "/ample", &[]);
        client.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &get)).unwrap();
    }
    let mut heads = 0;
    while heads < 1_000 {
        let seen = Frame::read(&mut client).unwrap();
        assert!(seen.kind != DATA || seen.payload.is_empty(), "nothing without a window");
        heads += usize::from(seen.kind == HEADERS);
    }
    // All wait now; who asks for little is served.
    let later = Bystander::start(&stand);
    for _ in 0..100 {
        let answer = http1::ask(stand.listener, "GET /", &[("host", "a.test")]).unwrap();
        assert_eq!(answer.status, 200);
    }
    let waited = later.end();
    eprintln!("while all wait: {:?} at most", waited.iter().max().unwrap());
    before.check("a thousand downloads that wait", 256 << 20);
}
