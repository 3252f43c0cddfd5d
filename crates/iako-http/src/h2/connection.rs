//! One HTTP/2 connection, in either role.

mod block;
mod content;
mod control;
mod receive;
mod send;
mod transmit;

pub use send::Answer;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Instant;

use bytes::{BufMut as _, BytesMut};
use smallvec::SmallVec;

use super::code::ErrorCode;
use super::error::{ConnectionError, FloodKind, Violation};
use super::event::{Event, StreamId};
use super::floods::Counts;
use super::flow::{Bounds, ReceiveWindow};
use super::frame::{self, FrameHeader, PREFACE, STREAM_MASK, kind};
use super::output::{Class, Output};
use super::settings::{H2Limits, Peer, SETTING_BYTES, Settings, WINDOW_DEFAULT, id};
use super::streams::{Half, Past, Stream, Streams};
use super::tally::{Tally, count};
use crate::hpack::TABLE_BYTES_DEFAULT;
use crate::section::{SectionReader, SectionWriter};
use block::Block;
use receive::Reading;

/// An HTTP/2 connection without I/O: bytes in, [`Event`]s out; messages in, bytes out.
///
/// A turn of the loop that drives it: read once, [`receive`](Self::receive) until there is no event,
/// let the streams do their work, then while [`prepare`](Self::prepare) says so write what
/// [`slices`](Self::slices) gives in one call and tell [`advance`](Self::advance); last `receive` again
/// (and write again what comes of it), because streams whose queues went out can take more
/// ([`Event::Writable`]), and because `receive` pauses while many answers wait to be written.
///
/// Calls with a stream that is gone, and all calls after the connection failed, do nothing.
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end.
    peer: Peer,
    limits: H2Limits,
    settings: Settings,
    reader: SectionReader,
    writer: SectionWriter,
    output: Output,
    streams: Streams,
    events: VecDeque<Event>,
    reading: Reading,
    block: Block,
    counts: Counts,
    tally: Tally,
    send_window: i64,
    window: ReceiveWindow,
    /// Targets that windows grow to now; below the limits while memory is short.
    ceilings: Ceilings,
    /// Content of all streams that waits for its readers.
    held: u32,
    /// Our content that waits on all streams together.
    queued: usize,
    /// By how much streams' windows have grown beyond where they began, all together.
    grown: u32,
    /// Streams with content and windows, in the order in which they may send.
    ready: VecDeque<StreamId>,
    /// Settings that the peer has not acknowledged, oldest first.
    unacknowledged: SmallVec<[Announced; 1]>,
    /// The window of new streams that the peer may still believe in.
    initial_window: u32,
    ending: ConnectionEnding,
    /// Highest stream that the peer opened.
    last_remote: u32,
    /// The next stream of ours.
    next_local: u32,
    /// Input waits until answers were written, or could not be.
    paused: bool,
    /// When this connection was first told the time, and milliseconds since.
    since: Option<Instant>,
    now: u32,
}

/// What a SETTINGS frame of ours announced.
#[derive(Clone, Copy, Debug)]
struct Announced {
    initial_window: u32,
    header_table_bytes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ceilings {
    stream: u32,
    connection: u32,
}

/// How far the end of the connection is.
#[derive(Debug, Default)]
struct ConnectionEnding {
    /// The peer was told to open no more; its streams up to here are served.
    sent: Option<u32>,
    /// The peer looks at our streams up to here.
    received: Option<u32>,
    /// After the answer to our ping the final GOAWAY is sent.
    awaits_pong: bool,
    failed: bool,
}

/// How a connection is brought to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// The peer is told, streams that it opens until it has heard are served, and all come to their
    /// end (RFC 9113 §6.8).
    Graceful,
    /// Streams that came so far come to their end; later ones are not looked at.
    Final(ErrorCode),
}

/// SETTINGS of ours that a peer may leave unacknowledged before it gets no more of them.
const UNACKNOWLEDGED_MAX: usize = 8;

/// What the ping carries that asks whether the peer has heard of the coming end.
const LAST_CALL: u64 = u64::from_be_bytes(*b"lastcall");

