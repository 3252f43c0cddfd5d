//! The bytes of one HTTP/1 connection: read and not yet parsed, queued and not yet written.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use iako_telemetry::Counter;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf};

use crate::http2::pressure;
use crate::snapshot::ClusterStats;
use crate::transport::{Stream, socket};

/// What a direction may hold before its source is no longer read. Together with one read it bounds
/// the memory of an exchange, whatever the size of the message.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 * 1024;

/// The same while the streams of the worker hold too much for peers that do not read.
const QUEUE_BYTES_SHORT: usize = 4 * 1024;

/// Bytes asked of a socket while content flows.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// The same while the streams of the worker hold too much: what one read brings is held whole.
const READ_BYTES_SHORT: usize = 8 * 1024;

/// Pieces up to this size are copied together, larger ones are written from where they are.
const COPY_BYTES_MAX: usize = 4 * 1024;

/// Slices of one gathered write.
const SLICES_MAX: usize = 16;

/// Buffers for heads that a worker keeps, and how large one may have become to be kept.
const SPARES_MAX: usize = 32;
const SPARE_BYTES_MAX: usize = 16 * 1024;
/// What a new one has room for: the heads of most messages.
const SPARE_BYTES: usize = 2 * 1024;

thread_local! {
    /// Empty buffers for what is written next: a connection that waits owns none.
    static SPARES: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };

    /// Where heads are read to: a connection that waits for one owns no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What a direction may hold now before its source is no longer read.
pub(crate) fn queue_bytes_max() -> usize {
    if pressure::is_queue_long() { QUEUE_BYTES_SHORT } else { QUEUE_BYTES_MAX }
}

/// Bytes asked of a socket now.
fn read_bytes() -> usize {
    if pressure::is_queue_long() { READ_BYTES_SHORT } else { READ_BYTES }
}

/// A connection with its two buffers.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    /// Read and not yet parsed.
    pub(crate) input: BytesMut,
    /// Queued and not yet written.
    pub(crate) output: Output,
    /// Counts what comes and goes.
    meter: Option<Meter>,
}

/// Counts the bytes of a connection among those of its cluster or HTTP connection manager.
#[derive(Debug)]
pub(crate) struct Meter {
    read: Counter,
    written: Counter,
}

impl Meter {
    pub(crate) fn of(stats: &ClusterStats) -> Self {
        Self::new(&stats.cx_rx_bytes, &stats.cx_tx_bytes)
    }

    pub(crate) fn new(read: &Counter, written: &Counter) -> Self {
        Self { read: read.clone(), written: written.clone() }
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.read.add(bytes as u64);
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.written.add(bytes as u64);
    }
}

impl Wire {
    /// Takes a connection over, with what was already read from it.
    pub(crate) fn new(mut stream: Stream, read: Bytes) -> Self {
        let mut input = BytesMut::from(read);
        // What inspection read lies beneath what the driver read of it.
        input.extend_from_slice(&stream.take_prefix());
        Self { stream, input, output: Output::default(), meter: None }
    }

    /// Counts what comes and goes from now on.
    pub(crate) fn measure(&mut self, meter: Meter) {
        meter.read(self.input.len());
        self.meter = Some(meter);
    }

