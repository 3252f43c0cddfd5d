//! Servers that close connections which nobody uses: at an age that can be learned, and at random.
//!
//! `cargo test -p iako --test e2e -- --ignored --nocapture close_idle_connections`

use std::{
    io::{BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use serde_json::json;

use crate::{
    http1::Connection,
    stand::{Speaks, Stand, read_head, server},
};

/// Clients, each with a connection that it keeps.
const CLIENTS: usize = 40;
/// 200 requests a second.
const TICK: Duration = Duration::from_millis(5);
const REQUESTS: u64 = 12_000;
/// What the server takes for an answer: those that ask at once need a connection each.
const WORK: Duration = Duration::from_millis(20);

/// Numbers without a pattern.
fn mixed(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20
}

/// Answers until nothing was asked for as long as `idle` says of that wait; counts when it closes.
fn patient(stream: TcpStream, idle: impl Fn(u64) -> Duration, closed: &AtomicUsize) {
    let mut stream = BufReader::new(stream);
    stream.get_ref().set_nodelay(true).unwrap();
    for wait in 0.. {
        stream.get_ref().set_read_timeout(Some(idle(wait))).unwrap();
        match read_head(&mut stream) {
            Ok(_) => {}
            Err(error) => {
                let is_late = error.kind() == std::io::ErrorKind::WouldBlock;
                closed.fetch_add(usize::from(is_late), Relaxed);
                return;
            }
        }
        std::thread::park_timeout(WORK);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if stream.get_mut().write_all(answer).is_err() {
            return;
        }
    }
}

/// Asks when it is told to; how often the answer was none, or not 200.
fn client(address: SocketAddr, asked: &mpsc::Receiver<u64>) -> Vec<String> {
    let mut connection = Connection::open(address).unwrap();
    let mut failed = Vec::new();
    for number in asked {
        // Half of them may not be repeated once they were sent.
        let start = if number % 2 == 0 { "GET /" } else { "POST /" };
        match connection.ask(start, &[("host", "a.test")]) {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => failed.push(format!("{}: {}", answer.status, answer.body)),
            Err(error) => {
                failed.push(error.to_string());
                connection = Connection::open(address).unwrap();
            }
        }
    }
    failed
}

/// 200 requests a second for a minute, and all clients at once every five seconds or so: connections
/// that only those need are about as old then as the server lets them become.
fn asked(third: u8, what: &str, idle: impl Fn(u64) -> Duration + Clone + Send + 'static) {
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&closed);
    let address = server(move |stream| patient(stream, idle.clone(), &counter));
    let stand = Stand::start(third, &json!({}), &[("app", Speaks::Http1, address)]);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (ask, asked) = mpsc::channel();
            let listener = stand.listener;
            (ask, std::thread::spawn(move || client(listener, &asked)))
        })
        .collect();
    let began = iako_rt::clock::now();
    let mut due = 900;
    for number in 0..REQUESTS {
        let place = usize::try_from(number).unwrap() % CLIENTS;
        clients[place].0.send(mixed(number)).unwrap();
        if number == due {
            clients.iter().for_each(|(ask, _)| ask.send(mixed(number)).unwrap());
            // 4.6 to 5.2 s later.
            due += 920 + mixed(number) % 120;
        }
        let next = began + TICK * u32::try_from(number).unwrap();
        std::thread::park_timeout(next.saturating_duration_since(iako_rt::clock::now()));
    }
    let failed: Vec<String> = clients
        .into_iter()
        .flat_map(|(ask, client)| {
            drop(ask);
            client.join().unwrap()
        })
        .collect();
    let (closed, reused) = (closed.load(Relaxed), stand.statistic("cluster.app.upstream_cx_total"));
    eprintln!("{what}: {} failed, {closed} closed by the server, {reused} opened", failed.len());
    assert_eq!(failed, [] as [String; 0], "{what}");
    assert!(closed > 0, "{what}: the server closed connections");
}

#[test]
#[ignore = "takes two minutes"]
fn servers_that_close_idle_connections_fail_no_request() {
    asked(30, "closes after 5 s", |_| Duration::from_secs(5));
    asked(31, "closes at random", |wait| match wait {
        // Servers are patient with new connections.
        0 => Duration::from_secs(60),
        wait => Duration::from_millis(20 + mixed(wait) % 3_000),
    });
}
