//! An HTTP/2 client that says whatever a case wants, and takes down what comes back.

use std::{collections::BTreeMap, io::Read, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    case::{DataStep, FrameStep, HeadersStep, Request, Until},
    observed,
    wire::{
        frame::{self, Frame},
        hpack::{Decoder, Field},
        http1::{Connection, Content, End},
    },
};

/// The PING that comes after everything else.
const LAST_PING: &[u8; 8] = b"the-last";

pub(super) fn run(connection: Connection, steps: &[FrameStep], request: &Request) -> Value {
    let mut client = Client {
        connection,
        decoder: Decoder::default(),
        streams: BTreeMap::new(),
        block: Vec::new(),
        block_ends_stream: false,
        connection_facts: Map::new(),
        acknowledged: 0,
        pongs: 0,
        is_last_answered: false,
        is_over: false,
        has_left: false,
    };
    if !steps.iter().any(|step| matches!(step, FrameStep::NoPreface)) {
        let mut preface = frame::PREFACE.to_vec();
        preface.extend(frame::write(frame::SETTINGS, 0, 0, &[]));
        client.connection.send(&preface);
    }
    client.play(steps, 0);
    if !client.has_left {
        client.listen(request.until);
    }
    if !request.settings {
        client.connection_facts.remove("settings");
    }
    let every = client.connection_facts.remove("goaways");
    if let (true, Some(every)) = (request.goaways, every) {
        client.connection_facts.insert("goaway".to_owned(), every);
    }
    client.finish()
}

#[derive(Debug, Default)]
struct Stream {
    /// The client opened it.
    is_asked: bool,
    interim: Vec<Value>,
    head: Option<Vec<Field>>,
    content: Content,
    end: Option<String>,
    /// RST_STREAM came, with whatever code.
    is_stopped: bool,
    /// The case waits for that.
    tells_stop: bool,
}

struct Client {
    connection: Connection,
    decoder: Decoder,
    streams: BTreeMap<u32, Stream>,
    block: Vec<u8>,
    block_ends_stream: bool,
    connection_facts: Map<String, Value>,
    acknowledged: u32,
    pongs: u32,
    is_last_answered: bool,
    /// The proxy has ended the connection.
    is_over: bool,
    /// The client has.
    has_left: bool,
}

impl Read for Client {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.connection.buffer.is_empty() {
            if !self.connection.fill() {
                return Ok(0);
            }
        }
        let length = into.len().min(self.connection.buffer.len());
        for (to, from) in into.iter_mut().zip(self.connection.buffer.drain(..length)) {
            *to = from;
        }
        Ok(length)
    }
}

impl Client {
    /// Sends the steps; false when the client has closed the connection.
    fn play(&mut self, steps: &[FrameStep], shift: u32) -> bool {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let pseudo = [
            field(":method", "GET"),
            field(":scheme", "http"),
            field(":path", "/x"),
            field(":authority", "a.test"),
        ];
        steps.iter().all(|step| match step {
            FrameStep::Repeat { times, stride, steps } => {
                (0..*times).all(|round| self.play(steps, round * stride))
            }
            FrameStep::AwaitHead(stream) => self.await_head(*stream),
            FrameStep::AwaitBytes { stream, bytes } => self.await_bytes(*stream, *bytes),
            FrameStep::AwaitReset(stream) => self.await_reset(*stream),
            FrameStep::AwaitPongs(count) => {
                while self.pongs < *count && self.next() {}
                true
            }
            FrameStep::Pause { ms } => {
                std::thread::park_timeout(Duration::from_millis(*ms));
                true
            }
            FrameStep::Change(change) => {
                self.connection.stage.as_ref().unwrap().apply(change);
                true
            }
            FrameStep::Close => {
                let _gone = self.connection.stream.shutdown(std::net::Shutdown::Both);
                self.has_left = true;
                false
            }
            step => {
                let step = shifted(step, shift);
                if let FrameStep::Headers(HeadersStep { stream, .. }) = &step {
                    self.streams.entry(*stream).or_default().is_asked = true;
                }
                // Whoever was cut off still wants to hear why.
                self.connection.send(&frame::bytes_of(&step, 0, &pseudo));
                true
            }
        })
    }

