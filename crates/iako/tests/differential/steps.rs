//! What a case does between requests: it waits for statistics, pauses, and reads admin pages.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{bootstrap::ADMIN_PORT, case::Request};

/// Longest wait for a statistic; beyond it the case goes on and shows what it finds.
const TRIES_MAX: u32 = 400;
const TRY_EVERY: Duration = Duration::from_millis(20);

/// Waits as a request says before it is sent.
pub(crate) fn prepare(request: &Request, address: Ipv4Addr) {
    for _ in 0..TRIES_MAX {
        if request.await_stats.is_empty() || are_there(request, address) {
            break;
        }
        std::thread::park_timeout(TRY_EVERY);
    }
    if let Some(pause) = request.pause_ms {
        std::thread::park_timeout(Duration::from_millis(pause));
    }
}

fn are_there(request: &Request, address: Ipv4Addr) -> bool {
    let text = page(address, "/stats");
    request.await_stats.iter().all(|(name, least)| {
        let lines = text.lines().filter_map(|line| line.trim_end().split_once(": "));
        let mut values = lines.filter(|(found, _)| found == name).map(|(_, value)| value);
        values.any(|value| value.parse::<u64>().is_ok_and(|value| value >= *least))
    })
}

/// Those lines of an admin page that hold one of the words.
pub(crate) fn admin(request: &Request, path: &str, address: Ipv4Addr) -> Value {
    let text = page(address, path);
    let kept = |line: &&str| request.keep.iter().any(|word| line.contains(word.as_str()));
    let lines = text.lines().map(str::trim_end).filter(kept);
    let mut lines: Vec<String> =
        lines.map(|line| line.replace(&address.to_string(), "127.0.0.1")).collect();
    lines.sort();
    json!({"lines": lines})
}

/// The content of an admin page.
pub(crate) fn page(address: Ipv4Addr, path: &str) -> String {
    let mut stream = TcpStream::connect((address, ADMIN_PORT)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The lines that a proxy wrote to a file, without what differs from run to run.
pub(crate) fn lines(text: &str) -> Value {
    text.lines()
        .map(|line| match serde_json::from_str(line) {
            Ok(Value::Object(mut fields)) => {
                if fields.contains_key("timestamp") {
                    fields.insert("timestamp".to_owned(), Value::from("<time>"));
                }
                fields.sort_keys();
                Value::Object(fields)
            }
            _ => Value::from(line),
        })
        .collect()
}
