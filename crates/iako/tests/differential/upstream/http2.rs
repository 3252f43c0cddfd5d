//! An HTTP/2 connection of an upstream.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Shared, echo, grpc::Call, told};
use crate::{
    case::{FrameStep, HeadersStep, Reply},
    wire::{
        frame::{self, Frame},
        hpack::{Decoder, Field},
        http1::{Connection, End},
    },
};

/// What is known of a stream.
#[derive(Debug)]
struct Stream {
    place: usize,
    body: Vec<u8>,
    reply: Option<Reply>,
    method: String,
    path: String,
    /// What the fields asked for, as the echo of HTTP/1 obeys it.
    fields: Vec<Field>,
    /// The call, where a gRPC service answers.
    call: Option<Call>,
}

struct Server<'a> {
    connection: Connection,
    decoder: Decoder,
    streams: BTreeMap<u32, Stream>,
    /// A header block that goes on in CONTINUATION.
    block: Vec<u8>,
    block_ends_stream: bool,
    port: u16,
    shared: &'a Shared,
}

/// Serves after the first part of the preface was read.
pub(super) fn serve(connection: Connection, port: u16, shared: &Shared) {
    let mut server = Server {
        connection,
        decoder: Decoder::default(),
        streams: BTreeMap::new(),
        block: Vec::new(),
        block_ends_stream: false,
        port,
        shared,
    };
    let mut rest = [0; 6];
    // ENABLE_CONNECT_PROTOCOL: whoever cares about it may use extended CONNECT.
    let settings = frame::write(frame::SETTINGS, 0, 0, &[0, 8, 0, 0, 0, 1]);
    if server.read_exact(&mut rest).is_err() || !server.connection.send(&settings) {
        return;
    }
    while let Ok(Some(frame)) = frame::read(&mut server) {
        if !server.on_frame(&frame) {
            break;
        }
    }
}

impl Read for Server<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.connection.buffer.is_empty() {
            if !self.connection.fill() {
                let is_closed = self.connection.end == Some(End::Closed);
                return if is_closed { Ok(0) } else { Err(io::ErrorKind::ConnectionReset.into()) };
            }
        }
        let length = into.len().min(self.connection.buffer.len());
        for (to, from) in into.iter_mut().zip(self.connection.buffer.drain(..length)) {
            *to = from;
        }
        Ok(length)
    }
}

