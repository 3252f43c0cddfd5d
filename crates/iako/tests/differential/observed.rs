//! What was seen, in the form in which it is compared and kept in a case.
//!
//! Identifiers, times and addresses that differ from run to run are replaced by marks; header
//! fields are ordered by name, and in their own order within a name.

mod spans;

use std::net::{Ipv4Addr, UdpSocket};

use serde_json::{Map, Value, json};

use crate::{
    case::Case,
    coding,
    wire::{base64, hpack::Field, http1::Content},
};

/// Adds headers, content and trailers of a message.
pub(crate) fn message(into: &mut Map<String, Value>, fields: &[Field], content: &Content) {
    let is_brotli = fields.iter().any(|(name, value)| name == "content-encoding" && value == "br");
    let brotli = if is_brotli { coding::brotli(&content.bytes) } else { None };
    let coded = brotli.map(|plain| ("br", plain)).or_else(|| coding::decoded(&content.bytes));
    let plain = coded.as_ref().map_or(content.bytes.as_slice(), |(_, plain)| plain);
    let is_echo = fields.iter().any(|(name, _)| name == "x-backend") && {
        let echo: Option<Value> = serde_json::from_slice(plain).ok();
        echo.is_some_and(|echo| !echo["backend"].is_null())
    };
    into.insert("headers".to_owned(), headers(fields));
    if !content.bytes.is_empty() {
        let body = if is_echo { Value::from("<echo>") } else { crate::upstream::told(plain) };
        let body = match &coded {
            Some((coding, _)) => json!({*coding: body}),
            None => body,
        };
        into.insert("body".to_owned(), body);
    }
    if !content.trailers.is_empty() {
        into.insert("trailers".to_owned(), headers(&content.trailers));
    }
    if !content.is_complete {
        into.insert("incomplete".to_owned(), Value::Bool(true));
    }
}

/// Header fields, ordered by name.
pub(crate) fn headers(fields: &[Field]) -> Value {
    let mut fields: Vec<Field> = fields.to_vec();
    fields.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    for (name, value) in &mut fields {
        if let Some(mark) = mark_of(&name.to_ascii_lowercase(), value) {
            *value = mark;
        }
    }
    json!(fields)
}

/// What stands for a value that differs from run to run.
fn mark_of(name: &str, value: &str) -> Option<String> {
    match name {
        "date" => Some("<date>".to_owned()),
        "if-modified-since" if value.ends_with(" GMT") => Some("<date>".to_owned()),
        "age" if value.parse::<u64>().is_ok() => Some("<age>".to_owned()),
        "connection" => Some(value.to_ascii_lowercase()),
        "x-request-id" if is_uuid(value) => Some("<uuid>".to_owned()),
        // The one that RFC 6455 and the cases send; another is made by chance.
        "sec-websocket-key" if value != "dGhlIHNhbXBsZSBub25jZQ==" => Some("<key>".to_owned()),
        "x-envoy-upstream-service-time" => Some("<ms>".to_owned()),
        _ if name.ends_with("-delay-ms") => Some("<ms>".to_owned()),
        "x-envoy-expected-rq-timeout-ms" => {
            // What is left of a time after waiting: the same within a tenth of it.
            let left: u64 = value.parse().ok()?;
            let step = if left > 1000 { 1000 } else { 100 };
            Some((left.div_ceil(step) * step).to_string())
        }
        "x-forwarded-client-cert" => Some(without_hash(value)),
        _ => None,
    }
}

fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.chars().enumerate().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        })
}

/// Certificates are made anew in every run.
fn without_hash(value: &str) -> String {
    let parts = value.split(';').map(|part| match part.strip_prefix("Hash=") {
        Some(hash) if hash.len() == 64 => "Hash=<hash>",
        _ => part,
    });
    parts.collect::<Vec<_>>().join(";")
}

