//! A client that keeps connections to one address.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use iako_rt::Scope;
use parking_lot::Mutex;
use tokio::{net::TcpStream, time};

/// Most idle connections that are kept.
const IDLE_MAX: usize = 64;
/// Largest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Longest time for an answer, in all.
const LIMIT: Duration = Duration::from_secs(60);

/// Sends requests to one address, the local sidecar or a gateway, over kept connections.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    scope: Scope,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The whole body.
    pub(crate) body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No connection.
    #[error("connect to {address} failed")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The connection failed.
    #[error("the connection to {address} broke")]
    Exchange {
        /// With whom.
        address: SocketAddr,
        /// What went wrong.
        source: hyper::Error,
    },
    /// The body is too large or broke off.
    #[error("the response body of {address} cannot be read")]
    Body {
        /// Whose body.
        address: SocketAddr,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("no answer from {address} within {LIMIT:?}")]
    Late {
        /// From whom.
        address: SocketAddr,
    },
}

impl Client {
    /// A client without connections.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::new(Vec::new()), scope: Scope::new() }
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let address = self.address;
        time::timeout(LIMIT, self.exchange(request))
            .await
            .unwrap_or(Err(ClientError::Late { address }))
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        loop {
            let (mut sender, kept) = self.connection().await?;
            match sender.try_send_request(request).await {
                Ok(response) => return self.read(sender, response).await,
                Err(mut failed) => match failed.take_message() {
                    // A kept connection that the peer has closed: nothing was sent.
                    Some(unsent) if kept => request = unsent,
                    _ => {
                        let source = failed.into_error();
                        return Err(ClientError::Exchange { address: self.address, source });
                    }
                },
            }
        }
    }

    async fn connection(&self) -> Result<(SendRequest<Full<Bytes>>, bool), ClientError> {
        let kept = self.take_idle();
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            return Ok((sender, true));
        }
        let address = self.address;
        let stream = TcpStream::connect(address)
            .await
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| ClientError::Connect { address, source })?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| ClientError::Exchange { address, source })?;
        self.scope.spawn("client connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok((sender, false))
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock();
        while let Some(sender) = idle.pop() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    async fn read(
        &self,
        sender: SendRequest<Full<Bytes>>,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<Answer, ClientError> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX)
            .collect()
            .await
            .map_err(|source| ClientError::Body { address: self.address, source })?
            .to_bytes();
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
        Ok(Answer { status: head.status, body })
    }
}
