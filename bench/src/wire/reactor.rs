//! Which sockets are ready: epoll, level-triggered, so that one read per event is enough.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 256;

/// What a socket is waited for: to be read, or also to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Both,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        match self {
            Self::Read => epoll::EventFlags::IN,
            Self::Both => epoll::EventFlags::IN | epoll::EventFlags::OUT,
        }
    }
}

/// A socket that can be read, written or both; one that broke is told as both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: usize,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
}

/// An epoll instance.
pub(crate) struct Reactor {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Reactor {
    /// # Errors
    /// When the kernel gives no epoll instance.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Watches a socket until it is closed.
    ///
    /// # Errors
    /// When the kernel refuses to.
    pub(crate) fn add(&self, fd: impl AsFd, token: usize, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token as u64);
        Ok(epoll::add(&self.epoll, fd, data, interest.flags())?)
    }

    /// Watches the same socket for something else.
    ///
    /// # Errors
    /// When the kernel refuses to.
    pub(crate) fn change(&self, fd: impl AsFd, token: usize, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token as u64);
        Ok(epoll::modify(&self.epoll, fd, data, interest.flags())?)
    }

    /// Fills `ready` with what became ready; nothing when the time is over.
    ///
    /// # Errors
    /// When the kernel cannot wait.
    pub(crate) fn wait(
        &mut self,
        ready: &mut Vec<Ready>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        ready.clear();
        self.events.clear();
        // Whole milliseconds, all that older kernels can wait for.
        let timeout = timeout.map(|timeout| {
            let millis = timeout.as_millis().min(60_000) + 1;
            Timespec::try_from(Duration::from_millis(u64::try_from(millis).unwrap_or(1)))
        });
        let timeout = timeout.and_then(Result::ok);
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().filter_map(|event| {
            let (flags, data) = (event.flags, event.data);
            let broke = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
            Some(Ready {
                token: usize::try_from(data.u64()).ok()?,
                reads: broke || flags.contains(epoll::EventFlags::IN),
                writes: broke || flags.contains(epoll::EventFlags::OUT),
            })
        }));
        Ok(())
    }
}
