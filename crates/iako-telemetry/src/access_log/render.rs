//! Rendering a record into a buffer, without allocating for what the record already holds.

use std::borrow::Cow;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value as Json;

use super::AccessRecord;
use super::format::{AccessLogFormat, Command, Node, Piece, Shape, Template};
use super::operator::Value;
use super::time::{write_decimal, write_octet};

/// Where the text will stand, which decides how strange bytes are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// In a text line: control characters would let a client forge lines.
    Line,
    /// Inside the quotes of a JSON string.
    Json,
}

pub(super) fn render(format: &AccessLogFormat, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
    let scribe = Scribe { record, omit_empty: format.omit_empty };
    match &format.shape {
        Shape::Text(template) => scribe.template(template, Escape::Line, out),
        Shape::Json(node) => {
            scribe.node(node, out);
            out.push(b'\n');
        }
    }
}

struct Scribe<'a> {
    record: &'a AccessRecord<'a>,
    omit_empty: bool,
}

impl Scribe<'_> {
    fn template(&self, template: &Template, escape: Escape, out: &mut Vec<u8>) {
        for piece in &template.0 {
            match piece {
                Piece::Literal(text) if escape == Escape::Line => {
                    out.extend_from_slice(text.as_bytes());
                }
                Piece::Literal(text) => write_text(text, escape, out),
                Piece::Operator(command) => match command.operator.value(self.record) {
                    Some(value) => write_value(&value, command.bytes_max, escape, out),
                    None if self.omit_empty => {}
                    None => out.push(b'-'),
                },
            }
        }
    }

    fn node(&self, node: &Node, out: &mut Vec<u8>) {
        match node {
            Node::Object(members) => self.object(members, out),
            Node::List(items) => {
                out.push(b'[');
                let mut is_first = true;
                for item in items {
                    if self.omit_empty && self.is_absent(item) {
                        continue;
                    }
                    if !std::mem::take(&mut is_first) {
                        out.push(b',');
                    }
                    self.node(item, out);
                }
                out.push(b']');
            }
            Node::Command(command) => self.command(command, out),
            Node::Template(template) => {
                out.push(b'"');
                self.template(template, Escape::Json, out);
                out.push(b'"');
            }
            Node::Constant(text) => out.extend_from_slice(text.as_bytes()),
        }
    }

    fn object(&self, members: &[(String, Node)], out: &mut Vec<u8>) {
        let mut separator = b'{';
        for (name, member) in members {
            if self.omit_empty && self.is_absent(member) {
                continue;
            }
            out.push(separator);
            out.extend_from_slice(name.as_bytes());
            self.node(member, out);
            separator = b',';
        }
        if separator == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
    }

    fn is_absent(&self, node: &Node) -> bool {
        match node {
            Node::Command(command) => command.operator.value(self.record).is_none(),
            Node::Object(members) => members.iter().all(|(_, member)| self.is_absent(member)),
            Node::Constant(text) => text == "null",
            Node::List(_) | Node::Template(_) => false,
        }
    }

    fn command(&self, command: &Command, out: &mut Vec<u8>) {
        match command.operator.value(self.record) {
            None => out.extend_from_slice(b"null"),
            Some(value @ Value::Number(_)) => write_value(&value, None, Escape::Json, out),
            Some(Value::Json(value)) => match (&*value, command.bytes_max) {
                (Json::String(text), Some(most)) => {
                    out.push(b'"');
                    write_text(cut(text, most), Escape::Json, out);
                    out.push(b'"');
                }
                (value, _) => write_json(value, out),
            },
            Some(value) => {
                out.push(b'"');
                write_value(&value, command.bytes_max, Escape::Json, out);
                out.push(b'"');
            }
        }
    }
}

fn write_value(value: &Value<'_>, bytes_max: Option<usize>, escape: Escape, out: &mut Vec<u8>) {
    let limit = |length: usize| bytes_max.map_or(length, |most| most.min(length));
    let begin = out.len();
    match value {
        Value::Bytes(bytes) => {
            let bytes = bytes.get(..limit(bytes.len())).unwrap_or_default();
            if all_plain(bytes) {
                return out.extend_from_slice(bytes);
            }
            for chunk in bytes.utf8_chunks() {
                write_text(chunk.valid(), escape, out);
                chunk.invalid().iter().for_each(|byte| write_strange(*byte, escape, out));
            }
            return;
        }
        Value::Text(text) => return write_text(cut(text, limit(text.len())), escape, out),
        Value::Json(value) => {
            let text = value.as_str().map_or_else(
                || {
                    let mut text = Vec::new();
                    write_json(value, &mut text);
                    Cow::Owned(String::from_utf8_lossy(&text).into_owned())
                },
                Cow::Borrowed,
            );
            return write_text(cut(&text, limit(text.len())), escape, out);
        }
        Value::Number(number) => write_decimal(*number, out),
        Value::Address(address) => {
            write_ip(address.ip(), IpForm::BeforePort, out);
            out.push(b':');
            write_decimal(u64::from(address.port()), out);
        }
        Value::Ip(ip) => write_ip(*ip, IpForm::Alone, out),
        Value::Network(ip, bits) => write_network(*ip, *bits, out),
        Value::Flags(flags) if flags.is_empty() => out.push(b'-'),
        Value::Flags(flags) => write_shown(flags, out),
        Value::LongFlags(flags) => write_shown(flags.long_names(), out),
        Value::Time(time, format) => format.write(*time, out),
    }
    // What was written here is ASCII, so it can be cut anywhere.
    out.truncate(begin.saturating_add(limit(out.len().saturating_sub(begin))));
}

