//! Messages of ours: heads at once, content as windows allow, trailers behind it.

use bytes::{Bytes, BytesMut};

use super::{Connection, ConnectionError, ErrorCode, Peer, StreamId, patch_length};
use crate::edits::{HeaderEdits, RequestEdits, ResponseEdits};
use crate::h2::error::OpenError;
use crate::h2::event::Ends;
use crate::h2::frame::{FrameHeader, HEADER_BYTES, flag, kind};
use crate::h2::output::{Class, NOWHERE};
use crate::h2::streams::{Ending, Half, Past};
use crate::head::{Fields, RequestHead, ResponseHead};
use crate::method::Method;
use crate::parse::ResponseTo;
use crate::section::{RequestSection, SectionWriter};

/// The head of a response and what is said beside it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The head.
    pub head: &'a ResponseHead,
    /// Its edits.
    pub edits: &'a ResponseEdits,
    /// `content-length`, when it is known; fields of that name in head and edits are not written.
    pub length: Option<u64>,
}

impl Connection {
    /// Sends the head of a request on a new stream (client).
    ///
    /// # Errors
    /// When no stream can be opened now, or ever.
    pub fn open(
        &mut self,
        head: &RequestHead,
        edits: &RequestEdits,
        section: RequestSection<'_>,
        ends: Ends,
    ) -> Result<StreamId, OpenError> {
        if self.is_going_away() || self.peer != Peer::Server {
            return Err(OpenError::GoingAway);
        }
        if self.room() == 0 {
            return Err(OpenError::NoRoom);
        }
        let number = self.next_local;
        self.next_local += 2;
        self.counts.opened();
        let local = if ends.here() { Half::Closed } else { Half::Open };
        let id = self.open_stream(number, Half::Head, local);
        let position = self.write_section(number, ends, |writer, out| {
            writer.request(head, edits, section, out);
        });
        if let Some(stream) = self.streams.get_mut(id) {
            stream.last_frame = position;
            stream.answers = match edits.method(head) {
                _ if section.protocol.is_some() => ResponseTo::Upgrade,
                Method::Head => ResponseTo::Head,
                Method::Connect => ResponseTo::Connect,
                Method::Get
                | Method::Post
                | Method::Put
                | Method::Delete
                | Method::Options
                | Method::Trace
                | Method::Patch
                | Method::Other(_) => ResponseTo::Plain,
            };
        }
        Ok(id)
    }

    /// Sends the head of the response to a stream's request (server).
    pub fn respond(&mut self, stream: StreamId, answer: Answer<'_>, ends: Ends) {
        let Some(live) = self.streams.get(stream) else { return };
        if live.local != Half::Head {
            return;
        }
        let position = self.write_section(stream.number, ends, |writer, out| {
            writer.response(answer.head, answer.edits, answer.length, out);
        });
        if let Some(live) = self.streams.get_mut(stream) {
            live.local = Half::Open;
            live.last_frame = position;
        }
        if ends.here() {
            self.local_ended(stream);
        }
    }

    /// Sends an interim response, 100 to 199 but 101, before the response itself (server).
    pub fn interim(&mut self, stream: StreamId, status: u16, fields: &Fields, edits: &HeaderEdits) {
        if self.streams.get(stream).is_none_or(|live| live.local != Half::Head) {
            return;
        }
        self.write_section(stream.number, Ends::Later, |writer, out| {
            writer.interim(status, fields, edits, out);
        });
    }

    /// Sends content. It waits on its stream while the peer's windows or the output have no room, see
    /// [`queued`](Self::queued). No bytes and [`Ends::Here`] end the message.
    pub fn data(&mut self, stream: StreamId, bytes: Bytes, ends: Ends) {
        let Some(live) = self.streams.get_mut(stream) else { return };
        if live.local != Half::Open || !matches!(live.ending, Ending::Open) {
            return;
        }
        if ends.here() {
            live.ending = Ending::Data;
        }
        if !bytes.is_empty() {
            live.queued += bytes.len();
            self.queued += bytes.len();
            live.queue.push_back(bytes);
        }
        self.flush(stream);
    }

    /// Sends trailers behind the content; the message ends with them.
    pub fn trailers(&mut self, stream: StreamId, fields: &Fields, edits: &HeaderEdits) {
        let Some(live) = self.streams.get_mut(stream) else { return };
        if live.local != Half::Open || !matches!(live.ending, Ending::Open) {
            return;
        }
        if live.queued > 0 {
            live.ending = Ending::Trailers(Box::new((fields.clone(), edits.clone())));
            return;
        }
        self.end_with_trailers(stream, fields, edits);
    }

