//! Istio's exchange of metadata ahead of TCP bytes, when ALPN agreed on `istio-peer-exchange`.
//!
//! Each side sends one frame: a magic number, a length, and a `google.protobuf.Any` with a struct
//! that holds under [`PEER_METADATA`] what HTTP says in the header of that name. For telemetry
//! only; the frame is bounded, and one that makes no sense leaves the peer unknown. Source:
//! `envoy.tcp.metadataexchange.config.MetadataExchange`.

use std::io;

use iako_telemetry::{
    WorkloadLabels,
    peer::{PEER_METADATA, PEER_METADATA_ID, header_value, parse_header},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The ALPN name that asks for it.
pub(crate) const PROTOCOL: &str = "istio-peer-exchange";

const MAGIC: u32 = 0x3D23_0467;
/// Largest frame that is taken.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
const STRUCT_TYPE: &str = "type.googleapis.com/google.protobuf.Struct";

// Field numbers: Any { type_url = 1; value = 2 }, Struct { fields = 1 }, its entries { key = 1;
// value = 2 }, Value { string_value = 3; struct_value = 5 }.
const TYPE_URL: u8 = 1;
const KEY: u8 = 1;
const FIELDS: u8 = 1;
const VALUE: u8 = 2;
const STRING: u8 = 3;
const STRUCT: u8 = 5;

/// Sends our frame and takes the peer's. Client and server do the same: both send at once.
///
/// # Errors
/// When the connection breaks, or the peer sends something else.
pub(crate) async fn exchange<S>(
    stream: &mut S,
    our_frame: &[u8],
) -> io::Result<Option<WorkloadLabels>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(our_frame).await?;
    stream.flush().await?;
    if stream.read_u32().await? != MAGIC {
        let text = "the peer agreed on istio-peer-exchange and sent something else";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let length = stream.read_u32().await?;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer's metadata is too large"));
    }
    let mut any = Vec::new();
    let read = stream.take(u64::from(length)).read_to_end(&mut any).await?;
    if u32::try_from(read).is_ok_and(|read| read < length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(workload_in(&any))
}

/// Our frame, made once.
pub(crate) fn frame(node_id: &str, metadata: &serde_json::Value) -> Vec<u8> {
    let told = decode_base64(header_value(metadata).as_bytes());
    let entry = |name: &str, value: &[u8]| {
        field(FIELDS, &[field(KEY, name.as_bytes()), field(VALUE, value)].concat())
    };
    let fields = [
        entry(PEER_METADATA, &field(STRUCT, &told)),
        entry(PEER_METADATA_ID, &field(STRING, node_id.as_bytes())),
    ];
    let any = [field(TYPE_URL, STRUCT_TYPE.as_bytes()), field(VALUE, &fields.concat())].concat();
    let length = u32::try_from(any.len()).unwrap_or(0);
    [&MAGIC.to_be_bytes()[..], &length.to_be_bytes(), &any].concat()
}

/// The workload that a peer's message tells of.
fn workload_in(any: &[u8]) -> Option<WorkloadLabels> {
    let fields = find(any, VALUE)?;
    let is_metadata = |entry: &&[u8]| find(entry, KEY) == Some(PEER_METADATA.as_bytes());
    let told = members(fields).filter(|(number, _)| *number == FIELDS).map(|(_, entry)| entry);
    let told = find(find(told.into_iter().find(is_metadata)?, VALUE)?, STRUCT)?;
    Some(WorkloadLabels::new(&parse_header(encode_base64(told).as_bytes())?))
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

fn find(message: &[u8], wanted: u8) -> Option<&[u8]> {
    members(message).find(|(number, _)| *number == wanted).map(|(_, content)| content)
}

/// The length-delimited fields of a message, up to the first of another kind: these messages have
/// no others.
fn members(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&tag, tail) = rest.split_first()?;
        if tag & 0x87 != 2 {
            return None;
        }
        let mut tail = tail;
        let mut length = 0_usize;
        for shift in [0, 7, 14] {
            let (&byte, after) = tail.split_first()?;
            tail = after;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (content, after) = tail.split_at_checked(length)?;
        rest = after;
        Some((tag >> 3, content))
    })
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 §4; the telemetry crate reads and writes metadata in this form, as headers carry it.
pub(super) fn encode_base64(bytes: &[u8]) -> String {
    let digit = |group: u32, shift: u32| {
        let place = usize::try_from(group >> shift & 0x3f).unwrap_or(0);
        char::from(DIGITS.get(place).copied().unwrap_or(b'A'))
    };
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        let shifts = [18, 12, 6, 0];
        text.extend(shifts.into_iter().take(chunk.len() + 1).map(|shift| digit(group, shift)));
        text.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    text
}

/// Reads what [`header_value`] wrote.
fn decode_base64(text: &[u8]) -> Vec<u8> {
    let value = |byte: &u8| DIGITS.iter().position(|digit| digit == byte);
    let values: Vec<_> = text.iter().filter_map(value).collect();
    let mut bytes = Vec::new();
    for chunk in values.chunks(4) {
        let group = chunk
            .iter()
            .fold(0_u32, |group, value| group << 6 | u32::try_from(*value).unwrap_or(0));
        let missing = u32::try_from(4 - chunk.len()).unwrap_or(0);
        let group = group << (6 * missing);
        let length = chunk.len().saturating_sub(1);
        bytes.extend(group.to_be_bytes().into_iter().skip(1).take(length));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn two_proxies_learn_who_the_other_is_and_leave_the_bytes_behind_the_frames() {
        let (mut client, mut server) = tokio::io::duplex(4096);
        let metadata = |name: &str| json!({"WORKLOAD_NAME": name, "NAMESPACE": "shop", "LABELS": {"app": "x".repeat(200)}});
        let frames = ["web", "cart"].map(|name| frame("sidecar~127.0.0.1", &metadata(name)));
        let (ours, theirs) = tokio::join!(
            async {
                let peer = exchange(&mut client, &frames[0]).await.unwrap();
                client.write_all(b"hello").await.unwrap();
                peer
            },
            exchange(&mut server, &frames[1]),
        );
        assert_eq!(&*ours.unwrap().workload, "cart");
        let theirs = theirs.unwrap().unwrap();
        assert_eq!((&*theirs.workload, &*theirs.namespace), ("web", "shop"));
        let mut hello = [0; 5];
        server.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
    }

    #[tokio::test]
    async fn other_bytes_are_refused_and_odd_frames_leave_the_peer_unknown() {
        let (mut client, mut server) = tokio::io::duplex(4096);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(exchange(&mut server, b"").await.is_err());
        let (mut client, mut server) = tokio::io::duplex(4096);
        client
            .write_all(&[&MAGIC.to_be_bytes()[..], &[0, 0, 0, 2, 0xff, 0xff]].concat())
            .await
            .unwrap();
        assert!(exchange(&mut server, b"").await.unwrap().is_none());
    }
}