/// Source: RFC 8259; the order of names is the one in which they are kept.
fn write_json(value: &Json, out: &mut Vec<u8>) {
    match value {
        // Envoy keeps numbers as floating point, and shows whole ones without a point.
        Json::Number(number) => match number.as_f64() {
            Some(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                write_shown(format_args!("{number:.0}"), out);
            }
            Some(_) | None => write_shown(number, out),
        },
        Json::String(text) => {
            out.push(b'"');
            write_text(text, Escape::Json, out);
            out.push(b'"');
        }
        Json::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_json(item, out);
            }
            out.push(b']');
        }
        Json::Object(fields) => {
            out.push(b'{');
            for (position, (name, value)) in fields.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                out.push(b'"');
                write_text(name, Escape::Json, out);
                out.extend_from_slice(b"\":");
                write_json(value, out);
            }
            out.push(b'}');
        }
        Json::Null | Json::Bool(_) => write_shown(value, out),
    }
}

/// The network of an address, of so many bits; of all where it has not so many.
fn write_network(ip: IpAddr, bits: u8, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            let bits = u32::from(bits.min(32));
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let masked = Ipv4Addr::from_bits(ip.to_bits() & mask);
            write_shown(format_args!("{masked}/{bits}"), out);
        }
        IpAddr::V6(ip) => {
            let bits = u32::from(bits.min(128));
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let masked = Ipv6Addr::from_bits(ip.to_bits() & mask);
            write_shown(format_args!("{masked}/{bits}"), out);
        }
    }
}

fn write_shown(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    let written = write!(out, "{value}");
    debug_assert!(written.is_ok(), "a Vec takes every byte");
}

/// Whether an address of IPv6 needs its brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IpForm {
    Alone,
    BeforePort,
}

fn write_ip(ip: IpAddr, form: IpForm, out: &mut Vec<u8>) {
    match (ip, form) {
        (IpAddr::V4(ip), _) => {
            let [first, others @ ..] = ip.octets();
            write_octet(first, out);
            for octet in others {
                out.push(b'.');
                write_octet(octet, out);
            }
        }
        (IpAddr::V6(ip), IpForm::Alone) => write_shown(ip, out),
        (IpAddr::V6(ip), IpForm::BeforePort) => write_shown(format_args!("[{ip}]"), out),
    }
}

/// At most so many bytes, cut between characters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Whether a byte stands for itself, wherever the text goes: printable ASCII without quotes and
/// backslashes.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// Whether all bytes are plain, eight at a step: most of a line is text that needs no escapes.
fn all_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES * 0x80;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let word = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let low = word.wrapping_sub(ONES * 0x20) & HIGHS;
        let strange = zero(word ^ (ONES * 0x7f))
            | zero(word ^ (ONES * u64::from(b'"')))
            | zero(word ^ (ONES * u64::from(b'\\')));
        (low | strange | (word & HIGHS)) == 0
    };
    let (words, rest) = bytes.as_chunks::<8>();
    match bytes.last_chunk::<8>() {
        // The last step reaches back into what was looked at.
        Some(last) => words.iter().all(word) && (rest.is_empty() || word(last)),
        None => rest.iter().all(|byte| is_plain(*byte)),
    }
}

fn write_text(text: &str, escape: Escape, out: &mut Vec<u8>) {
    if all_plain(text.as_bytes()) {
        return out.extend_from_slice(text.as_bytes());
    }
    for byte in text.bytes() {
        match (byte, escape) {
            (b'"' | b'\\', Escape::Json) => out.extend_from_slice(&[b'\\', byte]),
            (0..=0x1f | 0x7f, _) => write_strange(byte, escape, out),
            _ => out.push(byte),
        }
    }
}

fn write_strange(byte: u8, escape: Escape, out: &mut Vec<u8>) {
    let written = match (byte, escape) {
        (b'\n', Escape::Json) => out.write_all(b"\\n"),
        (b'\t', Escape::Json) => out.write_all(b"\\t"),
        (_, Escape::Json) => write!(out, "\\u{byte:04x}"),
        (_, Escape::Line) => write!(out, "\\x{byte:02x}"),
    };
    debug_assert!(written.is_ok(), "a Vec takes every byte");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_what_each_of_its_bytes_is() {
        for byte in 0..=255 {
            for length in [1, 7, 8, 9, 19] {
                for place in 0..length {
                    let mut text = vec![b'x'; length];
                    text[place] = byte;
                    assert_eq!(all_plain(&text), is_plain(byte), "{byte} at {place} of {length}");
                }
            }
        }
    }
}
