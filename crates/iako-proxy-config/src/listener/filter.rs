//! What is found out about a connection before a filter chain is chosen.

use std::num::NonZeroU32;

use crate::Discovered;

/// One look at a connection, or one change of what is known of it; they run in order.
///
/// Source: `envoy.config.listener.v3.ListenerFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerFilter {
    /// What it does.
    pub kind: ListenerFilterKind,
    /// For which connections it is left out; for none when absent. Source: `filter_disabled`.
    pub disabled: Option<ConnectionPredicate>,
}

/// What a listener filter does. Source: `envoy.extensions.filters.listener`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerFilterKind {
    /// Finds the address that the client meant to reach, before redirection.
    OriginalDst,
    /// Finds whether the client speaks TLS, and the SNI and ALPN that it sent.
    Tls(TlsInspector),
    /// Finds whether the client speaks HTTP, and which version.
    Http,
    /// Takes the client's address from a PROXY protocol header.
    ProxyProtocol(Box<ProxyProtocol>),
    /// Has connections to upstreams come from the client's address.
    OriginalSrc(OriginalSrc),
    /// Does what is sent on its own. Source: `ListenerFilter.config_discovery`.
    Discovered(Box<Discovered<Self>>),
}

impl ListenerFilter {
    /// A filter that looks at every connection.
    #[must_use]
    pub const fn new(kind: ListenerFilterKind) -> Self {
        Self { kind, disabled: None }
    }

    /// Finds the original destination of every connection.
    #[must_use]
    pub const fn original_dst() -> Self {
        Self::new(ListenerFilterKind::OriginalDst)
    }

    /// Looks for TLS on every connection, with Envoy's limits.
    #[must_use]
    pub const fn tls() -> Self {
        Self::new(ListenerFilterKind::Tls(TlsInspector::DEFAULT))
    }

    /// Looks for HTTP on every connection.
    #[must_use]
    pub const fn http() -> Self {
        Self::new(ListenerFilterKind::Http)
    }

    /// Demands a PROXY protocol header of either version from every connection.
    #[must_use]
    pub fn proxy_protocol() -> Self {
        Self::new(ListenerFilterKind::ProxyProtocol(Box::default()))
    }
}

/// Source: `envoy.extensions.filters.listener.original_src.v3.OriginalSrc`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OriginalSrc {
    /// Whether they come from the client's port too. Envoy default: false.
    pub bind_port: bool,
    /// The mark of their packets, by which the system's routes tell them apart; none when absent.
    /// Source: `mark`, where 0 stands for none.
    pub mark: Option<NonZeroU32>,
}

/// Source: `envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsInspector {
    /// The largest first message that is waited for, record headers included; a client with a larger
    /// one is closed. From 1 to 16,384. Envoy default: 16,384.
    pub hello_bytes_max: u32,
    /// Whether a client is closed whose first message is not one of TLS. Envoy default: false: the
    /// connection counts as one without TLS.
    pub closes_on_error: bool,
}

impl TlsInspector {
    /// Envoy's defaults.
    pub const DEFAULT: Self =
        Self { hello_bytes_max: Self::HELLO_BYTES_MAX, closes_on_error: false };

    /// The most that can be asked for.
    pub const HELLO_BYTES_MAX: u32 = 16 * 1024;
}

impl Default for TlsInspector {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Source: `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Whether connections without a header pass as they are. Envoy default: false.
    pub optional: bool,
    /// Whether version 1 is understood. Envoy default: true.
    pub version_1: bool,
    /// Whether version 2 is understood. Envoy default: true.
    pub version_2: bool,
    /// Values of the header that are kept as metadata of the connection.
    pub rules: Vec<TlvRule>,
    /// Values of the header that are kept for headers towards upstreams.
    pub pass_through: PassThroughTlvs,
    /// Whether the values of `rules` are kept as filter state too. Envoy default: false.
    pub in_filter_state: bool,
    /// Between `proxy_proto.` and the names of its statistics; may be empty.
    pub stat_prefix: String,
}

impl Default for ProxyProtocol {
    fn default() -> Self {
        Self {
            optional: false,
            version_1: true,
            version_2: true,
            rules: Vec::new(),
            pass_through: PassThroughTlvs::None,
            in_filter_state: false,
            stat_prefix: String::new(),
        }
    }
}

/// Keeps one type-length-value of a PROXY protocol header of version 2.
/// Source: `ProxyProtocol.Rule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvRule {
    /// The type.
    pub kind: u8,
    /// The filter's name under which it is kept. Envoy default: `envoy.filters.listener.proxy_protocol`.
    pub namespace: String,
    /// The key under which it is kept.
    pub key: String,
    /// As what text.
    pub encoding: TlvEncoding,
}

/// What becomes of bytes that are kept as text. Source: `KeyValuePair.value_string_encoding`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlvEncoding {
    /// UTF-8, in which every byte that is none becomes `!`.
    #[default]
    Utf8,
    /// Base64.
    Base64,
}

/// Which type-length-values are kept for upstreams.
/// Source: `envoy.config.core.v3.ProxyProtocolPassThroughTLVs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PassThroughTlvs {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Those of these types.
    Only(Vec<u8>),
}

/// Which connections. Source: `envoy.config.listener.v3.ListenerFilterChainMatchPredicate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionPredicate {
    /// All.
    Any,
    /// Those that one of these holds for.
    Or(Vec<Self>),
    /// Those that each of these holds for.
    And(Vec<Self>),
    /// Those that this does not hold for.
    Not(Box<Self>),
    /// Those to a port of a range.
    DestinationPorts {
        /// The first port.
        start: u16,
        /// The port after the last one; up to 65,536.
        end: u32,
    },
}
