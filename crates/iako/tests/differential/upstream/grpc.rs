//! A gRPC service of an upstream: the case says what it answers.

use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

use crate::case::{DataStep, FrameStep, GrpcStep, HeadersStep};

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    input: MessageDescriptor,
    output: MessageDescriptor,
    steps: Vec<GrpcStep>,
    /// The messages that came, in proto3 JSON.
    pub(super) asked: Vec<Value>,
    has_head: bool,
    is_over: bool,
    holds: bool,
}

impl Call {
    /// A call to `/package.Service/Method`, which the steps answer message by message.
    pub(super) fn new(path: &str, steps: Vec<GrpcStep>) -> Self {
        let (service, method) = path.trim_start_matches('/').split_once('/').expect(path);
        let service = iako_xds_codec::pool().get_service_by_name(service).expect(path);
        let method = service.methods().find(|it| it.name() == method).expect(path);
        Self {
            input: method.input(),
            output: method.output(),
            steps,
            asked: Vec::new(),
            has_head: false,
            is_over: false,
            holds: false,
        }
    }

    /// Takes the messages that are there as a whole, and says what is sent.
    pub(super) fn take(&mut self, body: &mut Vec<u8>) -> Vec<FrameStep> {
        let mut frames = Vec::new();
        while let Some(&[_, a, b, c, d]) = body.first_chunk::<5>() {
            let length = 5 + u32::from_be_bytes([a, b, c, d]) as usize;
            if body.len() < length {
                break;
            }
            let message: Vec<u8> = body.drain(..length).skip(5).collect();
            let message = DynamicMessage::decode(self.input.clone(), message.as_slice()).unwrap();
            let options = SerializeOptions::new().use_proto_field_name(true);
            let json = message.serialize_with_options(serde_json::value::Serializer, &options);
            let step = self.steps.get(self.asked.len()).cloned();
            self.asked.push(json.unwrap());
            if let Some(step) = step.filter(|_| !self.is_over) {
                self.play(&step, &mut frames);
            }
        }
        frames
    }

    fn play(&mut self, step: &GrpcStep, frames: &mut Vec<FrameStep>) {
        self.holds = step.hold;
        frames.extend(step.pause_ms.map(|ms| FrameStep::Pause { ms }));
        let messages = match &step.send {
            Some(Value::Array(messages)) => messages.as_slice(),
            Some(message) => std::slice::from_ref(message),
            None => &[],
        };
        for message in messages {
            if !self.has_head {
                frames.push(head(&[("content-type", "application/grpc")], Then::More));
                self.has_head = true;
            }
            frames.push(self.data(message));
        }
        if let Some(code) = step.reset {
            frames.push(FrameStep::Rst { stream: 0, code });
            self.is_over = true;
        }
        if let Some(status) = step.status {
            frames.push(self.trailers(status, step.message.as_deref()));
            self.is_over = true;
        }
    }

    /// What is sent when the client has said everything.
    pub(super) fn end(&self) -> Vec<FrameStep> {
        if self.is_over || self.holds {
            return Vec::new();
        }
        vec![self.trailers(0, None)]
    }

    fn data(&self, message: &Value) -> FrameStep {
        let message = DynamicMessage::deserialize(self.output.clone(), message.clone()).unwrap();
        let message = prost_message(&message);
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(message);
        let text = crate::case::text(&bytes);
        FrameStep::Data(DataStep { stream: 0, text, times: None, padding: None, end: false })
    }

    fn trailers(&self, status: u16, message: Option<&str>) -> FrameStep {
        let status = status.to_string();
        let mut fields = vec![("grpc-status", status.as_str())];
        fields.extend(message.map(|message| ("grpc-message", message)));
        if self.has_head {
            let mut step = head(&fields, Then::End);
            if let FrameStep::Headers(step) = &mut step {
                step.pseudo = Some(Vec::new());
            }
            return step;
        }
        fields.insert(0, ("content-type", "application/grpc"));
        head(&fields, Then::End)
    }
}

/// What follows a head.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    More,
    End,
}

fn head(fields: &[(&str, &str)], then: Then) -> FrameStep {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    FrameStep::Headers(HeadersStep {
        stream: 0,
        pseudo: None,
        fields: fields.collect(),
        end: then == Then::End,
        open: false,
    })
}

fn prost_message(message: &DynamicMessage) -> Vec<u8> {
    prost::Message::encode_to_vec(message)
}
