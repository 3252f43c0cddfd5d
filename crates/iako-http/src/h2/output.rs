//! What waits to be written: framed bytes gathered in one buffer, content by reference between them.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use super::frame::flag;

/// Content up to this long is copied between the frames: a reference would cost more.
const COPIED_BYTES_MAX: usize = 256;

/// More content is not moved here while so much waits: it could not be written at once anyway, and
/// what is urgent would wait behind it.
const BYTES_HIGH: usize = 256 * 1024;

/// As with bytes, for tiny frames; far below [`H2Limits::outbound_frames_max`].
///
/// [`H2Limits::outbound_frames_max`]: super::H2Limits
const FRAMES_HIGH: u32 = 4096;

/// Framed bytes in one piece: what is written leaves the counts piece by piece.
const PIECE_BYTES_MAX: usize = 8 * 1024;

/// Capacity that the buffer keeps while nothing waits.
const CAPACITY_KEPT: usize = 64 * 1024;

/// Written bytes at the front of the buffer that are worth dropping.
const WRITTEN_BYTES_MAX: usize = 64 * 1024;

/// No frame, as a position.
pub(crate) const NOWHERE: u64 = u64::MAX;

/// Which bound a frame counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// PING, SETTINGS, RST_STREAM and the like: what a peer can make us send.
    Control,
    /// Heads and content.
    Message,
}

#[derive(Debug)]
enum Piece {
    /// The next so many bytes of the buffer.
    Framed { bytes: usize, frames: u32, controls: u32 },
    /// Content that is not copied.
    Content(Bytes),
}

/// The queue of what is to be written, in order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    buffer: BytesMut,
    /// Bytes at the front of the buffer that were written.
    written: usize,
    /// Position in the whole connection's framed bytes at which the buffer begins.
    origin: u64,
    pieces: VecDeque<Piece>,
    bytes: usize,
    frames: u32,
    controls: u32,
}

impl Output {
    /// Appends one frame.
    pub(crate) fn frame(&mut self, class: Class, write: impl FnOnce(&mut BytesMut)) {
        let before = self.buffer.len();
        write(&mut self.buffer);
        self.commit(before, class, 1);
    }

    /// The buffer, to which the caller appends frames and then tells so with [`commit`](Self::commit).
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Counts what was appended to the buffer behind `before`.
    pub(crate) fn commit(&mut self, before: usize, class: Class, frames: u32) {
        let bytes = self.buffer.len() - before;
        let controls = if class == Class::Control { frames } else { 0 };
        self.frames += frames;
        self.controls += controls;
        self.append(bytes, frames, controls);
    }

    fn append(&mut self, more: usize, more_frames: u32, more_controls: u32) {
        self.bytes += more;
        if let Some(Piece::Framed { bytes, frames, controls }) = self.pieces.back_mut()
            && *bytes < PIECE_BYTES_MAX
        {
            *bytes += more;
            *frames += more_frames;
            *controls += more_controls;
            return;
        }
        self.pieces.push_back(Piece::Framed {
            bytes: more,
            frames: more_frames,
            controls: more_controls,
        });
    }

    /// Appends content behind the frame header that was appended last.
    pub(crate) fn content(&mut self, content: Bytes) {
        if content.len() <= COPIED_BYTES_MAX {
            self.buffer.extend_from_slice(&content);
            self.append(content.len(), 0, 0);
            return;
        }
        self.bytes += content.len();
        self.pieces.push_back(Piece::Content(content));
    }

    /// The position of the frame that is appended next.
    pub(crate) fn position(&self) -> u64 {
        self.origin + self.buffer.len() as u64
    }

    /// Sets END_STREAM on the frame at that position; `false` when it was written already.
    pub(crate) fn end_stream_at(&mut self, position: u64) -> bool {
        if position == NOWHERE || position < self.origin + self.written as u64 {
            return false;
        }
        let flags = usize::try_from(position - self.origin).ok().map(|place| place + 4);
        match flags.and_then(|place| self.buffer.get_mut(place)) {
            Some(flags) => *flags |= flag::END_STREAM,
            None => return false,
        }
        true
    }

