//! Bytes as fast as they come. What arrives is dropped in the kernel, so that the load's core has
//! little to do.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};

use crate::wire::broken;
use crate::wire::clock::{nanos, now};
use crate::wire::reactor::{Interest, Reactor};

/// Dropped with one call.
const CHUNK_BYTES: usize = 1 << 20;

/// Open connections over which the upstream sends without end.
pub(crate) struct Bulk {
    reactor: Reactor,
    connections: Vec<TcpStream>,
    scratch: Vec<u8>,
}

/// What one run counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    pub(crate) bytes: u64,
    /// Nanoseconds.
    pub(crate) took: u64,
}

impl Bulk {
    /// # Errors
    /// When a connection fails.
    pub(crate) fn open(address: SocketAddr, connections: usize) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        let connections = (0..connections)
            .map(|token| {
                let stream = TcpStream::connect(address)?;
                stream.set_nonblocking(true)?;
                reactor.add(&stream, token, Interest::Read)?;
                Ok(stream)
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { reactor, connections, scratch: vec![0; CHUNK_BYTES] })
    }

    /// Takes what comes, for a time.
    ///
    /// # Errors
    /// When a connection ends.
    pub(crate) fn take(&mut self, duration: Duration) -> io::Result<Moved> {
        let began = now();
        let end = began + nanos(duration);
        let (mut ready, mut bytes, mut time) = (Vec::new(), 0, began);
        while time < end {
            self.reactor.wait(&mut ready, Some(Duration::from_millis(100)))?;
            for event in &ready {
                let Some(stream) = self.connections.get(event.token) else { continue };
                match recv(stream, self.scratch.as_mut_slice(), RecvFlags::TRUNC) {
                    Ok((_, 0)) => return Err(broken("a connection was closed")),
                    Ok((_, length)) => bytes += length as u64,
                    Err(rustix::io::Errno::AGAIN) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            time = now();
        }
        Ok(Moved { bytes, took: time - began })
    }
}
