//! Proxies in network namespaces of their own, behind real redirection.
//!
//! Needs root, `ip` and `iptables`; without them nothing is tried, and the output says so. What is made
//! is removed again, whatever happens.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "tests may be blunt, and say what they skipped"
)]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

const ADMIN: &str = "127.0.0.1:22101";
const LIMIT: Duration = Duration::from_secs(10);
const TYPES: &str = "type.googleapis.com/envoy.extensions.filters";

/// A network of its own, in which only loopback is up.
struct Namespace(String);

impl Namespace {
    /// None where this machine does not let us.
    fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let is_root = rustix::process::geteuid().is_root();
        let has = |tool: &str| Command::new(tool).arg("-V").stdout(Stdio::null()).status().is_ok();
        if !is_root || !has("ip") || !has("iptables") {
            println!("skipped: needs root, ip and iptables");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("iako-test-{}-{number}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).status().unwrap();
        if !made.success() {
            println!("skipped: this machine gives no network namespaces");
            return None;
        }
        let namespace = Self(name);
        namespace.run("ip link set lo up");
        Some(namespace)
    }

    /// A command within it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    fn run(&self, line: &str) {
        let (program, arguments) = line.split_once(' ').unwrap();
        let status = self.command(program).args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "{line}: {status}");
    }

    /// Does something on a thread within it.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let place = File::open(format!("/run/netns/{}", self.0)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(place.as_fd(), network).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    /// What an HTTP server at an address answers: status line and content.
    fn ask(&self, to: &str) -> std::io::Result<String> {
        let to: SocketAddr = to.parse().unwrap();
        self.inside(move || {
            let mut stream = TcpStream::connect_timeout(&to, LIMIT)?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.write_all(b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned())
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.0]).status());
    }
}

/// A proxy in a namespace; ends with the test.
struct Proxy {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Proxy {
    fn start(namespace: &Namespace, listeners: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bootstrap.json");
        let (host, port) = ADMIN.split_once(':').unwrap();
        let admin = socket(host, port.parse().unwrap());
        let bootstrap =
            json!({"static_resources": {"listeners": listeners}, "admin": {"address": admin}});
        fs::write(&config, bootstrap.to_string()).unwrap();
        let child = namespace
            .command(env!("CARGO_BIN_EXE_iako"))
            .args(["proxy", "--concurrency", "2", "-c"])
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut proxy = Self { child, _folder: folder };
        let began = iako_rt::clock::now();
        while !namespace.ask(ADMIN).is_ok_and(|text| text.contains("LIVE")) {
            assert!(proxy.child.try_wait().unwrap().is_none(), "the proxy ended");
            assert!(began.elapsed() < LIMIT, "the proxy does not become ready");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn socket(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

/// A filter chain that answers with a text the connections that `matcher` takes.
fn says(text: &str, matcher: Value) -> Value {
    let route = json!({
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": text}},
    });
    let manager = json!({
        "@type": format!("{TYPES}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "s",
        "http_filters": [
            {"name": "r", "typed_config": {"@type": format!("{TYPES}.http.router.v3.Router")}},
        ],
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
    });
    json!({
        "name": text,
        "filter_chain_match": matcher,
        "filters": [{"name": "h", "typed_config": manager}],
    })
}

fn to(address: &str, port: u16) -> Value {
    json!({
        "destination_port": port,
        "prefix_ranges": [{"address_prefix": address, "prefix_len": 32}],
    })
}

fn original_dst() -> Value {
    let kind = format!("{TYPES}.listener.original_dst.v3.OriginalDst");
    json!([{"name": "o", "typed_config": {"@type": kind}}])
}

#[test]
fn a_redirected_connection_is_served_by_the_address_that_it_was_meant_for() {
    let Some(namespace) = Namespace::new() else { return };
    for port in [80, 81, 82] {
        namespace.run(&format!(
            "iptables -t nat -A OUTPUT -p tcp -d 10.77.0.1 --dport {port} -j REDIRECT --to-ports 15001"
        ));
    }
    let listeners = json!([
        {
            "name": "caught",
            "address": socket("127.0.0.1", 15001),
            "use_original_dst": true,
            "listener_filters": original_dst(),
            "filter_chains": [says("port 80", to("10.77.0.1", 80))],
            "default_filter_chain": says("elsewhere", json!({})),
        },
        {
            "name": "behind",
            "address": socket("10.77.0.1", 81),
            "bind_to_port": false,
            "filter_chains": [says("the listener of port 81", json!({}))],
        },
    ]);
    namespace.run("ip addr add 10.77.0.1/32 dev lo");
    let _proxy = Proxy::start(&namespace, &listeners);
    assert_eq!(namespace.ask("10.77.0.1:80").unwrap(), "port 80");
    assert_eq!(namespace.ask("10.77.0.1:81").unwrap(), "the listener of port 81");
    assert_eq!(namespace.ask("10.77.0.1:82").unwrap(), "elsewhere");
}

#[test]
fn a_listener_may_have_an_address_that_comes_later() {
    let Some(namespace) = Namespace::new() else { return };
    let listeners = json!([{
        "name": "early",
        "address": socket("10.99.0.1", 8080),
        "freebind": true,
        "filter_chains": [says("free", json!({}))],
    }]);
    let _proxy = Proxy::start(&namespace, &listeners);
    assert!(namespace.ask("10.99.0.1:8080").is_err(), "nobody has the address yet");
    namespace.run("ip addr add 10.99.0.1/32 dev lo");
    assert_eq!(namespace.ask("10.99.0.1:8080").unwrap(), "free");
}
