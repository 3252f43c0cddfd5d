//! One connection's bytes: one read an event, one write a turn, what is left over kept.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use super::reactor::{Interest, Reactor};

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    Some,
    Nothing,
    Closed,
}

/// A connection that never blocks.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    /// What is to be written with the next [`Socket::flush`].
    pub(crate) out: Vec<u8>,
    written: usize,
    /// The beginning of a message whose end has not come yet.
    held: Vec<u8>,
    waits_to_write: bool,
}

impl Socket {
    /// # Errors
    /// When the socket takes no options.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let (out, held) = (Vec::new(), Vec::new());
        Ok(Self { stream, out, written: 0, held, waits_to_write: false })
    }

    /// Reads once. `parse` is given all bytes that it has not taken yet, and says how many it takes.
    ///
    /// # Errors
    /// When the connection broke, or `parse` says so.
    pub(crate) fn receive(
        &mut self,
        scratch: &mut [u8],
        mut parse: impl FnMut(&[u8], &mut Vec<u8>) -> io::Result<usize>,
    ) -> io::Result<Received> {
        let length = match self.stream.read(scratch) {
            Ok(0) => return Ok(Received::Closed),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Received::Nothing);
            }
            Err(error) => return Err(error),
        };
        let fresh = scratch.get(..length).unwrap_or_default();
        if self.held.is_empty() {
            let taken = parse(fresh, &mut self.out)?;
            self.held.extend_from_slice(fresh.get(taken..).unwrap_or_default());
        } else {
            self.held.extend_from_slice(fresh);
            let taken = parse(&self.held, &mut self.out)?;
            self.held.drain(..taken.min(self.held.len()));
        }
        Ok(Received::Some)
    }

    /// Writes what waits, once, and asks to be told when the rest can be written.
    ///
    /// # Errors
    /// When the connection broke.
    pub(crate) fn flush(&mut self, reactor: &Reactor, token: usize) -> io::Result<()> {
        let waiting = self.out.get(self.written..).unwrap_or_default();
        if !waiting.is_empty() {
            match self.stream.write(waiting) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        let is_done = self.written >= self.out.len();
        if is_done {
            self.out.clear();
            self.written = 0;
        }
        if is_done == self.waits_to_write {
            let interest = if is_done { Interest::Read } else { Interest::Both };
            reactor.change(&self.stream, token, interest)?;
            self.waits_to_write = !is_done;
        }
        Ok(())
    }
}