impl Server<'_> {
    /// Takes a frame; false when the connection is over.
    fn on_frame(&mut self, frame: &Frame) -> bool {
        match frame.kind {
            frame::SETTINGS if !frame.has(frame::ACK) => {
                let ack = frame::write(frame::SETTINGS, frame::ACK, 0, &[]);
                return self.connection.send(&ack);
            }
            frame::PING if !frame.has(frame::ACK) => {
                let ack = frame::write(frame::PING, frame::ACK, 0, &frame.payload);
                return self.connection.send(&ack);
            }
            frame::HEADERS | frame::CONTINUATION => {
                if frame.kind == frame::HEADERS {
                    self.block_ends_stream = frame.has(frame::END_STREAM);
                }
                self.block.extend(frame.content());
                if frame.has(frame::END_HEADERS) {
                    return self.take_fields(frame.stream);
                }
            }
            frame::DATA => return self.take_data(frame),
            frame::RST_STREAM => {
                // How a call is ended that nobody needs any more is chance.
                let stream = self.streams.get(&frame.stream);
                if let Some(stream) = stream.filter(|stream| stream.call.is_none()) {
                    let code = Value::from(frame::code_name(frame.number(0)));
                    self.shared.add(stream.place, "reset", code);
                }
            }
            _ => {}
        }
        true
    }

    fn take_fields(&mut self, id: u32) -> bool {
        let block = std::mem::take(&mut self.block);
        let Some(fields) = self.decoder.decode(&block) else { return false };
        if let Some(stream) = self.streams.get(&id) {
            self.shared.add(stream.place, "trailers", json!(fields));
            return self.finish(id);
        }
        let value = |name: &str| {
            let field = fields.iter().find(|(own, _)| own == name);
            field.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let (method, path) = (value(":method"), value(":path"));
        let place = self.shared.note(json!({
            "backend": self.port,
            "version": "HTTP/2",
            "headers": fields,
        }));
        let reply = self.shared.reply(self.port);
        let on_head = reply.as_ref().map(|reply| reply.h2_on_head.clone()).unwrap_or_default();
        let steps = reply.as_ref().and_then(|reply| reply.grpc.clone());
        let call = steps.map(|steps| Call::new(&path, steps));
        let stream = Stream { place, body: Vec::new(), reply, method, path, fields, call };
        self.streams.insert(id, stream);
        self.send(id, &on_head) && (!self.block_ends_stream || self.finish(id))
    }

    fn take_data(&mut self, frame: &Frame) -> bool {
        let Some(stream) = self.streams.get_mut(&frame.stream) else { return true };
        stream.body.extend(frame.content());
        let length = u32::try_from(frame.payload.len()).unwrap();
        if length > 0 {
            for id in [0, frame.stream] {
                let update = frame::write(frame::WINDOW_UPDATE, 0, id, &length.to_be_bytes());
                if !self.connection.send(&update) {
                    return false;
                }
            }
        }
        self.answer_call(frame.stream)
            && (!frame.has(frame::END_STREAM) || self.finish(frame.stream))
    }

    /// Answers the messages of a call that are there as a whole.
    fn answer_call(&mut self, id: u32) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return true };
        let Some(call) = stream.call.as_mut() else { return true };
        let steps = call.take(&mut stream.body);
        self.shared.add(stream.place, "messages", Value::Array(call.asked.clone()));
        self.send(id, &steps)
    }

    /// Answers a request that is there as a whole.
    fn finish(&mut self, id: u32) -> bool {
        let stream = &self.streams[&id];
        if let Some(call) = &stream.call {
            let steps = call.end();
            return self.send(id, &steps);
        }
        if !stream.body.is_empty() {
            self.shared.add(stream.place, "body", told(&stream.body));
        }
        let steps = match stream.reply.as_ref() {
            Some(reply) => reply.h2.clone().unwrap_or_default(),
            None => self.reflect(stream),
        };
        self.send(id, &steps)
    }

    fn reflect(&self, stream: &Stream) -> Vec<FrameStep> {
        let body = echo(self.port, &stream.method, &stream.path);
        let mut status = "200".to_owned();
        if let Some(rest) = stream.path.strip_prefix("/status/") {
            status = rest.chars().take_while(char::is_ascii_digit).collect();
        }
        if let Some(time) = stream.path.split("delay=").nth(1).and_then(|rest| rest.parse().ok()) {
            self.shared.pause(Duration::from_secs_f64(time));
        }
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut fields = vec![
            field("x-backend", &self.port.to_string()),
            field("content-type", "application/json"),
            field("content-length", &body.len().to_string()),
        ];
        for (name, value) in &stream.fields {
            if name == "x-reply-header"
                && let Some((name, value)) = value.split_once(':')
            {
                fields.push(field(name, value));
            }
        }
        let is_head = stream.method == "HEAD";
        let pseudo = Some(vec![field(":status", &status)]);
        let mut steps = vec![FrameStep::Headers(HeadersStep {
            stream: 0,
            pseudo,
            fields,
            end: is_head,
            open: false,
        })];
        if !is_head {
            let data = crate::case::DataStep {
                stream: 0,
                text: body,
                times: None,
                padding: None,
                end: true,
            };
            steps.push(FrameStep::Data(data));
        }
        steps
    }

    fn send(&mut self, id: u32, steps: &[FrameStep]) -> bool {
        let status = [(":status".to_owned(), "200".to_owned())];
        steps.iter().all(|step| match step {
            FrameStep::Close => false,
            FrameStep::Pause { ms } => {
                self.shared.pause(Duration::from_millis(*ms));
                true
            }
            step => self.connection.send(&frame::bytes_of(step, id, &status)),
        })
    }
}
