//! Rendering a record into a buffer, without allocating for what the record already holds.

use std::io::Write;
use std::net::IpAddr;

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
                    Some(value) => write_value(value, command.bytes_max, escape, out),
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
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
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
        matches!(node, Node::Command(command)
            if command.operator.value(self.record).is_none())
    }

    fn command(&self, command: &Command, out: &mut Vec<u8>) {
        match command.operator.value(self.record) {
            None => out.extend_from_slice(b"null"),
            Some(Value::Number(number)) => {
                write_value(Value::Number(number), None, Escape::Json, out);
            }
            Some(value) => {
                out.push(b'"');
                write_value(value, command.bytes_max, Escape::Json, out);
                out.push(b'"');
            }
        }
    }
}

fn write_value(value: Value<'_>, bytes_max: Option<usize>, escape: Escape, out: &mut Vec<u8>) {
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
        Value::Number(number) => write_decimal(number, out),
        Value::Address(address) => {
            write_ip(address.ip(), IpForm::BeforePort, out);
            out.push(b':');
            write_decimal(u64::from(address.port()), out);
        }
        Value::Ip(ip) => write_ip(ip, IpForm::Alone, out),
        Value::Flags(flags) if flags.is_empty() => out.push(b'-'),
        Value::Flags(flags) => write_shown(flags, out),
        Value::LongFlags(flags) => write_shown(flags.long_names(), out),
        Value::Time(time, format) => format.write(time, out),
    }
    // What was written here is ASCII, so it can be cut anywhere.
    out.truncate(begin.saturating_add(limit(out.len().saturating_sub(begin))));
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
fn cut(text: &str, bytes: usize) -> &str {
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
