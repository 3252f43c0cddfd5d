//! A client of HTTP/2 that writes and reads its frames by hand.

use std::time::Duration;

use iako_http::h2::Ends;
use iako_http::{Limits, ResponseHead, ResponseTo, SectionReader};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::Bench;

pub(crate) use iako_testkit::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PREFACE,
    PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, data, frame, goaway, headers, reset,
    settings, window_update,
};

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
        self.stream.write_all(PREFACE).await.unwrap();
        self.send(&iako_testkit::frames::settings(settings)).await;
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
            if let Some(frame) = Frame::take(&mut self.buffer) {
                return Some(frame);
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
