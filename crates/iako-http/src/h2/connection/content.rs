//! DATA: content as it comes, its windows and its announced length.

use bytes::{Buf, Bytes, BytesMut};

use super::receive::{Content, Reading, Step};
use super::{Connection, ConnectionError, Event, StreamId, Violation, renew};
use crate::h2::event::Ends;
use crate::h2::floods::TINY_BYTES;
use crate::h2::flow::Bounds;
use crate::h2::frame::{self, FrameHeader, HEADER_BYTES, flag};
use crate::h2::output::Class;
use crate::h2::streams::{Half, Past};

/// A part of a frame is taken before the rest has come when it is as long: it saves the read buffer
/// from moving it.
const PART_BYTES_MIN: usize = 4096;

/// Up to this length a piece is small beside the read buffer that it shares and keeps.
const SMALL_BYTES_MAX: usize = 4096;

/// So many small pieces may wait for a reader; further ones are copied. Otherwise a peer could make
/// every octet of a stalled stream keep a read buffer of its own.
const SMALL_PIECES_MAX: u32 = 4;

impl Connection {
    /// The header of a DATA frame is there.
    pub(super) fn data_came(
        &mut self,
        header: FrameHeader,
        input: &mut BytesMut,
    ) -> Result<Step, ConnectionError> {
        let mut padding = 0;
        let mut before = HEADER_BYTES;
        if header.has(flag::PADDED) {
            if header.length == 0 {
                return Err(Violation::FrameSize.into());
            }
            let Some(octet) = input.get(HEADER_BYTES) else { return Ok(Step::NeedsMore) };
            padding = u32::from(*octet);
            before += 1;
        }
        let with_padding = header.length - u32::from(header.has(flag::PADDED));
        let length = with_padding.checked_sub(padding).ok_or(Violation::Padding)?;
        let ends = header.ends();
        self.counts.carried(length, ends, &self.limits)?;
        if !self.window.take(header.length) {
            return Err(Violation::WindowExceeded.into());
        }
        input.advance(before);
        let skipped = with_padding as usize;
        let stream = match self.taker(header.stream)? {
            Taker::Nobody => {
                self.reading = Reading::Skip(skipped);
                return Ok(Step::Again);
            }
            Taker::Stream(stream) => stream,
        };
        if let Some(violation) = self.count_content(stream, header.length, length, ends)? {
            self.reading = Reading::Skip(skipped);
            return self.refuse(stream, violation).map(Step::Event);
        }
        let content = Content { stream, left: length as usize, padding: padding as usize, ends };
        if self.streams.get(stream).is_some_and(|stream| stream.is_unwanted) {
            self.reading = Reading::Skip(skipped);
            if ends.here() {
                self.remote_ended(stream);
            }
            return Ok(Step::Again);
        }
        Ok(self.content(content, input))
    }

    /// Who takes the content of a DATA frame.
    fn taker(&self, number: u32) -> Result<Taker, Violation> {
        if let Some(stream) = self.streams.find(number) {
            return Ok(Taker::Stream(stream));
        }
        if self.is_idle(number) {
            return Err(Violation::IdleStream);
        }
        match self.streams.past(number) {
            Past::Dropped => Ok(Taker::Nobody),
            Past::Ended | Past::Unknown => Err(Violation::ClosedStream),
        }
    }

    /// Charges a DATA frame to its stream; which rule it breaks.
    fn count_content(
        &mut self,
        id: StreamId,
        charged: u32,
        length: u32,
        ends: Ends,
    ) -> Result<Option<Violation>, ConnectionError> {
        let Some(stream) = self.streams.get_mut(id) else { return Ok(None) };
        match stream.remote {
            Half::Closed => return Ok(Some(Violation::ClosedStream)),
            // Content before its head.
            Half::Head => return Ok(Some(Violation::Message)),
            Half::Open => {}
        }
        if !stream.window.take(charged) {
            return Ok(Some(Violation::WindowExceeded));
        }
        if let Some(left) = &mut stream.content_left {
            match left.checked_sub(length.into()) {
                Some(rest) if rest == 0 || !ends.here() => *left = rest,
                Some(_) | None => return Ok(Some(Violation::ContentLength)),
            }
        }
        if stream.is_unwanted {
            return Ok(None);
        }
        if length < TINY_BYTES && !ends.here() {
            stream.tiny += 1;
        }
        stream.window.hold(length);
        self.held = self.held.saturating_add(length);
        if length < TINY_BYTES && !ends.here() {
            self.count_tiny()?;
        }
        Ok(None)
    }