    fn await_head(&mut self, id: u32) -> bool {
        while self.streams.get(&id).is_none_or(|stream| stream.head.is_none()) {
            if !self.next() {
                break;
            }
        }
        true
    }

    fn await_bytes(&mut self, id: u32, bytes: usize) -> bool {
        while self.streams.get(&id).is_none_or(|stream| stream.content.bytes.len() < bytes) {
            if !self.next() {
                break;
            }
        }
        true
    }

    fn await_reset(&mut self, id: u32) -> bool {
        self.streams.entry(id).or_default().tells_stop = true;
        while self.streams.get(&id).is_none_or(|stream| stream.end.is_none() || !stream.is_stopped)
        {
            if !self.next() {
                break;
            }
        }
        true
    }

    fn listen(&mut self, until: Until) {
        let mut is_asked = false;
        while !self.is_over {
            let is_done = self.streams.values().all(|it| it.end.is_some() || !it.is_asked);
            if !is_asked && (until == Until::Ping || until == Until::Streams && is_done) {
                is_asked = true;
                self.connection.send(&frame::write(frame::PING, 0, 0, LAST_PING));
            }
            if self.is_last_answered || !self.next() {
                break;
            }
        }
    }

    /// Takes the next frame; false at the end of the connection.
    fn next(&mut self) -> bool {
        match frame::read(self) {
            Ok(Some(frame)) => {
                self.take(&frame);
                true
            }
            Ok(None) | Err(_) => {
                self.is_over = self.connection.end != Some(End::Silent);
                false
            }
        }
    }

    fn take(&mut self, frame: &Frame) {
        match frame.kind {
            frame::SETTINGS if frame.has(frame::ACK) => self.acknowledged += 1,
            frame::SETTINGS => {
                let settings = settings(&frame.payload);
                self.connection_facts.entry("settings").or_insert(settings);
                self.connection.send(&frame::write(frame::SETTINGS, frame::ACK, 0, &[]));
            }
            frame::PING if frame.payload == LAST_PING => self.is_last_answered = true,
            frame::PING if frame.has(frame::ACK) => self.pongs += 1,
            frame::HEADERS | frame::CONTINUATION => {
                if frame.kind == frame::HEADERS {
                    self.block_ends_stream = frame.has(frame::END_STREAM);
                }
                self.block.extend(frame.content());
                if frame.has(frame::END_HEADERS) {
                    self.take_fields(frame.stream);
                }
            }
            frame::DATA => self.take_data(frame),
            frame::RST_STREAM => {
                let stream = self.streams.entry(frame.stream).or_default();
                let code = frame::code_name(frame.number(0));
                stream.is_stopped = true;
                let end = match stream.end.as_deref() {
                    Some(before) if before != "END_STREAM" => return,
                    // The rest of the request is not wanted (RFC 9113, section 8.1). Whether that is
                    // said before the client asks for the last time is chance, unless it waits for it.
                    Some(_) if code == "NO_ERROR" && !stream.tells_stop => return,
                    Some(before) => format!("{before}, RST_STREAM {code}"),
                    None => format!("RST_STREAM {code}"),
                };
                stream.end = Some(end);
            }
            frame::GOAWAY => {
                let code = frame::code_name(frame.number(4));
                let told = json!({"code": code, "last": frame.number(0)});
                let every = self.connection_facts.entry("goaways").or_insert_with(|| json!([]));
                every.as_array_mut().unwrap().push(told.clone());
                self.connection_facts.insert("goaway".to_owned(), told);
            }
            frame::PUSH_PROMISE => {
                self.connection_facts.insert("push".to_owned(), Value::Bool(true));
            }
            _ => {}
        }
    }

