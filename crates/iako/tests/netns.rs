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
    net::{SocketAddr, TcpListener, TcpStream},
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
        Self::start_with(namespace, &json!({"listeners": listeners}))
    }

    fn start_with(namespace: &Namespace, resources: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bootstrap.json");
        let (host, port) = ADMIN.split_once(':').unwrap();
        let admin = socket(host, port.parse().unwrap());
        let bootstrap = json!({"static_resources": resources, "admin": {"address": admin}});
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

/// Two networks with a wire between them, and routes from the first to whatever is said to be behind
/// the second: packets of a client reach the proxy as they do from another machine, not through
/// loopback, where marks and addresses of one machine meet.
fn client_and_gateway(behind: &str) -> Option<(Namespace, Namespace)> {
    let (client, gateway) = (Namespace::new()?, Namespace::new()?);
    client.run(&format!("ip link add wire0 type veth peer name wire1 netns {}", gateway.0));
    for (namespace, wire, address) in
        [(&client, "wire0", "10.88.0.1/24"), (&gateway, "wire1", "10.88.0.2/24")]
    {
        namespace.run(&format!("ip addr add {address} dev {wire}"));
        namespace.run(&format!("ip link set {wire} up"));
    }
    client.run(&format!("ip route add {behind} via 10.88.0.2"));
    // Packets with a mark belong to this machine, whatever their address is.
    gateway.run("ip rule add fwmark 1 lookup 100");
    gateway.run("ip route add local 0.0.0.0/0 dev lo table 100");
    Some((client, gateway))
}

#[test]
fn a_connection_that_is_led_here_unchanged_is_served_by_its_address() {
    let Some((client, gateway)) = client_and_gateway("10.77.0.0/16") else { return };
    gateway.run(
        "iptables -t mangle -A PREROUTING -i wire1 -p tcp -d 10.77.0.0/16 -j TPROXY --on-port 15006 --tproxy-mark 1",
    );
    let chains = [says("port 80", to("10.77.0.2", 80)), says("port 90", to("10.77.0.3", 90))];
    let listeners = json!([
        {
            "name": "caught",
            "address": socket("0.0.0.0", 15006),
            "transparent": true,
            "use_original_dst": true,
            "listener_filters": original_dst(),
            "filter_chains": chains,
            "default_filter_chain": says("elsewhere", json!({})),
        },
        {
            "name": "behind",
            "address": socket("10.77.0.4", 70),
            "bind_to_port": false,
            "filter_chains": [says("the listener of port 70", json!({}))],
        },
    ]);
    let _proxy = Proxy::start(&gateway, &listeners);
    // Each address several times: both workers take such connections.
    for _ in 0..8 {
        assert_eq!(client.ask("10.77.0.2:80").unwrap(), "port 80");
        assert_eq!(client.ask("10.77.0.3:90").unwrap(), "port 90");
        assert_eq!(client.ask("10.77.0.3:80").unwrap(), "elsewhere");
        assert_eq!(client.ask("10.77.0.4:70").unwrap(), "the listener of port 70");
    }
    assert_eq!(client.ask("10.88.0.2:15006").unwrap(), "elsewhere", "it is no address of a chain");
}

/// A client, a gateway and a server in a row, for both families of addresses. The server answers by way
/// of the gateway, which takes answers to whomever as its own.
fn client_gateway_and_server() -> Option<[Namespace; 3]> {
    let (client, gateway) = client_and_gateway("10.99.0.0/16")?;
    let server = Namespace::new()?;
    server.run(&format!("ip link add wire3 type veth peer name wire2 netns {}", gateway.0));
    server.run("ip addr add 10.99.0.1/24 dev wire3");
    server.run("ip -6 addr add fd00:99::1/64 dev wire3 nodad");
    server.run("ip link set wire3 up");
    server.run("ip route add default via 10.99.0.2");
    server.run("ip -6 route add default via fd00:99::2");
    gateway.run("ip addr add 10.99.0.2/24 dev wire2");
    gateway.run("ip -6 addr add fd00:99::2/64 dev wire2 nodad");
    gateway.run("ip -6 addr add fd00:88::2/64 dev wire1 nodad");
    gateway.run("ip link set wire2 up");
    client.run("ip -6 addr add fd00:88::1/64 dev wire0 nodad");
    gateway.run("ip -6 rule add fwmark 1 lookup 100");
    gateway.run("ip -6 route add local ::/0 dev lo table 100");
    for tables in ["iptables", "ip6tables"] {
        gateway
            .run(&format!("{tables} -t mangle -A PREROUTING -i wire2 -p tcp -j MARK --set-mark 1"));
    }
    Some([client, gateway, server])
}

/// A proxy at a port of the gateway for each filter, towards the server.
fn from_their_own_addresses(gateway: &Namespace, filters: [(u16, Value); 3]) -> Proxy {
    let kind = format!("{TYPES}.listener.original_src.v3.OriginalSrc");
    let listeners = filters.into_iter().flat_map(|(port, mut filter)| {
        filter["@type"] = json!(kind);
        [("10.88.0.2", "v4"), ("fd00:88::2", "v6")].map(|(address, cluster)| {
            let tcp = json!({
                "@type": format!("{TYPES}.network.tcp_proxy.v3.TcpProxy"),
                "stat_prefix": "s",
                "cluster": cluster,
            });
            json!({
                "name": format!("{cluster} {port}"),
                "address": socket(address, port),
                "listener_filters": [{"name": "s", "typed_config": filter}],
                "filter_chains": [{"filters": [{"name": "t", "typed_config": tcp}]}],
            })
        })
    });
    let listeners = listeners.collect();
    let clusters = [("10.99.0.1", "v4"), ("fd00:99::1", "v6")].map(|(address, name)| {
        let endpoint = json!({"endpoint": {"address": socket(address, 8080)}});
        let endpoints = json!([{"lb_endpoints": [endpoint]}]);
        let set = json!({"cluster_name": name, "endpoints": endpoints});
        json!({"name": name, "type": "STATIC", "connect_timeout": "8s", "load_assignment": set})
    });
    Proxy::start_with(gateway, &json!({"listeners": Value::Array(listeners), "clusters": clusters}))
}

#[test]
fn an_upstream_sees_the_address_of_the_client_where_the_listener_says_so() {
    let Some([client, gateway, server]) = client_gateway_and_server() else { return };
    // Who has no such mark does not find the server.
    for (family, network) in [("-4", "10.99.0.0/24"), ("-6", "fd00:99::/64")] {
        gateway.run(&format!("ip {family} rule add fwmark 7 lookup 107"));
        gateway.run(&format!("ip {family} route add {network} dev wire2 table 107"));
    }
    let plain = (15010, json!({}));
    let whole = (15011, json!({"bind_port": true}));
    let marked = (15012, json!({"bind_port": true, "mark": 7}));
    let _proxy = from_their_own_addresses(&gateway, [plain, whole, marked]);
    let asked = |at: &str, to: &str| -> Option<(SocketAddr, SocketAddr)> {
        let at: SocketAddr = at.parse().unwrap();
        let upstream = server.inside(|| TcpListener::bind(at).unwrap());
        let to: SocketAddr = to.parse().unwrap();
        let mut stream = client.inside(|| TcpStream::connect_timeout(&to, LIMIT).unwrap());
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let answering = std::thread::spawn(move || {
            let (mut stream, from) = upstream.accept().unwrap();
            stream.write_all(b"hello").unwrap();
            from
        });
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        if text.is_empty() {
            // Nobody came: what waits is let go.
            server.inside(|| drop(TcpStream::connect(at)));
            answering.join().unwrap();
            return None;
        }
        assert_eq!(text, "hello");
        Some((stream.local_addr().unwrap(), answering.join().unwrap()))
    };
    for (upstream, proxy) in
        [("10.99.0.1:8080", "10.88.0.2"), ("[fd00:99::1]:8080", "[fd00:88::2]")]
    {
        let (from, seen) = asked(upstream, &format!("{proxy}:15010")).unwrap();
        assert_eq!(seen.ip(), from.ip());
        assert_ne!(seen.port(), from.port(), "the port is the system's");
        let (from, seen) = asked(upstream, &format!("{proxy}:15011")).unwrap();
        assert_eq!(seen, from);
        let (from, seen) = asked(upstream, &format!("{proxy}:15012")).unwrap();
        assert_eq!(seen, from);
    }
    gateway.run("ip route del 10.99.0.0/24 dev wire2");
    for (family, network) in [("-4", "10.99.0.0/24"), ("-6", "fd00:99::/64")] {
        gateway.run(&format!("ip {family} route add prohibit {network} metric 1"));
    }
    for (upstream, proxy) in
        [("10.99.0.1:8080", "10.88.0.2"), ("[fd00:99::1]:8080", "[fd00:88::2]")]
    {
        assert_eq!(asked(upstream, &format!("{proxy}:15011")), None, "its packets have no mark");
        let (from, seen) = asked(upstream, &format!("{proxy}:15012")).unwrap();
        assert_eq!(seen, from);
    }
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
