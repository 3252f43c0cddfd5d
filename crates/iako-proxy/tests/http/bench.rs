//! A proxy, its servers and its clients, all in this process on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use iako_proxy::{Proxy, ProxyHandle, ProxySettings};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub(crate) use crate::answers::{Answer, Exchange, request};

/// What a server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
    pub(crate) written: AtomicUsize,
    changed: Notify,
    closed: Notify,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Backend {
    address: SocketAddr,
    seen: Arc<Seen>,
}

impl Backend {
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream, Arc<Seen>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        detach(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                told.connections.fetch_add(1, Ordering::SeqCst);
                detach(serve(stream, Arc::clone(&told)));
            }
        });
        Self { address, seen }
    }

    /// Gives the same answer to every request.
    pub(crate) async fn answering(answer: &'static str) -> Self {
        Self::start(move |mut stream, seen| async move {
            let mut buffer = Vec::new();
            while let Some(request) = read_request(&mut stream, &mut buffer).await {
                seen.add(request);
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Gives the same answer to every request, each once there is a permit for it.
    pub(crate) async fn answering_when(
        answer: &'static str,
        gate: Arc<tokio::sync::Semaphore>,
    ) -> Self {
        Self::start(move |mut stream, seen| {
            let gate = Arc::clone(&gate);
            async move {
                let mut buffer = Vec::new();
                while let Some(request) = read_request(&mut stream, &mut buffer).await {
                    seen.add(request);
                    gate.acquire().await.unwrap().forget();
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Gives the same answer to the first request of each connection, then closes it.
    pub(crate) async fn one_answer_each(answer: &'static str) -> Self {
        Self::start(move |mut stream, seen| async move {
            let Some(request) = read_request(&mut stream, &mut Vec::new()).await else { return };
            seen.add(request);
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await
    }

    /// An address where nobody listens.
    pub(crate) async fn dead() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    /// Reads a request and closes.
    pub(crate) async fn closing_after_request() -> Self {
        Self::start(|mut stream, seen| async move {
            if let Some(request) = read_request(&mut stream, &mut Vec::new()).await {
                seen.add(request);
            }
        })
        .await
    }

    /// Reads and never answers.
    pub(crate) async fn silent() -> Self {
        Self::start(|mut stream, seen| async move {
            if let Some(request) = read_request(&mut stream, &mut Vec::new()).await {
                seen.add(request);
            }
            while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
            seen.closed.notify_one();
        })
        .await
    }

    /// Accepts an upgrade and gives back every byte.
    pub(crate) async fn upgrading() -> Self {
        Self::start(|mut stream, seen| async move {
            let mut buffer = Vec::new();
            let Some(request) = read_request(&mut stream, &mut buffer).await else { return };
            let key = request.split("sec-websocket-key: ").nth(1);
            let accept = key.map_or_else(String::new, |rest| {
                let accept = iako_http::websocket_accept(rest.split('\r').next().unwrap().as_bytes());
                let text = String::from_utf8(accept.as_bytes().to_vec()).unwrap();
                format!("sec-websocket-accept: {text}\r\n")
            });
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n{accept}\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            seen.add(request);
            stream.write_all(&buffer).await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        })
        .await
    }

    /// Answers with that many bytes, as fast as they are taken.
    pub(crate) async fn flooding(total: usize) -> Self {
        Self::start(move |mut stream, seen| async move {
            if read_request(&mut stream, &mut Vec::new()).await.is_none() {
                return;
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {total}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let piece = vec![b'x'; 64 * 1024];
            for _ in 0..total / piece.len() {
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
                seen.written.fetch_add(piece.len(), Ordering::SeqCst);
            }
        })
        .await
    }

    /// Gives gRPC messages back over HTTP/2, with a status in the trailers.
    pub(crate) async fn http2_grpc() -> Self {
        Self::start(|stream, _seen| async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                detach(async move {
                    let mut body = request.into_body();
                    let response = http::Response::builder()
                        .header("content-type", "application/grpc")
                        .body(())
                        .unwrap();
                    let mut stream = respond.send_response(response, false).unwrap();
                    while let Some(Ok(data)) = body.data().await {
                        body.flow_control().release_capacity(data.len()).unwrap();
                        stream.send_data(data, false).unwrap();
                    }
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    stream.send_trailers(trailers).unwrap();
                });
            }
        })
        .await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have come.
    pub(crate) async fn wait_for(&self, count: usize) {
        while self.requests().len() < count {
            self.seen.changed.notified().await;
        }
    }

    /// Waits until a connection was closed by its client.
    pub(crate) async fn closed(&self) {
        self.seen.closed.notified().await;
    }

    /// Bytes written, once no more are taken: none are within so many turns of the proxy.
    pub(crate) async fn settled(&self, bench: &Bench) -> usize {
        let mut last = 0;
        loop {
            bench.turns(20).await;
            let now = self.seen.written.load(Ordering::SeqCst);
            if now == last && now > 0 {
                return now;
            }
            last = now;
        }
    }
}

impl Seen {
    pub(crate) fn add(&self, request: String) {
        self.requests.lock().push(request);
        self.changed.notify_one();
    }
}

#[expect(clippy::disallowed_methods, reason = "tasks of a test end with its runtime")]
pub(crate) fn detach(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

/// Lets connections grow old: their age is what a test is about, and nothing is waited for by it.
pub(crate) async fn age(time: std::time::Duration) {
    tokio::time::sleep(time).await;
}

/// One request with its content as it stands on the wire; what follows stays in `buffer`.
pub(crate) async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let (head, body) = text.split_at(end + 4);
            let lower = head.to_lowercase();
            let length = if lower.contains("transfer-encoding: chunked") {
                body.find("0\r\n")
                    .and_then(|last| body[last..].find("\r\n\r\n").map(|e| last + e + 4))
            } else {
                let announced = lower.split("content-length: ").nth(1);
                let length = announced
                    .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
                (body.len() >= length).then_some(length)
            };
            if let Some(length) = length {
                let rest = buffer.split_off(end + 4 + length);
                return Some(
                    String::from_utf8_lossy(&std::mem::replace(buffer, rest)).into_owned(),
                );
            }
        }
        buffer.reserve(4096);
        match stream.read_buf(buffer).await {
            Ok(1..) => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

/// A path that every proxy answers itself.
const TURN: &str = "/a-turn-of-the-worker";

/// A proxy with one listener.
pub(crate) struct Bench {
    handle: ProxyHandle,
    log: std::path::PathBuf,
    /// Requests that mark how far the log is.
    marks: AtomicUsize,
    _files: tempfile::TempDir,
}

/// A cluster of these servers.
pub(crate) fn cluster(name: &str, servers: &[SocketAddr]) -> Value {
    let endpoints: Vec<Value> = servers
        .iter()
        .map(|address| {
            json!({"endpoint": {"address": {"socket_address":
                {"address": address.ip().to_string(), "port_value": address.port()}}}})
        })
        .collect();
    json!({"name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}})
}

/// Says that a cluster speaks HTTP/1.
pub(crate) fn http1_upstream() -> Value {
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": {}}}})
}

/// Says that a cluster speaks HTTP/2.
pub(crate) fn http2_upstream() -> Value {
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}}})
}

impl Bench {
    pub(crate) async fn start(
        routes: Value,
        backends: &[(&str, &Backend)],
        settings: Value,
    ) -> Self {
        let clusters: Vec<Value> =
            backends.iter().map(|(name, backend)| cluster(name, &[backend.address])).collect();
        Self::with_clusters(routes, Value::Array(clusters), settings).await
    }

    pub(crate) async fn with_clusters(routes: Value, clusters: Value, settings: Value) -> Self {
        let files = tempfile::tempdir().unwrap();
        let log = files.path().join("access.log");
        let mut filters = settings["filters"].as_array().cloned().unwrap_or_default();
        filters.push(json!({"name": "envoy.filters.http.router", "typed_config":
            {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}));
        let mut all = vec![json!({"match": {"path": TURN}, "direct_response": {"status": 200}})];
        all.extend(routes.as_array().unwrap().iter().cloned());
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in",
            "http_filters": filters,
            "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": all}]},
            "access_log": [{"name": "file", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": log, "log_format": {"text_format_source": {"inline_string":
                    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% at %REQ(:PATH)%\n"}}}}],
        });
        if let Some(more) = settings["manager"].as_object() {
            manager.as_object_mut().unwrap().extend(more.clone());
        }
        let mut listener = json!({
            "name": "l",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]});
        if let Some(more) = settings["listener"].as_object() {
            listener.as_object_mut().unwrap().extend(more.clone());
        }
        let mut bootstrap = json!({"admin": {"address": {"socket_address":
            {"address": "127.0.0.1", "port_value": 0}}}, "static_resources": {
            "listeners": [listener], "clusters": clusters}});
        if let Some(node) = settings.get("node") {
            bootstrap["node"] = node.clone();
        }
        let (bootstrap, _) =
            iako_xds_codec::bootstrap::parse("test.json", &bootstrap.to_string()).unwrap();
        let mut settings = ProxySettings::new(bootstrap);
        settings.concurrency = Some(1);
        let handle = Proxy::start(settings).await.unwrap();
        Self { handle, log, marks: AtomicUsize::new(0), _files: files }
    }

    /// Has the proxy's only worker answer so many requests, one after the other: whatever can move on its
    /// other connections moves meanwhile.
    pub(crate) async fn turns(&self, count: usize) {
        let mut client = self.connect().await;
        for _ in 0..count {
            let text = format!("GET {TURN} HTTP/1.1\r\nhost: a\r\n\r\n");
            assert_eq!(request(&mut client, &text).await.status, 200);
        }
    }

    pub(crate) async fn drain(&self) {
        self.handle.drain().await;
    }

    /// Where its clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.listener_address("l").unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A connection on which the system takes little that is not read: a peer that does not read is
    /// noticed soon.
    pub(crate) async fn connect_narrow(&self) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.connect(self.address()).await.unwrap()
    }

    pub(crate) async fn connect_http2(&self) -> h2::client::SendRequest<Bytes> {
        let (sender, connection) = h2::client::handshake(self.connect().await).await.unwrap();
        detach(async move { drop(connection.await) });
        sender
    }

    /// A statistic as the admin endpoint shows it.
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        let mut admin = TcpStream::connect(self.handle.admin_address().unwrap()).await.unwrap();
        let text = request(&mut admin, "GET /stats HTTP/1.1\r\nhost: a\r\n\r\n").await.body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map_or(0, |number| number.parse().unwrap())
    }

    /// The series of one of Istio's metrics as the admin endpoint shows them, once there are so many.
    pub(crate) async fn series(&self, metric: &str, count: usize) -> Vec<String> {
        loop {
            let mut admin = TcpStream::connect(self.handle.admin_address().unwrap()).await.unwrap();
            let text = "GET /stats/prometheus HTTP/1.1\r\nhost: a\r\n\r\n";
            let text = request(&mut admin, text).await.body;
            let own = |line: &&str| line.starts_with(metric);
            let series: Vec<String> = text.lines().filter(own).map(str::to_owned).collect();
            if series.len() >= count {
                return series;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a statistic has a value.
    pub(crate) async fn stat_is(&self, name: &str, value: u64) {
        while self.stat(name).await != value {
            tokio::task::yield_now().await;
        }
    }

    /// The access log, once it has been written.
    pub(crate) async fn log(&self) -> String {
        self.log_of(1).await
    }

    /// The access log, once it has so many lines and whatever was logged before is written.
    pub(crate) async fn log_of(&self, lines: usize) -> String {
        loop {
            let mark = format!("{TURN}?{}", self.marks.fetch_add(1, Ordering::SeqCst));
            let text = format!("GET {mark} HTTP/1.1\r\nhost: a\r\n\r\n");
            assert_eq!(request(&mut self.connect().await, &text).await.status, 200);
            let mark = format!(" at {mark}\n");
            let written = loop {
                let written = std::fs::read_to_string(&self.log).unwrap_or_default();
                if written.contains(&mark) {
                    break written;
                }
                tokio::task::yield_now().await;
            };
            let own = written.lines().filter(|line| !line.contains(TURN));
            let own: Vec<&str> = own.map(|line| line.split(" at ").next().unwrap()).collect();
            if own.len() >= lines {
                return own.iter().map(|line| format!("{line}\n")).collect();
            }
        }
    }
}

/// A gRPC response.
#[derive(Debug)]
pub(crate) struct GrpcAnswer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) grpc_status: Option<String>,
    pub(crate) message: Option<String>,
}

/// Makes a gRPC call.
pub(crate) async fn grpc(
    sender: &h2::client::SendRequest<Bytes>,
    path: &str,
    message: &'static [u8],
) -> GrpcAnswer {
    let mut ready = sender.clone().ready().await.unwrap();
    let request = http::Request::post(format!("http://a.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (response, mut stream) = ready.send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(message), true).unwrap();
    let response = response.await.unwrap();
    let (parts, mut body) = response.into_parts();
    let mut content = Vec::new();
    while let Some(data) = body.data().await {
        content.extend_from_slice(&data.unwrap());
    }
    let trailers = body.trailers().await.unwrap().unwrap_or_default();
    let text = |name: &str| {
        let value = trailers.get(name).or_else(|| parts.headers.get(name));
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    GrpcAnswer {
        status: parts.status.as_u16(),
        body: content,
        grpc_status: text("grpc-status"),
        message: text("grpc-message"),
    }
}
