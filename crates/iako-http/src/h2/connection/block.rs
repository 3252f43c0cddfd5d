//! HEADERS and CONTINUATION: field blocks, and the messages they begin and end.

use bytes::BytesMut;

use super::receive::{Reading, Step};
use super::{Connection, ConnectionError, ErrorCode, Event, StreamId, Violation};
use crate::h2::error::FloodKind;
use crate::h2::event::Ends;
use crate::h2::frame::{self, FrameHeader, flag};
use crate::h2::output::Class;
use crate::h2::settings::InvalidMessage;
use crate::h2::streams::{Half, Opening, Past};
use crate::head::BodyLength;
use crate::parse::ResponseTo;

/// Octets of the deprecated priority in HEADERS (RFC 9113 §6.2).
const PRIORITY_BYTES: usize = 5;

/// A field block that has not come whole.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    opened: Opened,
    bytes: BytesMut,
    continuations: u32,
}

/// What the HEADERS frame of a block said beside it.
#[derive(Clone, Copy, Debug)]
struct Opened {
    ends: Ends,
    depends_on_itself: bool,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            stream: 0,
            opened: Opened { ends: Ends::Later, depends_on_itself: false },
            bytes: BytesMut::new(),
            continuations: 0,
        }
    }
}

impl Block {
    pub(super) fn idle(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }
}

impl Connection {
    pub(super) fn headers(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        let mut fragment = unpadded(header, payload)?;
        let mut depends_on_itself = false;
        if header.has(flag::PRIORITY) {
            let (priority, rest) =
                fragment.split_at_checked(PRIORITY_BYTES).ok_or(Violation::FrameSize)?;
            depends_on_itself = frame::number(priority) & frame::STREAM_MASK == header.stream;
            fragment = rest;
        }
        let opened = Opened { ends: header.ends(), depends_on_itself };
        self.count_fragment(fragment, opened.ends)?;
        if header.has(flag::END_HEADERS) {
            return self.section(header.stream, opened, fragment);
        }
        self.block.stream = header.stream;
        self.block.opened = opened;
        self.block.continuations = 0;
        self.block.bytes.clear();
        self.block.bytes.extend_from_slice(fragment);
        self.reading = Reading::Block;
        Ok(Step::Again)
    }

    pub(super) fn continuation(
        &mut self,
        header: FrameHeader,
        fragment: &[u8],
    ) -> Result<Step, ConnectionError> {
        if self.reading != Reading::Block {
            return Err(Violation::UnexpectedContinuation.into());
        }
        self.count_fragment(fragment, Ends::Later)?;
        self.block.continuations += 1;
        if self.block.continuations > self.limits.continuations_max() {
            return Err(FloodKind::Continuation.into());
        }
        if self.block.bytes.len() + fragment.len() > self.limits.block_bytes_max() {
            return Err(Violation::BlockTooLarge.into());
        }
        self.block.bytes.extend_from_slice(fragment);
        if !header.has(flag::END_HEADERS) {
            return Ok(Step::Again);
        }
        self.reading = Reading::Frame;
        let bytes = std::mem::take(&mut self.block.bytes);
        self.section(header.stream, self.block.opened, &bytes)
    }

    fn count_fragment(&mut self, fragment: &[u8], ends: Ends) -> Result<(), ConnectionError> {
        let bytes = u32::try_from(fragment.len()).unwrap_or(u32::MAX);
        Ok(self.counts.carried(bytes, ends, &self.limits)?)
    }

    /// A whole field block.
    fn section(
        &mut self,
        number: u32,
        opened: Opened,
        block: &[u8],
    ) -> Result<Step, ConnectionError> {
        let Some(id) = self.streams.find(number) else {
            return self.section_of_stranger(number, opened, block);
        };
        let Some(stream) = self.streams.get(id) else { return Ok(Step::Again) };
        let broken = match stream.remote {
            Half::Closed => Some(Violation::ClosedStream),
            Half::Head | Half::Open if opened.depends_on_itself => Some(Violation::SelfDependency),
            // A tunnel carries content and nothing else (RFC 9113 §8.5).
            Half::Open if stream.is_tunnel => Some(Violation::Message),
            Half::Open if !opened.ends.here() => Some(Violation::UnendedTrailers),
            Half::Head | Half::Open => None,
        };
        if let Some(violation) = broken {
            self.skip(block)?;
            return self.refuse(id, violation).map(Step::Event);
        }
        match stream.remote {
            Half::Head => {
                let to = stream.answers;
                self.response(id, opened.ends, to, block)
            }
            Half::Open | Half::Closed => self.trailers_came(id, block),
        }
    }

    /// A field block for a stream that does not live: a new one, if it may be.
    fn section_of_stranger(
        &mut self,
        number: u32,
        opened: Opened,
        block: &[u8],
    ) -> Result<Step, ConnectionError> {
        let is_new = self.is_server() && number % 2 == 1 && number > self.last_remote;
        if !is_new {
            return match self.streams.past(number) {
                _ if self.is_idle(number) => Err(Violation::StreamNumber.into()),
                Past::Dropped => self.skip(block),
                Past::Ended => Err(Violation::ClosedStream.into()),
                Past::Unknown => Err(Violation::StreamNumber.into()),
            };
        }
        self.last_remote = number;
        // Streams above the last one that GOAWAY named are not looked at (RFC 9113 §6.8).
        if self.ending.sent.is_some_and(|last| number > last) {
            self.streams.note(number, Past::Dropped);
            return self.skip(block);
        }
        self.counts.opened();
        if self.streams.len() >= self.limits.concurrent_streams_max as usize {
            self.skip(block)?;
            return Ok(self.refuse_new(number, opened, Violation::TooManyStreams));
        }
        if opened.depends_on_itself {
            self.skip(block)?;
            self.count_early_reset()?;
            return Ok(self.refuse_new(number, opened, Violation::SelfDependency));
        }
        self.request(number, opened, block)
    }