    /// Whether content may be moved here.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes < BYTES_HIGH && self.frames < FRAMES_HIGH
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    pub(crate) fn controls(&self) -> u32 {
        self.controls
    }

    /// Fills `slices` with what is to be written next; how many were filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut pieces = self.pieces.iter().peekable();
        let mut place = self.written;
        let mut filled = 0;
        for slice in slices {
            match pieces.next() {
                None => break,
                Some(Piece::Content(content)) => *slice = IoSlice::new(content),
                Some(Piece::Framed { bytes, .. }) => {
                    let start = place;
                    place += bytes;
                    while let Some(Piece::Framed { bytes, .. }) = pieces.peek() {
                        place += bytes;
                        pieces.next();
                    }
                    *slice = IoSlice::new(self.buffer.get(start..place).unwrap_or_default());
                }
            }
            filled += 1;
        }
        filled
    }

    /// So many bytes were written.
    pub(crate) fn advance(&mut self, written: usize) {
        let mut left = written.min(self.bytes);
        self.bytes -= left;
        while let Some(piece) = self.pieces.front_mut() {
            match piece {
                Piece::Content(content) if content.len() > left => {
                    content.advance(left);
                    break;
                }
                Piece::Framed { bytes, .. } if *bytes > left => {
                    *bytes -= left;
                    self.written += left;
                    break;
                }
                Piece::Content(content) => left -= content.len(),
                Piece::Framed { bytes, frames, controls } => {
                    left -= *bytes;
                    self.written += *bytes;
                    self.frames -= *frames;
                    self.controls -= *controls;
                }
            }
            self.pieces.pop_front();
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        if self.pieces.is_empty() {
            self.origin += self.buffer.len() as u64;
            self.written = 0;
            if self.buffer.capacity() > CAPACITY_KEPT {
                self.buffer = BytesMut::new();
            } else {
                self.buffer.clear();
            }
        } else if self.written > WRITTEN_BYTES_MAX {
            self.buffer.advance(self.written);
            self.origin += self.written as u64;
            self.written = 0;
        }
    }

    /// Gives memory back while nothing waits.
    pub(crate) fn idle(&mut self) {
        if self.pieces.is_empty() {
            self.buffer = BytesMut::new();
            self.pieces = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = output.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn order_is_kept_whatever_part_is_written_at_a_time() {
        let mut output = Output::default();
        let mut wanted = Vec::new();
        for round in 0..40_u8 {
            output.frame(Class::Control, |buffer| buffer.extend_from_slice(&[round; 9]));
            wanted.extend_from_slice(&[round; 9]);
            let content = vec![round; if round % 2 == 0 { 1000 } else { 10 }];
            wanted.extend_from_slice(&content);
            output.content(content.into());
        }
        assert_eq!(output.controls(), 40);
        let mut seen = Vec::new();
        let mut step = 1;
        while !output.is_empty() {
            let next = written(&output);
            let part = step.min(next.len());
            seen.extend_from_slice(&next[..part]);
            output.advance(part);
            step = step % 700 + 13;
        }
        assert_eq!(seen, wanted);
        assert_eq!((output.frames(), output.controls(), output.bytes()), (0, 0, 0));
    }

    #[test]
    fn neighbouring_frames_share_a_slice() {
        let mut output = Output::default();
        for _ in 0..3000 {
            output.frame(Class::Message, |buffer| buffer.extend_from_slice(&[7; 9]));
        }
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(output.slices(&mut slices), 1);
        assert_eq!(slices[0].len(), 27_000);
    }

    #[test]
    fn the_end_can_be_set_until_the_frame_is_written() {
        let mut output = Output::default();
        output.frame(Class::Message, |buffer| buffer.extend_from_slice(&[0; 9]));
        let position = output.position();
        output.frame(Class::Message, |buffer| buffer.extend_from_slice(&[0; 9]));
        output.advance(9);
        assert!(output.end_stream_at(position));
        assert_eq!(written(&output)[4], flag::END_STREAM);
        output.advance(9);
        assert!(!output.end_stream_at(position));
        assert!(!output.end_stream_at(NOWHERE));
    }
}
