//! One proxy in front of servers that a test plays itself, and what the kernel says that it costs.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use iako_testkit::frames::{PREFACE, block, settings};
use parking_lot::MutexGuard;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    http1,
    rig::{Process, alone, iako, until},
};

const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions";
const HOST: &[(&str, &str)] = &[("host", "a.test")];

/// Longest time that the kernel may take to take bytes, or to give some.
const PATIENCE: Duration = Duration::from_secs(20);

/// The kernel counts processor time for `/proc` in hundredths of a second. Source: `proc(5)`.
const TICK: Duration = Duration::from_millis(10);

/// What a server of a test speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// A server of a test, by the name of its cluster: `/name` and what is below goes to it, and everything
/// else to the first.
pub(crate) type Server = (&'static str, Speaks, SocketAddr);

/// A proxy of one worker, so that whoever costs much costs everybody.
pub(crate) struct Stand {
    pub(crate) listener: SocketAddr,
    admin: SocketAddr,
    proxy: Process,
    _folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// What a process has cost. Source: `proc(5)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Processor time.
    pub(crate) cpu: Duration,
    /// Time that its threads could have run and did not, for others had the processors.
    pub(crate) waited: Duration,
    /// Octets in memory now.
    pub(crate) resident: u64,
    /// Octets in memory at most.
    pub(crate) peak: u64,
}

impl Stand {
    /// Starts it in addresses of its own. `manager` is merged into the connection manager's settings.
    pub(crate) fn start(third: u8, manager: &Value, servers: &[Server]) -> Self {
        let alone = alone();
        let address = format!("127.122.{third}.1");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bootstrap.json");
        fs::write(&path, bootstrap(&address, manager, servers).to_string()).unwrap();
        let mut command = iako(["proxy", "--concurrency", "1", "-c"]);
        command.arg(path);
        let stand = Self {
            listener: format!("{address}:10000").parse().unwrap(),
            admin: format!("{address}:15000").parse().unwrap(),
            proxy: Process::start(command, folder.path().join("proxy.log")),
            _folder: folder,
            _alone: alone,
        };
        until("the proxy serves", || {
            let answer = http1::ask(stand.listener, "GET /", HOST).ok()?;
            (answer.status == 200).then_some(())
        });
        stand
    }

    /// A statistic; 0 when it has none of that name yet.
    pub(crate) fn statistic(&self, name: &str) -> u64 {
        let page = http1::ask(self.admin, "GET /stats", HOST).unwrap().body;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map_or(0, |number| number.parse().unwrap())
    }

    /// What it has said so far, by line.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.proxy.words().lines().map(str::to_owned).collect()
    }

    pub(crate) fn cost(&self) -> Cost {
        let file = |name| fs::read_to_string(format!("/proc/{}/{name}", self.proxy.id())).unwrap();
        let stat = file("stat");
        // The name before may hold anything; behind it the first field is the third of the page.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u32 = fields[11..13].iter().map(|ticks| ticks.parse::<u32>().unwrap()).sum();
        let status = file("status");
        let octets = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
        };
        let tasks = fs::read_dir(format!("/proc/{}/task", self.proxy.id())).unwrap();
        let nanoseconds = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').nth(1)?.parse::<u64>().ok()
        });
        let waited = Duration::from_nanos(nanoseconds.sum());
        Cost { cpu: TICK * ticks, waited, resident: octets("VmRSS:"), peak: octets("VmHWM:") }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.listener).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection of HTTP/2 with these settings of the client.
    pub(crate) fn connect_http2(&self, told: &[(u16, u32)]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(&[PREFACE, &settings(told)].concat()).unwrap();
        stream
    }
}

/// The block of a request.
pub(crate) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields =
        vec![(":method", method), (":scheme", "http"), (":authority", "a.test"), (":path", path)];
    fields.extend_from_slice(more);
    block(&fields)
}

/// A client that asks for little again and again, while something else goes on.
pub(crate) struct Bystander {
    stop: mpsc::Sender<()>,
    asking: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    pub(crate) fn start(stand: &Stand) -> Self {
        let address = stand.listener;
        let (stop, stopped) = mpsc::channel();
        let asking = std::thread::spawn(move || {
            let mut connection = http1::Connection::open(address).unwrap();
            let mut waited = Vec::new();
            loop {
                let began = iako_rt::clock::now();
                let answer = connection.ask("GET /", HOST).unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
                waited.push(began.elapsed());
                let pause = stopped.recv_timeout(Duration::from_millis(2));
                if pause != Err(mpsc::RecvTimeoutError::Timeout) {
                    return waited;
                }
            }
        });
        Self { stop, asking }
    }

    /// How long it waited for each answer; all of them were good.
    pub(crate) fn end(self) -> Vec<Duration> {
        drop(self.stop);
        self.asking.join().unwrap()
    }
}

/// A server with a thread for each connection.
pub(crate) fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Answers every request of HTTP/1 by two octets, when it has no content; others it takes for ever.
pub(crate) fn little(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    while let Ok(head) = read_head(&mut stream) {
        if !head.contains("content-length: 0\r\n") && !head.starts_with("GET ") {
            let _ended = io::copy(&mut stream, &mut io::sink());
            return;
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if stream.get_mut().write_all(answer).is_err() {
            return;
        }
    }
}

/// Reads the head of a request of HTTP/1.
pub(crate) fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn bootstrap(address: &str, manager: &Value, servers: &[Server]) -> Value {
    let at = |address: SocketAddr| json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    let route = |prefix: String, cluster: &str| json!({"match": {"prefix": prefix}, "route": {"cluster": cluster, "timeout": "0s"}});
    let mut routes: Vec<Value> =
        servers.iter().map(|(name, ..)| route(format!("/{name}"), name)).collect();
    routes.push(route("/".to_owned(), servers[0].0));
    let clusters = servers.iter().map(|(name, speaks, address)| {
        let mut cluster = json!({"name": name, "type": "STATIC", "connect_timeout": "10s",
            "circuit_breakers": {"thresholds": [{"max_connections": 4000, "max_requests": 4000}]},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints":
                [{"endpoint": {"address": at(*address)}}]}]}});
        if *speaks == Speaks::Http2 {
            cluster["typed_extension_protocol_options"] =
                json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": format!("{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions"),
                    "explicit_http_config": {"http2_protocol_options": {}}}});
        }
        cluster
    });
    let fault = format!("{EXTENSIONS}.filters.http.fault.v3.HTTPFault");
    let mut settings = json!({
        "@type": format!(
            "{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "fault", "typed_config": {"@type": fault, "delay":
                {"header_delay": {}, "percentage": {"numerator": 100}}}},
            {"name": "router", "typed_config":
                {"@type": format!("{EXTENSIONS}.filters.http.router.v3.Router")}},
        ],
    });
    for (name, value) in manager.as_object().into_iter().flatten() {
        settings[name] = value.clone();
    }
    let listener = format!("{address}:10000").parse().unwrap();
    let admin = format!("{address}:15000").parse().unwrap();
    json!({
        "admin": {"address": at(admin)},
        "static_resources": {
            "listeners": [{"name": "door", "address": at(listener), "filter_chains":
                [{"filters": [{"name": "http", "typed_config": settings}]}]}],
            "clusters": clusters.collect::<Vec<_>>(),
        },
    })
}
