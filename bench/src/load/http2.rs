//! HTTP/2 as a client whose requests have no bodies, and which looks at status and end alone.

use std::io;
use std::rc::Rc;

use super::Answers;
use crate::wire::frames::{
    self, Block, END_STREAM, Frame, HEADERS, Link, PREFACE, RST_STREAM, WINDOW_UPDATE,
};

pub(super) fn get(path: &str) -> Block {
    // Indexes of the static table (RFC 7541 appendix A).
    let (method_get, scheme_http) = (2, 6);
    let (authority, path_name, user_agent, accept) = (1, 4, 58, 19);
    Block::new(
        &[method_get, scheme_http],
        &[
            (authority, "bench.test"),
            (path_name, path),
            (user_agent, "iako-bench"),
            (accept, "*/*"),
        ],
    )
}

pub(super) fn greet(out: &mut Vec<u8>) {
    out.extend_from_slice(PREFACE);
    frames::greet(out);
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    block: Rc<Block>,
    link: Link,
    streams_max: usize,
    next: u32,
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    id: u32,
    due: u64,
    is_success: bool,
}

impl Client {
    pub(super) fn new(block: Rc<Block>, streams_max: usize) -> Self {
        Self { block, link: Link::default(), streams_max, next: 1, streams: Vec::new() }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.link.is_settled
    }

    pub(super) fn has_room(&self) -> bool {
        let peer = usize::try_from(self.link.peer.streams_max).unwrap_or(usize::MAX);
        self.streams.len() < self.streams_max.min(peer)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn request(&mut self, due: u64, out: &mut Vec<u8>) {
        self.link.send_head(&self.block, END_STREAM, self.next, out);
        self.streams.push(Stream { id: self.next, due, is_success: false });
        self.next += 2;
    }

    pub(super) fn receive(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        answers: &mut Answers,
    ) -> io::Result<usize> {
        let mut taken = 0;
        while let Some((frame, length)) = Frame::parse(input.get(taken..).unwrap_or_default()) {
            taken += length;
            if frame.kind != WINDOW_UPDATE {
                self.link.keep(&frame, out)?;
                self.apply(&frame, answers);
            }
        }
        Ok(taken)
    }

    fn apply(&mut self, frame: &Frame<'_>, answers: &mut Answers) {
        let Some(at) = self.streams.iter().position(|stream| stream.id == frame.stream) else {
            return;
        };
        if frame.kind == HEADERS && frame.is_success() {
            // A head after it can only be trailers.
            self.streams.iter_mut().skip(at).take(1).for_each(|stream| stream.is_success = true);
        }
        if frame.ends_stream() || frame.kind == RST_STREAM {
            let stream = self.streams.swap_remove(at);
            match stream.is_success && frame.kind != RST_STREAM {
                true => answers.due.push(stream.due),
                false => answers.failed += 1,
            }
        }
    }
}
