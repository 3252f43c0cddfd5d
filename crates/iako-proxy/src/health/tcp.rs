//! Checks by a TCP connection, and bytes on it.

use std::net::SocketAddr;

use iako_proxy_config::{Endpoint, HealthCheck, ProxyProtocolVersion, TcpCheck};
use iako_traffic::contains_in_order;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::check::{Checker, Heard, Kept, Unheard, dial};
use crate::{snapshot::UpstreamCluster, transport::Connected};

/// Most bytes that are looked at for what has to come.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The beginning of every binary header. Source: PROXY protocol, section 2.2.
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Makes one check.
pub(super) async fn ask(
    checker: &mut Checker,
    cluster: &UpstreamCluster,
    check: &HealthCheck,
    asked: &TcpCheck,
    endpoint: &Endpoint,
) -> Result<Heard, Unheard> {
    let mut connected = match checker.take_kept() {
        Some(Kept::Tcp(connected)) => connected,
        Some(Kept::Http1(_) | Kept::Http2(..)) | None => {
            let mut connected = Box::new(dial(cluster, check, endpoint, &[]).await?);
            if let Some(version) = asked.proxy_protocol {
                let header = proxy_header(version, &connected);
                connected.stream.write_all(&header).await.map_err(|_lost| Unheard)?;
            }
            connected
        }
    };
    if !asked.send.is_empty() {
        connected.stream.write_all(&asked.send).await.map_err(|_lost| Unheard)?;
    }
    connected.stream.flush().await.map_err(|_lost| Unheard)?;
    if asked.receive.is_empty() {
        // A connection is all that was wanted. It is closed, as Envoy does.
        return Ok(Heard::Well { degraded: false });
    }
    let mut answer = Vec::new();
    while !contains_in_order(&answer, &asked.receive) {
        let read = connected.stream.read_buf(&mut answer).await.map_err(|_lost| Unheard)?;
        if read == 0 || answer.len() > ANSWER_BYTES_MAX {
            return Err(Unheard);
        }
    }
    checker.keep(check, Kept::Tcp(connected));
    Ok(Heard::Well { degraded: false })
}

/// Says of the connection what it is: the text form names its ends, the binary one that it is the
/// proxy's own.
fn proxy_header(version: ProxyProtocolVersion, connected: &Connected) -> Vec<u8> {
    match version {
        ProxyProtocolVersion::V1 => text_header(connected.local, connected.remote).into_bytes(),
        ProxyProtocolVersion::V2 => [&V2_SIGNATURE[..], &[0x20, 0, 0, 0]].concat(),
    }
}

fn text_header(local: Option<SocketAddr>, remote: Option<SocketAddr>) -> String {
    let (Some(local), Some(remote)) = (local, remote) else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let family = if local.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", local.ip(), remote.ip(), local.port(), remote.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_header_names_both_ends() {
        let [local, remote] = ["192.0.2.1:5", "192.0.2.2:80"].map(|text| text.parse().ok());
        assert_eq!(text_header(local, remote), "PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n");
        assert_eq!(text_header(None, remote), "PROXY UNKNOWN\r\n");
    }
}
