//! The sockets of operators' endpoints.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use iako_rt::Scope;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
};

use super::{Answering, answer_all};
use crate::{
    proxy::StartError,
    restart::{predecessor::Predecessor, spares::Spare},
};

/// Connections to one endpoint at once; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// How long accepting rests after an error that lasts.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket of an endpoint.
enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection to one.
trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bytes for S {}

impl Door {
    async fn accept(&self) -> io::Result<Box<dyn Bytes>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// Answers at an address, at the socket of the process before where that has one.
pub(super) async fn serve_tcp(
    scope: &Scope,
    answering: Arc<Answering>,
    (address, before): (SocketAddr, Option<&Predecessor>),
) -> Result<SocketAddr, StartError> {
    let what = answering.surface.name();
    let failed = |source| StartError::Endpoint { what, address: address.to_string(), source };
    let name = format!("{what} {address}");
    let listener = match borrow(before, &name).await {
        Some(socket) => TcpListener::from_std(socket.into()).map_err(failed)?,
        None => TcpListener::bind(address).await.map_err(failed)?,
    };
    let bound = listener.local_addr().map_err(failed)?;
    tracing::info!(endpoint = what, address = %bound, "listening");
    let spare = answering.control.shared.spares.keep(&name, [&listener]);
    serve(scope, answering, Door::Tcp(listener), spare);
    Ok(bound)
}

/// The same in the file system.
pub(super) async fn serve_unix(
    scope: &Scope,
    answering: Arc<Answering>,
    (path, before): (&Path, Option<&Predecessor>),
) -> Result<(), StartError> {
    let what = answering.surface.name();
    let failed =
        |source| StartError::Endpoint { what, address: path.display().to_string(), source };
    let name = format!("{what} {}", path.display());
    let listener = match borrow(before, &name).await {
        Some(socket) => UnixListener::from_std(socket.into()).map_err(failed)?,
        None => {
            // A socket of an earlier process that nobody listens on any more is in the way.
            if std::os::unix::net::UnixStream::connect(path).is_err() {
                drop(std::fs::remove_file(path));
            }
            UnixListener::bind(path).map_err(failed)?
        }
    };
    let spare = answering.control.shared.spares.keep(&name, [&listener]);
    serve(scope, answering, Door::Unix(listener), spare);
    Ok(())
}

async fn borrow(before: Option<&Predecessor>, name: &str) -> Option<std::os::fd::OwnedFd> {
    before?.borrow(name).await.pop()
}

/// Answers from when this process takes over until another one does.
fn serve(scope: &Scope, answering: Arc<Answering>, door: Door, spare: Option<Spare>) {
    let connections = scope.clone();
    scope.spawn("admin", async move {
        let control = &answering.control;
        control.answers_operators().await;
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = door.accept() => accepted,
                () = control.left_operators() => break,
            };
            let Ok(socket) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let answering = Arc::clone(&answering);
            connections.spawn("admin connection", async move {
                answer_all(socket, answering).await;
                drop(place);
            });
        }
        drop(spare);
    });
}
