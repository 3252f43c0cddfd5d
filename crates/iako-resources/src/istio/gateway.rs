//! `Gateway`: ports that a gateway listens on.

mod checks;
mod parse;

use std::net::IpAddr;

use iako_types::{HostPattern, Namespace};

use crate::Labels;

pub(crate) use checks::report_certificates;
pub(crate) use parse::{parse, read_tls};

/// Ports of the gateways it selects. Source: `istio.networking.v1.Gateway`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Labels of the gateway workloads, in any namespace; empty takes all gateways.
    pub selector: Labels,
    /// The ports.
    pub servers: Vec<Server>,
}

/// One port and the hosts on it. Source: `istio.networking.v1.Server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Name for people.
    pub name: Option<String>,
    /// The port number, 1 to 65535; 0 with [`Self::socket`].
    pub port: u16,
    /// The name of the port, unique in the object.
    pub port_name: String,
    /// What is spoken on it.
    pub protocol: ServerProtocol,
    /// Address to listen on; `None` is every address.
    pub bind: Option<IpAddr>,
    /// A Unix socket to listen on instead, an absolute path or `@name`. Not applied yet.
    pub socket: Option<String>,
    /// Hosts served here. Never empty.
    pub hosts: Vec<ServerHost>,
    /// TLS of the port; always there for `HTTPS` and `TLS`.
    pub tls: Option<ServerTlsSettings>,
    /// Line in its file, from 1.
    pub line: u32,
}

impl Server {
    /// Whether gateways listen for it. Unix sockets, and TLS modes that join networks or make
    /// client certificates optional, are read and checked, not yet applied.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        let mode = self.tls.as_ref().map(|tls| tls.mode);
        self.socket.is_none()
            && !matches!(mode, Some(ServerTlsMode::AutoPassthrough | ServerTlsMode::OptionalMutual))
    }
}

/// What is spoken on a gateway port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerProtocol {
    /// HTTP/1.1 or HTTP/2, told apart by the first bytes.
    Http,
    /// HTTP/2.
    Http2,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// HTTP in TLS, ended here, or passed through by server name.
    Https,
    /// TLS, ended here and passed on as bytes, or passed through by server name.
    Tls,
    /// Opaque bytes (`MONGO` too).
    Tcp,
}

impl ServerProtocol {
    /// Whether requests are told apart without TLS.
    #[must_use]
    pub const fn is_plain_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }
}

/// A host of a gateway port, and whose VirtualServices may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHost {
    /// Only VirtualServices of this namespace; `None` is any. `.` is resolved.
    pub namespace: Option<Namespace>,
    /// The host.
    pub host: HostPattern,
}

/// TLS of a gateway port. Source: `istio.networking.v1.ServerTLSSettings`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerTlsSettings {
    /// Every request is sent to `https` (plain HTTP ports only).
    pub https_redirect: bool,
    /// What happens to TLS.
    pub mode: ServerTlsMode,
    /// Secrets with certificate and key, at most two, in the namespace of the gateway workload.
    pub credential_names: Vec<String>,
    /// A secret with the roots that may vouch for clients.
    pub ca_cert_credential_name: Option<String>,
    /// Certificate and key files, PEM.
    pub certificates: Vec<CertificateFiles>,
    /// Roots that may vouch for clients, a file in PEM.
    pub ca_certificates: Option<String>,
    /// Names of which a client must prove one.
    pub subject_alt_names: Vec<String>,
    /// SHA-256 of client keys, base64.
    pub verify_certificate_spki: Vec<String>,
    /// SHA-256 of client certificates, hex.
    pub verify_certificate_hash: Vec<String>,
    /// Lowest TLS version. Istio's default: 1.2.
    pub version_min: TlsVersion,
    /// Highest TLS version. Default: 1.3.
    pub version_max: TlsVersion,
    /// Cipher suites of TLS 1.2; empty is the default list.
    pub cipher_suites: Vec<String>,
}

/// Certificate and key, as files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain.
    pub certificate: String,
    /// The key.
    pub private_key: String,
}

/// Source: `istio.networking.v1.ServerTLSSettings.TLSmode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServerTlsMode {
    /// Passed through; the server name picks the VirtualService. The zero value.
    #[default]
    Passthrough,
    /// Ended here.
    Simple,
    /// Ended here; clients prove themselves.
    Mutual,
    /// Passed through to any service by Istio's internal server names.
    AutoPassthrough,
    /// Ended here with the mesh identity of the gateway; clients prove theirs.
    IstioMutual,
    /// Ended here; a client that has a certificate proves itself.
    OptionalMutual,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// The default of its field.
    #[default]
    Auto,
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}
