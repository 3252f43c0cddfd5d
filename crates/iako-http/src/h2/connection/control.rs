//! Frames that carry no part of a message: settings, windows, pings and endings.

use bytes::Bytes;

use super::receive::{Reading, Step};
use super::{Connection, ConnectionError, ErrorCode, Event, LAST_CALL, Violation};
use crate::h2::event::ResetCause;
use crate::h2::frame::{self, FrameHeader, STREAM_MASK, flag};
use crate::h2::output::Class;
use crate::h2::settings::{Settings, WINDOW_MAX};
use crate::h2::streams::{Half, Past};
use crate::h2::tally::count;

/// What a peer says about why it goes is kept up to this length.
const DEBUG_BYTES_MAX: usize = 256;

const PRIORITY_BYTES: usize = 5;
const CODE_BYTES: usize = 4;
const PING_BYTES: usize = 8;
const GOAWAY_BYTES_MIN: usize = 8;
const INCREMENT_BYTES: usize = 4;

impl Connection {
    pub(super) fn settings(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(Violation::FrameSize.into());
            }
            return Ok(self.settings_acknowledged());
        }
        self.counts.settings(&self.limits)?;
        self.take_settings(payload)?;
        if self.reading == Reading::FirstFrame {
            self.reading = Reading::Frame;
        }
        self.output.frame(Class::Control, frame::write_settings_ack);
        Ok(Step::Event(Event::Settings(self.settings)))
    }

    /// Puts the peer's settings in force.
    pub(super) fn take_settings(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let mut settings = self.settings;
        if self.reading == Reading::FirstFrame {
            // Until now a guess; what the peer does not limit has no limit (RFC 9113 §6.5.2).
            settings.concurrent_streams_max = u32::MAX;
        }
        settings.take_all(payload, self.peer)?;
        let before = std::mem::replace(&mut self.settings, settings);
        if settings.header_table_bytes != before.header_table_bytes {
            let bytes = usize::try_from(settings.header_table_bytes).unwrap_or(usize::MAX);
            self.writer.set_table_bytes_max(bytes);
        }
        self.move_send_windows(before)
    }

    /// A new initial window moves the windows of all streams, below zero too (RFC 9113 §6.9.2).
    fn move_send_windows(&mut self, before: Settings) -> Result<(), Violation> {
        let delta =
            i64::from(self.settings.initial_window_bytes) - i64::from(before.initial_window_bytes);
        if delta == 0 {
            return Ok(());
        }
        for stream in self.streams.iter_mut() {
            stream.send_window += delta;
            if stream.send_window > i64::from(WINDOW_MAX) {
                return Err(Violation::WindowOverflow);
            }
            if stream.queued > 0 && stream.send_window > 0 && !stream.is_ready {
                stream.is_ready = true;
                self.ready.push_back(stream.id);
            }
        }
        Ok(())
    }

    fn settings_acknowledged(&mut self) -> Step {
        // An acknowledgement of nothing is harmless.
        if self.unacknowledged.is_empty() {
            return Step::Again;
        }
        let announced = self.unacknowledged.remove(0);
        let bytes = usize::try_from(announced.header_table_bytes).unwrap_or(usize::MAX);
        self.reader.set_table_bytes_max(bytes);
        // A larger one has counted since it was announced, and a later one may be on its way.
        let later = self.unacknowledged.iter().map(|later| later.initial_window).max();
        let window = announced.initial_window.max(later.unwrap_or(0));
        if window < self.initial_window {
            self.shift_windows(window);
        }
        Step::Event(Event::SettingsAcknowledged)
    }

    pub(super) fn window_update(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        if payload.len() != INCREMENT_BYTES {
            return Err(Violation::FrameSize.into());
        }
        self.counts.window_update(&self.limits)?;
        let increment = frame::number(payload) & STREAM_MASK;
        if header.stream == 0 {
            if increment == 0 {
                return Err(Violation::WindowZero.into());
            }
            self.send_window += i64::from(increment);
            if self.send_window > i64::from(WINDOW_MAX) {
                return Err(Violation::WindowOverflow.into());
            }
            return Ok(Step::Again);
        }
        let Some(id) = self.streams.find(header.stream) else {
            if increment == 0 && !self.is_idle(header.stream) {
                // Wrong at any time (RFC 9113 §6.9), so it is not passed over as merely late.
                let code = Violation::WindowZero.code();
                count(&mut self.tally.resets_sent);
                self.output.frame(Class::Control, |out| {
                    frame::write_reset(header.stream, code, out);
                });
            }
            return self.for_a_stranger(header);
        };
        let Some(stream) = self.streams.get_mut(id) else { return Ok(Step::Again) };
        if increment == 0 {
            return self.refuse(id, Violation::WindowZero).map(Step::Event);
        }
        stream.send_window += i64::from(increment);
        if stream.send_window > i64::from(WINDOW_MAX) {
            return self.refuse(id, Violation::WindowOverflow).map(Step::Event);
        }
        if stream.queued > 0 && stream.send_window > 0 && !stream.is_ready {
            stream.is_ready = true;
            self.ready.push_back(id);
        }
        Ok(Step::Again)
    }

    /// A frame that may come late for a stream that is gone, but not for one that never was.
    fn for_a_stranger(&self, header: FrameHeader) -> Result<Step, ConnectionError> {
        if self.is_idle(header.stream) {
            Err(Violation::IdleStream.into())
        } else {
            Ok(Step::Again)
        }
    }

    pub(super) fn reset_came(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        if payload.len() != CODE_BYTES {
            return Err(Violation::FrameSize.into());
        }
        let Some(id) = self.streams.find(header.stream) else {
            return self.for_a_stranger(header);
        };
        let Some(stream) = self.streams.get(id) else { return Ok(Step::Again) };
        let age = self.now.saturating_sub(stream.opened_at);
        if stream.local != Half::Closed && age < self.limits.premature_reset_millis {
            self.count_early_reset()?;
        } else {
            self.counts.closed();
        }
        self.remove(id, Past::Ended);
        let code = ErrorCode::new(frame::number(payload));
        count(&mut self.tally.resets_received);
        Ok(Step::Event(Event::Reset { stream: id, code, cause: ResetCause::Peer }))
    }

    pub(super) fn ping_came(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        let opaque: &[u8; PING_BYTES] = payload.try_into().or(Err(Violation::FrameSize))?;
        let opaque = u64::from_be_bytes(*opaque);
        if !header.has(flag::ACK) {
            self.output.frame(Class::Control, |out| frame::write_ping(opaque, flag::ACK, out));
            return Ok(Step::Again);
        }
        if opaque == LAST_CALL && self.ending.awaits_pong {
            self.last_word(ErrorCode::NO_ERROR, "");
            return Ok(Step::Again);
        }
        Ok(Step::Event(Event::Pong { opaque }))
    }

    pub(super) fn goaway_came(&mut self, payload: &[u8]) -> Result<Step, ConnectionError> {
        let (numbers, debug) =
            payload.split_at_checked(GOAWAY_BYTES_MIN).ok_or(Violation::FrameSize)?;
        let (last, code) = numbers.split_at(4);
        let last = frame::number(last) & STREAM_MASK;
        // It may only be lowered; a peer that raises it is not believed.
        let last = self.ending.received.map_or(last, |before| before.min(last));
        let code = ErrorCode::new(frame::number(code));
        self.ending.received = Some(last);
        let debug = debug.get(..DEBUG_BYTES_MAX).unwrap_or(debug);
        self.events.push_back(Event::GoAway { last, code, debug: Bytes::copy_from_slice(debug) });
        if !self.is_server() {
            let mut refused: Vec<_> = self
                .streams
                .iter_mut()
                .map(|stream| stream.id)
                .filter(|id| id.number > last)
                .collect();
            refused.sort_unstable_by_key(|id| id.number);
            for stream in refused {
                self.remove(stream, Past::Ended);
                let code = ErrorCode::REFUSED_STREAM;
                self.events.push_back(Event::Reset { stream, code, cause: ResetCause::GoAway });
            }
        }
        Ok(Step::Again)
    }

    /// Priorities are not followed (RFC 9113 §5.3.2), only bounded.
    pub(super) fn priority(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<Step, ConnectionError> {
        self.counts.priority(&self.limits)?;
        let violation = if payload.len() != PRIORITY_BYTES {
            Violation::FrameSize
        } else if frame::number(payload) & STREAM_MASK == header.stream {
            Violation::SelfDependency
        } else {
            return Ok(Step::Again);
        };
        // A stream error (RFC 9113 §6.3), where there is a stream.
        match self.streams.find(header.stream) {
            Some(id) => self.refuse(id, violation).map(Step::Event),
            None => Err(violation.into()),
        }
    }
}