impl Connection {
    /// The server's end. Its settings stand in the output at once.
    #[must_use]
    pub fn server(limits: H2Limits) -> Self {
        Self::new(Peer::Client, limits, Reading::Preface)
    }

    /// The client's end. The preface and its settings stand in the output at once.
    #[must_use]
    pub fn client(limits: H2Limits) -> Self {
        Self::new(Peer::Server, limits, Reading::FirstFrame)
    }

    fn new(peer: Peer, limits: H2Limits, reading: Reading) -> Self {
        let table = usize::try_from(limits.header_table_bytes).unwrap_or(TABLE_BYTES_DEFAULT);
        let start = limits.connection_window_bytes_start.min(limits.connection_window_bytes_max);
        let mut connection = Self {
            peer,
            limits,
            settings: Settings::default(),
            reader: SectionReader::new(limits.head, table.max(TABLE_BYTES_DEFAULT)),
            writer: SectionWriter::new(table),
            output: Output::default(),
            streams: Streams::default(),
            events: VecDeque::new(),
            reading,
            block: Block::default(),
            counts: Counts::default(),
            tally: Tally::default(),
            send_window: WINDOW_DEFAULT.into(),
            window: ReceiveWindow::new(start.max(WINDOW_DEFAULT)),
            ceilings: Ceilings {
                stream: limits.stream_window_bytes_max,
                connection: limits.connection_window_bytes_max,
            },
            held: 0,
            queued: 0,
            grown: 0,
            ready: VecDeque::new(),
            unacknowledged: SmallVec::new(),
            initial_window: WINDOW_DEFAULT.max(limits.stream_start()),
            ending: ConnectionEnding::default(),
            last_remote: 0,
            next_local: 1,
            paused: false,
            since: None,
            now: 0,
        };
        connection.greet();
        connection
    }

    fn greet(&mut self) {
        let (peer, limits) = (self.peer, self.limits);
        let target = self.window.target();
        self.output.frame(Class::Message, |out| {
            if peer == Peer::Server {
                out.put_slice(PREFACE);
            }
            let before = out.len();
            FrameHeader { length: 0, kind: kind::SETTINGS, flags: 0, stream: 0 }.write(out);
            limits.write(peer, out);
            patch_length(out, before);
            if target > WINDOW_DEFAULT {
                frame::write_window_update(0, target - WINDOW_DEFAULT, out);
            }
        });
        self.unacknowledged.push(Announced {
            initial_window: limits.stream_start(),
            header_table_bytes: limits.header_table_bytes,
        });
    }

