//! The server's end of a relay.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{tunnel::TunnelStream, way::Side};
use crate::transport::Stream;

/// A connection of its own, or a place inside of a request.
#[derive(Debug)]
pub(super) enum Far {
    Direct(Stream),
    Tunnel(Box<TunnelStream>),
}

macro_rules! each {
    ($far:expr, $inner:ident => $call:expr) => {
        match $far {
            Far::Direct($inner) => $call,
            Far::Tunnel($inner) => $call,
        }
    };
}

impl Side for Far {
    fn plain_socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Direct(stream) => stream.plain_socket(),
            Self::Tunnel(_) => None,
        }
    }
}

impl AsyncRead for Far {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_read(context, buffer))
    }
}

impl AsyncWrite for Far {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(context))
    }
}
