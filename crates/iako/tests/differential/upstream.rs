//! Upstreams: they echo, or answer as the case says, and remember what they saw.

mod bytes;
mod grpc;
mod http1;
mod http2;
mod spans;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use crate::{
    case::{Reply, Script},
    wire::http1::Connection,
};

/// The ports at which upstreams answer.
pub(crate) const PORTS: std::ops::RangeInclusive<u16> = 22001..=22004;
/// The port at which connections are never accepted: the queue of its socket is full.
pub(crate) const FULL_PORT: u16 = 22098;

/// What the upstreams of one world share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    seen: Mutex<Vec<Value>>,
    /// Requests so far, by port.
    counts: Mutex<BTreeMap<u16, usize>>,
    /// Failures so far, by the name that `x-fail-times` gives.
    failures: Mutex<BTreeMap<String, usize>>,
    replies: BTreeMap<u16, Vec<Reply>>,
    is_over: AtomicBool,
    /// Who connects only to say that it is over.
    wakers: Mutex<Vec<SocketAddr>>,
    over: Mutex<bool>,
    ended: Condvar,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

impl Shared {
    /// Remembers the head of a request; what comes later is added by its place.
    fn note(&self, request: Value) -> usize {
        let mut seen = self.seen.lock();
        seen.push(request);
        seen.len() - 1
    }

    /// Adds to what was seen of a request.
    fn add(&self, place: usize, name: &str, value: Value) {
        self.seen.lock()[place][name] = value;
    }

    /// The answer that the case has for the next request at a port.
    fn reply(&self, port: u16) -> Option<Reply> {
        let replies = self.replies.get(&port)?;
        let mut counts = self.counts.lock();
        let count = counts.entry(port).or_default();
        let reply = replies.get(*count).or_else(|| replies.last()).cloned();
        *count += 1;
        reply
    }

    /// What is played on every connection of a port that speaks no HTTP.
    fn tcp(&self, port: u16) -> Option<Script> {
        self.replies.get(&port)?.first()?.tcp.clone()
    }

    /// Waits, or returns at the end of the world.
    fn pause(&self, time: Duration) {
        let mut over = self.over.lock();
        if !*over {
            self.ended.wait_for(&mut over, time);
        }
    }
}

/// The upstreams of one world.
#[derive(Debug)]
pub(crate) struct Upstreams {
    shared: Arc<Shared>,
    listeners: Vec<(SocketAddr, JoinHandle<()>)>,
    /// Connections that fill the queue of the socket that accepts none.
    _full: Vec<rustix::fd::OwnedFd>,
}

impl Upstreams {
    /// Listens at those of the ports that belong to upstreams.
    #[expect(clippy::fn_params_excessive_bools, reason = "a test's own")]
    pub(crate) fn start(
        address: Ipv4Addr,
        ports: &[u16],
        replies: BTreeMap<u16, Vec<Reply>>,
        takes_datagrams: bool,
    ) -> io::Result<Self> {
        if replies.values().flatten().any(|reply| reply.grpc.is_some()) {
            // Read before anybody waits for an answer.
            drop(iako_xds_codec::pool());
        }
        let shared = Arc::new(Shared { replies, ..Shared::default() });
        let mut listeners = Vec::new();
        for port in ports.iter().copied().filter(|port| PORTS.contains(port)) {
            let listener = TcpListener::bind((address, port))?;
            let own = Arc::clone(&shared);
            let thread = std::thread::spawn(move || accept(&listener, port, &own));
            listeners.push((SocketAddr::from((address, port)), thread));
            if takes_datagrams {
                let socket = UdpSocket::bind((address, port))?;
                let own = Arc::clone(&shared);
                let thread = std::thread::spawn(move || bytes::echo(&socket, port, &own));
                shared.connections.lock().push(thread);
            }
        }
        let full = if ports.contains(&FULL_PORT) { full(address)? } else { Vec::new() };
        Ok(Self { shared, listeners, _full: full })
    }

    /// Stops, and says what was seen, in the order in which heads came.
    pub(crate) fn finish(self) -> Vec<Value> {
        self.shared.is_over.store(true, Ordering::SeqCst);
        *self.shared.over.lock() = true;
        self.shared.ended.notify_all();
        for (address, thread) in self.listeners {
            drop(self.shared.wake(address));
            thread.join().unwrap();
        }
        let connections = std::mem::take(&mut *self.shared.connections.lock());
        connections.into_iter().for_each(|thread| thread.join().unwrap());
        std::mem::take(&mut *self.shared.seen.lock())
    }
}

/// A socket whose queue holds one connection, and enough connections for it.
fn full(address: Ipv4Addr) -> io::Result<Vec<rustix::fd::OwnedFd>> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with};
    let place = SocketAddr::from((address, FULL_PORT));
    let stream = |flags| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
    let listener = stream(SocketFlags::CLOEXEC)?;
    bind(&listener, &place)?;
    listen(&listener, 0)?;
    let mut sockets = vec![listener];
    for _ in 0..3 {
        let socket = stream(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        // Begun is enough: the kernel finishes what the queue has room for.
        let _begun = connect(&socket, &place);
        sockets.push(socket);
    }
    Ok(sockets)
}

impl Shared {
    /// Connects to a listener that this is over for.
    fn wake(&self, listener: SocketAddr) -> io::Result<rustix::fd::OwnedFd> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType};
        let family = AddressFamily::INET;
        let waker =
            rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&waker, &SocketAddr::new(listener.ip(), 0))?;
        self.wakers.lock().push(SocketAddr::try_from(rustix::net::getsockname(&waker)?)?);
        rustix::net::connect(&waker, &listener)?;
        Ok(waker)
    }
}

fn accept(listener: &TcpListener, port: u16, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, from)) = listener.accept() else { continue };
        // Connections that were made before are told of, however short they were.
        if shared.wakers.lock().contains(&from) {
            return;
        }
        let own = Arc::clone(shared);
        let thread = std::thread::spawn(move || {
            let mut connection = Connection::new(stream);
            // Bounds a connection that a proxy forgets.
            connection.limit(Duration::from_secs(30));
            if let Some(script) = own.tcp(port) {
                connection.play(&script);
                return;
            }
            let script = own.replies.get(&port).and_then(|replies| replies.first()?.bytes.clone());
            if let Some(script) = script {
                return bytes::serve(&mut connection, &script, port, &own);
            }
            if http1::serve(&mut connection, port, &own) == http1::Next::Http2 {
                http2::serve(connection, port, &own);
            }
        });
        shared.connections.lock().push(thread);
    }
}

/// The content of an echo, which says too little to depend on the machine.
fn echo(port: u16, method: &str, path: &str) -> String {
    json!({"backend": port, "method": method, "path": path}).to_string()
}

/// What a case sees of content: itself, or how long it was; compressed content by what it stands for,
/// since no two libraries write the same.
pub(crate) fn told(bytes: &[u8]) -> Value {
    if let Some((coding, plain)) = crate::coding::decoded(bytes) {
        return serde_json::json!({coding: told(&plain)});
    }
    if bytes.len() > 2000 {
        return Value::from(format!("<{} bytes>", bytes.len()));
    }
    Value::from(crate::case::text(bytes))
}
