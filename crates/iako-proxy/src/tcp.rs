//! Carrying bytes.

/// A TCP proxy, compiled.
#[derive(Debug)]
pub struct TcpService {}
