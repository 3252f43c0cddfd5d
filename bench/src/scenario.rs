//! The table of what is measured.

use crate::contender::Contender::{self, Direct, Envoy, Haproxy, Iako, Nginx};
use crate::load::{Protocol, Shape};

/// One row of the report.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// What `--only` names it.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// One proxy, or a client's and a server's sidecar.
    pub(crate) topology: Topology,
    /// The beginning of the names of its configuration files.
    pub(crate) stem: &'static str,
    /// The beginning of the names of what is put into them at `@POLICIES@`; nothing without.
    pub(crate) policies: Option<&'static str>,
    pub(crate) work: Work,
    /// A contender without the program or the configuration is left out.
    pub(crate) contenders: &'static [Contender],
    /// The most that Iako's CPU may be of Envoy's.
    pub(crate) target: Option<f64>,
    /// Whether it may also not be more than HAProxy's.
    pub(crate) below_haproxy: bool,
}

/// How many proxies a request passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topology {
    Hop,
    Pair,
}

/// What the load does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Requests at saturation; the upstream is spoken to in the same protocol.
    Requests(Shape),
    /// The same, and at fixed rates.
    Timed(Shape),
    /// Bytes from the upstream on so many connections.
    Bulk { connections: usize },
    /// New connections, so many at a time, with these key exchanges where they can be chosen.
    Connects { places: usize, curves: &'static str },
    /// So many connections that do nothing.
    Idle { counts: &'static [usize] },
    /// Many routes and clusters; requests match the last.
    Routes,
    /// From nothing to the first answer, and the memory when idle.
    Start,
}

const fn http1(connections: usize) -> Shape {
    Shape { protocol: Protocol::Http1, connections, streams: 1 }
}

const fn http2(connections: usize, streams: usize) -> Shape {
    Shape { protocol: Protocol::Http2, connections, streams }
}

/// Envoy's own choice; Iako always offers X25519MLKEM768 first.
pub(crate) const CURVES: &str = "X25519, P-256";

const ALL: &[Contender] = &[Iako, Envoy, Haproxy, Nginx];
const ALL_TIMED: &[Contender] = &[Iako, Envoy, Haproxy, Nginx, Direct];
/// nginx speaks HTTP/1.1 alone to upstreams.
const HTTP2: &[Contender] = &[Iako, Envoy, Haproxy, Direct];

/// In the order of the report.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "h1-hop",
        title: "HTTP/1.1 hop, 64 connections",
        topology: Topology::Hop,
        stem: "http",
        policies: None,
        work: Work::Timed(http1(64)),
        contenders: ALL_TIMED,
        target: Some(0.30),
        below_haproxy: true,
    },
    Scenario {
        id: "h2-hop",
        title: "HTTP/2 hop, 8 connections of 8 streams",
        topology: Topology::Hop,
        stem: "http",
        policies: None,
        work: Work::Timed(http2(8, 8)),
        contenders: HTTP2,
        target: Some(0.20),
        below_haproxy: true,
    },
    Scenario {
        id: "h2-hop-unbatched",
        title: "HTTP/2 hop, 64 connections of 1 stream",
        topology: Topology::Hop,
        stem: "http",
        policies: None,
        work: Work::Requests(http2(64, 1)),
        contenders: HTTP2,
        target: None,
        below_haproxy: false,
    },
    Scenario {
        id: "pair",
        title: "mTLS pair, HTTP/1.1 in, HTTP/2 between",
        topology: Topology::Pair,
        stem: "http",
        policies: None,
        work: Work::Timed(http1(64)),
        contenders: ALL_TIMED,
        target: None,
        below_haproxy: false,
    },
    Scenario {
        id: "h2-pair",
        title: "mTLS pair, HTTP/2 throughout, 8 connections of 8 streams",
        topology: Topology::Pair,
        stem: "http",
        policies: None,
        work: Work::Timed(http2(8, 8)),
        contenders: HTTP2,
        target: Some(0.20),
        below_haproxy: true,
    },
    Scenario {
        id: "mesh-pair",
        title: "mTLS pair with metrics, JSON access log and tracing headers",
        topology: Topology::Pair,
        stem: "mesh",
        policies: None,
        work: Work::Timed(http1(64)),
        contenders: &[Iako, Envoy, Direct],
        target: Some(0.25),
        below_haproxy: false,
    },
    Scenario {
        id: "sidecar-pair",
        title: "the same with the filters of a sidecar: a token, ten rules of access, CORS and fault idle",
        topology: Topology::Pair,
        stem: "mesh",
        policies: Some("sidecar"),
        work: Work::Timed(http1(64)),
        contenders: &[Iako, Envoy],
        target: Some(0.25),
        below_haproxy: false,
    },
    Scenario {
        id: "tcp-bulk",
        title: "TCP bulk, plaintext, one proxy",
        topology: Topology::Hop,
        stem: "tcp",
        policies: None,
        work: Work::Bulk { connections: 4 },
        contenders: ALL,
        target: Some(0.65),
        below_haproxy: false,
    },
    Scenario {
        id: "tls-bulk",
        title: "TCP bulk, mTLS pair",
        topology: Topology::Pair,
        stem: "tcp",
        policies: None,
        work: Work::Bulk { connections: 4 },
        contenders: ALL,
        target: Some(0.70),
        below_haproxy: false,
    },
    Scenario {
        id: "handshakes",
        title: "new connections through an mTLS pair, full handshakes",
        topology: Topology::Pair,
        stem: "tcp",
        policies: None,
        work: Work::Connects { places: 16, curves: CURVES },
        contenders: ALL,
        target: Some(0.60),
        below_haproxy: false,
    },
    Scenario {
        id: "handshakes-pq",
        title: "new connections through an mTLS pair, X25519MLKEM768 for all",
        topology: Topology::Pair,
        stem: "tcp",
        policies: None,
        work: Work::Connects { places: 16, curves: "X25519MLKEM768, X25519" },
        // The OpenSSL of Debian 12 does not have it.
        contenders: &[Iako, Envoy],
        target: None,
        below_haproxy: false,
    },
    Scenario {
        id: "idle",
        title: "idle keep-alive connections",
        topology: Topology::Hop,
        stem: "http",
        policies: None,
        work: Work::Idle { counts: &[1_000, 5_000] },
        contenders: ALL,
        target: None,
        below_haproxy: false,
    },
    Scenario {
        id: "routes",
        title: "5,000 routes to 1,000 clusters of 10 endpoints",
        topology: Topology::Hop,
        stem: "routes",
        policies: None,
        work: Work::Routes,
        contenders: ALL,
        target: None,
        below_haproxy: false,
    },
    Scenario {
        id: "start",
        title: "start to first answer, and idle memory",
        topology: Topology::Hop,
        stem: "http",
        policies: None,
        work: Work::Start,
        contenders: ALL,
        target: Some(0.30),
        below_haproxy: false,
    },
];

impl Work {
    /// The protocol towards proxies and the upstream.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Requests(shape) | Self::Timed(shape) => shape.protocol,
            Self::Bulk { .. }
            | Self::Connects { .. }
            | Self::Idle { .. }
            | Self::Routes
            | Self::Start => Protocol::Http1,
        }
    }
}
