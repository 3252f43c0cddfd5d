//! Clients that ask without end, and streams that stay open.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use iako_rt::Scope;
use parking_lot::Mutex;
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::{http1, rig::until};

/// Clients of each protocol.
const CLIENTS: usize = 3;
/// Requests of one client of HTTP/2 at once.
const AT_ONCE: usize = 4;
/// Longest time for an answer. A test that waits so long has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// What became of all requests.
pub(super) struct Outcome {
    pub(super) answered: u64,
    pub(super) failed: Vec<String>,
}

#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    failed: Mutex<Vec<String>>,
    stops: AtomicBool,
}

impl Tally {
    fn note(&self, outcome: Result<u16, String>) {
        match outcome {
            Ok(200) => drop(self.answered.fetch_add(1, Relaxed)),
            Ok(status) => self.failed.lock().push(format!("status {status}")),
            Err(error) => self.failed.lock().push(error),
        }
    }

    fn goes_on(&self) -> bool {
        !self.stops.load(Relaxed) && self.failed.lock().len() < 10
    }
}

/// Requests over HTTP/1.1 and HTTP/2, on connections that are kept.
pub(super) struct Requests {
    tally: Arc<Tally>,
    clients: Vec<JoinHandle<()>>,
}

impl Requests {
    pub(super) fn start(proxy: SocketAddr) -> Self {
        let tally = Arc::<Tally>::default();
        let clients = (0..CLIENTS).flat_map(|_| {
            let (first, second) = (Arc::clone(&tally), Arc::clone(&tally));
            [
                std::thread::spawn(move || ask_over_http1(proxy, &first)),
                std::thread::spawn(move || ask_over_http2(proxy, &second)),
            ]
        });
        Self { clients: clients.collect(), tally }
    }

    /// Waits until so many have an answer, or one has failed.
    pub(super) fn wait_for(&self, count: u64) {
        let mut seen = 0;
        while self.tally.failed.lock().is_empty() && seen < count {
            let more = seen;
            seen = until("requests go on", || {
                let now = self.tally.answered.load(Relaxed);
                (now > more || !self.tally.failed.lock().is_empty()).then_some(now)
            });
        }
    }

    pub(super) fn end(self) -> Outcome {
        self.tally.stops.store(true, Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        let failed = std::mem::take(&mut *self.tally.failed.lock());
        Outcome { answered: self.tally.answered.load(Relaxed), failed }
    }
}

fn ask_over_http1(proxy: SocketAddr, tally: &Tally) {
    let mut kept = None;
    while tally.goes_on() {
        let connection = kept.take().map_or_else(|| http1::Connection::open(proxy), Ok);
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                tally.note(Err(format!("HTTP/1.1 connection: {error}")));
                continue;
            }
        };
        match connection.ask("GET /", &[("host", "app")]) {
            Ok(answer) => {
                if !answer.head.to_ascii_lowercase().contains("connection: close") {
                    kept = Some(connection);
                }
                tally.note(Ok(answer.status));
            }
            Err(error) => tally.note(Err(format!("HTTP/1.1 request: {error}"))),
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connect<B>(proxy: SocketAddr, scope: &Scope) -> Result<SendRequest<B>, String>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let told = |error: &dyn std::error::Error| format!("HTTP/2 connection: {error}");
    let stream = tokio::net::TcpStream::connect(proxy).await.map_err(|error| told(&error))?;
    stream.set_nodelay(true).unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(|error| told(&error))?;
    scope.spawn("connection", async move { drop(connection.await) });
    Ok(sender)
}

fn ask_over_http2(proxy: SocketAddr, tally: &Tally) {
    runtime().block_on(async {
        let scope = Scope::new();
        while tally.goes_on() {
            let sender = match connect::<Empty<Bytes>>(proxy, &scope).await {
                Ok(sender) => sender,
                Err(error) => {
                    tally.note(Err(error));
                    continue;
                }
            };
            let asking = (0..AT_ONCE).map(|_| ask_until_goaway(sender.clone(), tally));
            futures_util::future::join_all(asking).await;
        }
    });
}

/// Asks until the proxy says that it goes.
async fn ask_until_goaway(mut sender: SendRequest<Empty<Bytes>>, tally: &Tally) {
    while tally.goes_on() && sender.ready().await.is_ok() {
        let request = Request::get("http://app/").body(Empty::new()).unwrap();
        let answer = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status().as_u16();
            answer.into_body().collect().await?;
            Ok::<u16, hyper::Error>(status)
        };
        match tokio::time::timeout(LIMIT, answer).await {
            Ok(Ok(status)) => tally.note(Ok(status)),
            // The proxy said by GOAWAY that it did nothing with it: it is for another connection.
            Ok(Err(error)) if error.is_canceled() || error.is_closed() => return,
            Ok(Err(error)) => {
                tally.note(Err(format!("HTTP/2 request: {error}: {:?}", error.source_text())));
                return;
            }
            Err(_) => return tally.note(Err("HTTP/2 request: no answer".to_owned())),
        }
    }
}

trait SourceText {
    fn source_text(&self) -> Option<String>;
}

impl SourceText for hyper::Error {
    fn source_text(&self) -> Option<String> {
        std::error::Error::source(self).map(ToString::to_string)
    }
}

/// A WebSocket whose far end says what it hears. What frames are made of does not matter to a proxy.
pub(super) struct WebSocket(TcpStream);

impl WebSocket {
    pub(super) fn open(proxy: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(proxy).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let request = "GET /ws HTTP/1.1\r\nhost: app\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    pub(super) fn echo(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
        let mut heard = vec![0; text.len()];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(heard, text.as_bytes());
    }
}

/// A stream of gRPC, as a proxy sees it: messages of HTTP/2 both ways, without an end.
pub(super) struct Stream {
    runtime: Runtime,
    messages: mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>,
    answers: Incoming,
    _sender: SendRequest<BoxBody<Bytes, std::io::Error>>,
    _scope: Scope,
}

impl Stream {
    pub(super) fn open(proxy: SocketAddr) -> Self {
        let (runtime, scope) = (runtime(), Scope::new());
        let (messages, receiver) = mpsc::channel(4);
        let (sender, answers) = runtime.block_on(async {
            let mut sender = connect(proxy, &scope).await.unwrap();
            let body = BoxBody::new(StreamBody::new(ReceiverStream::new(receiver)));
            let request =
                Request::post("http://app/grpc").header("content-type", "application/grpc");
            let answer = sender.send_request(request.body(body).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            (sender, answer.into_body())
        });
        Self { runtime, messages, answers, _sender: sender, _scope: scope }
    }

    pub(super) fn echo(&mut self, text: &str) {
        self.runtime.block_on(async {
            let mut message = vec![0];
            message.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            message.extend(text.as_bytes());
            let frame = Frame::data(Bytes::from(message.clone()));
            self.messages.send(Ok(frame)).await.unwrap();
            let mut heard = Vec::new();
            while heard.len() < message.len() {
                let frame = tokio::time::timeout(LIMIT, self.answers.frame()).await.unwrap();
                heard.extend(frame.unwrap().unwrap().into_data().unwrap());
            }
            assert_eq!(heard, message);
        });
    }
}
