//! What a case does between requests: it waits for statistics, pauses, and reads admin pages.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    bootstrap::{ADMIN_PORT, WRITTEN},
    case::Request,
};

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

/// An admin page: the lines that hold one of the words or, without words, all that an operator's
/// tools read: status, type, and content, as JSON where it is that. What is told of an error is
/// only that it is one.
pub(crate) fn admin(request: &Request, path: &str, address: Ipv4Addr) -> Value {
    let method = request.method.as_deref().unwrap_or("GET");
    let text =
        ask(address, method, path, request.body.as_deref()).replace(&address.to_string(), WRITTEN);
    let (head, content) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    if !request.keep.is_empty() {
        let kept = |line: &&str| request.keep.iter().any(|word| line.contains(word.as_str()));
        let mut lines: Vec<_> = content.lines().map(str::trim).filter(kept).collect();
        lines.sort_unstable();
        return json!({"lines": lines});
    }
    let status = head.split(' ').nth(1).unwrap_or_default();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: "));
    // Which text it is, is told better to Prometheus than Envoy does.
    let kind = kind.and_then(|kind| kind.split(';').next());
    let mut seen = json!({"status": status, "content_type": kind});
    if status.starts_with('2') && method != "HEAD" {
        seen["content"] = match serde_json::from_str::<Value>(content) {
            Ok(mut value) => {
                value.sort_all_objects();
                value
            }
            Err(_) => content.lines().map(str::trim_end).collect(),
        };
    }
    seen
}

/// The content of an admin page.
pub(crate) fn page(address: Ipv4Addr, path: &str) -> String {
    ask(address, "GET", path, None)
}

/// What an admin page answers, from its head on.
fn ask(address: Ipv4Addr, method: &str, path: &str, form: Option<&str>) -> String {
    let mut stream = TcpStream::connect((address, ADMIN_PORT)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
    if let Some(form) = form {
        request.push_str("content-type: application/x-www-form-urlencoded\r\n");
        request.push_str(&format!("content-length: {}\r\n", form.len()));
    }
    request.push_str("\r\n");
    request.push_str(form.unwrap_or_default());
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    unchunked(text)
}

/// A response without the framing of its chunks.
fn unchunked(text: String) -> String {
    let Some((head, mut rest)) = text.split_once("\r\n\r\n") else { return text };
    if !head.contains("transfer-encoding: chunked") {
        return text;
    }
    let mut whole = format!("{head}\r\n\r\n");
    while let Some((size, chunk)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        let (content, after) = chunk.split_at(size.min(chunk.len()));
        whole.push_str(content);
        rest = after.strip_prefix("\r\n").unwrap_or_default();
    }
    whole
}

/// The lines that a proxy wrote to a file, without what differs from run to run.
pub(crate) fn lines(text: &str) -> Value {
    text.lines()
        .map(|line| match serde_json::from_str(line) {
            Ok(Value::Object(mut fields)) => {
                if fields.contains_key("timestamp") {
                    fields.insert("timestamp".to_owned(), Value::from("<time>"));
                }
                fields.values_mut().for_each(anew);
                if fields.get("stream_id").is_some_and(Value::is_string) {
                    fields.insert("stream_id".to_owned(), Value::from("<id>"));
                }
                fields.sort_keys();
                Value::Object(fields)
            }
            _ => Value::from(line),
        })
        .collect()
}

/// Puts marks in place of what is made anew with every certificate: fingerprints, numbers and PEM.
fn anew(value: &mut Value) {
    let is_number =
        |text: &str| text.len() >= 30 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some(text) = value.as_str() else { return };
    if text.starts_with("-----BEGIN") {
        *value = Value::from("<pem>");
    } else if text.split(',').all(is_number) {
        let marks: Vec<&str> = text
            .split(',')
            .map(|number| match number.len() {
                64 => "<64 digits>",
                // The number of a certificate may begin with zeros, which nobody writes.
                _ => "<at most 40 digits>",
            })
            .collect();
        *value = Value::from(marks.join(","));
    }
}