    /// One more tiny frame. A server's connection carries the requests of many clients, so that not all
    /// of them pay for the one that does not read.
    fn count_tiny(&mut self) -> Result<(), ConnectionError> {
        let Err(flood) = self.counts.tiny(&self.limits) else { return Ok(()) };
        if self.is_server() {
            return Err(flood.into());
        }
        let worst = self.streams.iter_mut().max_by_key(|stream| stream.tiny).map(|worst| worst.id);
        if let Some(worst) = worst {
            let event = self.refuse(worst, Violation::TinyFrames)?;
            self.events.push_back(event);
        }
        Ok(())
    }

    /// Takes as much of a DATA frame's content as has come.
    pub(super) fn content(&mut self, content: Content, input: &mut BytesMut) -> Step {
        let part = content.left.min(input.len());
        let is_whole = part == content.left;
        if !is_whole && part < PART_BYTES_MIN {
            self.reading = Reading::Content(content);
            return Step::NeedsMore;
        }
        let Some(stream) = self.streams.get_mut(content.stream) else {
            self.reading = Reading::Skip(content.left + content.padding);
            return Step::Again;
        };
        stream.small += u32::from(part <= SMALL_BYTES_MAX);
        let copies = stream.small > SMALL_PIECES_MAX && part <= SMALL_BYTES_MAX;
        let bytes = if part == 0 {
            Bytes::new()
        } else if copies {
            let copy = Bytes::copy_from_slice(input.get(..part).unwrap_or_default());
            input.advance(part);
            copy
        } else {
            input.split_to(part).freeze()
        };
        if !is_whole {
            self.reading = Reading::Content(Content { left: content.left - part, ..content });
        } else if content.padding > 0 {
            self.reading = Reading::Skip(content.padding);
        } else {
            self.reading = Reading::Frame;
        }
        let ends = if is_whole { content.ends } else { Ends::Later };
        if ends.here() {
            self.remote_ended(content.stream);
        }
        if bytes.is_empty() && !ends.here() {
            return Step::Again;
        }
        Step::Event(Event::Data { stream: content.stream, bytes, ends })
    }

    /// The caller has passed on so much of the stream's content: the peer may send as much more.
    pub fn release(&mut self, stream: StreamId, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Some(live) = self.streams.get_mut(stream) else { return };
        let released = live.window.release(bytes);
        self.held -= released;
        if live.window.held() == 0 {
            live.small = 0;
            self.counts.tiny_read(std::mem::take(&mut live.tiny));
        }
        renew(live, &mut self.grown, (self.ceilings, self.now), &mut self.output);
        // Streams that wait for the connection's window may go on.
        self.renew_connection();
    }

    /// The rest of what the peer sends on this stream is not wanted: it is read and dropped, and as
    /// soon as our half has ended the stream is reset with `NO_ERROR` (RFC 9113 §8.1). To wait for the
    /// peer to end it in order would leave a stream open that nobody serves.
    pub fn refuse_rest(&mut self, stream: StreamId) {
        let Some(live) = self.streams.get_mut(stream) else { return };
        live.is_unwanted = true;
        let released = live.window.release(live.window.held());
        self.held -= released;
        self.renew_connection();
        self.stop_unwanted(stream);
    }

    /// Resets a stream that only the peer has not ended, and of which nothing more is wanted.
    pub(super) fn stop_unwanted(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        if stream.is_unwanted && stream.local == Half::Closed && stream.remote != Half::Closed {
            self.counts.closed();
            self.send_reset(id, super::ErrorCode::NO_ERROR);
        }
    }

    /// Renews the connection's window. It grows as content comes, not as it is read: a stream whose
    /// reader is stalled uses up its own window and leaves its neighbours theirs, until all streams
    /// together hold as much as the connection may.
    pub(super) fn renew_connection(&mut self) {
        let room = self.ceilings.connection.saturating_sub(self.held);
        let bounds = Bounds { ceiling: self.ceilings.connection, growth_max: u32::MAX, room };
        if let Some(renewal) = self.window.renew(self.now, bounds) {
            self.output.frame(Class::Message, |out| {
                frame::write_window_update(0, renewal.increment, out);
            });
        }
    }
}

/// Who takes the content of a DATA frame.
enum Taker {
    Stream(StreamId),
    /// It is counted and dropped.
    Nobody,
}
