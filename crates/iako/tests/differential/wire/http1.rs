//! HTTP/1 messages as they come, with every oddity kept.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{hpack::Field, stream::Stream};
use crate::{
    case::{self, ByteStep, EndStep, Script},
    stage::Stage,
};

/// A connection with what was read and not used yet.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) buffer: Vec<u8>,
    /// Everything that was ever read, for [`ByteStep::Await`].
    pub(crate) seen: Vec<u8>,
    pub(crate) end: Option<End>,
    /// A reset was told to somebody who wrote: the system tells it once only.
    is_reset: bool,
    pub(crate) deadline: Option<Instant>,
    /// Where a client's case plays.
    pub(crate) stage: Option<Arc<Stage>>,
}

/// How the other side ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
    /// By an alert of TLS.
    Refused,
    /// Nothing more came in time.
    Silent,
}

/// A message whose head was read.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) start: String,
    pub(crate) fields: Vec<Field>,
}

/// The content of a message.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) trailers: Vec<Field>,
    pub(crate) is_complete: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self::over(Stream::Plain(stream))
    }

    pub(crate) fn over(stream: Stream) -> Self {
        stream.socket().set_nodelay(true).unwrap();
        let (buffer, seen) = (Vec::new(), Vec::new());
        Self { stream, buffer, seen, end: None, is_reset: false, deadline: None, stage: None }
    }

    /// Limits everything that follows.
    pub(crate) fn limit(&mut self, wait: Duration) {
        self.deadline = Some(iako_rt::clock::now() + wait);
    }

    /// Reads what there is, waits for it if needed; false at the end.
    pub(crate) fn fill(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        let left = self.deadline.map(|at| at.saturating_duration_since(iako_rt::clock::now()));
        if left.is_some_and(|left| left.is_zero()) {
            self.end = Some(End::Silent);
            return false;
        }
        self.stream.set_read_timeout(left).unwrap();
        let mut piece = [0; 16_384];
        match self.stream.read(&mut piece) {
            Ok(0) => self.end = Some(if self.is_reset { End::Reset } else { End::Closed }),
            Ok(length) => {
                self.buffer.extend(&piece[..length]);
                self.seen.extend(&piece[..length]);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    self.end = Some(End::Silent);
                }
                io::ErrorKind::Interrupted => {}
                // An alert of TLS: what was agreed on is taken back.
                io::ErrorKind::InvalidData => self.end = Some(End::Refused),
                _ => self.end = Some(End::Reset),
            },
        }
        self.end.is_none()
    }

    /// Sends a script; false when the other side has gone.
    pub(crate) fn play(&mut self, script: &Script) -> bool {
        match script {
            Script::Text(text) => self.send(&case::bytes(&dated(text))),
            Script::Steps(steps) => steps.iter().all(|step| self.step(step)),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.stream.write_all(bytes);
        let kind = sent.as_ref().err().map(io::Error::kind);
        self.is_reset |= kind == Some(io::ErrorKind::ConnectionReset);
        sent.is_ok()
    }

    fn step(&mut self, step: &ByteStep) -> bool {
        match step {
            ByteStep::Send(text) => self.send(&case::bytes(text)),
            ByteStep::Repeat { repeat, times } => self.send(&case::bytes(repeat).repeat(*times)),
            ByteStep::Await { r#await } => self.wait_for(&case::bytes(r#await)),
            ByteStep::AwaitEnd { await_end } => {
                while *await_end && self.fill() {}
                true
            }
            ByteStep::Pause { pause_ms } => {
                std::thread::park_timeout(Duration::from_millis(*pause_ms));
                true
            }
            ByteStep::Change { change } => {
                self.stage.as_ref().unwrap().apply(change);
                true
            }
            ByteStep::Beside { beside } => {
                self.play_beside(beside);
                true
            }
            ByteStep::End { end: EndStep::Fin } => {
                self.stream.shutdown(std::net::Shutdown::Write).is_ok()
            }
            ByteStep::End { end: EndStep::Close } => {
                drop(self.stream.shutdown(std::net::Shutdown::Both));
                self.end = Some(End::Closed);
                false
            }
            ByteStep::End { end: EndStep::Reset } => {
                rustix::net::sockopt::set_socket_linger(self.stream.socket(), Some(Duration::ZERO))
                    .unwrap();
                self.end = Some(End::Reset);
                false
            }
        }
    }

    fn play_beside(&mut self, script: &Script) {
        let address = self.stage.as_ref().unwrap().address;
        let stream = TcpStream::connect((address, crate::bootstrap::LISTENER_PORT));
        let mut other = Self::new(stream.unwrap());
        (other.stage, other.deadline) = (self.stage.clone(), self.deadline);
        other.play(script);
        while other.fill() {}
        let told = String::from_utf8_lossy(&other.seen).into_owned();
        self.seen.extend(format!("[{told} {:?}]", other.end).bytes());
    }

    fn wait_for(&mut self, text: &[u8]) -> bool {
        while !self.seen.windows(text.len()).any(|window| window == text) {
            if !self.fill() {
                return false;
            }
        }
        true
    }

    /// Reads the head of a message; nothing when there is none, whole.
    pub(crate) fn head(&mut self) -> Option<Message> {
        loop {
            if self.buffer.first().is_some_and(|first| !first.is_ascii_alphabetic()) {
                // TLS, or nonsense: there will be no head.
                return None;
            }
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
                return Some(parse_head(&head));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads content of a length.
    pub(crate) fn exactly(&mut self, length: usize) -> Content {
        while self.buffer.len() < length && self.fill() {}
        let is_complete = self.buffer.len() >= length;
        let bytes = self.buffer.drain(..length.min(self.buffer.len())).collect();
        Content { bytes, trailers: Vec::new(), is_complete }
    }

    /// Reads chunked content (RFC 9112, section 7.1).
    pub(crate) fn chunked(&mut self) -> Content {
        let mut content = Content::default();
        while let Some(line) = self.line() {
            let size = line.split(';').next().unwrap_or_default().trim();
            let Ok(size) = usize::from_str_radix(size, 16) else { return content };
            if size == 0 {
                return self.trailers(content);
            }
            let piece = self.exactly(size);
            content.bytes.extend(&piece.bytes);
            if !piece.is_complete || self.line().is_none() {
                return content;
            }
        }
        content
    }

    fn trailers(&mut self, mut content: Content) -> Content {
        while let Some(line) = self.line() {
            if line.is_empty() {
                content.is_complete = true;
                break;
            }
            content.trailers.push(parse_field(&line));
        }
        content
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Some(case::text(&line[..at]));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn parse_head(head: &[u8]) -> Message {
    let text = case::text(head);
    let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
    let start = lines.next().unwrap_or_default().to_owned();
    Message { start, fields: lines.map(parse_field).collect() }
}

fn parse_field(line: &str) -> Field {
    match line.split_once(':') {
        Some((name, value)) => (name.to_owned(), value.trim_matches([' ', '\t']).to_owned()),
        None => (line.to_owned(), "<no colon>".to_owned()),
    }
}

impl Message {
    /// The first value of a field.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_chunked(&self) -> bool {
        self.value("transfer-encoding").is_some_and(|value| value.contains("chunked"))
    }

    pub(crate) fn length(&self) -> Option<usize> {
        self.value("content-length")?.parse().ok()
    }

    /// A word of the start line.
    pub(crate) fn word(&self, at: usize) -> &str {
        self.start.splitn(3, ' ').nth(at).unwrap_or_default()
    }
}

/// A text with the field `date` of now in place of `@date`.
fn dated(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains("@date") {
        return text.into();
    }
    let since = iako_rt::clock::wall().duration_since(std::time::UNIX_EPOCH).unwrap();
    text.replace("@date", &format!("date: {}", iako_http::http_date(since.as_secs()))).into()
}