    fn request(
        &mut self,
        number: u32,
        opened: Opened,
        block: &[u8],
    ) -> Result<Step, ConnectionError> {
        let ends = opened.ends;
        let head = match self.reader.request(block, ends, self.limits.connect_protocol) {
            Ok(head) => head,
            Err(error) => {
                let violation = self.unless_fatal(error.violation())?;
                self.count_early_reset()?;
                return Ok(self.refuse_new(number, opened, violation));
            }
        };
        let remote = if ends.here() { Half::Closed } else { Half::Open };
        let id = self.open_stream(number, remote, Half::Head);
        if let Some(stream) = self.streams.get_mut(id) {
            stream.content_left = owed(head.length());
            stream.is_tunnel = head.length() == BodyLength::Tunnel;
        }
        Ok(Step::Event(Event::Request { stream: id, head: Box::new(head), ends }))
    }

    fn response(
        &mut self,
        id: StreamId,
        ends: Ends,
        to: ResponseTo,
        block: &[u8],
    ) -> Result<Step, ConnectionError> {
        let head = match self.reader.response(block, ends, to) {
            Ok(head) => head,
            Err(error) => {
                let violation = self.unless_fatal(error.violation())?;
                return self.refuse(id, violation).map(Step::Event);
            }
        };
        let Some(stream) = self.streams.get_mut(id) else { return Ok(Step::Again) };
        if head.is_interim() {
            stream.interims += 1;
            if stream.interims > self.limits.head.interim_responses_max {
                return self.refuse(id, Violation::TooManyInterim).map(Step::Event);
            }
        } else {
            stream.remote = Half::Open;
            stream.content_left = owed(head.length());
            stream.is_tunnel = head.length() == BodyLength::Tunnel;
        }
        let is_unwanted = stream.is_unwanted;
        if ends.here() {
            self.remote_ended(id);
        }
        if is_unwanted {
            return Ok(Step::Again);
        }
        Ok(Step::Event(Event::Response { stream: id, head: Box::new(head), ends }))
    }

    fn trailers_came(&mut self, id: StreamId, block: &[u8]) -> Result<Step, ConnectionError> {
        let fields = match self.reader.trailers(block) {
            Ok(fields) => fields,
            Err(error) => {
                let violation = self.unless_fatal(error.violation())?;
                return self.refuse(id, violation).map(Step::Event);
            }
        };
        let Some(stream) = self.streams.get(id) else { return Ok(Step::Again) };
        if stream.content_left.is_some_and(|left| left > 0) {
            return self.refuse(id, Violation::ContentLength).map(Step::Event);
        }
        let is_unwanted = stream.is_unwanted;
        self.remote_ended(id);
        if is_unwanted {
            return Ok(Step::Again);
        }
        crate::h2::tally::count(&mut self.tally.trailers_received);
        Ok(Step::Event(Event::Trailers { stream: id, fields: Box::new(fields) }))
    }

    /// The peer's half of a stream has ended.
    pub(super) fn remote_ended(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.remote = Half::Closed;
            self.remove_if_closed(id);
        }
    }

    /// Reads a block for what it does to the compression's table.
    fn skip(&mut self, block: &[u8]) -> Result<Step, ConnectionError> {
        match self.reader.skip(block) {
            Ok(()) => Ok(Step::Again),
            Err(_) => Err(Violation::Compression.into()),
        }
    }

    /// Whether a field section that was refused costs its stream or the connection.
    fn unless_fatal(&self, violation: Violation) -> Result<Violation, ConnectionError> {
        let closes = self.limits.invalid_message == InvalidMessage::CloseConnection;
        if violation == Violation::Compression || (closes && violation.is_invalid_message()) {
            return Err(violation.into());
        }
        Ok(violation)
    }

    /// Resets a stream that never lived.
    fn refuse_new(&mut self, number: u32, opened: Opened, violation: Violation) -> Step {
        let code: ErrorCode = violation.code();
        self.streams.note(number, if opened.ends.here() { Past::Ended } else { Past::Dropped });
        crate::h2::tally::count(&mut self.tally.resets_sent);
        self.output.frame(Class::Control, |out| frame::write_reset(number, code, out));
        Step::Event(Event::Refused { number, code, violation })
    }

    pub(super) fn open_stream(&mut self, number: u32, remote: Half, local: Half) -> StreamId {
        self.streams.insert(Opening {
            number,
            remote,
            local,
            send_window: self.settings.initial_window_bytes.into(),
            window: self.initial_window,
            now: self.now,
        })
    }
}

/// Content that a head owes.
fn owed(length: BodyLength) -> Option<u64> {
    match length {
        BodyLength::Empty => Some(0),
        BodyLength::Exact(length) => Some(length),
        BodyLength::Chunked | BodyLength::UntilClose | BodyLength::Tunnel => None,
    }
}

/// The payload of a frame without its padding (RFC 9113 §6.1).
fn unpadded(header: FrameHeader, payload: &[u8]) -> Result<&[u8], Violation> {
    if !header.has(flag::PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(Violation::FrameSize)?;
    let kept = rest.len().checked_sub(usize::from(*padding)).ok_or(Violation::Padding)?;
    rest.get(..kept).ok_or(Violation::Padding)
}
