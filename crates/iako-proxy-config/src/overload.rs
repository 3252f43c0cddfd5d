//! What the proxy does when it runs short of something.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// What is watched, and what is done when it gets short.
/// Source: `envoy.config.overload.v3.OverloadManager`.
#[derive(Debug, Clone, PartialEq)]
pub struct OverloadManager {
    /// Time between looks; more than zero. Envoy default: 1 s.
    pub refresh: Duration,
    /// What is looked at; names stand once.
    pub monitors: Vec<ResourceMonitor>,
    /// Connections of clients at once, over all listeners but those that ignore it; no limit when
    /// absent. Source: `DownstreamConnectionsConfig`.
    pub connections_max: Option<u64>,
    /// What is done; each action stands once.
    pub actions: Vec<OverloadAction>,
    /// Places at which work is turned away; each stands once.
    pub load_shed: Vec<LoadShedPoint>,
    /// From how many bytes on the memory of a stream is looked at; no stream's when absent. There
    /// whenever [`Deed::ResetStreams`] is among the actions. Source: `BufferFactoryConfig`.
    pub tracked: Option<TrackedFrom>,
}

/// From how many bytes on streams are told apart by the memory that they hold: 2 to this power, from 10 to
/// 56. Source: `BufferFactoryConfig.minimum_account_to_track_power_of_two`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackedFrom(u8);

impl TrackedFrom {
    /// The least power.
    pub const LEAST: u8 = 10;
    /// The largest power.
    pub const MOST: u8 = 56;

    /// 2 to this power; none where it is out of bounds.
    #[must_use]
    pub fn power_of_two(power: u32) -> Option<Self> {
        let power = u8::try_from(power).ok()?;
        (Self::LEAST..=Self::MOST).contains(&power).then_some(Self(power))
    }

    /// The power.
    #[must_use]
    pub const fn power(self) -> u8 {
        self.0
    }
}

impl OverloadManager {
    /// Envoy's time between looks.
    pub const REFRESH: Duration = Duration::from_secs(1);
}

/// Something that can get short. Source: `ResourceMonitor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceMonitor {
    /// Its name, in triggers and statistics.
    pub name: String,
    /// How it is measured, as a share of what there is.
    pub measure: Measure,
}

/// How a resource is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// Bytes that the process holds, of so many. Source: `FixedHeapConfig`.
    Heap {
        /// All that it may hold.
        bytes_max: NonZeroU64,
    },
    /// Bytes that the container holds, of its limit or of so many, whichever is less. Source:
    /// `CgroupMemoryConfig`.
    ContainerMemory {
        /// All that it may hold; its own limit when absent.
        bytes_max: Option<NonZeroU64>,
    },
    /// Time that the processors of the machine were busy. Source: `CpuUtilizationConfig` with `HOST`.
    MachineCpu,
    /// Time that the container used of what it may use. Source: `CpuUtilizationConfig` with `CONTAINER`.
    ContainerCpu,
    /// A number from 0 to 1 in a file that others write. Source: `InjectedResourceConfig`.
    File(PathBuf),
}

/// Something that is done. Source: `OverloadAction`.
#[derive(Debug, Clone, PartialEq)]
pub struct OverloadAction {
    /// What it is.
    pub deed: Deed,
    /// When: as the trigger says that asks for most.
    pub triggers: Vec<OverloadTrigger>,
}

/// What is done. Source: `OverloadAction.name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Requests are answered with 503.
    StopAcceptingRequests,
    /// Clients are told to close their connections.
    DisableKeepalive,
    /// Clients wait in the queues of listening sockets.
    StopAcceptingConnections,
    /// Connections are closed at once.
    RejectConnections,
    /// Memory that was freed goes back to the system.
    ShrinkHeap,
    /// Streams of HTTP/2 that hold much memory are reset, those first that hold most.
    ResetStreams,
    /// Connections of HTTP/3 that carry nothing are closed. There are none here; it is counted.
    CloseIdle,
    /// Times after which something ends get shorter.
    ReduceTimeouts(Vec<ScaledTimer>),
}

