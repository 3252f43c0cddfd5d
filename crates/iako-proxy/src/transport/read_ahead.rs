//! Reads far ahead beneath TLS.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes asked of a socket on which little comes.
const READ_BYTES_MIN: usize = 16 * 1024;
/// Bytes asked of a socket on which much comes. Bounds what is held of a connection whose bytes are not
/// taken.
pub(crate) const READ_BYTES_MAX: usize = 128 * 1024;
/// Large buffers in which something waits, on all connections of a worker: 16 MiB. While there are as
/// many, others read in steps of [`READ_BYTES_MIN`], so that a thousand stalled connections hold 30 MiB
/// and not 128. Source: none in Envoy, whose connections hold up to 1 MiB each
/// (`per_connection_buffer_limit_bytes`).
pub(crate) const LARGE_MAX: usize = 128;
/// Buffers that a worker keeps for the next connection. Others are given back to the system.
const KEPT_MAX: usize = 4;

thread_local! {
    #[expect(clippy::vec_box, reason = "a buffer moves between here and its connection by its address")]
    static BUFFERS: RefCell<Vec<Box<Ahead>>> = const { RefCell::new(Vec::new()) };
    /// Large buffers that connections hold.
    static LARGE: Cell<usize> = const { Cell::new(0) };
}

/// A socket that is read in large steps and handed on in small ones: TLS asks for 4 KiB at a time, and
/// each would be a system call.
///
/// Owns a buffer only while something in it waits to be taken.
#[derive(Debug)]
pub(crate) struct ReadAhead<S> {
    socket: S,
    ahead: Option<Box<Ahead>>,
    /// Bytes that are asked for next; follows what comes.
    reach: usize,
}

/// Bytes read and not yet taken.
#[derive(Debug)]
struct Ahead {
    bytes: Box<[u8]>,
    taken: usize,
    read: usize,
}

impl Ahead {
    /// A buffer of this worker; a small one while many large ones are held.
    fn take() -> Box<Self> {
        let held = LARGE.get();
        if held >= LARGE_MAX {
            return Self::new(READ_BYTES_MIN);
        }
        LARGE.set(held + 1);
        BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Self::new(READ_BYTES_MAX))
    }

    fn new(bytes: usize) -> Box<Self> {
        Box::new(Self { bytes: vec![0; bytes].into_boxed_slice(), taken: 0, read: 0 })
    }

    fn give_back(mut self: Box<Self>) {
        if self.bytes.len() < READ_BYTES_MAX {
            return;
        }
        (self.taken, self.read) = (0, 0);
        // A worker that ends may have given up its own before its connections.
        LARGE.try_with(|held| held.set(held.get().saturating_sub(1))).unwrap_or_default();
        let keep = |buffers: &RefCell<Vec<Box<Self>>>| {
            let mut buffers = buffers.borrow_mut();
            if buffers.len() < KEPT_MAX {
                buffers.push(self);
            }
        };
        BUFFERS.try_with(keep).unwrap_or_default();
    }
}

impl<S> ReadAhead<S> {
    /// Nothing was read from `socket` yet.
    pub(crate) const fn new(socket: S) -> Self {
        Self { socket, ahead: None, reach: READ_BYTES_MIN }
    }

    /// The socket.
    pub(crate) const fn get_ref(&self) -> &S {
        &self.socket
    }

    /// Hands on what was read.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let Some(mut ahead) = self.ahead.take() else { return };
        let waiting = ahead.bytes.get(ahead.taken..ahead.read).unwrap_or_default();
        let count = waiting.len().min(buffer.remaining());
        buffer.put_slice(waiting.get(..count).unwrap_or_default());
        ahead.taken = ahead.taken.saturating_add(count);
        if ahead.taken < ahead.read {
            self.ahead = Some(ahead);
        } else {
            ahead.give_back();
        }
    }
}

impl<S> Drop for ReadAhead<S> {
    fn drop(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.give_back();
        }
    }
}

impl<S: AsyncRead + Unpin> ReadAhead<S> {
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ahead = Ahead::take();
        let reach = self.reach.min(ahead.bytes.len());
        let room = ahead.bytes.get_mut(..reach).unwrap_or_default();
        let mut read = ReadBuf::new(room);
        let polled = Pin::new(&mut self.socket).poll_read(context, &mut read);
        let (count, is_full) = (read.filled().len(), read.remaining() == 0);
        if count == 0 {
            ahead.give_back();
            return polled;
        }
        let half = reach.div_euclid(2);
        if is_full {
            self.reach = self.reach.saturating_mul(2).min(READ_BYTES_MAX);
        } else if count < half {
            self.reach = half.max(READ_BYTES_MIN);
        }
        ahead.read = count;
        self.ahead = Some(ahead);
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_none() {
            ready!(this.poll_fill(context))?;
        }
        this.hand_on(buffer);
        Poll::Ready(Ok(()))
    }
}

write_through!(ReadAhead, socket);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_was_read_ahead_comes_in_order_and_then_the_end() {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let sent: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        far.write_all(&sent).await.unwrap();
        drop(far);
        let mut near = ReadAhead::new(near);
        let mut read = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = near.read(&mut piece).await.unwrap();
            read.extend_from_slice(&piece[..count]);
            if count == 0 {
                break;
            }
        }
        assert!(read == sent);
        assert!(near.ahead.is_none(), "the buffer is given back");
    }

    #[tokio::test]
    async fn connections_that_stall_hold_little_once_they_are_many() {
        let mut stalled = Vec::new();
        for number in 0..LARGE_MAX + 100 {
            let (mut far, near) = tokio::io::duplex(1 << 20);
            far.write_all(&[1; 500_000]).await.unwrap();
            let mut near = ReadAhead::new(near);
            near.reach = READ_BYTES_MAX;
            near.read_exact(&mut [0; 10]).await.unwrap();
            let held = near.ahead.as_ref().map(|ahead| ahead.bytes.len());
            let expected = if number < LARGE_MAX { READ_BYTES_MAX } else { READ_BYTES_MIN };
            assert_eq!(held, Some(expected), "{number}");
            stalled.push((far, near));
        }
        // What the first ones let go is for others again, and nothing is lost on the way.
        drop(stalled.drain(..10));
        let (mut far, mut last) = stalled.pop().unwrap();
        last.read_exact(&mut vec![0; 499_990]).await.unwrap();
        far.write_all(&[1; 200_000]).await.unwrap();
        last.read_exact(&mut [0; 10]).await.unwrap();
        assert_eq!(last.ahead.as_ref().map(|ahead| ahead.bytes.len()), Some(READ_BYTES_MAX));
        drop((stalled, last));
        assert_eq!(LARGE.get(), 0);
    }

    #[tokio::test]
    async fn more_is_asked_for_while_much_comes_and_less_afterwards() {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let mut near = ReadAhead::new(near);
        far.write_all(&[1; 400_000]).await.unwrap();
        near.read_exact(&mut [0; 400_000]).await.unwrap();
        assert!(near.reach > READ_BYTES_MIN);
        for _ in 0..4 {
            far.write_all(&[1; 100]).await.unwrap();
            near.read_exact(&mut [0; 100]).await.unwrap();
        }
        assert_eq!(near.reach, READ_BYTES_MIN);
    }
}
