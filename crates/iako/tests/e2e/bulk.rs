//! Much content through one proxy: its memory stays what windows and queues allow.
//!
//! `cargo test --release -p iako --test e2e -- --ignored --nocapture ten_gibibytes`

use std::{
    io::{self, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

use iako_testkit::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PING, SETTINGS, WINDOW_UPDATE, data, frame,
    window_update,
};
use serde_json::json;

use crate::stand::{Server, Speaks, Stand, little, read_head, request, server};

const TOTAL: u64 = 10 << 30;

/// What the memory of the proxy may grow by for one transfer, at its peak.
const MEMORY_MAX: u64 = 64 << 20;

const PIECE_BYTES: usize = 256 << 10;

/// A reader rests after so much, and for so long: whoever writes meets full windows.
const REST_AFTER: u64 = 512 << 20;
const REST: Duration = Duration::from_millis(100);

/// A reader that is slow in parts.
#[derive(Default)]
struct Slowly {
    taken: u64,
}

impl Slowly {
    fn take(&mut self, bytes: usize) {
        let before = self.taken / REST_AFTER;
        self.taken += bytes as u64;
        if self.taken / REST_AFTER > before {
            std::thread::park_timeout(REST);
        }
    }

    /// Reads as much as that.
    fn read(&mut self, stream: &mut impl io::Read, total: u64) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        while self.taken < total {
            match stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.take(count),
            }
        }
        Ok(())
    }
}

fn write_all(stream: &mut impl io::Write) {
    let piece = vec![b'x'; PIECE_BYTES];
    for _ in 0..TOTAL / PIECE_BYTES as u64 {
        stream.write_all(&piece).unwrap();
    }
}

/// Answers GET with that much, and takes as much of POST, slow in parts.
fn much(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    while let Ok(head) = read_head(&mut stream) {
        if head.starts_with("GET") {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n");
            stream.get_mut().write_all(head.as_bytes()).unwrap();
            write_all(stream.get_mut());
        } else {
            Slowly::default().read(&mut stream, TOTAL).unwrap();
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    }
}

/// Has a stand move content, and looks at what that took.
fn moved(third: u8, what: &str, transfer: impl FnOnce(&Stand)) {
    let servers: [Server; 2] =
        [("app", Speaks::Http1, server(little)), ("much", Speaks::Http1, server(much))];
    let stand = Stand::start(third, &json!({}), &servers);
    let (before, began) = (stand.cost(), iako_rt::clock::now());
    transfer(&stand);
    let (after, took) = (stand.cost(), began.elapsed());
    let grown = after.peak.saturating_sub(before.resident);
    eprintln!(
        "{what}: 10 GiB in {took:?}, processor {:?}, peak {} MiB, {} KiB above what was before",
        after.cpu.saturating_sub(before.cpu),
        after.peak >> 20,
        grown >> 10,
    );
    assert!(grown < MEMORY_MAX, "{what}: {grown} octets more");
}

fn download_http1(stand: &Stand) {
    let mut stream = stand.connect();
    stream.write_all(b"GET /much HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    read_head(&mut stream).unwrap();
    Slowly::default().read(&mut stream, TOTAL).unwrap();
}

fn upload_http1(stand: &Stand) {
    let mut stream = stand.connect();
    let head = format!("POST /much HTTP/1.1\r\nhost: a\r\ncontent-length: {TOTAL}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    write_all(&mut stream);
    let head = read_head(&mut BufReader::new(stream)).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

/// Answers what a server may ask at any time; the frame when it is something else.
fn next(stream: &mut BufReader<TcpStream>) -> Frame {
    loop {
        let seen = Frame::read(stream).unwrap();
        let answer = match seen.kind {
            SETTINGS if seen.flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[]),
            PING if seen.flags & ACK == 0 => frame(PING, ACK, 0, &seen.payload),
            _ => return seen,
        };
        stream.get_mut().write_all(&answer).unwrap();
        if seen.kind == SETTINGS {
            return seen;
        }
    }
}

fn download_http2(stand: &Stand) {
    const WINDOW: u32 = 4 << 20;
    let mut stream = stand.connect_http2(&[(4, WINDOW)]);
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("GET", "/much", &[]));
    stream.write_all(&[window_update(0, WINDOW), get].concat()).unwrap();
    let mut stream = BufReader::with_capacity(PIECE_BYTES, stream);
    let (mut reader, mut owed) = (Slowly::default(), 0);
    while reader.taken < TOTAL {
        let seen = next(&mut stream);
        if seen.kind == DATA {
            reader.take(seen.payload.len());
            owed += u32::try_from(seen.payload.len()).unwrap();
        }
        if owed > WINDOW / 4 {
            let updates = [window_update(0, owed), window_update(1, owed)].concat();
            stream.get_mut().write_all(&updates).unwrap();
            owed = 0;
        }
    }
}

fn upload_http2(stand: &Stand) {
    let mut stream = stand.connect_http2(&[]);
    let length = TOTAL.to_string();
    let post = request("POST", "/much", &[("content-length", &length)]);
    let post = frame(HEADERS, END_HEADERS, 1, &post);
    stream.write_all(&post).unwrap();
    let mut stream = BufReader::new(stream);
    let (mut connection, mut first, mut left) = (65_535_i64, 65_535_i64, TOTAL);
    let piece = vec![b'x'; 16_384];
    loop {
        let room = connection.min(first).min(16_384).min(i64::try_from(left).unwrap());
        if left > 0 && room > 0 {
            let length = usize::try_from(room).unwrap();
            (connection, first, left) = (connection - room, first - room, left - length as u64);
            let end = if left == 0 { END_STREAM } else { 0 };
            stream.get_mut().write_all(&data(1, end, &piece[..length])).unwrap();
            continue;
        }
        let seen = next(&mut stream);
        match (seen.kind, seen.stream) {
            (WINDOW_UPDATE, 0) => connection += i64::from(seen.number()),
            (WINDOW_UPDATE, _) => first += i64::from(seen.number()),
            (SETTINGS, _) => {
                let window = seen.payload.chunks_exact(6).find(|it| it[..2] == [0, 4]);
                let told = |it: &[u8]| u32::from_be_bytes([it[2], it[3], it[4], it[5]]);
                first += window.map_or(0, |it| i64::from(told(it)) - 65_535);
            }
            (HEADERS, _) => return assert_eq!(left, 0, "answered before its end"),
            (kind, _) => panic!("a frame of type {kind}"),
        }
    }
}

#[test]
#[ignore = "moves 40 GiB, which takes minutes"]
fn ten_gibibytes_each_way_stay_within_the_windows() {
    moved(20, "HTTP/1, down", download_http1);
    moved(21, "HTTP/1, up", upload_http1);
    moved(22, "HTTP/2, down", download_http2);
    moved(23, "HTTP/2, up", upload_http2);
}