    /// Reads once. 0 is the end of the stream.
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let filled = if self.input.is_empty() {
            ready!(poll_read_little(&mut self.stream, &mut self.input, context))?
        } else {
            self.input.reserve(read_bytes() / 4);
            ready!(pin!(self.stream.read_buf(&mut self.input)).poll(context))?
        };
        if let Some(meter) = &self.meter {
            meter.read(filled);
        }
        Poll::Ready(Ok(filled))
    }

    /// Writes what is queued; ready once all of it is on its way.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wrote = false;
        while !self.output.is_empty() {
            let written = ready!(self.output.poll_write(&mut self.stream, context))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if let Some(meter) = &self.meter {
                meter.wrote(written);
            }
            wrote = true;
        }
        if wrote {
            self.output.rest();
        }
        if wrote || self.stream.is_tls() {
            return Pin::new(&mut self.stream).poll_flush(context);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is queued and then says that nothing follows.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    /// Says on TLS that nothing follows, as far as the peer takes it at once: the connection is closed
    /// whether it does or not.
    pub(crate) fn end_tls(&mut self) {
        if self.stream.is_tls() {
            let mut context = Context::from_waker(Waker::noop());
            let told = Pin::new(&mut self.stream).poll_shutdown(&mut context);
            tracing::trace!(?told, "the end of TLS");
        }
    }

    /// Has the peer see a reset in place of an end when the connection is closed.
    pub(crate) fn reset_when_closed(&self) {
        if let Some(socket) = self.stream.tcp_socket() {
            socket::reset_when_closed(socket);
        }
    }

    /// Whether nothing has come, as the system knows. True for what is no TCP.
    pub(crate) fn is_quiet(&self) -> bool {
        self.stream.tcp_socket().is_none_or(socket::is_quiet)
    }

    /// What the peer's system has acknowledged.
    pub(crate) fn bytes_acknowledged(&self) -> Option<u64> {
        self.stream.tcp_socket().and_then(socket::bytes_acknowledged)
    }

    /// The connection, with what was read from it and not parsed.
    pub(crate) fn into_stream(self) -> (Stream, Bytes) {
        (self.stream, self.input.freeze())
    }

    /// Gives back memory that an idle connection does not need.
    pub(crate) fn rest(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() {
            self.output.rest();
        }
    }
}

/// Reads once into the worker's scratch buffer and keeps what came: idle connections cost no buffer,
/// and small messages cost only their size.
pub(crate) fn poll_read_little(
    stream: &mut Stream,
    input: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let room = read_bytes().min(scratch.len());
        let mut read = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(stream).poll_read(context, &mut read))?;
        let filled = read.filled();
        input.extend_from_slice(filled);
        Poll::Ready(Ok(filled.len()))
    })
}

/// Reads once to where the bytes stay: for content that flows.
pub(crate) fn poll_read_much(
    stream: &mut Stream,
    input: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    input.reserve(read_bytes());
    pin!(stream.read_buf(input)).poll(context)
}

/// Bytes to be written, in order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pieces: VecDeque<Bytes>,
    /// What comes after the pieces: heads, framing and small pieces, gathered.
    tail: BytesMut,
    queued_in_pieces: usize,
}

impl Output {
    /// Where heads and framing are written to.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        if self.tail.capacity() == 0 {
            let spare = SPARES.with_borrow_mut(Vec::pop);
            self.tail = spare.unwrap_or_else(|| BytesMut::with_capacity(SPARE_BYTES));
        }
        &mut self.tail
    }

    /// Gives its buffers back; nothing may wait in them.
    fn rest(&mut self) {
        if self.pieces.capacity() > 0 {
            self.pieces = VecDeque::new();
        }
        if self.tail.capacity() == 0 {
            return;
        }
        let mut tail = std::mem::take(&mut self.tail);
        tail.clear();
        if (SPARE_BYTES..=SPARE_BYTES_MAX).contains(&tail.capacity()) {
            SPARES.with_borrow_mut(|spares| {
                if spares.len() < SPARES_MAX {
                    spares.push(tail);
                }
            });
        }
    }

    /// Queues a piece of content.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.len() <= COPY_BYTES_MAX {
            self.tail().extend_from_slice(&piece);
            return;
        }
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.queued_in_pieces += tail.len();
            self.pieces.push_back(tail);
        }
        self.queued_in_pieces += piece.len();
        self.pieces.push_back(piece);
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.queued_in_pieces + self.tail.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }

    /// One write of as much as goes: all pieces and the tail in one system call.
    fn poll_write(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        let written = if self.pieces.is_empty() {
            ready!(stream.poll_write(context, &self.tail))?
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let tail = std::iter::once(self.tail.as_ref());
            let mut used = 0;
            let sources = self.pieces.iter().map(AsRef::as_ref).chain(tail);
            for (slice, source) in slices.iter_mut().zip(sources) {
                *slice = IoSlice::new(source);
                used += 1;
            }
            let slices = slices.get(..used).unwrap_or_default();
            ready!(stream.poll_write_vectored(context, slices))?
        };
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.pieces.front_mut() {
            let step = written.min(first.len());
            first.advance(step);
            written -= step;
            self.queued_in_pieces -= step;
            if !first.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        if written < self.tail.len() {
            self.tail.advance(written);
        } else {
            // Not advanced over: so it keeps all of its room.
            self.tail.clear();
        }
    }
}