/// Requests as upstreams saw them, with marks.
pub(crate) fn requests(mut seen: Vec<Value>, case: &Case) -> Value {
    if case.traced {
        spans::gather(&mut seen);
    }
    // Which of two upstreams is first is chance.
    seen.sort_by_key(|request| request["backend"].as_u64());
    for request in &mut seen {
        for part in ["headers", "trailers"] {
            if let Some(fields) = request.get_mut(part).filter(|fields| !fields.is_null()) {
                let mut list: Vec<Field> = serde_json::from_value(fields.clone()).unwrap();
                list.retain(|(name, _)| !case.upstream_ignored.contains_key(name));
                *fields = headers(&list);
            }
        }
        if let Some(messages) = request.get_mut("messages") {
            marked(messages, case);
        }
    }
    Value::Array(seen)
}

/// Messages with marks in place of what differs from run to run, and lists of headers as pairs.
fn marked(value: &mut Value, case: &Case) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if let Some(text) = field.as_str() {
                    let mark = match name.as_str() {
                        "time" | "start_time" | "time_unix_nano" | "duration" => {
                            Some("<time>".to_owned())
                        }
                        name if name.starts_with("time_to_") => Some("<time>".to_owned()),
                        "request_id" | "stream_id" if is_uuid(text) => Some("<uuid>".to_owned()),
                        "id" if text.len() > 15 => Some("<id>".to_owned()),
                        "certificate" if text.starts_with("-----BEGIN") => {
                            Some("<certificate>".to_owned())
                        }
                        name => mark_of(name, text),
                    };
                    if let Some(mark) = mark {
                        *field = Value::from(mark);
                    }
                } else if name == "node" {
                    *field = Value::from("<node>");
                } else if name == "port_value"
                    && field.as_u64().is_some_and(|port| !(22_000..22_200).contains(&port))
                {
                    *field = Value::from("<port>");
                }
                marked(field, case);
            }
            fields.retain(|name, _| !case.upstream_ignored.contains_key(name));
        }
        Value::Array(items) => {
            let pairs: Option<Vec<Field>> = items.iter().map(pair).collect();
            match pairs {
                Some(mut pairs) if !pairs.is_empty() => {
                    pairs.retain(|(name, _)| !case.upstream_ignored.contains_key(name));
                    *value = headers(&pairs);
                }
                _ => items.iter_mut().for_each(|item| marked(item, case)),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A header as messages write it, `{key, value}` or `{key, raw_value}`.
fn pair(value: &Value) -> Option<Field> {
    let fields = value.as_object()?;
    let key = fields.get("key")?.as_str()?;
    if let Some(text) = fields.get("value") {
        return (fields.len() == 2).then_some((key.to_owned(), text.as_str()?.to_owned()));
    }
    let raw = fields.get("raw_value").and_then(Value::as_str);
    let raw = raw.map(|raw| base64::decode(raw.trim_end_matches('='))).unwrap_or_default();
    (fields.len() <= 2).then(|| (key.to_owned(), crate::case::text(&raw.unwrap_or_default())))
}

/// Puts the addresses that a case is written with in place of those of a world.
pub(crate) fn unplaced(value: &mut Value, world: Ipv4Addr, local: Option<&str>) {
    match value {
        Value::String(text) => {
            *text = text.replace(&world.to_string(), crate::bootstrap::WRITTEN);
            *text = without_sessions(text, &world.to_string());
            if let Some(local) = local {
                *text = text.replace(local, "<local>");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| unplaced(item, world, local)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| unplaced(field, world, local));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Addresses of a world that stand in base64 become `@b64(PORT)`; with the end of a session, which
/// differs from run to run, `@b64(PORT, end)`.
fn without_sessions(text: &str, world: &str) -> String {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "+/".contains(letter);
    let mut clean = text.to_owned();
    for word in text.split(|letter: char| !is_letter(letter)).filter(|word| word.len() >= 16) {
        let Some(bytes) = base64::decode(word) else { continue };
        let plain = crate::case::text(&bytes);
        let Some((_, after)) = plain.split_once(&format!("{world}:")) else { continue };
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (port, rest) = after.split_at(digits);
        let end = if rest.is_empty() { "" } else { ", end" };
        let padded = [format!("{word}=="), format!("{word}="), word.to_owned()];
        for word in padded {
            clean = clean.replace(&word, &format!("@b64({port}{end})"));
        }
    }
    clean
}

/// This machine's address outside of loopback, which Envoy writes into `x-forwarded-for`.
pub(crate) fn local_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: a datagram socket only looks for a way. Source: `udp(7)`.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then(|| address.to_string())
}
