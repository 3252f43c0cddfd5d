//! One direction of a relay.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    buffers::{BUFFER_BYTES, Buffers, Kept},
    pipes::{Pipe, Pipes},
};
use crate::transport::Stream;

/// Moves in one go before other connections get their turn.
const TURNS_MAX: u32 = 8;
/// Bytes that one move is worth while little comes, or the receiver is slow.
const REACH_MIN: usize = 16 * 1024;
/// Up to so many bytes that a receiver leaves are copied; for more the buffer is kept.
const COPY_BYTES_MAX: usize = 8 * 1024;
/// Bytes of room without which no further record of TLS is read: the greatest fits.
const RECORD_BYTES: usize = 16 * 1024;

/// One end of a relay.
pub(super) trait Side: AsyncRead + AsyncWrite + Unpin {
    /// The socket, when what is read from it and written to it are the bytes of the connection.
    fn plain_socket(&self) -> Option<&TcpStream>;
}

impl Side for Stream {
    fn plain_socket(&self) -> Option<&TcpStream> {
        self.plain_socket()
    }
}

/// What one worker's relays share: each holds something of it only while its receiver is slow.
#[derive(Debug, Default)]
pub(crate) struct RelayMemory {
    buffers: Rc<Buffers>,
    pipes: Rc<Pipes>,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Way {
    /// Read, not yet written.
    left: Left,
    stage: Stage,
    /// Bytes of the next move.
    reach: usize,
    /// Nothing more came in this turn than was moved; the source will wake us.
    is_dry: bool,
    /// The source broke behind what was moved.
    broken: Option<io::Error>,
    /// The system moves bytes from socket to socket; found out by trying.
    is_spliced: bool,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            left: Left::Nothing,
            stage: Stage::Moving,
            reach: REACH_MIN,
            is_dry: false,
            broken: None,
            is_spliced: true,
        }
    }
}

/// What a receiver has not taken.
#[derive(Debug)]
enum Left {
    Nothing,
    /// From `written` on.
    Copied {
        bytes: Vec<u8>,
        written: usize,
    },
    Kept(Kept),
    Piped(Pipe),
}

impl Left {
    fn rest(&self) -> &[u8] {
        match self {
            Self::Nothing | Self::Piped(_) => &[],
            Self::Copied { bytes, written } => bytes.get(*written..).unwrap_or_default(),
            Self::Kept(kept) => kept.rest(),
        }
    }

    fn advance(&mut self, bytes: usize) {
        match self {
            Self::Nothing | Self::Piped(_) => {}
            Self::Copied { written, .. } => *written = written.saturating_add(bytes),
            Self::Kept(kept) => kept.advance(bytes),
        }
    }
}

/// What one move did.
struct Move {
    /// Bytes read; 0 is the end of the source.
    read: usize,
    /// Bytes of them that the receiver took at once.
    taken: usize,
    /// The buffer was as good as filled.
    filled: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Moving,
    /// The source ended; the rest is written, then the target is half closed.
    Ending,
    Ended,
}

/// Which side of a direction broke.
pub(super) enum Broken {
    /// Reading.
    Source(io::Error),
    /// Writing.
    Target(io::Error),
}

impl Way {
    /// Moves what there is until the source has ended and the target is half closed.
    pub(super) fn poll(
        &mut self,
        memory: &RelayMemory,
        (source, target): (&mut impl Side, &mut impl Side),
        moved: &mut u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        // Only in the turn in which the source was asked last will it wake us.
        self.is_dry = false;
        for _ in 0..TURNS_MAX {
            ready!(self.poll_write_left(target, context))?;
            match self.stage {
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Ending => {
                    // A peer that is gone already needs no half close.
                    drop(ready!(Pin::new(&mut *target).poll_shutdown(context)));
                    self.stage = Stage::Ended;
                    return Poll::Ready(Ok(()));
                }
                Stage::Moving if self.is_dry => return Poll::Pending,
                Stage::Moving => {}
            }
            let read = match self.take_pipe(memory, source, target) {
                Some(pipe) => ready!(self.poll_splice(pipe, source, context))?,
                None => ready!(self.poll_copy(memory, (&mut *source, &mut *target), context))?,
            };
            match read {
                None => {}
                Some(0) => self.stage = Stage::Ending,
                Some(read) => {
                    *moved = moved.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
                }
            }
        }
        // Other connections get their turn; this one comes back at once.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// A pipe, when moves are as large as they can be and nothing has to look at the bytes.
    fn take_pipe(
        &self,
        memory: &RelayMemory,
        source: &impl Side,
        target: &impl Side,
    ) -> Option<Pipe> {
        let is_bulk = self.is_spliced && self.reach == BUFFER_BYTES && self.broken.is_none();
        if !is_bulk || source.plain_socket().is_none() || target.plain_socket().is_none() {
            return None;
        }
        memory.pipes.take()
    }

    /// Fills a pipe with what the source has. `None` when the system cannot.
    fn poll_splice(
        &mut self,
        mut pipe: Pipe,
        source: &impl Side,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<usize>, Broken>> {
        let Some(socket) = source.plain_socket() else { return Poll::Ready(Ok(None)) };
        let read = match ready!(pipe.poll_fill(socket, context)) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.is_spliced = false;
                return Poll::Ready(Ok(None));
            }
            Err(error) => return Poll::Ready(Err(Broken::Source(error))),
        };
        if read < REACH_MIN {
            // To copy little costs less than a pipe.
            self.reach = self.reach.div_euclid(2);
        }
        self.left = Left::Piped(pipe);
        Poll::Ready(Ok(Some(read)))
    }

