//! What a collector of spans is told.

use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Map, Value, json};

/// The spans of a request to a collector, as JSON; none of another request.
pub(super) fn told(path: &str, body: &[u8]) -> Option<Value> {
    let path = path.split('?').next().unwrap_or_default();
    match path {
        "/api/v2/spans" => Some(
            serde_json::from_slice(body)
                .unwrap_or_else(|_binary| message("zipkin.proto3.ListOfSpans", body)),
        ),
        "/v1/traces" => {
            let name = "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest";
            Some(message(name, body))
        }
        "/v0.4/traces" => Some(Pack(body).value()),
        _ => None,
    }
}

fn message(name: &str, body: &[u8]) -> Value {
    let descriptor = iako_xds_codec::pool().get_message_by_name(name).expect(name);
    let message = DynamicMessage::decode(descriptor, body).unwrap();
    let options = SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// MessagePack, as much of it as tracers write.
struct Pack<'b>(&'b [u8]);

impl Pack<'_> {
    fn take(&mut self, count: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn size(&mut self, bytes: usize) -> usize {
        usize::try_from(self.number(bytes)).unwrap()
    }

    fn text(&mut self, length: usize) -> Value {
        Value::from(String::from_utf8_lossy(self.take(length)).into_owned())
    }

    fn list(&mut self, length: usize) -> Value {
        (0..length).map(|_| self.value()).collect()
    }

    fn object(&mut self, length: usize) -> Value {
        let entry = |_| (self.value().as_str().unwrap_or_default().to_owned(), self.value());
        Value::Object((0..length).map(entry).collect::<Map<_, _>>())
    }

    fn value(&mut self) -> Value {
        let mark = self.take(1)[0];
        match mark {
            0..=0x7f => json!(mark),
            0x80..=0x8f => self.object(usize::from(mark & 15)),
            0x90..=0x9f => self.list(usize::from(mark & 15)),
            0xa0..=0xbf => self.text(usize::from(mark & 31)),
            0xcb => json!(f64::from_bits(self.number(8))),
            0xcc => json!(self.number(1)),
            0xcd => json!(self.number(2)),
            0xce => json!(self.number(4)),
            0xcf | 0xd3 => json!(self.number(8)),
            0xd9 => {
                let length = self.size(1);
                self.text(length)
            }
            0xdb => {
                let length = self.size(4);
                self.text(length)
            }
            0xdd => {
                let length = self.size(4);
                self.list(length)
            }
            0xdf => {
                let length = self.size(4);
                self.object(length)
            }
            _ => Value::Null,
        }
    }
}