    /// Gives a stream up: what waits on it is dropped, and no event tells of it any more.
    pub fn reset(&mut self, stream: StreamId, code: ErrorCode) {
        if self.is_open(stream) {
            self.counts.closed();
            crate::h2::tally::count(&mut self.tally.resets_asked);
            self.send_reset(stream, code);
        }
    }

    /// Takes over the request that an HTTP/1.1 client wants answered in HTTP/2 (server; RFC 7540 §3.2):
    /// `settings` is what `HTTP2-Settings` decodes to. The answer to the request goes to the stream that
    /// is given back; the request itself has been read already.
    ///
    /// # Errors
    /// When the settings are malformed.
    pub fn upgraded(&mut self, settings: &[u8]) -> Result<StreamId, ConnectionError> {
        if let Err(violation) = self.take_settings(settings) {
            self.fail(violation.into());
            return Err(violation.into());
        }
        self.last_remote = 1;
        self.counts.opened();
        Ok(self.open_stream(1, Half::Closed, Half::Head))
    }

    /// Appends a HEADERS frame, with continuations when the peer's frames are too short for it; where
    /// it stands.
    fn write_section(
        &mut self,
        number: u32,
        ends: Ends,
        write: impl FnOnce(&mut SectionWriter, &mut BytesMut),
    ) -> u64 {
        let position = self.output.position();
        let most = self.settings.frame_bytes_max as usize;
        let out = self.output.buffer();
        let before = out.len();
        let flags = flag::END_HEADERS | if ends.here() { flag::END_STREAM } else { 0 };
        FrameHeader { length: 0, kind: kind::HEADERS, flags, stream: number }.write(out);
        write(&mut self.writer, out);
        let mut frames = 1;
        if out.len() - before - HEADER_BYTES > most {
            frames = split_block(out, before, most, number);
        } else {
            patch_length(out, before);
        }
        self.output.commit(before, Class::Message, frames);
        position
    }

    pub(super) fn end_with_trailers(&mut self, id: StreamId, fields: &Fields, edits: &HeaderEdits) {
        let mut block = BytesMut::new();
        self.writer.trailers(fields, edits, &mut block);
        if block.is_empty() {
            return self.end_with_data(id);
        }
        self.write_section(id.number, Ends::Here, |_, out| out.extend_from_slice(&block));
        self.local_ended(id);
    }

    /// Ends our half, on the last frame when it has not been written yet.
    pub(super) fn end_with_data(&mut self, id: StreamId) {
        let last_frame = self.streams.get(id).map_or(NOWHERE, |stream| stream.last_frame);
        if !self.output.end_stream_at(last_frame) {
            let flags = flag::END_STREAM;
            self.counts.data_sent();
            self.output.frame(Class::Message, |out| {
                FrameHeader { length: 0, kind: kind::DATA, flags, stream: id.number }.write(out);
            });
        }
        self.local_ended(id);
    }

    pub(super) fn local_ended(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.local = Half::Closed;
        self.stop_unwanted(id);
        self.remove_if_closed(id);
    }

    /// A stream that the peer may still send on is remembered as dropped.
    pub(super) fn send_reset(&mut self, id: StreamId, code: ErrorCode) {
        let Some(stream) = self.streams.get(id) else { return };
        let past = if stream.remote == Half::Closed { Past::Ended } else { Past::Dropped };
        self.remove(id, past);
        crate::h2::tally::count(&mut self.tally.resets_sent);
        self.output.frame(Class::Control, |out| {
            crate::h2::frame::write_reset(id.number, code, out);
        });
    }
}

/// Makes a HEADERS frame and CONTINUATION frames of a header and a block that is too long; how many.
fn split_block(out: &mut BytesMut, header_at: usize, most: usize, number: u32) -> u32 {
    let block = out.split_off(header_at + HEADER_BYTES);
    if let Some(flags) = out.get_mut(header_at + 4) {
        *flags &= !flag::END_HEADERS;
    }
    let mut frames = 0;
    let mut header_at = header_at;
    let mut parts = block.chunks(most.max(1)).peekable();
    while let Some(part) = parts.next() {
        if frames > 0 {
            header_at = out.len();
            let flags = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
            FrameHeader { length: 0, kind: kind::CONTINUATION, flags, stream: number }.write(out);
        }
        out.extend_from_slice(part);
        patch_length(out, header_at);
        frames += 1;
    }
    frames
}
