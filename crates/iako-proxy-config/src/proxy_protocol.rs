//! The PROXY protocol towards servers.

use bytes::Bytes;

/// The header ahead of a connection's bytes by which a server is told who the client is.
/// Source: `envoy.config.core.v3.ProxyProtocolConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyProtocolHeader {
    /// Text or bytes.
    pub version: ProxyProtocolVersion,
    /// Which further values of the client's own header are passed on. Version 2 only.
    pub passed: PassedTlvs,
    /// Values that are added. Version 2 only.
    pub added: Vec<ProxyProtocolTlv>,
}

/// The version of a header. Source: `ProxyProtocolConfig.Version`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyProtocolVersion {
    /// One line of text. Envoy default.
    #[default]
    V1,
    /// Bytes, with further values.
    V2,
}

/// Which further values of the client's own header are passed on.
/// Source: `envoy.config.core.v3.ProxyProtocolPassThroughTLVs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedTlvs {
    /// All of them.
    All,
    /// Those of these types. Envoy default: none.
    Listed(Vec<u8>),
}

impl Default for PassedTlvs {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// A further value of a header. Source: `envoy.config.core.v3.TlvEntry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocolTlv {
    /// Its type.
    pub kind: u8,
    /// Its value, at most 65,535 bytes.
    pub value: Bytes,
}
