//! HTTP/2 as a server of requests without bodies.

use std::collections::VecDeque;
use std::io;

use crate::wire::broken;
use crate::wire::frames::{self, Block, DATA, END_STREAM, Frame, Link, WINDOW, WINDOW_UPDATE};

/// The answer's head, and the length of its body.
#[derive(Debug)]
pub(super) struct Answer {
    head: Block,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(body_bytes: usize) -> Self {
        // Indexes of the static table (RFC 7541 appendix A).
        let (status_200, content_type, date, content_length) = (8, 31, 33, 28);
        let head = Block::new(
            &[status_200],
            &[
                (content_type, "text/plain"),
                (date, "Sat, 21 Nov 2026 12:00:00 GMT"),
                (content_length, &body_bytes.to_string()),
            ],
        );
        Self { head, body: vec![b'x'; body_bytes] }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Server {
    link: Link,
    /// What the other side still takes on the whole connection.
    window: i64,
    /// Streams whose answers wait for the window.
    waiting: VecDeque<u32>,
}

impl Default for Server {
    fn default() -> Self {
        Self { link: Link::default(), window: WINDOW, waiting: VecDeque::new() }
    }
}

impl Server {
    pub(super) fn greet(&self, out: &mut Vec<u8>) {
        frames::greet(out);
    }

    pub(super) fn receive(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        answer: &Answer,
    ) -> io::Result<usize> {
        let mut taken = 0;
        while let Some((frame, length)) = Frame::parse(input.get(taken..).unwrap_or_default()) {
            taken += length;
            self.link.keep(&frame, out)?;
            if frame.kind == WINDOW_UPDATE && frame.stream == 0 {
                self.window += frame.increment();
            }
            if frame.ends_stream() {
                self.waiting.push_back(frame.stream);
            }
            self.answer(out, answer)?;
        }
        Ok(taken)
    }

    /// Answers as many streams as the window allows.
    fn answer(&mut self, out: &mut Vec<u8>, answer: &Answer) -> io::Result<()> {
        let length = i64::try_from(answer.body.len()).unwrap_or(i64::MAX);
        if !self.waiting.is_empty() && length > i64::from(self.link.peer.stream_window) {
            return Err(broken("a body larger than the window of a stream"));
        }
        while self.window >= length
            && let Some(stream) = self.waiting.pop_front()
        {
            self.window -= length;
            self.link.send_head(&answer.head, 0, stream, out);
            frames::head(out, answer.body.len(), DATA, END_STREAM, stream);
            out.extend_from_slice(&answer.body);
        }
        Ok(())
    }
}
