//! Taking frames off the input, one at a time.

use bytes::{Buf, BytesMut};

use super::{Connection, ConnectionError, Event, StreamId, Violation};
use crate::h2::error::FloodKind;
use crate::h2::event::Ends;
use crate::h2::frame::{FrameHeader, PREFACE, flag, kind};
use crate::h2::settings::FRAME_BYTES_DEFAULT;

/// What stands next in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The client's preface.
    Preface,
    /// The first frame, which is SETTINGS.
    FirstFrame,
    Frame,
    /// HEADERS came without END_HEADERS: only their continuation may stand here.
    Block,
    /// The rest of a DATA frame's content.
    Content(Content),
    /// Octets that mean nothing: padding, content that nobody wants.
    Skip(usize),
}

/// The rest of a DATA frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) stream: StreamId,
    pub(super) left: usize,
    pub(super) padding: usize,
    pub(super) ends: Ends,
}

/// What a look at the input brought.
#[derive(Debug)]
pub(super) enum Step {
    Event(Event),
    /// Look again.
    Again,
    NeedsMore,
}

impl Connection {
    /// Takes what one frame means off the input, or an event that waits; `None` when more bytes are
    /// needed. Content is split off the input, never copied, unless it is small and its reader slow.
    ///
    /// The input should have room for a whole frame, 16 KiB and 9 bytes; only DATA is taken in parts.
    ///
    /// # Errors
    /// When the peer broke the protocol or floods the connection. GOAWAY stands in the output then, no
    /// stream lives any more, and whatever else comes in is thrown away.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Event>, ConnectionError> {
        if self.ending.failed {
            input.clear();
            return Ok(None);
        }
        self.next_event(input).inspect_err(|error| self.fail(*error))
    }

    fn next_event(&mut self, input: &mut BytesMut) -> Result<Option<Event>, ConnectionError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.pauses() {
                return Ok(None);
            }
            let step = self.step(input)?;
            self.check_output()?;
            match step {
                Step::Event(event) => return Ok(Some(event)),
                Step::NeedsMore if self.events.is_empty() => return Ok(None),
                Step::NeedsMore | Step::Again => {}
            }
        }
    }

    /// Whether what waits to be written should be written first: a peer that asks for much in one go may
    /// well be reading. Once for each time that something was written, so that a peer that does not read
    /// meets its bound.
    fn pauses(&mut self) -> bool {
        let many = self.output.controls() > self.limits.outbound_control_frames_max / 2
            || self.output.frames() > self.limits.outbound_frames_max / 2;
        many && !std::mem::replace(&mut self.paused, true)
    }

    /// A peer that asks and does not read must not fill our memory with answers.
    fn check_output(&self) -> Result<(), FloodKind> {
        if self.output.controls() > self.limits.outbound_control_frames_max {
            return Err(FloodKind::OutboundControl);
        }
        if self.output.frames() > self.limits.outbound_frames_max {
            return Err(FloodKind::Outbound);
        }
        Ok(())
    }

    fn step(&mut self, input: &mut BytesMut) -> Result<Step, ConnectionError> {
        match self.reading {
            Reading::Preface => return self.preface(input),
            Reading::Content(content) => return Ok(self.content(content, input)),
            Reading::Skip(left) => {
                let part = left.min(input.len());
                input.advance(part);
                if part < left {
                    self.reading = Reading::Skip(left - part);
                    return Ok(Step::NeedsMore);
                }
                self.reading = Reading::Frame;
            }
            Reading::FirstFrame | Reading::Frame | Reading::Block => {}
        }
        let Some(header) = FrameHeader::read(input) else { return Ok(Step::NeedsMore) };
        self.check_header(header)?;
        if header.kind == kind::DATA {
            return self.data_came(header, input);
        }
        let Some(payload) = input.get(crate::h2::frame::HEADER_BYTES..header.whole()) else {
            return Ok(Step::NeedsMore);
        };
        let step = self.frame(header, payload)?;
        input.advance(header.whole());
        Ok(step)
    }

    fn preface(&mut self, input: &mut BytesMut) -> Result<Step, ConnectionError> {
        let seen = input.len().min(PREFACE.len());
        if input.get(..seen) != PREFACE.get(..seen) {
            return Err(Violation::Preface.into());
        }
        if seen < PREFACE.len() {
            return Ok(Step::NeedsMore);
        }
        input.advance(seen);
        self.reading = Reading::FirstFrame;
        Ok(Step::Again)
    }

    fn check_header(&self, header: FrameHeader) -> Result<(), Violation> {
        if self.reading == Reading::FirstFrame
            && (header.kind != kind::SETTINGS || header.has(flag::ACK))
        {
            return Err(Violation::Preface);
        }
        if header.length > FRAME_BYTES_DEFAULT {
            return Err(Violation::FrameTooLarge);
        }
        if self.reading == Reading::Block
            && (header.kind != kind::CONTINUATION || header.stream != self.block.stream)
        {
            return Err(Violation::BlockInterrupted);
        }
        let of_connection = matches!(header.kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
        let of_stream = matches!(
            header.kind,
            kind::DATA
                | kind::HEADERS
                | kind::PRIORITY
                | kind::RST_STREAM
                | kind::PUSH_PROMISE
                | kind::CONTINUATION
        );
        if (of_connection && header.stream != 0) || (of_stream && header.stream == 0) {
            return Err(Violation::StreamZero);
        }
        Ok(())
    }

    /// Takes a whole frame other than DATA. Frames of unknown types mean nothing (RFC 9113 §5.5).
    fn frame(&mut self, header: FrameHeader, payload: &[u8]) -> Result<Step, ConnectionError> {
        match header.kind {
            kind::HEADERS => self.headers(header, payload),
            kind::CONTINUATION => self.continuation(header, payload),
            kind::SETTINGS => self.settings(header, payload),
            kind::WINDOW_UPDATE => self.window_update(header, payload),
            kind::RST_STREAM => self.reset_came(header, payload),
            kind::PING => self.ping_came(header, payload),
            kind::GOAWAY => self.goaway_came(payload),
            kind::PRIORITY => self.priority(header, payload),
            kind::PUSH_PROMISE => Err(Violation::PushPromise.into()),
            _ => Ok(Step::Again),
        }
    }

    /// Whether the stream of a frame was never opened.
    pub(super) fn is_idle(&self, number: u32) -> bool {
        let is_remote = (number % 2 == 1) == self.is_server();
        if is_remote { number > self.last_remote } else { number >= self.next_local }
    }
}
