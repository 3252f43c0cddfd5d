//! Istio's exchange of metadata ahead of TCP bytes, when ALPN agreed on `istio-peer-exchange`.
//!
//! Each side sends one frame: a magic number, a length, and a `google.protobuf.Any` with a struct.
//! What the peer says is for telemetry only, so its frame is bounded and read, and ours names the
//! node. Source: `envoy.tcp.metadataexchange.config.MetadataExchange`.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The ALPN name that asks for it.
pub(crate) const PROTOCOL: &str = "istio-peer-exchange";

const MAGIC: u32 = 0x3D23_0467;
/// Largest frame that is taken.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
const STRUCT_TYPE: &str = "type.googleapis.com/google.protobuf.Struct";
const NODE_ID_KEY: &str = "x-envoy-peer-metadata-id";

/// Sends our frame and takes the peer's. Client and server do the same: both send at once.
///
/// # Errors
/// When the connection breaks, or the peer sends something else.
pub(crate) async fn exchange<S>(stream: &mut S, node_id: &str) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&frame(node_id)).await?;
    stream.flush().await?;
    if stream.read_u32().await? != MAGIC {
        let text = "the peer agreed on istio-peer-exchange and sent something else";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let length = stream.read_u32().await?;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer's metadata is too large"));
    }
    let mut left = stream.take(u64::from(length));
    let skipped = tokio::io::copy(&mut left, &mut tokio::io::sink()).await?;
    if skipped < u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Magic, length, `Any { type_url = 1, value = 2 }` of `Struct { fields = 1 }` with one entry
/// `{ key = 1, value = 2 { string_value = 3 } }`.
fn frame(node_id: &str) -> Vec<u8> {
    let value = field(3, node_id.as_bytes());
    let entry = [field(1, NODE_ID_KEY.as_bytes()), field(2, &value)].concat();
    let any = [field(1, STRUCT_TYPE.as_bytes()), field(2, &field(1, &entry))].concat();
    let length = u32::try_from(any.len()).unwrap_or(0);
    [&MAGIC.to_be_bytes()[..], &length.to_be_bytes(), &any].concat()
}

/// A length-delimited protobuf field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_proxies_exchange_frames_and_leave_the_bytes_behind_them() {
        let (mut client, mut server) = tokio::io::duplex(4096);
        let long = "sidecar~".repeat(40);
        let (ours, theirs) = tokio::join!(
            async {
                exchange(&mut client, &long).await?;
                client.write_all(b"hello").await
            },
            exchange(&mut server, "b"),
        );
        ours.unwrap();
        theirs.unwrap();
        let mut hello = [0; 5];
        server.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
    }

    #[tokio::test]
    async fn other_bytes_are_refused() {
        let (mut client, mut server) = tokio::io::duplex(4096);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(exchange(&mut server, "b").await.is_err());
    }
}
