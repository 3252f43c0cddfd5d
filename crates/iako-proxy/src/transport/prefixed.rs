//! A socket from which some bytes were already taken.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read ahead where somebody only waits for the first ones.
const FILL_BYTES: usize = 4096;

/// Gives back what the inspection of a connection read, then reads on.
///
/// Reading and giving back beats peeking: a peeked socket stays readable, so nothing would say when
/// more has come.
#[derive(Debug)]
pub(crate) struct Prefixed<S> {
    prefix: Bytes,
    inner: S,
}

impl<S> Prefixed<S> {
    /// `prefix` comes before what `inner` still has.
    pub(crate) const fn new(inner: S, prefix: Bytes) -> Self {
        Self { prefix, inner }
    }

    /// The socket.
    pub(crate) const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Whether something that was read ahead is still to be taken.
    pub(crate) const fn has_prefix(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Takes what was read ahead; reading goes on at the socket.
    pub(crate) fn take_prefix(&mut self) -> Bytes {
        std::mem::take(&mut self.prefix)
    }
}

impl<S> Prefixed<S> {
    /// What was read ahead.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }
}

impl<S: AsyncRead + Unpin> Prefixed<S> {
    /// Ready once something is read ahead, with how much; 0 at the end.
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.prefix.is_empty() {
            let mut bytes = [0; FILL_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            std::task::ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer))?;
            self.prefix = Bytes::copy_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(self.prefix.len()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.prefix.is_empty() {
            return Pin::new(&mut this.inner).poll_read(context, buffer);
        }
        let length = this.prefix.len().min(buffer.remaining());
        buffer.put_slice(this.prefix.get(..length).unwrap_or_default());
        this.prefix.advance(length);
        if this.prefix.is_empty() {
            // Gives the allocation back: a connection may live for days.
            this.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

write_through!(Prefixed, inner);
