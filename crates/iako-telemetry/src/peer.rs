//! How two proxies tell each other who they are for: Istio's peer metadata headers.
//!
//! `x-envoy-peer-metadata` is base64 of a protobuf `google.protobuf.Struct`,
//! `x-envoy-peer-metadata-id` the node id. Both are written for the other proxy of the mesh and
//! taken off before the application or the outside sees them. The message is small and fixed, so
//! it is read and written here by hand, with bounds, instead of pulling in a protobuf library.

use std::collections::hash_map::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::labels::{WorkloadFacts, WorkloadLabels, facts_from_node_metadata};

/// Carries the metadata of the sender's workload.
pub const PEER_METADATA: &str = "x-envoy-peer-metadata";
/// Carries the sender's node id.
pub const PEER_METADATA_ID: &str = "x-envoy-peer-metadata-id";

/// Longest header value that is read, in bytes: a pod may have many labels, but not this many.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Structs inside structs that are read: the metadata has one level, `LABELS`.
const DEPTH_MAX: u8 = 3;

/// The value of [`PEER_METADATA`] for a workload, from the metadata of its node. Only what metrics
/// need is told: `NAME`, `NAMESPACE`, `WORKLOAD_NAME`, `OWNER`, `CLUSTER_ID` and the labels that
/// give app, version and the canonical names.
#[must_use]
pub fn header_value(node_metadata: &Json) -> String {
    let mut message = Vec::new();
    for name in ["CLUSTER_ID", "NAME", "NAMESPACE", "OWNER", "WORKLOAD_NAME"] {
        if let Some(text) = node_metadata.get(name).and_then(Json::as_str) {
            put_member(name, &string_value(text), &mut message);
        }
    }
    let labels = node_metadata.get("LABELS").and_then(Json::as_object);
    let mut told = Vec::new();
    for name in TOLD_LABELS {
        if let Some(text) = labels.and_then(|labels| labels.get(*name)).and_then(Json::as_str) {
            put_member(name, &string_value(text), &mut told);
        }
    }
    let mut struct_value = Vec::new();
    put_bytes(STRUCT_VALUE, &told, &mut struct_value);
    put_member("LABELS", &struct_value, &mut message);
    encode_base64(&message)
}

const TOLD_LABELS: &[&str] = &[
    "app",
    "app.kubernetes.io/name",
    "app.kubernetes.io/version",
    "service.istio.io/canonical-name",
    "service.istio.io/canonical-revision",
    "version",
];

/// What a peer says about its workload; `None` when the value is malformed or too long.
#[must_use]
pub fn parse_header(value: &[u8]) -> Option<WorkloadFacts> {
    if value.len() > HEADER_BYTES_MAX {
        return None;
    }
    let message = decode_base64(value)?;
    let metadata = read_struct(&message, DEPTH_MAX)?;
    Some(facts_from_node_metadata(&metadata))
}

/// Remembers what header values mean, so that a peer's metadata is decoded once a worker and not
/// once a request. Bounded: when it is full it starts anew.
#[derive(Debug, Default)]
pub struct PeerCache {
    labels: HashMap<Box<[u8]>, Arc<WorkloadLabels>>,
    /// The value that came last: peers call more than once.
    last: Option<Known>,
}

/// A header value and what it means.
type Known = (Box<[u8]>, Arc<WorkloadLabels>);

/// Peers remembered, about 1 KiB each.
const PEERS_MAX: usize = 1_024;

impl PeerCache {
    /// The labels of the peer that sent this header value; unknown labels when it is malformed.
    pub fn labels(&mut self, header: &[u8]) -> Arc<WorkloadLabels> {
        if let Some((_, labels)) = self.last.as_ref().filter(|(known, _)| **known == *header) {
            return Arc::clone(labels);
        }
        if let Some(labels) = self.labels.get(header) {
            self.last = Some((header.into(), Arc::clone(labels)));
            return Arc::clone(labels);
        }
        let facts = parse_header(header).unwrap_or_default();
        let labels = Arc::new(WorkloadLabels::new(&facts));
        if header.len() <= HEADER_BYTES_MAX {
            if self.labels.len() >= PEERS_MAX {
                self.labels.clear();
            }
            self.labels.insert(header.into(), Arc::clone(&labels));
        }
        labels
    }
}

// google.protobuf.Struct { map<string, Value> fields = 1; }, a map entry { key = 1; value = 2; },
// Value { string_value = 3; struct_value = 5; }.
const FIELDS: u8 = 1;
const KEY: u8 = 1;
const VALUE: u8 = 2;
const STRING_VALUE: u8 = 3;
const STRUCT_VALUE: u8 = 5;
/// Wire type of strings, bytes and messages.
const LENGTH_DELIMITED: u64 = 2;

fn string_value(text: &str) -> Vec<u8> {
    let mut value = Vec::new();
    put_bytes(STRING_VALUE, text.as_bytes(), &mut value);
    value
}

fn put_member(name: &str, value: &[u8], out: &mut Vec<u8>) {
    let mut entry = Vec::new();
    put_bytes(KEY, name.as_bytes(), &mut entry);
    put_bytes(VALUE, value, &mut entry);
    put_bytes(FIELDS, &entry, out);
}

