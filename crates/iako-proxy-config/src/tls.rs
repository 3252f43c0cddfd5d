//! TLS, towards clients and towards upstreams.

use iako_types::SpiffeId;

use crate::{Pem, PrivateKey, SourcedName, StringMatch};

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
    /// Whether sessions can be resumed. Envoy default: true.
    pub session_resumption: bool,
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
    /// Whether the request's host is sent as the server name. Source: `HttpProtocolOptions.auto_sni`,
    /// `UpstreamTlsContext.auto_host_sni`.
    pub auto_sni: bool,
    /// Whether the certificate must carry the server name that was sent.
    /// Source: `HttpProtocolOptions.auto_san_validation`, `auto_sni_san_validation`.
    pub auto_san_validation: bool,
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
    /// Application protocols, best first.
    pub alpn: Vec<String>,
    /// Certificates to show.
    pub certificates: Vec<CertificateSource>,
    /// What the peer's certificate must be.
    pub validation: Validation,
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
    },
}

/// What a peer's certificate must be.
///
/// Source: `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validation {
    /// Who vouches for the peer.
    pub trust: Trust,
    /// Names of which the certificate must carry one; any name when empty.
    pub subject_alt_names: Vec<SanMatch>,
    /// SHA-256 of the peer's public key info, base64; any key when empty.
    pub spki_pins: Vec<String>,
    /// SHA-256 of the peer's certificate, lower-case hexadecimal without colons; any when empty.
    pub certificate_hashes: Vec<String>,
    /// Revocation lists; none when absent.
    pub crl: Option<Pem>,
}

/// Who vouches for a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Nobody: the certificate is not checked, as Envoy does without a `trusted_ca`. The owner of
    /// the configuration is warned.
    #[default]
    Unverified,
    /// Roots by secret name; delivered by SDS or the workload's own identity (`ROOTCA`).
    /// Source: `SdsSecretConfig`.
    Sds(SourcedName),
    /// Roots written in the configuration, or read from the file that it names.
    Inline(Pem),
    /// The operating system's roots.
    System,
}

/// A name that a certificate must carry.
/// Source: `envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SanMatch {
    /// Which kind of name; any when absent (the deprecated `match_subject_alt_names`).
    pub kind: Option<SanKind>,
    /// What the name must be.
    pub matcher: StringMatch,
}

impl SanMatch {
    /// Exactly this workload.
    #[must_use]
    pub fn spiffe(id: &SpiffeId) -> Self {
        Self { kind: Some(SanKind::Uri), matcher: StringMatch::exact(id.as_str()) }
    }
}

/// A kind of name in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SanKind {
    /// A DNS name; a wildcard in the certificate counts for exact matches.
    Dns,
    /// A URI, such as a SPIFFE ID.
    Uri,
    /// An IP address.
    Ip,
    /// An e-mail address.
    Email,
}
