//! An HTTP/1 connection of an upstream.
//!
//! An echo obeys: `/status/503` sets the status, `?delay=1` waits one second, `x-reply-header: a:b`
//! adds a header, `x-fail-times: name,2,503` fails twice (`reset` closes instead).

use std::time::Duration;

use serde_json::{Value, json};

use super::{Shared, echo, spans, told};
use crate::{
    case::Reply,
    wire::http1::{Connection, Content, Message},
};

/// What a connection goes on as.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Ended,
    Http2,
}

pub(super) fn serve(connection: &mut Connection, port: u16, shared: &Shared) -> Next {
    while let Some(head) = connection.head() {
        if head.start == "PRI * HTTP/2.0" {
            return Next::Http2;
        }
        let place = shared.note(json!({
            "backend": port,
            "method": head.word(0),
            "path": head.word(1),
            "headers": head.fields,
        }));
        if head.word(2) != "HTTP/1.1" {
            shared.add(place, "version", Value::from(head.word(2)));
        }
        let reply = shared.reply(port);
        if !answer(connection, &head, reply.as_ref(), (port, place, shared)) {
            break;
        }
    }
    Next::Ended
}

/// Answers one request; false when the connection is over.
fn answer(
    connection: &mut Connection,
    head: &Message,
    reply: Option<&Reply>,
    (port, place, shared): (u16, usize, &Shared),
) -> bool {
    if let Some(script) = reply.and_then(|reply| reply.on_head.as_ref())
        && !connection.play(script)
    {
        return false;
    }
    let content = content(connection, head);
    if let Some(spans) = spans::told(head.word(1), &content.bytes) {
        shared.add(place, "spans", spans);
    } else if !content.bytes.is_empty() {
        shared.add(place, "body", told(&content.bytes));
    }
    if !content.trailers.is_empty() {
        shared.add(place, "trailers", json!(content.trailers));
    }
    if !content.is_complete {
        shared.add(place, "incomplete", Value::Bool(true));
        return false;
    }
    let Some(reply) = reply else {
        return reflect(connection, head, port, shared);
    };
    if let Some(script) = &reply.raw
        && !connection.play(script)
    {
        return false;
    }
    if reply.tunnel {
        tunnel(connection, place, shared);
        return false;
    }
    true
}

fn content(connection: &mut Connection, head: &Message) -> Content {
    if head.is_chunked() {
        return connection.chunked();
    }
    connection.exactly(head.length().unwrap_or(0))
}

/// Gives every byte back, and remembers all of them.
fn tunnel(connection: &mut Connection, place: usize, shared: &Shared) {
    let mut all = Vec::new();
    loop {
        let piece = std::mem::take(&mut connection.buffer);
        all.extend(&piece);
        if !connection.send(&piece) || !connection.fill() {
            break;
        }
    }
    shared.add(place, "tunnel", told(&all));
}

fn reflect(connection: &mut Connection, head: &Message, port: u16, shared: &Shared) -> bool {
    let (method, target) = (head.word(0), head.word(1));
    let mut status = "200 OK".to_owned();
    if target.starts_with("/api/v2/spans") {
        // What Zipkin answers, and what proxies count as taken.
        "202 Accepted".clone_into(&mut status);
    }
    if let Some(rest) = target.strip_prefix("/status/") {
        let code: String = rest.chars().take_while(char::is_ascii_digit).collect();
        status = format!("{code} X");
    }
    if let Some(seconds) = target.split("delay=").nth(1).and_then(|rest| rest.parse().ok()) {
        shared.pause(Duration::from_secs_f64(seconds));
    }
    match failure(head, shared).as_deref() {
        Some("reset") => return false,
        Some(code) => status = format!("{code} X"),
        None => {}
    }
    let body = echo(port, method, target);
    let mut reply = format!("HTTP/1.1 {status}\r\nx-backend: {port}\r\n");
    if let Some((name, value)) = head.value("x-reply-header").and_then(|it| it.split_once(':')) {
        reply.push_str(&format!("{name}: {value}\r\n"));
    }
    reply.push_str("content-type: application/json\r\n");
    reply.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    if method != "HEAD" {
        reply.push_str(&body);
    }
    connection.send(reply.as_bytes())
}

/// The failure that a request asks for, as long as it asks for more than there were.
fn failure(head: &Message, shared: &Shared) -> Option<String> {
    let wish: Vec<&str> = head.value("x-fail-times")?.split(',').collect();
    let mut failures = shared.failures.lock();
    let count = failures.entry(wish[0].to_owned()).or_default();
    *count += 1;
    let most: usize = wish[1].parse().unwrap();
    (*count <= most).then(|| wish.get(2).copied().unwrap_or("503").to_owned())
}
