//! Sockets, readiness and the frames that load and upstream share: bare epoll, one thread, nothing
//! that could be slower than the proxies between them.

pub(crate) mod clock;
pub(crate) mod frames;
pub(crate) mod reactor;
pub(crate) mod socket;

use std::io;

/// An input that means something else than this side understands.
pub(crate) fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}