impl Deed {
    /// Envoy's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::StopAcceptingRequests => "envoy.overload_actions.stop_accepting_requests",
            Self::DisableKeepalive => "envoy.overload_actions.disable_http_keepalive",
            Self::StopAcceptingConnections => "envoy.overload_actions.stop_accepting_connections",
            Self::RejectConnections => "envoy.overload_actions.reject_incoming_connections",
            Self::ShrinkHeap => "envoy.overload_actions.shrink_heap",
            Self::ResetStreams => "envoy.overload_actions.reset_high_memory_stream",
            Self::CloseIdle => "envoy.overload_actions.close_idle_http_connections",
            Self::ReduceTimeouts(_) => "envoy.overload_actions.reduce_timeouts",
        }
    }
}

/// A time that gets shorter. Source: `ScaleTimersOverloadActionConfig.ScaleTimer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaledTimer {
    /// Which.
    pub timer: Timer,
    /// How short it is when the action is at its full.
    pub least: Least,
}

/// Which time. Source: `ScaleTimersOverloadActionConfig.TimerType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// `idle_timeout` of connections of clients.
    ConnectionIdle,
    /// `stream_idle_timeout`.
    StreamIdle,
    /// `transport_socket_connect_timeout` of clients.
    Handshake,
    /// `max_connection_duration` of connections of clients.
    ConnectionAge,
    /// `stream_flush_timeout`.
    StreamFlush,
}

/// The least that is left of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Least {
    /// So much.
    Time(Duration),
    /// So much of it, in parts of a million.
    Share {
        /// Parts, at most a million.
        millionths: u32,
    },
}

/// A place at which work is turned away. Source: `LoadShedPoint`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadShedPoint {
    /// Where.
    pub place: ShedPlace,
    /// When: as the trigger says that asks for most.
    pub triggers: Vec<OverloadTrigger>,
}

/// Where work is turned away. Source: `LoadShedPoint.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShedPlace {
    /// A connection is closed when it is accepted.
    Accept,
    /// A request is answered with 503 when its head has come.
    Head,
    /// A connection of HTTP/1 is closed when a request has come.
    Http1Bytes,
    /// A client of HTTP/2 is told to go when a request has come.
    Http2GoAway,
    /// A connection is closed before anything of HTTP is read from it.
    Codec,
    /// A connection of HTTP/2 is closed when bytes have come, with all of its streams.
    Http2Close,
    /// A request is answered with 503 before its filters.
    Filters,
    /// No connection is opened to a server: requests that would need one are answered with 503.
    NewConnection,
    /// A connection that a TCP proxy would carry is closed before a server is chosen.
    TcpConnect,
    /// A connection that a TCP proxy carries is closed when bytes of the client come.
    TcpData,
}

impl ShedPlace {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Accept,
        Self::Head,
        Self::Http1Bytes,
        Self::Http2GoAway,
        Self::Codec,
        Self::Http2Close,
        Self::Filters,
        Self::NewConnection,
        Self::TcpConnect,
        Self::TcpData,
    ];

    /// Envoy's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "envoy.load_shed_points.tcp_listener_accept",
            Self::Head => "envoy.load_shed_points.http_connection_manager_decode_headers",
            Self::Http1Bytes => "envoy.load_shed_points.http1_server_abort_dispatch",
            Self::Http2GoAway => "envoy.load_shed_points.http2_server_go_away_on_dispatch",
            Self::Codec => "envoy.load_shed_points.hcm_ondata_creating_codec",
            Self::Http2Close => "envoy.load_shed_points.http2_server_go_away_and_close_on_dispatch",
            Self::Filters => "envoy.load_shed_points.http_downstream_filter_check",
            Self::NewConnection => "envoy.load_shed_points.connection_pool_new_connection",
            Self::TcpConnect => "envoy.load_shed_points.tcp_proxy_upstream_connect",
            Self::TcpData => "envoy.load_shed_points.tcp_proxy_on_data",
        }
    }
}

/// When something is done, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverloadTrigger {
    /// Which of the monitors it looks at.
    pub monitor: usize,
    /// What that has to say.
    pub rule: TriggerRule,
}

/// How a share of a resource becomes a share of an action.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TriggerRule {
    /// All of it from this share on. Source: `ThresholdTrigger`.
    Threshold(f64),
    /// None of it up to the first share, all of it from the second, and in between in proportion. Source:
    /// `ScaledTrigger`.
    Scaled {
        /// Where it begins.
        from: f64,
        /// Where it is at its full; more than `from`.
        to: f64,
    },
}