    /// Moves through the shared buffer, and keeps what the receiver does not take.
    fn poll_copy(
        &mut self,
        memory: &RelayMemory,
        streams: (&mut impl Side, &mut impl Side),
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<usize>, Broken>> {
        let moving = memory.buffers.with(|buffer| self.poll_move(buffer, streams, context));
        let done = ready!(moving)?;
        if done.read > 0 {
            self.keep_left(&memory.buffers, &done);
        }
        Poll::Ready(Ok(Some(done.read)))
    }

    /// Gathers what there is in the buffer and writes it once.
    fn poll_move(
        &mut self,
        buffer: &mut [u8],
        (source, target): (&mut impl Side, &mut impl Side),
        context: &mut Context<'_>,
    ) -> Poll<Result<Move, Broken>> {
        let reach = self.reach.min(buffer.len());
        let mut buffer = ReadBuf::new(buffer.get_mut(..reach).unwrap_or_default());
        ready!(self.poll_gather(source, &mut buffer, context)).map_err(Broken::Source)?;
        let bytes = buffer.filled();
        let taken = match bytes.is_empty() {
            true => 0,
            false => match Pin::new(target).poll_write(context, bytes) {
                Poll::Ready(written) => written.map_err(Broken::Target)?,
                Poll::Pending => 0,
            },
        };
        let filled = buffer.remaining() < RECORD_BYTES;
        Poll::Ready(Ok(Move { read: buffer.filled().len(), taken, filled }))
    }

    /// Keeps what the receiver did not take at once, and finds out how much the next move is worth.
    fn keep_left(&mut self, buffers: &Rc<Buffers>, done: &Move) {
        let left = done.taken..done.read;
        if left.is_empty() {
            if done.filled {
                self.reach = self.reach.saturating_mul(2).min(BUFFER_BYTES);
            }
            return;
        }
        if left.len() > COPY_BYTES_MAX
            && let Some(kept) = buffers.keep(left.clone())
        {
            self.left = Left::Kept(kept);
            return;
        }
        let bytes = buffers.with(|buffer| buffer.get(left).unwrap_or_default().to_vec());
        self.left = Left::Copied { bytes, written: 0 };
        self.reach = self.reach.div_euclid(2).max(REACH_MIN);
    }

    /// Reads until nothing more is there, or the buffer is as good as full.
    fn poll_gather(
        &mut self,
        source: &mut impl Side,
        buffer: &mut ReadBuf<'_>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        loop {
            let before = buffer.filled().len();
            match Pin::new(&mut *source).poll_read(context, buffer) {
                Poll::Ready(Ok(())) => {
                    let is_end = buffer.filled().len() == before;
                    if is_end || buffer.remaining() < RECORD_BYTES {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) if before == 0 => return Poll::Ready(Err(error)),
                Poll::Ready(Err(error)) => {
                    self.broken = Some(error);
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending if before == 0 => return Poll::Pending,
                Poll::Pending => {
                    self.is_dry = true;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn poll_write_left(
        &mut self,
        target: &mut impl Side,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        if let (Left::Piped(pipe), Some(socket)) = (&mut self.left, target.plain_socket()) {
            ready!(pipe.poll_drain(socket, context)).map_err(Broken::Target)?;
        }
        while !self.left.rest().is_empty() {
            let rest = self.left.rest();
            let written =
                ready!(Pin::new(&mut *target).poll_write(context, rest)).map_err(Broken::Target)?;
            if written == 0 {
                return Poll::Ready(Err(Broken::Target(io::ErrorKind::WriteZero.into())));
            }
            self.left.advance(written);
        }
        // A slow receiver must not cost memory once it has caught up.
        self.left = Left::Nothing;
        match Pin::new(target).poll_flush(context) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(Broken::Target)),
            Poll::Pending => Poll::Pending,
        }
    }
}
