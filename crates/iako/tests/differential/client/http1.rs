//! An HTTP/1 client.

use std::net::Shutdown;

use serde_json::{Map, Value, json};

use crate::{
    case::{self, Request, Script},
    observed,
    wire::http1::{Connection, Content, End, Message},
};

pub(super) fn run(mut connection: Connection, request: &Request, number: usize) -> Value {
    let methods = methods(request);
    let sent = match &request.raw {
        Some(script) => connection.play(script),
        None => connection.send(&written(request, number)),
    };
    let wanted = request.responses.unwrap_or(1);
    let mut responses = Vec::new();
    let mut reader = Reader { connection, closes: false, tunnels: false };
    // A client that has left reads nothing any more.
    while responses.len() < wanted && (sent || reader.connection.end.is_none()) {
        let method = methods.get(responses.len()).map_or("GET", String::as_str);
        match reader.response(method) {
            Some(response) => responses.push(response),
            None => break,
        }
        if reader.closes || reader.tunnels {
            break;
        }
    }
    reader.finish(responses)
}

/// The methods of the requests, which frame the responses.
fn methods(request: &Request) -> Vec<String> {
    if !request.methods.is_empty() {
        return request.methods.clone();
    }
    let text = match &request.raw {
        None => return vec![request.method.clone().unwrap_or_else(|| "GET".to_owned())],
        Some(Script::Text(text)) => text.as_str(),
        Some(Script::Steps(steps)) => match steps.first() {
            Some(case::ByteStep::Send(text)) => text.as_str(),
            _ => "",
        },
    };
    vec![text.split(' ').next().unwrap_or_default().to_owned()]
}

fn written(request: &Request, number: usize) -> Vec<u8> {
    let counted = |text: &str| text.replace("{i}", &number.to_string());
    let method = request.method.as_deref().unwrap_or("GET");
    let path = counted(request.path.as_deref().unwrap_or("/"));
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    let has = |name: &str| request.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    if !has("host") {
        text.push_str("host: a.test\r\n");
    }
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {}\r\n", counted(value)));
    }
    let body = request.body.clone().unwrap_or_default();
    if request.body.is_some() && !has("content-length") && !has("transfer-encoding") {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(&body);
    case::bytes(&text)
}

struct Reader {
    connection: Connection,
    /// The last response ends the connection.
    closes: bool,
    /// The last response made a tunnel of it.
    tunnels: bool,
}

impl Reader {
    fn response(&mut self, method: &str) -> Option<Value> {
        let mut interim = Vec::new();
        loop {
            let head = self.connection.head()?;
            let status: u16 = head.word(1).parse().unwrap_or(0);
            if (100..200).contains(&status) && status != 101 {
                interim.push(json!({"status": status, "headers": observed::headers(&head.fields)}));
                continue;
            }
            let mut response = Map::new();
            if !interim.is_empty() {
                response.insert("interim".to_owned(), Value::Array(interim));
            }
            if head.word(0) != "HTTP/1.1" {
                response.insert("version".to_owned(), Value::from(head.word(0)));
            }
            response.insert("status".to_owned(), Value::from(status));
            response.insert("reason".to_owned(), Value::from(head.word(2)));
            self.tunnels = status == 101 || (method == "CONNECT" && (200..300).contains(&status));
            let content = self.content(&head, method, status);
            observed::message(&mut response, &head.fields, &content);
            return Some(Value::Object(response));
        }
    }

    fn content(&mut self, head: &Message, method: &str, status: u16) -> Content {
        let empty = || Content { is_complete: true, ..Content::default() };
        let asked = head.value("connection").unwrap_or_default().to_ascii_lowercase();
        let is_old = head.word(0) == "HTTP/1.0" && !asked.contains("keep-alive");
        self.closes = asked.contains("close") || is_old;
        if method == "HEAD" || matches!(status, 204 | 304) || self.tunnels {
            return empty();
        }
        if head.is_chunked() {
            return self.connection.chunked();
        }
        if let Some(length) = head.length() {
            return self.connection.exactly(length);
        }
        self.closes = true;
        let bytes = self.connection.rest();
        let is_complete = self.connection.end == Some(End::Closed);
        Content { bytes, trailers: Vec::new(), is_complete }
    }

    /// Ends the connection, if the proxy does not, and tells about everything else that came.
    fn finish(mut self, responses: Vec<Value>) -> Value {
        let is_kept = !self.closes && !responses.is_empty() && self.connection.end.is_none();
        if is_kept {
            // Whoever has nothing more to say closes now; what is said first is part of the case.
            let _gone = self.connection.stream.shutdown(Shutdown::Write);
        }
        let extra = self.connection.rest();
        let end = match self.connection.end {
            Some(End::Closed) if is_kept => "kept",
            Some(End::Closed) => "closed",
            Some(End::Reset) => "reset",
            Some(End::Refused) => "refused",
            Some(End::Silent) | None => "silent",
        };
        let mut seen = Map::new();
        seen.insert("responses".to_owned(), Value::Array(responses));
        if !extra.is_empty() {
            seen.insert("extra".to_owned(), Value::from(case::text(&extra)));
        }
        seen.insert("end".to_owned(), Value::from(end));
        Value::Object(seen)
    }
}