fn put_bytes(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(field) << 3 | LENGTH_DELIMITED, out);
    put_varint(u64::try_from(bytes.len()).unwrap_or(0), out);
    out.extend_from_slice(bytes);
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// One field of a message.
enum Field<'a> {
    Bytes(u64, &'a [u8]),
    /// A number, boolean or fixed-width value: not told in this metadata, skipped.
    Skipped,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The next field; `Some(None)` at the end, `None` when the message is malformed.
    fn field(&mut self) -> Option<Option<Field<'a>>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => self.varint().map(|_| Field::Skipped),
            1 => self.take(8).map(|_| Field::Skipped),
            LENGTH_DELIMITED => {
                let length = self.varint()?;
                self.take(length).map(|bytes| Field::Bytes(tag >> 3, bytes))
            }
            5 => self.take(4).map(|_| Field::Skipped),
            _ => None,
        };
        field.map(Some)
    }
}

fn read_struct(message: &[u8], depth: u8) -> Option<Json> {
    let depth = depth.checked_sub(1)?;
    let mut members = serde_json::Map::new();
    let mut reader = Reader(message);
    while let Some(field) = reader.field()? {
        if let Field::Bytes(number, entry) = field
            && number == u64::from(FIELDS)
        {
            let (name, value) = read_entry(entry, depth)?;
            members.insert(name, value);
        }
    }
    Some(Json::Object(members))
}

fn read_entry(entry: &[u8], depth: u8) -> Option<(String, Json)> {
    let (mut name, mut value) = (String::new(), Json::Null);
    let mut reader = Reader(entry);
    while let Some(field) = reader.field()? {
        match field {
            Field::Bytes(number, bytes) if number == u64::from(KEY) => {
                name = std::str::from_utf8(bytes).ok()?.to_owned();
            }
            Field::Bytes(number, bytes) if number == u64::from(VALUE) => {
                value = read_value(bytes, depth)?;
            }
            Field::Bytes(..) | Field::Skipped => {}
        }
    }
    Some((name, value))
}

fn read_value(message: &[u8], depth: u8) -> Option<Json> {
    let mut value = Json::Null;
    let mut reader = Reader(message);
    while let Some(field) = reader.field()? {
        match field {
            Field::Bytes(number, bytes) if number == u64::from(STRING_VALUE) => {
                value = Json::String(std::str::from_utf8(bytes).ok()?.to_owned());
            }
            Field::Bytes(number, bytes) if number == u64::from(STRUCT_VALUE) => {
                value = read_struct(bytes, depth)?;
            }
            Field::Bytes(..) | Field::Skipped => {}
        }
    }
    Some(value)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 §4, with padding.
fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_usize {
            let digit = usize::try_from(group >> (18 - 6 * place) & 0x3f).unwrap_or(0);
            let character = BASE64.get(digit).copied().filter(|_| place <= chunk.len());
            text.push(char::from(character.unwrap_or(b'=')));
        }
    }
    text
}

/// Padding may be missing: some peers leave it out.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let digits = text.get(..digits)?;
    let mut bytes = Vec::with_capacity(digits.len().saturating_mul(3) / 4);
    for chunk in digits.chunks(4) {
        let mut group = 0_u32;
        for place in 0..4 {
            let digit = chunk.get(place).map_or(Some(0), |byte| digit(*byte))?;
            group = group << 6 | u32::from(digit);
        }
        let length = match chunk.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        bytes.extend(group.to_be_bytes().iter().skip(1).take(length));
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_other_proxy_reads_what_this_one_says() {
        let metadata = json!({
            "NAME": "cart-v2-0", "NAMESPACE": "shop", "WORKLOAD_NAME": "cart-v2",
            "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "not told",
            "LABELS": {"app": "cart", "version": "v2", "secret": "not told"},
        });
        let header = header_value(&metadata);
        let facts = parse_header(header.as_bytes()).unwrap();
        assert_eq!(facts, facts_from_node_metadata(&metadata));
        assert_eq!(facts.instance, "cart-v2-0");
        assert!(
            !String::from_utf8_lossy(&decode_base64(header.as_bytes()).unwrap())
                .contains("not told")
        );
    }

    /// With a list, a number, a boolean and a null between the members that count.
    const FOREIGN: &str = "Ch4KDkFQUF9DT05UQUlORVJTEgwyCgoDGgFhCgMaAWIKGgoKQ0xVU1RFUl9JRBIMGgpLdWJlcm5ldGVz\
             Ci8KBkxBQkVMUxIlKiMKEAoDYXBwEgkaB3JhdGluZ3MKDwoHdmVyc2lvbhIEGgJ2MQoOCgFOEgkRAAAA\
             AAAA+D8KBwoBVBICIAEKBwoBWBICCAAKFgoETkFNRRIOGgxyYXRpbmdzLXYxLXgKFgoJTkFNRVNQQUNF\
             EgkaB2RlZmF1bHQKHQoNV09SS0xPQURfTkFNRRIMGgpyYXRpbmdzLXYx";

    #[test]
    fn values_that_metrics_do_not_need_are_skipped_and_cut_messages_refused() {
        let facts = parse_header(FOREIGN.as_bytes()).unwrap();
        assert_eq!((&*facts.workload, &*facts.version), ("ratings-v1", "v1"));
        assert_eq!((&*facts.cluster, &*facts.canonical_service), ("Kubernetes", "ratings"));
        assert_eq!(parse_header(&FOREIGN.as_bytes()[..100]), None);
        assert_eq!(parse_header(b"not base64!"), None);
    }

    proptest! {
        #[test]
        fn base64_gives_back_every_byte(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(decode_base64(encode_base64(&bytes).as_bytes()), Some(bytes));
        }

        #[test]
        fn no_header_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(parse_header(encode_base64(&bytes).as_bytes()));
            drop(parse_header(&bytes));
        }
    }
}
