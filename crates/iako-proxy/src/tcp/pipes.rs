//! Pipes of the kernel through which bulk goes from socket to socket without being copied here.

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::OwnedFd,
    rc::Rc,
    task::{Context, Poll, ready},
};

use rustix::{
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use tokio::{io::Interest, net::TcpStream};

use super::buffers::BUFFER_BYTES;

/// Bytes that are asked for at a time, and about what a pipe holds. The kernel counts pages, and some
/// hold more than others.
const MOVE_BYTES: usize = 2 * BUFFER_BYTES;
/// Pipes that a worker has at a time, for connections with slow receivers. Beyond that bytes are
/// copied.
const AWAY_MAX: usize = 32;
/// Pipes without a user that a worker holds on to.
const FREE_MAX: usize = 2;

/// One worker's pipes. A relay takes one for a move, and keeps it only while its receiver does not
/// take what is in it.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    free: RefCell<Vec<Ends>>,
    away: Cell<usize>,
}

/// Both ends of an empty pipe.
#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

impl Ends {
    fn open() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A system that allows no more gives what it has; less goes through it at a time.
        fcntl_setpipe_size(&write, BUFFER_BYTES).ok();
        Ok(Self { read, write })
    }
}

impl Pipes {
    /// A pipe, empty. `None` when too many are away, or the system gives none.
    pub(crate) fn take(self: &Rc<Self>) -> Option<Pipe> {
        if self.away.get() >= AWAY_MAX {
            return None;
        }
        let free = self.free.borrow_mut().pop();
        let ends = free.map_or_else(|| Ends::open().ok(), Some)?;
        self.away.set(self.away.get() + 1);
        Some(Pipe { ends: Some(ends), filled: 0, home: Rc::clone(self) })
    }
}

/// A pipe of one relay, and how much is in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    ends: Option<Ends>,
    filled: usize,
    home: Rc<Pipes>,
}

impl Pipe {
    /// Takes what a socket has; 0 is its end. Only into an empty pipe: of a full one the kernel says the
    /// same as of a socket without bytes, and only of the socket does it tell when that changes.
    pub(crate) fn poll_fill(
        &mut self,
        source: &TcpStream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(ends) = self.ends.as_ref().filter(|_| self.filled == 0) else {
            return Poll::Ready(Ok(self.filled));
        };
        loop {
            ready!(source.poll_read_ready(context))?;
            let filled = source.try_io(Interest::READABLE, || moved(source, &ends.write));
            match filled {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(bytes) => {
                    self.filled = bytes;
                    return Poll::Ready(Ok(bytes));
                }
            }
        }
    }

    /// Gives a socket what is in the pipe, all of it.
    pub(crate) fn poll_drain(
        &mut self,
        target: &TcpStream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(ends) = self.ends.as_ref() else { return Poll::Ready(Ok(())) };
        while self.filled > 0 {
            ready!(target.poll_write_ready(context))?;
            let wanted = self.filled;
            let drained =
                target.try_io(Interest::WRITABLE, || moved_at_most(&ends.read, target, wanted));
            match drained {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(bytes) => self.filled = self.filled.saturating_sub(bytes),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn moved(source: impl std::os::fd::AsFd, target: impl std::os::fd::AsFd) -> io::Result<usize> {
    moved_at_most(source, target, MOVE_BYTES)
}

fn moved_at_most(
    source: impl std::os::fd::AsFd,
    target: impl std::os::fd::AsFd,
    bytes: usize,
) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        match splice(&source, None, &target, None, bytes, flags) {
            Err(Errno::INTR) => {}
            moved => return Ok(moved?),
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.home.away.set(self.home.away.get().saturating_sub(1));
        // What is left in a pipe would come out at the next connection.
        let Some(ends) = self.ends.take().filter(|_| self.filled == 0) else { return };
        let mut free = self.home.free.borrow_mut();
        if free.len() < FREE_MAX {
            free.push(ends);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_fills_a_pipe_drains_from_it_and_the_end_is_told() {
        let pipes = Rc::new(Pipes::default());
        let ((mut client, source), (target, mut server)) = (pair().await, pair().await);
        client.write_all(b"bulk").await.unwrap();
        let mut pipe = pipes.take().unwrap();
        let filled = poll_fn(|context| pipe.poll_fill(&source, context)).await;
        assert_eq!(filled.unwrap(), 4);
        assert_eq!(pipe.filled, 4);
        poll_fn(|context| pipe.poll_drain(&target, context)).await.unwrap();
        let mut bytes = [0; 4];
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"bulk");
        client.shutdown().await.unwrap();
        assert_eq!(poll_fn(|context| pipe.poll_fill(&source, context)).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_pipe_with_something_in_it_serves_nobody_else() {
        let pipes = Rc::new(Pipes::default());
        let (mut client, source) = pair().await;
        client.write_all(b"secret").await.unwrap();
        let mut pipe = pipes.take().unwrap();
        poll_fn(|context| pipe.poll_fill(&source, context)).await.unwrap();
        drop(pipe);
        assert!(pipes.free.borrow().is_empty());
        drop(pipes.take());
        assert_eq!(pipes.free.borrow().len(), 1);
    }

    #[test]
    fn so_many_are_away_and_no_more() {
        let pipes = Rc::new(Pipes::default());
        let mut away: Vec<_> = (0..AWAY_MAX).map(|_| pipes.take().unwrap()).collect();
        assert!(pipes.take().is_none());
        away.pop();
        assert!(pipes.take().is_some());
    }
}
