//! A client of HTTP/2 that writes and reads its frames by hand.

use std::time::Duration;

use iako_http::h2::Ends;
use iako_http::{Limits, ResponseHead, ResponseTo, SectionReader};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::Bench;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of RST_STREAM.
    pub(crate) fn code(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }

    /// The last stream and the code of GOAWAY.
    pub(crate) fn goaway(&self) -> (u32, u32) {
        (self.code(), u32::from_be_bytes(self.payload[4..8].try_into().unwrap()))
    }

    pub(crate) fn ends(&self) -> bool {
        self.flags & END_STREAM != 0
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field block of literals that nobody remembers.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one octet of length");
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

pub(crate) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields =
        vec![(":method", method), (":scheme", "http"), (":authority", "a.test"), (":path", path)];
    fields.extend_from_slice(more);
    block(&fields)
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    reader: SectionReader,
}

impl Client {
    /// A connection that was greeted.
    pub(crate) async fn greeted(bench: &Bench, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::over(bench.connect().await);
        client.greet(settings).await;
        client
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        let reader = SectionReader::new(Limits::default(), 4096);
        Self { stream, buffer: Vec::new(), reader }
    }

    pub(crate) async fn greet(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.stream.write_all(PREFACE).await.unwrap();
        self.send(&frame(SETTINGS, 0, 0, &payload)).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// As far as the proxy still reads.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        let sending = tokio::time::timeout(Duration::from_secs(10), self.stream.write_all(bytes));
        matches!(sending.await, Ok(Ok(())))
    }

    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        let flags = END_STREAM | END_HEADERS;
        self.send(&frame(HEADERS, flags, stream, &request("GET", path, &[]))).await;
    }

    pub(crate) async fn post(&mut self, stream: u32, path: &str, more: &[(&str, &str)]) {
        self.send(&frame(HEADERS, END_HEADERS, stream, &request("POST", path, more))).await;
    }

    /// The next frame; `None` when the proxy has closed.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let reading = tokio::time::timeout(Duration::from_secs(10), self.read());
        reading.await.expect("no frame comes")
    }

    async fn read(&mut self) -> Option<Frame> {
        loop {
            if let [a, b, c, kind, flags, s0, s1, s2, s3, rest @ ..] = self.buffer.as_slice() {
                let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                if rest.len() >= length {
                    let stream = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
                    let payload = rest[..length].to_vec();
                    let frame = Frame { kind: *kind, flags: *flags, stream, payload };
                    self.buffer.drain(..9 + length);
                    return Some(frame);
                }
            }
            self.buffer.reserve(64 * 1024);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(1..) => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// The next frame of a message or of the end of one, whatever stands between.
    pub(crate) async fn message(&mut self) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if matches!(frame.kind, DATA | HEADERS | RST_STREAM | GOAWAY) {
                return Some(frame);
            }
        }
    }

    /// The head in a HEADERS frame.
    pub(crate) fn head(&mut self, frame: &Frame) -> ResponseHead {
        assert_eq!(frame.kind, HEADERS, "{frame:?}");
        let ends = if frame.ends() { Ends::Here } else { Ends::Later };
        self.reader.response(&frame.payload, ends, ResponseTo::Plain).unwrap()
    }

    /// The next head.
    pub(crate) async fn next_head(&mut self) -> (Frame, ResponseHead) {
        let frame = self.message().await.expect("closed before a head");
        let head = self.head(&frame);
        (frame, head)
    }

    /// The status and the content of the next response.
    pub(crate) async fn answer(&mut self) -> (u16, Vec<u8>) {
        let (frame, head) = self.next_head().await;
        let mut content = Vec::new();
        let mut ended = frame.ends();
        while !ended {
            let frame = self.message().await.expect("closed within a response");
            ended = frame.ends();
            match frame.kind {
                DATA => content.extend_from_slice(&frame.payload),
                HEADERS => drop(self.reader.trailers(&frame.payload).unwrap()),
                _ => panic!("{frame:?} within a response"),
            }
        }
        (head.status(), content)
    }

    /// Waits for GOAWAY, then for the end of the connection.
    pub(crate) async fn goaway(&mut self) -> (u32, u32) {
        let goaway = loop {
            match self.frame().await {
                Some(frame) if frame.kind == GOAWAY => break frame.goaway(),
                Some(_) => {}
                None => panic!("closed without GOAWAY"),
            }
        };
        while self.frame().await.is_some() {}
        goaway
    }
}
