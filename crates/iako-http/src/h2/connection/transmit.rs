//! Moving content from streams to the output: as windows allow, a frame at a time, in turn.

use bytes::Bytes;

use super::{Connection, StreamId};
use crate::h2::event::Event;
use crate::h2::frame::{FrameHeader, flag, kind};
use crate::h2::output::Class;
use crate::h2::settings::FRAME_BYTES_DEFAULT;
use crate::h2::streams::Ending;

/// What became of a stream that was to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// A frame; more content waits.
    Part,
    /// Everything that waited.
    All,
    /// Nothing, for a window or the output has no room.
    Nothing,
}

impl Connection {
    /// Puts what can be sent into the output: window updates, and content in turn of its streams.
    /// Whether there is something to write.
    pub fn prepare(&mut self) -> bool {
        if !self.ending.failed {
            self.renew_connection();
            while self.send_window > 0 && self.output.has_room() {
                let Some(id) = self.ready.pop_front() else { break };
                if let Some(stream) = self.streams.get_mut(id) {
                    stream.is_ready = false;
                }
                if self.send_frame(id) == Sent::Part {
                    self.wait_in_turn(id);
                }
            }
        }
        !self.output.is_empty()
    }

    /// Sends what waits on a stream at once, unless others wait for their turn.
    pub(super) fn flush(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        if stream.queued == 0 {
            return self.finish(id);
        }
        let mut sent = Sent::Part;
        if !stream.is_ready && self.ready.is_empty() {
            while sent == Sent::Part && self.output.has_room() && self.send_window > 0 {
                sent = self.send_frame(id);
            }
        }
        if let Some(stream) = self.streams.get_mut(id) {
            stream.wants_writable = stream.queued > 0;
        }
        if sent == Sent::Part {
            self.wait_in_turn(id);
        }
    }

    fn wait_in_turn(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.send_window > 0 && !stream.is_ready {
            stream.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Sends one frame of what waits on a stream.
    fn send_frame(&mut self, id: StreamId) -> Sent {
        let position = self.output.position();
        let Some(stream) = self.streams.get_mut(id) else { return Sent::Nothing };
        let window = stream.send_window.min(self.send_window);
        // No longer, also when the peer takes longer ones: others wait for their turn as long, and what
        // a peer may send for each of our frames is counted by Envoy's measure.
        let most = self.settings.frame_bytes_max.min(FRAME_BYTES_DEFAULT);
        let allowed = u32::try_from(window.min(most.into())).unwrap_or(0) as usize;
        let length = stream.queued.min(allowed);
        if length == 0 {
            return Sent::Nothing;
        }
        stream.queued -= length;
        self.queued -= length;
        let ends = stream.queued == 0 && matches!(stream.ending, Ending::Data);
        let header = FrameHeader {
            length: u32::try_from(length).unwrap_or_default(),
            kind: kind::DATA,
            flags: if ends { flag::END_STREAM } else { 0 },
            stream: id.number,
        };
        stream.send_window -= i64::from(header.length);
        self.send_window -= i64::from(header.length);
        stream.last_frame = position;
        self.counts.data_sent();
        self.output.frame(Class::Message, |out| header.write(out));
        let mut left = length;
        while let Some(piece) = stream.queue.front_mut() {
            if piece.len() > left {
                if left > 0 {
                    self.output.content(piece.split_to(left));
                }
                break;
            }
            left -= piece.len();
            self.output.content(std::mem::replace(piece, Bytes::new()));
            stream.queue.pop_front();
        }
        if stream.queued > 0 {
            return Sent::Part;
        }
        if std::mem::take(&mut stream.wants_writable) {
            self.events.push_back(Event::Writable { stream: id });
        }
        if ends {
            self.local_ended(id);
        } else {
            self.finish(id);
        }
        Sent::All
    }

    /// Ends our half as its caller asked, now that no content waits.
    fn finish(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        match std::mem::replace(&mut stream.ending, Ending::Open) {
            Ending::Open => {}
            Ending::Data => self.end_with_data(id),
            Ending::Trailers(trailers) => self.end_with_trailers(id, &trailers.0, &trailers.1),
        }
    }
}