    fn take_fields(&mut self, id: u32) {
        let block = std::mem::take(&mut self.block);
        let fields = self.decoder.decode(&block).expect("a proxy's header block can be read");
        let stream = self.streams.entry(id).or_default();
        let status = fields.iter().find(|(name, _)| name == ":status");
        match status {
            Some((_, status)) if status.starts_with('1') => {
                stream.interim.push(json!({"headers": observed::headers(&fields)}));
            }
            _ if stream.head.is_some() => stream.content.trailers = fields,
            _ => stream.head = Some(fields),
        }
        if self.block_ends_stream {
            stream.finish();
        }
    }

    fn take_data(&mut self, frame: &Frame) {
        let stream = self.streams.entry(frame.stream).or_default();
        stream.content.bytes.extend(frame.content());
        if frame.has(frame::END_STREAM) {
            stream.finish();
        }
        let length = u32::try_from(frame.payload.len()).unwrap();
        if length > 0 {
            for id in [0, frame.stream] {
                self.connection.send(&frame::write(
                    frame::WINDOW_UPDATE,
                    0,
                    id,
                    &length.to_be_bytes(),
                ));
            }
        }
    }

    fn finish(mut self) -> Value {
        let end = match self.connection.end {
            _ if self.has_left => "left",
            Some(End::Silent) => "silent",
            Some(End::Closed | End::Reset | End::Refused) => "ended",
            None => "kept",
        };
        let mut facts = self.connection_facts;
        if self.acknowledged > 1 {
            facts.insert("settings_acknowledged".to_owned(), Value::from(self.acknowledged));
        }
        if self.pongs > 0 {
            facts.insert("pings_answered".to_owned(), Value::from(self.pongs));
        }
        let mut streams = Map::new();
        for (id, stream) in std::mem::take(&mut self.streams) {
            streams.insert(id.to_string(), stream.told());
        }
        facts.insert("streams".to_owned(), Value::Object(streams));
        facts.insert("end".to_owned(), Value::from(end));
        Value::Object(facts)
    }
}

impl Stream {
    fn finish(&mut self) {
        self.content.is_complete = true;
        self.end = Some("END_STREAM".to_owned());
    }

    fn told(mut self) -> Value {
        let mut told = Map::new();
        if !self.interim.is_empty() {
            told.insert("interim".to_owned(), Value::Array(self.interim));
        }
        if let Some(fields) = &self.head {
            // Whether it is whole is what `end` says.
            self.content.is_complete = true;
            observed::message(&mut told, fields, &self.content);
        }
        told.insert("end".to_owned(), Value::from(self.end.unwrap_or_else(|| "open".to_owned())));
        Value::Object(told)
    }
}

fn shifted(step: &FrameStep, by: u32) -> FrameStep {
    let mut step = step.clone();
    match &mut step {
        FrameStep::Headers(HeadersStep { stream, .. })
        | FrameStep::Data(DataStep { stream, .. })
        | FrameStep::Rst { stream, .. }
        | FrameStep::WindowUpdate { stream, .. }
        | FrameStep::Priority { stream, .. }
        | FrameStep::Raw { stream, .. }
            if *stream > 0 =>
        {
            *stream += by;
        }
        _ => {}
    }
    step
}

/// The settings by the names of RFC 9113, section 6.5.2, and RFC 8441.
fn settings(payload: &[u8]) -> Value {
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    for entry in payload.chunks_exact(6) {
        let name = match u16::from_be_bytes([entry[0], entry[1]]) {
            1 => "HEADER_TABLE_SIZE".to_owned(),
            2 => "ENABLE_PUSH".to_owned(),
            3 => "MAX_CONCURRENT_STREAMS".to_owned(),
            4 => "INITIAL_WINDOW_SIZE".to_owned(),
            5 => "MAX_FRAME_SIZE".to_owned(),
            6 => "MAX_HEADER_LIST_SIZE".to_owned(),
            8 => "ENABLE_CONNECT_PROTOCOL".to_owned(),
            other => other.to_string(),
        };
        told.insert(name, u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]));
    }
    json!(told)
}
