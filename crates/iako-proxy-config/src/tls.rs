//! TLS, towards clients and towards upstreams.

pub(crate) mod validation;

use std::{fmt, path::PathBuf, time::Duration};

use iako_types::CidrRange;

use crate::{OcspResponse, Pem, PrivateKey, SourcedName};
use validation::Validation;

/// How bytes of an accepted connection are read. Source: `FilterChain.transport_socket`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DownstreamTransport {
    /// As they come. Source: `envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer`.
    #[default]
    Raw,
    /// Through TLS, terminated here.
    Tls(Box<DownstreamTls>),
}

/// How bytes go to an endpoint. Source: `Cluster.transport_socket`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UpstreamTransport {
    /// As they are.
    #[default]
    Raw,
    /// Through TLS, originated here.
    Tls(Box<UpstreamTls>),
}

/// TLS terminated at this proxy.
///
/// Source: `envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DownstreamTls {
    /// What both directions share.
    pub options: TlsOptions,
    /// Whether a client without a certificate is turned away. With trust configured and this
    /// false, a certificate is asked for and checked when given. Envoy default: false.
    pub require_client_certificate: bool,
    /// Whether a client without SNI is turned away. Envoy default: false.
    pub require_sni: bool,
    /// Whether and how sessions can be resumed.
    pub resumption: SessionResumption,
    /// Whether the client's order of cipher suites counts in place of ours. Envoy default: false.
    pub prefer_client_ciphers: bool,
    /// Whether all certificates are looked through for a client whose server name none of them
    /// carries; else the first is shown. Envoy default: false.
    pub scan_certificates: bool,
    /// What becomes of OCSP responses beside certificates.
    pub stapling: OcspPolicy,
}

/// When a server hands on what an authority says of its certificate. A certificate that says of itself
/// that it must be stapled (RFC 7633) is always treated as with [`Self::Must`].
///
/// Source: `DownstreamTlsContext.OcspStaplePolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OcspPolicy {
    /// While it counts. Envoy default.
    #[default]
    Lenient,
    /// The same; clients are turned away when it counts no longer.
    Strict,
    /// The same; there has to be one.
    Must,
}

/// Whether and how clients take up sessions again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionResumption {
    /// Sessions that clients keep.
    pub tickets: SessionTickets,
    /// Whether sessions are kept here as well. Envoy default: true.
    /// Source: `disable_stateful_session_resumption`.
    pub stored: bool,
    /// How long a session can be taken up; as long as the library thinks (12 hours) when absent.
    /// Source: `session_timeout`.
    pub lifetime: Option<Duration>,
}

impl Default for SessionResumption {
    fn default() -> Self {
        Self { tickets: SessionTickets::OwnKeys, stored: true, lifetime: None }
    }
}

impl SessionResumption {
    /// None at all.
    pub const OFF: Self = Self { tickets: SessionTickets::Off, stored: false, lifetime: None };
}

/// Sessions that clients keep, encrypted (RFC 5077).
/// Source: `DownstreamTlsContext.session_ticket_keys_type`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SessionTickets {
    /// None are given.
    Off,
    /// With keys that this proxy makes and changes by itself.
    #[default]
    OwnKeys,
    /// With these keys, at least one; the first encrypts, each decrypts.
    Keys(Vec<TicketKey>),
    /// With the keys of a secret.
    Sds(SourcedName),
}

/// A key of session tickets: 16 bytes that name it, 32 that sign, 32 that encrypt. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey([u8; Self::BYTES]);

impl TicketKey {
    /// Its length.
    pub const BYTES: usize = 80;

    /// A key of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one place that uses them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(hidden)")
    }
}

/// Writes the keys of connections to a file, so that recorded bytes can be read.
///
/// Source: `envoy.extensions.transport_sockets.tls.v3.TlsKeyLog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsKeyLog {
    /// The file; lines are added in the format of NSS.
    pub path: PathBuf,
    /// Of connections whose own end is in one of these; of all when empty.
    pub local_ranges: Vec<CidrRange>,
    /// Of connections whose other end is in one of these; of all when empty.
    pub remote_ranges: Vec<CidrRange>,
}

/// TLS originated at this proxy.
///
/// Source: `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// What both directions share.
    pub options: TlsOptions,
    /// The server name sent; none when absent (and not set by `auto_sni`).
    pub sni: Option<String>,
    /// Whether the request's host is sent as the server name. Source: `HttpProtocolOptions.auto_sni`.
    pub auto_sni: bool,
    /// Whether the endpoint's host name is sent as the server name, before `sni`. Envoy default: false.
    pub auto_host_sni: bool,
    /// Whether the certificate must carry the server name that was sent.
    /// Source: `HttpProtocolOptions.auto_san_validation`, `auto_sni_san_validation`.
    pub auto_san_validation: bool,
    /// Sessions that are kept to be taken up again, of which none are with 0. Default: 64 (Envoy: 1).
    pub sessions_max: Option<u32>,
}

/// What both directions of TLS share.
///
/// Source: `envoy.extensions.transport_sockets.tls.v3.CommonTlsContext`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Oldest version spoken. Default: TLS 1.2 (Envoy: 1.2 as client and server).
    pub minimum: TlsVersion,
    /// Newest version spoken; TLS 1.3 when absent.
    pub maximum: Option<TlsVersion>,
    /// Cipher suites for TLS 1.2 by their OpenSSL names; the library's choice when empty.
    pub cipher_suites: Vec<String>,
    /// Key exchanges, best first; the library's choice, post-quantum first, when empty.
    pub curves: Vec<Curve>,
    /// Application protocols, best first.
    pub alpn: Vec<String>,
    /// Certificates to show.
    pub certificates: Vec<CertificateSource>,
    /// What the peer's certificate must be.
    pub validation: Validation,
    /// Where keys are written; nowhere when absent.
    pub key_log: Option<TlsKeyLog>,
}

/// A key exchange. Source: `TlsParameters.ecdh_curves`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// X25519.
    X25519,
    /// NIST's P-256.
    P256,
    /// NIST's P-384.
    P384,
    /// X25519 with ML-KEM-768, which is good against quantum computers.
    X25519MlKem768,
}

impl Curve {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::X25519, Self::P256, Self::P384, Self::X25519MlKem768];

    /// Envoy's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X25519 => "X25519",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::X25519MlKem768 => "X25519MLKEM768",
        }
    }
}

/// A TLS version. Older ones are refused: RFC 8996 forbids them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Where a certificate and its key come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// A secret by name; delivered by SDS or the workload's own identity (`default`).
    /// Source: `SdsSecretConfig`.
    Sds(SourcedName),
    /// Written in the configuration, or read from the files that it names.
    Inline {
        /// Leaf first.
        chain: Pem,
        /// The leaf's key.
        key: PrivateKey,
        /// What its authority says of it, for servers that hand it on.
        staple: Option<OcspResponse>,
    },
}