    /// Tells the time of this turn of the loop; streams reset soon after they began are told apart by
    /// it. Without it every reset counts as early.
    pub fn at(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since).as_millis();
        self.now = u32::try_from(elapsed).unwrap_or(u32::MAX);
    }

    /// The peer's settings that are in force.
    #[must_use]
    pub fn peer_settings(&self) -> &Settings {
        &self.settings
    }

    /// Number of streams that live.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether the stream lives.
    #[must_use]
    pub fn is_open(&self, stream: StreamId) -> bool {
        self.streams.get(stream).is_some()
    }

    /// Streams that can be opened now (client).
    #[must_use]
    pub fn room(&self) -> usize {
        if self.is_going_away() {
            return 0;
        }
        let most = self.settings.concurrent_streams_max.min(self.limits.concurrent_streams_max);
        (most as usize).saturating_sub(self.streams.len())
    }

    /// Whether either side has said that the connection ends, it failed, or its stream identifiers are
    /// used up: no stream can be opened any more.
    #[must_use]
    pub fn is_going_away(&self) -> bool {
        self.ending.failed
            || self.ending.sent.is_some()
            || self.ending.received.is_some()
            || self.next_local > STREAM_MASK
    }

    /// Whether the connection can be closed: it is going away, no stream lives, all is written.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let told = self.ending.sent.is_none_or(|_| !self.ending.awaits_pong);
        self.output.is_empty()
            && (self.ending.failed || (self.is_going_away() && told && self.streams.len() == 0))
    }

    /// Whether a field block has begun and has not come to its end, during which no other frame may
    /// come: a peer that stops there stops all its streams.
    #[must_use]
    pub fn is_inside_field_block(&self) -> bool {
        self.reading == Reading::Block
    }

    /// Whether input waits until answers were written: see [`receive`](Self::receive), which does not
    /// wait a second time when nothing could be.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Content of the stream that waits for windows or for room in the output. A caller that keeps it
    /// bounded hears [`Event::Writable`] when it is 0 again.
    #[must_use]
    pub fn queued(&self, stream: StreamId) -> usize {
        self.streams.get(stream).map_or(0, |stream| stream.queued)
    }

    /// What was counted.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Content of all streams together that waits for windows or for room in the output.
    #[must_use]
    pub fn queued_by_all(&self) -> usize {
        self.queued
    }

    /// Bytes that wait to be written, without content that waits for windows.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.output.bytes()
    }

    /// Fills `slices` with what is to be written next, in order; how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.output.slices(slices)
    }

    /// So many bytes of the output were written.
    pub fn advance(&mut self, written: usize) {
        self.paused &= written == 0;
        self.output.advance(written);
    }

    /// Sends a ping; [`Event::Pong`] tells its answer.
    pub fn ping(&mut self, opaque: u64) {
        if !self.ending.failed {
            self.output.frame(Class::Control, |out| frame::write_ping(opaque, 0, out));
        }
    }

    /// Brings the connection to its end.
    pub fn shut_down(&mut self, how: Shutdown) {
        if self.ending.failed {
            return;
        }
        match how {
            Shutdown::Graceful if self.ending.sent.is_some() => {}
            Shutdown::Graceful => {
                self.ending.sent = Some(STREAM_MASK);
                self.ending.awaits_pong = true;
                self.output.frame(Class::Control, |out| {
                    frame::write_goaway(STREAM_MASK, ErrorCode::NO_ERROR, "", out);
                    frame::write_ping(LAST_CALL, 0, out);
                });
            }
            Shutdown::Final(code) => self.last_word(code, ""),
        }
    }

    /// The GOAWAY after which no stream of the peer is looked at.
    fn last_word(&mut self, code: ErrorCode, debug: &str) {
        let last = self.ending.sent.map_or(self.last_remote, |sent| sent.min(self.last_remote));
        self.ending.sent = Some(last);
        self.ending.awaits_pong = false;
        if code == ErrorCode::NO_ERROR {
            count(&mut self.tally.goaways_sent);
        }
        self.output.frame(Class::Control, |out| frame::write_goaway(last, code, debug, out));
    }

    fn fail(&mut self, error: ConnectionError) {
        self.last_word(error.code(), error.details());
        self.ending.failed = true;
        self.streams.clear();
        self.ready.clear();
        self.events.clear();
        self.held = 0;
        self.queued = 0;
    }

    /// Bounds the windows from now on. Lower values make windows shrink as they are used up; what the
    /// peer may send already is not taken back. Values above the limits count as the limits.
    pub fn window_ceilings(&mut self, stream: u32, connection: u32) {
        self.ceilings = Ceilings {
            stream: stream.min(self.limits.stream_window_bytes_max),
            connection: connection.min(self.limits.connection_window_bytes_max),
        };
        let mut smaller = 0;
        for stream in self.streams.iter_mut() {
            let shrunk = stream.window.shrink(self.ceilings.stream).min(stream.grown);
            stream.grown -= shrunk;
            smaller += shrunk;
        }
        self.grown = self.grown.saturating_sub(smaller);
        self.window.shrink(self.ceilings.connection);
        self.announce_window();
    }

    /// Tells the peer with what window its new streams begin, when that has changed.
    fn announce_window(&mut self) {
        let wanted = self.limits.stream_start().min(self.ceilings.stream);
        let told = self.unacknowledged.last().map(|announced| announced.initial_window);
        let is_told = told.unwrap_or(self.initial_window) == wanted;
        if self.ending.failed || is_told || self.unacknowledged.len() >= UNACKNOWLEDGED_MAX {
            return;
        }
        self.unacknowledged.push(Announced {
            initial_window: wanted,
            header_table_bytes: self.limits.header_table_bytes,
        });
        if wanted > self.initial_window {
            self.shift_windows(wanted);
        }
        self.output.frame(Class::Control, |out| {
            let length = u32::try_from(SETTING_BYTES).unwrap_or_default();
            FrameHeader { length, kind: kind::SETTINGS, flags: 0, stream: 0 }.write(out);
            out.put_u16(id::INITIAL_WINDOW_SIZE);
            out.put_u32(wanted);
        });
    }

    /// Every stream's window moves with the initial one (RFC 9113 §6.9.2). A larger one counts when it
    /// is announced and a smaller one when it is acknowledged: until then the peer may be right either
    /// way.
    fn shift_windows(&mut self, initial_window: u32) {
        let delta = i64::from(initial_window) - i64::from(self.initial_window);
        self.initial_window = initial_window;
        for stream in self.streams.iter_mut() {
            stream.window.shift(delta);
            renew(stream, &mut self.grown, (self.ceilings, self.now), &mut self.output);
        }
    }

    /// Gives memory back while the connection carries nothing.
    pub fn idle(&mut self) {
        if self.streams.len() == 0 {
            self.streams.idle();
            self.output.idle();
            self.ready = VecDeque::new();
            self.events.shrink_to_fit();
            self.block.idle();
            self.reader.release_room();
        }
    }

    /// Forgets a stream and what it held.
    fn remove(&mut self, id: StreamId, past: Past) {
        let Some(stream) = self.streams.get(id) else { return };
        self.held = self.held.saturating_sub(stream.window.held());
        self.grown = self.grown.saturating_sub(stream.grown);
        self.queued = self.queued.saturating_sub(stream.queued);
        self.counts.tiny_read(stream.tiny);
        if stream.is_ready {
            self.ready.retain(|ready| *ready != id);
        }
        self.streams.remove(id, past);
    }

    /// Ends a stream when both halves have ended.
    fn remove_if_closed(&mut self, id: StreamId) {
        if self.streams.get(id).is_some_and(Stream::is_closed) {
            self.counts.closed();
            self.remove(id, Past::Ended);
        }
    }

    /// Resets a stream on which the peer broke a rule.
    fn refuse(&mut self, id: StreamId, violation: Violation) -> Result<Event, ConnectionError> {
        let code = violation.code();
        self.send_reset(id, code);
        self.count_early_reset()?;
        Ok(Event::Reset { stream: id, code, cause: super::event::ResetCause::Violation(violation) })
    }

    /// Only clients can make us work for nothing.
    fn count_early_reset(&mut self) -> Result<(), FloodKind> {
        if self.peer == Peer::Client { self.counts.reset_early(&self.limits) } else { Ok(()) }
    }

    fn is_server(&self) -> bool {
        self.peer == Peer::Client
    }
}

/// Renews the window of a stream on which the peer may still send.
fn renew(
    stream: &mut Stream,
    grown: &mut u32,
    (ceilings, now): (Ceilings, u32),
    output: &mut Output,
) {
    if stream.remote == Half::Closed {
        return;
    }
    // Half of what the connection may hold is for streams that grow; the other half keeps the modest
    // ones going while those are stalled.
    let budget = (ceilings.connection / 2).saturating_sub(*grown);
    let bounds = Bounds { ceiling: ceilings.stream, growth_max: budget, room: u32::MAX };
    if let Some(renewal) = stream.window.renew(now, bounds) {
        stream.grown += renewal.grown;
        *grown += renewal.grown;
        let number = stream.id.number;
        output.frame(Class::Message, |out| {
            frame::write_window_update(number, renewal.increment, out);
        });
    }
}

/// Puts the length of a frame, which ends with the buffer, into its header.
fn patch_length(out: &mut BytesMut, header_at: usize) {
    let length = out.len() - header_at - frame::HEADER_BYTES;
    let [.., a, b, c] = length.to_be_bytes();
    if let Some(octets) = out.get_mut(header_at..header_at + 3) {
        octets.copy_from_slice(&[a, b, c]);
    }
}
